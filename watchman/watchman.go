package watchman

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Watchman watches one service: it hands out operation handles and keeps what
// they see. It is safe for concurrent use; a nil *Watchman hands out nil
// handles, which cost nothing. It owns no goroutine and needs no Close.
type Watchman struct {
	service string
	opt     Options
	base    time.Time // with its monotonic reading; all clocks are offsets from it
	sample  uint64    // a new root is sampled if a random number is below

	mu  sync.RWMutex
	ops map[opKey]*Operation

	callerState string // tracestate of a trace begun here

	store    store
	switches switches
	begun    atomic.Uint64
	dropped  atomic.Uint64
	late     atomic.Uint64
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
	w := &Watchman{service: service, opt: o, base: time.Now(), callerState: withCaller("", service), ops: make(map[opKey]*Operation)}
	switch {
	case o.Sample >= 1:
		w.sample = math.MaxUint64
	case o.Sample > 0:
		w.sample = uint64(o.Sample * (1 << 63) * 2)
	}
	w.store.init(max(o.KeepTraces, 0), o.KeepBytes)
	return w, nil
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
	op = &Operation{w: w, kind: kind, name: key.name}
	op.slowAfter.Store(int64(w.opt.Slow))
	if w.opt.Slow < 0 {
		op.slowAfter.Store(math.MaxInt64)
	}
	w.ops[key] = op
	return op
}

const otherName = "(other)"

// now is the time since w was made.
func (w *Watchman) now() int64 { return int64(time.Since(w.base)) }

// wall turns an offset into a time of day.
func (w *Watchman) wall(t int64) time.Time { return w.base.Add(time.Duration(t)).Round(0) }

// Stats are a Watchman's own counters.
type Stats struct {
	Begun   uint64 // spans begun; only grows
	Kept    uint64 // ended spans that went into a kept trace; only grows
	Dropped uint64 // ended spans that did not; only grows
	Live    uint64 // spans begun and not accounted for yet
	Late    uint64 // spans that ended after their local root, kept or dropped; only grows
	Traces  int    // traces in memory now
	Bytes   int64  // their estimated size in bytes
	Evicted uint64 // traces that had to go for newer ones; only grows
}

// Stats returns a snapshot: Begun = Kept + Dropped + Live.
func (w *Watchman) Stats() Stats {
	if w == nil {
		return Stats{}
	}
	// Begun is read last, so that Live cannot come out negative.
	s := w.store.stats()
	s.Dropped, s.Late = w.dropped.Load(), w.late.Load()
	s.Begun = w.begun.Load()
	s.Live = s.Begun - s.Kept - s.Dropped
	return s
}
