package webv4_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type work struct {
	_ struct{}      `route:"GET /work" cost:"db"`
	D time.Duration `query:"d"`
}

type vitalWork struct {
	_ struct{}      `route:"GET /vital" cost:"db" class:"critical"`
	D time.Duration `query:"d"`
}

type lowWork struct {
	_ struct{} `route:"GET /low" cost:"db" class:"low"`
}

type otherWork struct {
	_ struct{} `route:"GET /other"`
}

func TestOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, &webv4.Options{Overload: &webv4.Overload{Queue: 3, Max: 4}})
		wait := func(ctx context.Context, d time.Duration) (*empty, error) { time.Sleep(d); return nil, ctx.Err() }
		webv4.Handle(a, func(ctx context.Context, in *work) (*empty, error) { return wait(ctx, in.D) })
		webv4.Handle(a, func(ctx context.Context, in *vitalWork) (*empty, error) { return wait(ctx, in.D) })
		webv4.Handle(a, func(context.Context, *lowWork) (*empty, error) { panic("low") })
		webv4.Handle(a, func(context.Context, *otherWork) (*empty, error) { return nil, nil })
		var wg sync.WaitGroup
		statuses := map[string]int{}
		var mu sync.Mutex
		call := func(route string) {
			wg.Go(func() {
				r := do(t, a, route, "")
				mu.Lock()
				defer mu.Unlock()
				statuses[fmt.Sprint(route[5:8], " ", r.status)]++
				if r.status == 503 {
					r.fails(t, 503, webv4.CodeBusy, "busy")
					if r.header.Get("Retry-After") != "1" {
						t.Errorf("headers %v", r.header)
					}
				}
			})
			synctest.Wait()
		}
		for range 4 {
			call("GET /work?d=50ms") // fill the limit
		}
		for range 3 {
			call("GET /low") // wait
		}
		call("GET /low")         // is refused: the queue is full
		call("GET /work?d=1ms")  // pushes a low one out
		call("GET /vital?d=1ms") // and another
		call("GET /other")       // has a limit of its own
		if s := a.Stats(); len(s.Limiters) != 2 || s.Limiters[1] != (webv4.LimiterStats{Cost: "db", Limit: 4, InFlight: 4, Waiting: 3, Admitted: 4, Queued: 5, Refused: 3, Admits: webv4.Ordinary}) {
			t.Errorf("stats %+v", s.Limiters)
		}
		wg.Wait()
		want := "map[low 500:1 low 503:3 oth 200:1 vit 200:1 wor 200:5]"
		if got := fmt.Sprint(statuses); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		// Who waits longer than a quarter of the patience is refused.
		clear(statuses)
		for range 4 {
			call("GET /work?d=1s")
		}
		began := time.Now()
		r := do(t, a, "GET /work?d=1ms", "")
		if took := time.Since(began); r.status != 503 || took != 62500*time.Microsecond {
			t.Errorf("status %d after %v", r.status, took)
		}
		wg.Wait()
		if s := a.Stats(); s.Limiters[1].InFlight != 0 || s.Limiters[1].Waiting != 0 || s.Shed != 4 {
			t.Errorf("stats %+v", s)
		}
		do(t, a, "GET /work?d=1ms", "").is(t, 200, "{}")
		if s := a.Stats(); s.Limiters[1].InFlight != 0 || s.Limiters[1].Waiting != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestOverloadOptions(t *testing.T) {
	if _, err := webv4.New(&webv4.Options{Overload: &webv4.Overload{Patience: -1, Max: 1}}); err == nil {
		t.Error("accepted")
	}
}
