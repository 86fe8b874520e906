package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman/control"
)

// The result is computed from what was recorded, second by second.
func TestReport(t *testing.T) {
	d := drill{workers: 40, phase: 4 * time.Second}
	began := time.Now()
	run := func(full func(second int) int) *record {
		r := &record{began: began, phases: d.phases()}
		for i := range 19 {
			n := full(i)
			for k := range d.offered() {
				status, body := http.StatusOK, "a page"
				switch {
				case k >= n && i%2 == 0:
					status = http.StatusBadGateway
				case k >= n:
					body = copied
				}
				r.note(began.Add(time.Duration(i)*time.Second), 100*time.Millisecond, status, body)
			}
		}
		return r
	}
	off := run(func(int) int { return 0 })
	on := run(func(i int) int {
		switch {
		case i >= 3 && i < 7:
			return 152 // of 160 possible
		case i == 7, i >= 11 && i < 17:
			return 0
		}
		return 640
	})
	on.decisions = []control.Decision{
		{At: began.Add(13 * time.Second), Setting: "web.cached", After: 1, Reason: "bad"},
		{At: began.Add(16 * time.Second), Setting: "web.cached", Before: 1, Reason: "good"},
		{At: began.Add(25 * time.Second), Setting: "web.cached", After: 1, Reason: "bad"},
	}
	on.late = time.Second
	var b strings.Builder
	d.report(&b, off, on)
	out := strings.TrimSpace(b.String())
	last := out[strings.LastIndex(out, "\n")+1:]
	if want := "result off_goodput=0.0% on_goodput=95.0% off_recovery=>4s on_recovery=2s oscillations=1"; last != want {
		t.Errorf("got  %s\nwant %s", last, want)
	}
	for _, want := range []string{"152.0 with, 160.0 possible", "used 2.0 s after", "web.cached 0 → 1: bad", "up to 1s late"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestSlowAnswersFail(t *testing.T) {
	r := &record{began: time.Now()}
	r.note(r.began, timeLimit+time.Second, http.StatusOK, "a page")
	r.note(r.began, time.Millisecond, http.StatusOK, "a page")
	r.note(r.began, time.Millisecond, http.StatusTooManyRequests, "")
	r.note(r.began, time.Millisecond, 0, "")
	if s := r.at(0); s.full != 1 || s.failed != 2 || s.refused != 1 || s.p99() != timeLimit+time.Second {
		t.Errorf("%+v", s)
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for _, d := range []drill{{workers: 3, phase: 10 * time.Second}, {workers: 40, phase: time.Second}, {workers: 5000, phase: 10 * time.Second}} {
		if err := d.run(t.Context()); err == nil {
			t.Errorf("%+v was taken", d)
		}
	}
}
