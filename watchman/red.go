package watchman

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in log-linear buckets, 8 to an octave of
// nanoseconds, so a quantile is right within 12.5 %.
type histogram struct {
	counts [buckets]atomic.Uint64
}

const (
	subBits = 3 // 8 sub-buckets
	// Durations below 1 µs share the first buckets and beyond 2^41 ns (36 min)
	// the last: 10 ns resolution is of no use to anybody here.
	lowShift = 10
	octaves  = 41 - lowShift
	buckets  = (octaves + 1) << subBits
)

func bucketOf(ns int64) int {
	u := uint64(max(ns, 0)) >> (lowShift - subBits)
	if u < 1<<subBits {
		return int(u)
	}
	e := bits.Len64(u) - 1 - subBits
	return min((e+1)<<subBits|int(u>>e&(1<<subBits-1)), buckets-1)
}

// upper is the smallest duration above bucket i.
func upper(i int) time.Duration {
	if i < 1<<subBits {
		return time.Duration(i+1) << (lowShift - subBits)
	}
	e := i>>subBits - 1
	return time.Duration(uint64(i&(1<<subBits-1)+1<<subBits+1) << e << (lowShift - subBits))
}

// red is the rate, the errors and the durations of something.
type red struct {
	errors   atomic.Uint64
	bad      atomic.Uint64
	rejected atomic.Uint64
	sum      atomic.Uint64 // nanoseconds
	hist     histogram
}

func (r *red) observe(ns, target int64, err error) {
	r.hist.counts[bucketOf(ns)].Add(1)
	r.sum.Add(uint64(max(ns, 0)))
	if err != nil {
		r.fail(err)
	} else if ns > target {
		r.bad.Add(1)
	}
}

func (r *red) fail(err error) {
	r.errors.Add(1)
	r.bad.Add(1)
	if isRejected(err) {
		r.rejected.Add(1)
	}
}

// Figures are the rate, errors and durations of an operation or edge since the
// Watchman was made.
type Figures struct {
	Calls    uint64        `json:"calls"`              // ended calls; only grows
	Errors   uint64        `json:"errors"`             // of which failed; only grows
	Bad      uint64        `json:"bad,omitempty"`      // of which failed or took longer than SetTarget; only grows
	Rejected uint64        `json:"rejected,omitempty"` // of which were refused, see ErrRejected; only grows
	Mean     time.Duration `json:"mean_ns"`            // of all calls
	P50      time.Duration `json:"p50_ns"`             // within 12.5 %, as are the others
	P90      time.Duration `json:"p90_ns"`
	P99      time.Duration `json:"p99_ns"`
}

func (r *red) figures() Figures {
	var d Distribution
	r.read(&d)
	return d.Figures()
}

func (r *red) read(d *Distribution) {
	*d = Distribution{}
	r.addTo(d)
}

func (r *red) addTo(d *Distribution) {
	d.Errors += r.errors.Load()
	d.Bad += r.bad.Load()
	d.Rejected += r.rejected.Load()
	d.Sum += time.Duration(r.sum.Load())
	for i := range d.counts {
		d.counts[i] += r.hist.counts[i].Load()
	}
}
