package control_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/webv4"
)

type timelineRequest struct {
	_ struct{} `route:"GET /timeline.json" degrade:"timeline=fallback"`
}

type timeline struct {
	From string `json:"from"`
}

// A real server's interface whose objective is missed is answered by its
// fallback, and by its handler again when the calls that are let through go well.
func TestPolicyTurnsFallbackOfAServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := watchman.New("timeline", &watchman.Options{Sample: -1})
		if err != nil {
			t.Fatal(err)
		}
		a, err := webv4.New(&webv4.Options{Watchman: w, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		broken, handled := false, 0
		webv4.Handle(a, func(context.Context, *timelineRequest) (*timeline, error) {
			if handled++; broken {
				return nil, errors.New("the database is gone")
			}
			return &timeline{"database"}, nil
		})
		webv4.Fallback(a, func(context.Context, *timelineRequest) (*timeline, error) { return &timeline{"copy"}, nil })
		loop, err := control.New(w,
			[]control.Objective{{Name: "timeline", Kind: watchman.Server, Operation: "GET /timeline.json", Target: 0.99, MinCalls: 5}},
			[]control.Policy{{
				Name: "answer from a copy", Objective: "timeline", Switch: w.Switch("webv4.timeline.static", false), Enforce: true,
				Window: time.Second, Hold: 5 * time.Second, Probes: 3,
			}}, &control.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		// ask is a second of 50 requests, and what most answers were: a few are
		// the handler's, so that the loop sees whether it is well again.
		ask := func() string {
			answers := map[string]int{}
			for range 50 {
				rec := httptest.NewRecorder()
				a.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/timeline.json", nil))
				answers[strings.TrimSpace(rec.Body.String())]++
				time.Sleep(20 * time.Millisecond)
			}
			loop.Step()
			for text, n := range answers {
				if n > 25 {
					return text
				}
			}
			return ""
		}
		until := func(want string, most int) (seconds int) {
			t.Helper()
			var last string
			for last != want {
				last = ask()
				if seconds++; seconds > most {
					t.Fatalf("no %s after %d s, last %s; decisions %+v", want, most, last, loop.Decisions())
				}
			}
			return seconds
		}
		const full, copied = `{"from":"database"}`, `{"from":"copy"}`
		until(full, 1)
		broken = true
		if took := until(copied, 10); took > 4 {
			t.Errorf("the fallback answered in second %d", took)
		}
		handled = 0
		for range 10 {
			ask()
		}
		if handled == 0 || handled > 60 {
			t.Errorf("in ten bad seconds %d of 500 calls went through to the handler", handled)
		}
		broken = false
		if took := until(full, 20); took > 8 {
			t.Errorf("the handler came back after %d s", took)
		}
		for range 10 {
			ask()
		}
		d := loop.Decisions()
		if len(d) != 2 || d[1].After != 1 || d[0].After != 0 || d[1].Mode != control.ModeAuto || d[1].Outcome == nil {
			t.Fatalf("decisions %+v", d)
		}
		if s := w.Switches(); len(s) == 0 || w.Switch("webv4.timeline.static", false).On() {
			t.Errorf("the switch is still on: %+v", s)
		}
	})
}
