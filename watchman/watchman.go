package watchman

import (
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Watchman watches one service: it hands out operation handles and keeps what
// they see. It is safe for concurrent use; a nil *Watchman hands out nil
// handles, which cost nothing. It owns no goroutine and needs no Close.
type Watchman struct {
	service string
	base    time.Time // with its monotonic reading; all clocks are offsets from it
	ring    *ring     // nil: none
	bridge  atomic.Pointer[func(s *Span, key any) any]

	seed, traceSeed uint64 // of ids

	callerState string // tracestate of a trace begun here
	opt         Options

	sampler  sampler
	store    store
	errors   errorGroups
	switches switches

	mu      sync.RWMutex
	ops     map[opKey]*Operation
	handles []*Operation // by number

	dropped    atomic.Uint64 // spans that were not even in the ring
	late       atomic.Uint64
	overBudget atomic.Uint64

	_     [64]byte // every span writes what follows, and reads what is far above
	begun atomic.Uint64
}

type opKey struct {
	kind Kind
	name string
}

// maxOperations bounds the handles of one Watchman; names beyond it share one
// called "(other)", so that a name made from user input cannot grow memory.
const maxOperations = 4096

// New returns a Watchman for the named service. It does no I/O. The name goes
// over the wire to callees, so it should be short printable ASCII without
// comma and equals sign.
func New(service string, opts *Options) (*Watchman, error) {
	o, err := opts.filled()
	if !validStateValue(service) {
		err = errors.Join(err, errors.New("watchman: service name: want 1 to 256 printable ASCII characters without comma and equals sign"))
	}
	if err != nil {
		return nil, err
	}
	w := &Watchman{service: service, opt: o, base: time.Now(), seed: rand.Uint64(), traceSeed: rand.Uint64(), callerState: withCaller("", service), ops: make(map[opKey]*Operation)}
	w.store.init(max(o.KeepTraces, 0), o.KeepBytes)
	if o.KeepTraces > 0 && o.RecentTraces > 0 {
		w.ring = newRing(o.RecentTraces, runtime.GOMAXPROCS(0))
	}
	return w, w.SetSampling(Sampling{Ratio: max(o.Sample, 0), TracesPerMinute: o.TracesPerMinute})
}

// Service is the name given to New.
func (w *Watchman) Service() string {
	if w == nil {
		return ""
	}
	return w.service
}

// Operation returns the handle of one operation: a route, a method, a queue.
// Make it once and keep it. The same kind and name give the same handle.
func (w *Watchman) Operation(kind Kind, name string) *Operation {
	if w == nil {
		return nil
	}
	key := opKey{kind, name}
	w.mu.RLock()
	op := w.ops[key]
	w.mu.RUnlock()
	if op != nil {
		return op
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if op := w.ops[key]; op != nil {
		return op
	}
	if len(w.ops) >= maxOperations {
		key.name = otherName
		if op := w.ops[key]; op != nil {
			return op
		}
	}
	op = &Operation{w: w, kind: kind, name: key.name, number: uint32(len(w.handles))}
	op.edges.Store(&edges{})
	op.target.Store(math.MaxInt64)
	op.setRatio(w.sampler.ceiling(key.name))
	op.slowAfter.Store(int64(w.opt.Slow))
	if w.opt.Slow < 0 {
		op.slowAfter.Store(math.MaxInt64)
	}
	w.ops[key] = op
	w.handles = append(w.handles, op)
	return op
}

// handle is the operation of a number.
func (w *Watchman) handle(number uint32) *Operation {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.handles[number]
}

const otherName = "(other)"

// now is the time since w was made.
func (w *Watchman) now() int64 { return int64(time.Since(w.base)) }

// offset is how long after w was made t is; the zero time is now.
func (w *Watchman) offset(t time.Time) int64 {
	if t.IsZero() {
		return w.now()
	}
	return int64(t.Sub(w.base))
}

// wall turns an offset into a time of day.
func (w *Watchman) wall(t int64) time.Time { return w.base.Add(time.Duration(t)).Round(0) }

// Stats are a Watchman's own counters.
type Stats struct {
	Begun      uint64 `json:"begun"`       // spans begun; only grows
	Kept       uint64 `json:"kept"`        // ended spans that went into a kept trace; only grows
	Ring       uint64 `json:"ring"`        // ended spans in the ring of recent traces now
	Dropped    uint64 `json:"dropped"`     // ended spans that are in neither; only grows
	Live       uint64 `json:"live"`        // spans begun and not accounted for yet
	Late       uint64 `json:"late"`        // spans that ended after their local root, whatever became of them; only grows
	OverBudget uint64 `json:"over_budget"` // local roots worth keeping that the budget of their operation did not allow; only grows
	Traces     int    `json:"traces"`      // local roots kept in memory now, of as many traces or fewer
	Bytes      int64  `json:"bytes"`       // their estimated size in bytes
	Evicted    uint64 `json:"evicted"`     // kept local roots that had to go for newer ones; only grows
}

// Stats returns a snapshot: Begun = Kept + Ring + Dropped + Live.
func (w *Watchman) Stats() Stats {
	if w == nil {
		return Stats{}
	}
	// A span is counted by begun, then perhaps in the ring, and at the end by
	// dropped or the store. Reading in the opposite order keeps what is left over
	// from coming out negative.
	s := w.store.stats()
	s.Dropped, s.Late, s.OverBudget = w.dropped.Load(), w.late.Load(), w.overBudget.Load()
	if w.ring != nil {
		in, dropped := w.ring.counts()
		s.Ring, s.Dropped = uint64(in), s.Dropped+dropped
	}
	s.Begun = w.begun.Load()
	s.Live = s.Begun - s.Kept - s.Ring - s.Dropped
	return s
}

// Release is Options.Release.
func (w *Watchman) Release() string {
	if w == nil {
		return ""
	}
	return w.opt.Release
}
