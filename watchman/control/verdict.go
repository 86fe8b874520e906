package control

import (
	"fmt"
	"time"
)

// State is what a verdict says.
type State string

const (
	Unknown  State = "unknown"  // too few calls to say
	OK       State = "ok"       // within the objective
	Warning  State = "warning"  // the budget will not last
	Breached State = "breached" // the budget goes fast
)

// Burn is the burn rate of one window.
type Burn struct {
	Window time.Duration `json:"window_ns"`
	Rate   float64       `json:"rate"` // 1 uses the budget up exactly
	Counts
}

// Verdict is how an objective does.
type Verdict struct {
	Objective  string  `json:"objective"`
	State      State   `json:"state"`
	Reason     string  `json:"reason"`
	Burns      []Burn  `json:"burns"`       // shortest window first
	BudgetLeft float64 `json:"budget_left"` // share of three days' budget, negative if overdrawn
	Recent     Counts  `json:"recent"`      // the last minute
}

// burnPair is a long window, a short one that says whether it still goes on,
// and the rate that both must reach.
type burnPair struct {
	long, short time.Duration
	rate        float64
	state       State
}

// The pairs of the SRE workbook, chapter 5, table 5-8.
var burnPairs = []burnPair{
	{time.Hour, 5 * time.Minute, 14.4, Breached},
	{6 * time.Hour, 30 * time.Minute, 6, Breached},
	{72 * time.Hour, 6 * time.Hour, 1, Warning},
}

const budgetWindow = 72 * time.Hour

func (o *Objective) verdict(ws *windows, now time.Time) Verdict {
	v := Verdict{Objective: o.Name, State: Unknown, Recent: ws.sum(now, time.Minute)}
	allowed := 1 - o.Target
	burn := func(d time.Duration) Burn {
		c := ws.sum(now, d)
		return Burn{d, c.BadRatio() / allowed, c}
	}
	for _, d := range []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 6 * time.Hour, budgetWindow} {
		v.Burns = append(v.Burns, burn(d))
	}
	budget := v.Burns[len(v.Burns)-1]
	v.BudgetLeft = 1 - budget.Rate
	for _, p := range burnPairs {
		long, short := burn(p.long), burn(p.short)
		if short.Calls < uint64(o.MinCalls) {
			continue
		}
		if v.State == Unknown {
			v.State = OK
		}
		// The lower bound keeps three bad calls of fifty from being a breach.
		if long.AtLeast()/allowed >= p.rate && short.AtLeast()/allowed >= p.rate {
			v.State = p.state
			v.Reason = fmt.Sprintf("%d of %d calls bad in %v and %d of %d in %v: burn rates %.1f and %.1f, %s from %.1f",
				long.Bad, long.Calls, words(p.long), short.Bad, short.Calls, words(p.short), long.Rate, short.Rate, p.state, p.rate)
			return v
		}
	}
	switch v.State {
	case OK:
		v.Reason = fmt.Sprintf("%d of %d calls bad in an hour, %.2f %% may be", v.Burns[2].Bad, v.Burns[2].Calls, 100*allowed)
	default:
		v.Reason = fmt.Sprintf("%d calls in five minutes, want %d", v.Burns[0].Calls, o.MinCalls)
	}
	return v
}

// words is a window's length for people.
func words(d time.Duration) string {
	switch {
	case d == time.Hour:
		return "an hour"
	case d == 72*time.Hour:
		return "three days"
	case d > time.Hour:
		return fmt.Sprintf("%.0f hours", d.Hours())
	default:
		return fmt.Sprintf("%.0f minutes", d.Minutes())
	}
}
