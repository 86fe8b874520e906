package control

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Objective is what an operation, or one of its callers or lanes, has to reach.
type Objective struct {
	// Name is its own, unique in a Loop. Required.
	Name string

	// Kind and Operation name the operation. Required. It need not exist yet.
	Kind      watchman.Kind
	Operation string

	// CallerService narrows it to one caller, CallerOperation to an operation of
	// this process if CallerService is this service. Lane narrows it to one lane
	// instead. Empty means all calls.
	CallerService   string
	CallerOperation string
	Lane            string

	// Latency is the time above which a call that did not fail is bad all the
	// same. All objectives of one operation share it. 0 means none.
	Latency time.Duration

	// Target is the share of calls that has to be good, above 0 and below 1. Required.
	Target float64

	// MinCalls is how many calls a window needs for a verdict. 0 means 50.
	MinCalls int

	// CountRejected counts refused calls as bad, for an objective that users
	// feel. By default they are left out.
	CountRejected bool
}

func (o *Objective) fill() error {
	if o.MinCalls == 0 {
		o.MinCalls = 50
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("control: objective %q: %s", o.Name, fmt.Sprintf(format, args...)))
	}
	if o.Name == "" {
		bad("no Name")
	}
	if o.Operation == "" {
		bad("no Operation")
	}
	if !(o.Target > 0 && o.Target < 1) {
		bad("Target %v: want above 0 and below 1", o.Target)
	}
	if o.MinCalls < 0 {
		bad("MinCalls %d: negative", o.MinCalls)
	}
	if o.Latency < 0 {
		bad("Latency %v: negative", o.Latency)
	}
	if o.Lane != "" && o.CallerService != "" {
		bad("Lane and CallerService: want one of them")
	}
	return errors.Join(errs...)
}

// Counts are the calls of a window.
type Counts struct {
	Calls    uint64        `json:"calls"` // that count for the objective
	Bad      uint64        `json:"bad"`
	Rejected uint64        `json:"rejected"` // refused, whether they count or not
	Span     time.Duration `json:"span_ns"`  // the length of the window
}

// BadRatio is the share of bad calls, 0 without calls.
func (c Counts) BadRatio() float64 {
	if c.Calls == 0 {
		return 0
	}
	return float64(c.Bad) / float64(c.Calls)
}

// AtLeast is the lower bound of the bad ratio with 95 % confidence (Wilson's),
// which is lower than the ratio the fewer calls there were.
func (c Counts) AtLeast() float64 { return wilson(c, -1) }

// AtMost is the upper bound.
func (c Counts) AtMost() float64 { return wilson(c, 1) }

func wilson(c Counts, sign float64) float64 {
	const z = 1.645 // one-sided 95 %
	if c.Calls == 0 {
		return max(sign, 0)
	}
	n, p := float64(c.Calls), c.BadRatio()
	centre := p + z*z/(2*n)
	spread := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return min(max((centre+sign*spread)/(1+z*z/n), 0), 1)
}

func (c Counts) sub(older Counts) Counts {
	return Counts{c.Calls - older.Calls, c.Bad - older.Bad, c.Rejected - older.Rejected, 0}
}

// read is the objective's calls since the start.
func (o *Objective) read(w *watchman.Watchman) Counts {
	op := w.Operation(o.Kind, o.Operation)
	var d watchman.Distribution
	switch {
	case o.Lane != "":
		d = op.LaneDistribution(o.Lane)
	case o.CallerService != "":
		d = op.CallerDistribution(o.CallerService, o.CallerOperation)
	default:
		d = op.Distribution()
	}
	c := Counts{Calls: d.Calls(), Bad: d.Bad, Rejected: d.Rejected}
	// A call counts itself in steps; a snapshot may be between them.
	c.Bad = min(c.Bad, c.Calls)
	if !o.CountRejected {
		c.Calls -= min(c.Rejected, c.Bad)
		c.Bad -= min(c.Rejected, c.Bad)
	}
	return c
}
