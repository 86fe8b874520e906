package watchman

import (
	"iter"
	"time"
)

// Distribution is how long the calls of an operation or edge took, in buckets.
// It is a snapshot; the difference of two is what happened in between. It is
// 2 KB: pass pointers.
type Distribution struct {
	Errors   uint64        // calls that failed
	Bad      uint64        // calls that failed or took longer than SetTarget
	Rejected uint64        // calls that were refused
	Sum      time.Duration // of all durations
	counts   [buckets]uint64
}

// Calls is the number of calls.
func (d *Distribution) Calls() uint64 {
	var n uint64
	for _, c := range d.counts {
		n += c
	}
	return n
}

// Quantile is the duration that a share q of the calls did not exceed, within
// 12.5 %; 0 if there were no calls.
func (d *Distribution) Quantile(q float64) time.Duration {
	calls := d.Calls()
	if calls == 0 {
		return 0
	}
	want, seen := max(uint64(float64(calls)*q+0.999999), 1), uint64(0)
	for i, c := range d.counts {
		if seen += c; seen >= want {
			return upper(i)
		}
	}
	return upper(buckets - 1)
}

// Figures sums the distribution up.
func (d *Distribution) Figures() Figures {
	f := Figures{Calls: d.Calls(), Errors: d.Errors, Bad: d.Bad, Rejected: d.Rejected}
	if f.Calls > 0 {
		f.Mean = d.Sum / time.Duration(f.Calls)
		f.P50, f.P90, f.P99 = d.Quantile(0.5), d.Quantile(0.9), d.Quantile(0.99)
	}
	return f
}

// Sub takes an older snapshot of the same calls away.
func (d *Distribution) Sub(older *Distribution) {
	d.Errors -= older.Errors
	d.Bad -= older.Bad
	d.Rejected -= older.Rejected
	d.Sum -= older.Sum
	for i := range d.counts {
		d.counts[i] -= older.counts[i]
	}
}

// Buckets iterates over the buckets that hold calls: the duration that all
// calls in the bucket are below, and their number, shortest first. There are
// eight buckets to an octave. Durations from 36 minutes on are in the last.
func (d *Distribution) Buckets() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, c := range d.counts {
			if c > 0 && !yield(upper(i), c) {
				return
			}
		}
	}
}

// Distribution returns a snapshot of the operation's calls.
func (o *Operation) Distribution() Distribution {
	var d Distribution
	if o != nil {
		o.read(&d)
	}
	return d
}

// CallerDistribution is Distribution for the calls of one caller: an operation
// of this process by its name, or another service if operation is "". It is
// empty for a caller that never called.
func (o *Operation) CallerDistribution(service, operation string) Distribution {
	var d Distribution
	if o == nil {
		return d
	}
	e := o.edges.Load()
	if operation == "" {
		if r := e.remote[service]; r != nil {
			r.read(&d)
		}
		return d
	}
	for caller, r := range e.local {
		if service == o.w.service && operation == caller.name {
			r.read(&d)
			break
		}
	}
	return d
}

// LaneDistribution is Distribution for the calls of one lane.
func (o *Operation) LaneDistribution(lane string) Distribution {
	var d Distribution
	if o == nil {
		return d
	}
	if r := o.edges.Load().lane[lane]; r != nil {
		r.read(&d)
	}
	return d
}

// Exemplar is a kept trace as an example of a duration.
type Exemplar struct {
	TraceID  TraceID       `json:"trace_id"`
	Duration time.Duration `json:"duration_ns"`
	At       time.Time     `json:"at"`
}

// exemplarSlots is one for each octave of durations.
const exemplarSlots = octaves + 1

// exemplar remembers a kept trace, at most about one a tenth of a second and octave.
func (o *Operation) exemplar(id TraceID, took, start int64) {
	slot := &o.exemplars[bucketOf(took)>>subBits]
	if e := slot.Load(); e == nil || start-e.start > int64(100*time.Millisecond) {
		slot.Store(&exemplar{id, took, start})
	}
}

type exemplar struct {
	id          TraceID
	took, start int64
}

// Exemplars returns the newest kept trace for each octave of durations,
// shortest first.
func (o *Operation) Exemplars() []Exemplar {
	if o == nil {
		return nil
	}
	var list []Exemplar
	for i := range o.exemplars {
		if e := o.exemplars[i].Load(); e != nil {
			list = append(list, Exemplar{e.id, time.Duration(e.took), o.w.wall(e.start + e.took)})
		}
	}
	return list
}
