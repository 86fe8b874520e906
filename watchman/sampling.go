package watchman

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"sync"
	"sync/atomic"
)

// Sampling says which of the traces begun here are recorded whatever happens
// to them. Traces that a caller samples, and those that are kept for a reason,
// come besides.
type Sampling struct {
	// Ratio is the share of traces that are sampled, 0 to 1, where Operations
	// says nothing else.
	Ratio float64 `json:"ratio"`

	// Operations are the ratios of single operations, by the name of the one
	// that begins the trace. At most 4096.
	Operations map[string]float64 `json:"operations,omitempty"`

	// TracesPerMinute makes the ratios upper bounds: every 10 s they are set
	// anew so that about so many traces a minute are sampled, shared evenly by
	// the operations that begin traces; what an operation does not use goes to
	// the others. 0 means no budget.
	TracesPerMinute int `json:"traces_per_minute,omitempty"`
}

func (sp Sampling) validate() error {
	var errs []error
	check := func(what string, r float64) {
		if !(r >= 0 && r <= 1) { // NaN too
			errs = append(errs, fmt.Errorf("watchman: %s %v: want 0 to 1", what, r))
		}
	}
	check("Sampling.Ratio", sp.Ratio)
	for name, r := range sp.Operations {
		check(fmt.Sprintf("Sampling.Operations[%.100q]", name), r)
	}
	if len(sp.Operations) > maxOperations {
		errs = append(errs, fmt.Errorf("watchman: Sampling.Operations: %d entries, want at most %d", len(sp.Operations), maxOperations))
	}
	if sp.TracesPerMinute < 0 {
		errs = append(errs, fmt.Errorf("watchman: Sampling.TracesPerMinute %d: negative", sp.TracesPerMinute))
	}
	return errors.Join(errs...)
}

func (sp *Sampling) ceiling(op string) float64 {
	if r, ok := sp.Operations[op]; ok {
		return r
	}
	return sp.Ratio
}

// ceiling is an operation's ratio by the rules in force.
func (sm *sampler) ceiling(op string) float64 {
	if sm.all.Load() {
		return 1
	}
	return sm.config.Load().ceiling(op)
}

// SampleAllSwitch is the name of the switch that SampleAll returns.
const SampleAllSwitch = "watchman.sample-all"

// SampleAll returns a switch, off by default: while it is on, every trace begun
// here is sampled, within the budget of Sampling.TracesPerMinute. A policy of
// package control can turn it while an objective is missed, so that there is
// evidence.
func (w *Watchman) SampleAll() *Switch {
	if w == nil {
		return nil
	}
	s := w.Switch(SampleAllSwitch, false)
	w.sampler.allOnce.Do(func() {
		w.OnChange(s, func(bool) {
			w.sampler.all.Store(s.On())     // as it is now: listeners may overtake each other
			_ = w.SetSampling(w.Sampling()) // they were valid before
		})
	})
	return s
}

// sampler is the state behind Sampling.
type sampler struct {
	mu     sync.Mutex // one change at a time
	config atomic.Pointer[Sampling]
	on     atomic.Bool  // there is a budget
	next   atomic.Int64 // when the ratios are due
	left   atomic.Int64 // traces that may be sampled until then
	last   int64        // when they were set

	all     atomic.Bool // the switch SampleAll is on
	allOnce sync.Once
}

// adaptWindow is the time between two settings of the ratios. In one window at
// most twice its share of the budget is sampled, whatever comes.
const adaptWindow = int64(10e9)

// SetSampling replaces the rules at once: they hold for the next trace that
// begins. It is safe to call at any time.
func (w *Watchman) SetSampling(sp Sampling) error {
	if err := sp.validate(); err != nil || w == nil {
		return err
	}
	sp.Operations = maps.Clone(sp.Operations)
	sm := &w.sampler
	sm.mu.Lock()
	defer sm.mu.Unlock()
	sm.config.Store(&sp) // first: an operation made from here on finds it
	for o := range w.Handles() {
		o.setRatio(sm.ceiling(o.name))
	}
	sm.last = w.now()
	sm.left.Store(windowCap(sp.TracesPerMinute))
	sm.next.Store(sm.last + adaptWindow)
	sm.on.Store(sp.TracesPerMinute > 0)
	return nil
}

// Sampling returns the rules in force.
func (w *Watchman) Sampling() Sampling {
	if w == nil {
		return Sampling{}
	}
	sp := *w.sampler.config.Load()
	sp.Operations = maps.Clone(sp.Operations)
	return sp
}

// SamplingRatio is the share of the traces begun by o that is sampled now.
func (o *Operation) SamplingRatio() float64 {
	if o == nil {
		return 0
	}
	return float64(o.ratio.Load()) / randomRange
}

func windowCap(perMinute int) int64 {
	return max(1, 2*int64(perMinute)*adaptWindow/int64(60e9))
}

// randomRange is the number of values of the 56 random bits of a trace id.
const randomRange = 1 << 56

func (o *Operation) setRatio(r float64) { o.ratio.Store(uint64(r * randomRange)) }

// sampled decides about a new trace by the random part of its id, as Level 2
// recommends, so that services that sample by it agree.
func (o *Operation) sampled(id *TraceID, now int64) bool {
	sm := &o.w.sampler
	budget := sm.on.Load()
	if budget {
		o.begins.Add(1)
		if now >= sm.next.Load() {
			o.w.adaptSampling(now)
		}
	}
	if binary.BigEndian.Uint64(id[8:])&(randomRange-1) >= o.ratio.Load() {
		return false
	}
	return !budget || sm.left.Add(-1) >= 0
}

// adaptSampling shares the budget of the next window among the operations by
// what they began in the last one.
func (w *Watchman) adaptSampling(now int64) {
	sm := &w.sampler
	if !sm.mu.TryLock() {
		return // somebody else is at it
	}
	defer sm.mu.Unlock()
	config := sm.config.Load()
	if now < sm.next.Load() || config.TracesPerMinute == 0 {
		return
	}
	type share struct {
		op   *Operation
		rate float64 // wanted: traces a minute that the ceiling lets through
		all  float64 // traces begun a minute
	}
	var shares []share
	minutes := math.Max(float64(now-sm.last), 1) / 60e9
	for o := range w.Handles() {
		ceiling := sm.ceiling(o.name)
		all := float64(o.begins.Swap(0)) / minutes
		if all == 0 {
			o.setRatio(ceiling) // a rare operation is not to be missed when it comes
			continue
		}
		shares = append(shares, share{o, all * ceiling, all})
	}
	// Water-filling: whoever wants less than an even share gets what it wants.
	left, open := float64(config.TracesPerMinute), shares
	for len(open) > 0 {
		even := left / float64(len(open))
		var rest []share
		for _, s := range open {
			if s.rate <= even {
				s.op.setRatio(s.rate / s.all)
				left -= s.rate
			} else {
				rest = append(rest, s)
			}
		}
		if len(rest) == len(open) {
			for _, s := range open {
				s.op.setRatio(even / s.all)
			}
			break
		}
		open = rest
	}
	sm.last = now
	sm.left.Store(windowCap(config.TracesPerMinute))
	sm.next.Store(now + adaptWindow)
}
