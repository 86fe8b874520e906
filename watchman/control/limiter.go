package control

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Limiter admits as much concurrent work as goes well: additive increase while
// work takes less than half its target and the limit is used up, a small
// decrease when it takes more than three quarters, a large one when a tenth of
// it fails or misses the target, or when less work ends than the limit needs to
// end in time; at most one change a window. It never waits: what it does not admit is
// refused at once, because a queue in front of something overloaded only makes
// its work late. It is safe for concurrent use.
type Limiter struct {
	opt  LimiterOptions
	name string

	mu       sync.Mutex
	limit    float64
	inflight int
	peak     int           // most at once in this window
	good     int           // ended well in this window
	bad      int           // ended late or failed in this window
	took     time.Duration // of those together
	began    time.Time     // of this window
	calm     time.Time     // no decrease before: what is under way was admitted by the old limit
	refused  uint64
	admitted uint64
}

// LimiterOptions configure NewLimiter. The zero value needs a Target.
type LimiterOptions struct {
	// Target is how long work may take to count as going well. Required.
	Target time.Duration

	// Initial is the first limit; 0 means 20. Lowest is the limit at least; 0
	// means 1. Highest is the limit at most; 0 means 1000.
	Initial, Lowest, Highest int

	// Ceiling is a dial that lowers Highest at run time. nil means none.
	Ceiling *watchman.Dial

	// Window is how long work is watched before the limit changes; 0 means the
	// greater of 100 ms and a third of Target.
	Window time.Duration
}

// NewLimiter returns a Limiter; name is for its errors.
func NewLimiter(name string, opts LimiterOptions) (*Limiter, error) {
	o := opts
	if o.Initial == 0 {
		o.Initial = 20
	}
	if o.Lowest == 0 {
		o.Lowest = 1
	}
	if o.Highest == 0 {
		o.Highest = 1000
	}
	if o.Window == 0 {
		o.Window = max(100*time.Millisecond, o.Target/3)
	}
	var errs []error
	if o.Target <= 0 {
		errs = append(errs, fmt.Errorf("control: limiter %q: Target %v: want more than 0", name, o.Target))
	}
	if o.Lowest < 1 || o.Initial < o.Lowest || o.Highest < o.Initial {
		errs = append(errs, fmt.Errorf("control: limiter %q: want 1 <= Lowest %d <= Initial %d <= Highest %d", name, o.Lowest, o.Initial, o.Highest))
	}
	if o.Window < 0 {
		errs = append(errs, fmt.Errorf("control: limiter %q: Window %v: negative", name, o.Window))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &Limiter{opt: o, name: name, limit: float64(o.Initial), began: time.Now()}, nil
}

// Acquire admits one piece of work or fails at once with an error that wraps
// watchman.ErrRejected. Admitted work must be given back with Release.
func (l *Limiter) Acquire() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	limit := l.limitLocked()
	if float64(l.inflight) >= limit {
		l.refused++
		return fmt.Errorf("control: %s: %d at once: %w", l.name, l.inflight, watchman.ErrRejected)
	}
	l.inflight++
	l.admitted++
	l.peak = max(l.peak, l.inflight)
	return nil
}

func (l *Limiter) limitLocked() float64 {
	limit := l.limit
	if l.opt.Ceiling != nil {
		limit = min(limit, l.opt.Ceiling.Value())
	}
	return max(math.Floor(limit), float64(l.opt.Lowest))
}

// Release gives admitted work back: how long it took and whether it failed.
func (l *Limiter) Release(took time.Duration, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	l.took += took
	if err != nil || took > l.opt.Target {
		l.bad++
	} else {
		l.good++
	}
	if now.Sub(l.began) < l.opt.Window {
		return
	}
	total := l.good + l.bad // at least this one
	mean := l.took / time.Duration(total)
	saturated := float64(l.peak) >= 0.9*l.limitLocked()
	// What ended in this window would have a limit of so many take six tenths of
	// the target (Little's law). It tells before the first ones are late.
	bears := float64(total) / now.Sub(l.began).Seconds() * l.opt.Target.Seconds() * 0.6
	switch {
	case 10*l.bad > total: // more than a tenth
		if now.After(l.calm) {
			l.limit = max(float64(l.opt.Lowest), 0.6*min(l.limit, float64(max(l.peak, 1))))
			l.calm = now.Add(l.opt.Target)
		}
	case saturated && bears < l.limit:
		l.limit = max(float64(l.opt.Lowest), 0.6*l.limit, bears)
	case mean > l.opt.Target*3/4: // before it goes bad
		l.limit = max(float64(l.opt.Lowest), 0.9*l.limit)
	case saturated && mean < l.opt.Target/2:
		l.limit = min(float64(l.opt.Highest), l.limit+max(1, math.Sqrt(l.limit)))
	}
	l.began, l.good, l.bad, l.took, l.peak = now, 0, 0, 0, l.inflight
}

// LimiterStats are a Limiter's counters.
type LimiterStats struct {
	Limit    int    `json:"limit"`    // now
	Inflight int    `json:"inflight"` // now
	Admitted uint64 `json:"admitted"` // only grows
	Refused  uint64 `json:"refused"`  // only grows
}

// Stats returns a snapshot.
func (l *Limiter) Stats() LimiterStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LimiterStats{int(l.limitLocked()), l.inflight, l.admitted, l.refused}
}
