package control

import (
	"time"
)

// windows remembers an objective's calls at three resolutions, 18 KB in all.
type windows struct {
	rings [3]ring
}

type ring struct {
	step  time.Duration
	slots []slot
	next  int
}

// slot is what happened in a step that began at the time at.
type slot struct {
	at         time.Time
	calls, bad uint64
}

func newWindows() windows {
	return windows{[3]ring{
		{step: 10 * time.Second, slots: make([]slot, 0, 360)},
		{step: time.Minute, slots: make([]slot, 0, 360)},
		{step: 10 * time.Minute, slots: make([]slot, 0, 432)},
	}}
}

// add files calls that happened just before now.
func (ws *windows) add(now time.Time, calls, bad uint64) {
	for i := range ws.rings {
		ws.rings[i].add(now, calls, bad)
	}
}

func (r *ring) add(now time.Time, calls, bad uint64) {
	at := now.Truncate(r.step)
	if n := len(r.slots); n > 0 {
		last := &r.slots[(r.next+n-1)%n]
		if !at.After(last.at) { // the same step, or a clock that went back
			last.calls += calls
			last.bad += bad
			return
		}
	}
	if calls == 0 {
		return
	}
	s := slot{at, calls, bad}
	if len(r.slots) < cap(r.slots) {
		r.slots = append(r.slots, s)
		return
	}
	r.slots[r.next] = s
	r.next = (r.next + 1) % len(r.slots)
}

// sum is what happened in the window of length d that ends now.
func (ws *windows) sum(now time.Time, d time.Duration) Counts {
	r := &ws.rings[len(ws.rings)-1]
	for i := range ws.rings {
		if d <= ws.rings[i].step*time.Duration(cap(ws.rings[i].slots)) {
			r = &ws.rings[i]
			break
		}
	}
	from := now.Add(-d)
	c := Counts{Span: d}
	for _, s := range r.slots {
		if s.at.Add(r.step).After(from) {
			c.Calls += s.calls
			c.Bad += s.bad
		}
	}
	return c
}
