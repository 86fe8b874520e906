package motan

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// A breaker opens when, of at least breakerMin calls within one to two
	// breakerWindows, half or more have failed.
	breakerWindow = 5 * time.Second
	breakerMin    = 20

	// breakerRest is how long it stays open at first; it doubles with each
	// opening in a row up to breakerRestMost.
	breakerRest     = 500 * time.Millisecond
	breakerRestMost = 10 * time.Second

	// breakerProbes calls, one at a time, must succeed to close it again.
	breakerProbes = 3
)

type outcome int

const (
	succeeded outcome = iota
	failed
	ignored // says nothing about the endpoint
)

// breaker keeps calls away from an endpoint that mostly fails. A call that
// succeeds costs it one addition.
type breaker struct {
	now  func() time.Time
	open atomic.Bool // open or half open; the rest is under mu then

	ok, bad atomic.Int64 // calls of this window

	mu            sync.Mutex
	oldOK, oldBad int64 // calls of the window before
	began         time.Time
	until         time.Time // open: when it becomes half open
	rest          time.Duration
	probing       bool
	probed        int  // successes while half open
	halfOpen      bool // only to name the state
	everOpened    uint64
}

// ready reports whether a call may be made, without making it.
func (b *breaker) ready() bool {
	if !b.open.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.open.Load() || !b.probing && !b.now().Before(b.until)
}

// allow asks to make a call. If probe is true, so must it be in done.
func (b *breaker) allow() (probe, ok bool) {
	if !b.open.Load() {
		return false, true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !b.open.Load():
		return false, true
	case b.probing || b.now().Before(b.until):
		return false, false
	}
	b.probing, b.halfOpen = true, true
	return true, true
}

// done reports how a call that was allowed went.
func (b *breaker) done(probe bool, o outcome) {
	if !probe && o == succeeded {
		b.ok.Add(1)
		return
	}
	if !probe && o == ignored {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if probe {
		b.probing = false
		switch o {
		case succeeded:
			if b.probed++; b.probed >= breakerProbes {
				b.open.Store(false)
				b.rest, b.halfOpen = 0, false
				b.beginLocked(now)
				b.oldOK, b.oldBad = 0, 0
			}
		case failed:
			b.openLocked(now)
		}
		return
	}
	b.bad.Add(1)
	if b.open.Load() {
		return // began before it opened
	}
	if age := now.Sub(b.began); age > 2*breakerWindow {
		b.beginLocked(now)
		b.oldOK, b.oldBad = 0, 0
		b.bad.Store(1)
	} else if age > breakerWindow {
		ok, bad := b.ok.Load(), b.bad.Load()-1
		b.beginLocked(now)
		b.oldOK, b.oldBad = ok, bad
		b.bad.Store(1)
	}
	bad := b.bad.Load() + b.oldBad
	if all := b.ok.Load() + b.oldOK + bad; all >= breakerMin && 2*bad >= all {
		b.openLocked(now)
	}
}

// beginLocked begins a window.
func (b *breaker) beginLocked(now time.Time) {
	b.ok.Store(0)
	b.bad.Store(0)
	b.began = now
}

func (b *breaker) openLocked(now time.Time) {
	b.rest = min(max(2*b.rest, breakerRest), breakerRestMost)
	b.until = now.Add(b.rest/2 + rand.N(b.rest/2+1))
	b.probed, b.halfOpen = 0, false
	b.everOpened++
	b.open.Store(true)
}

// opened is how often it has opened.
func (b *breaker) opened() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.everOpened
}
