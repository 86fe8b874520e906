package webv4

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// breakerTag is what a breaker tag says.
type breakerTag struct {
	share  int // of the calls in a window, in percent, whose failure opens it
	min    int // calls that a window needs
	window time.Duration
	rest   time.Duration // how long it stays open
	probes int           // calls that must succeed then
}

// breakerBuckets is in how many steps a window moves on.
const breakerBuckets = 10

// parseBreaker reads a breaker tag: PERCENT%/WINDOW and, separated by commas,
// any of min=CALLS, rest=DURATION and probes=CALLS.
func parseBreaker(tag string) (*breakerTag, error) {
	b := breakerTag{min: 20, rest: 5 * time.Second, probes: 3}
	broken := fmt.Errorf("breaker %q: want PERCENT%%/WINDOW such as 50%%/10s, and of min=CALLS, rest=DURATION, probes=CALLS, separated by commas", tag)
	head, list, more := strings.Cut(tag, ",")
	share, span, ok := strings.Cut(head, "%/")
	var err, err2 error
	b.share, err = strconv.Atoi(share)
	b.window, err2 = time.ParseDuration(span)
	if !ok || err != nil || err2 != nil || b.share < 1 || b.share > 100 || b.window < breakerBuckets*time.Millisecond {
		return nil, broken
	}
	for more {
		var item string
		item, list, more = strings.Cut(list, ",")
		name, value, _ := strings.Cut(item, "=")
		switch name {
		case "min":
			b.min, err = strconv.Atoi(value)
		case "rest":
			b.rest, err = time.ParseDuration(value)
		case "probes":
			b.probes, err = strconv.Atoi(value)
		default:
			return nil, broken
		}
		if err != nil {
			return nil, broken
		}
	}
	if b.min < 1 || b.probes < 1 || b.rest <= 0 {
		return nil, broken
	}
	return &b, nil
}

// breaker keeps calls away from a handler that mostly fails.
type breaker struct {
	name   string
	b      *gobreaker.CircuitBreaker[any]
	opened atomic.Uint64
	kept   atomic.Uint64 // calls that were kept away
	news   atomic.Pointer[string]
	api    *core
}

// errBroken says that a breaker kept a call away from its handler.
var errBroken = errors.New("webv4: the interface's breaker is open")

func (a *API) newBreaker(name string, t *breakerTag) *breaker {
	b := &breaker{name: name, api: a.core}
	b.b = gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Name: name, MaxRequests: uint32(t.probes), Interval: t.window, BucketPeriod: t.window / breakerBuckets, Timeout: t.rest,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return int(c.Requests) >= t.min && int(c.TotalFailures)*100 >= t.share*int(c.Requests-c.TotalExclusions)
		},
		IsSuccessful: func(err error) bool { return err == nil || !isFailure(err) },
		IsExcluded:   func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateOpen {
				b.opened.Add(1)
			}
			// The breaker is locked here: call logs it afterwards.
			text := from.String() + " to " + to.String()
			b.news.Store(&text)
		},
	})
	a.broken = append(a.broken, b)
	return b
}

// isFailure reports whether an error says that the handler is not well: what
// the client did wrong does not.
func isFailure(err error) bool {
	e := asError(err)
	return e == nil || e.status() >= 500
}

// around calls a handler through the breaker, or returns errBroken. A panic
// counts as a failure and goes on.
func (b *breaker) around(f func(context.Context, any) (any, error)) func(context.Context, any) (any, error) {
	return func(ctx context.Context, req any) (any, error) {
		defer b.tell()
		result, err := b.b.Execute(func() (any, error) { return f(ctx, req) })
		if err == gobreaker.ErrOpenState || err == gobreaker.ErrTooManyRequests {
			b.kept.Add(1)
			return nil, errBroken
		}
		return result, err
	}
}

// tell logs that the breaker has changed.
func (b *breaker) tell() {
	if text := b.news.Swap(nil); text != nil {
		b.api.opt.Logger.Warn("webv4: breaker", "interface", b.name, "change", *text)
	}
}

// BreakerStats is an interface's breaker.
type BreakerStats struct {
	Interface string `json:"interface"` // method and path
	State     string `json:"state"`     // closed, open, or half-open: a few calls try whether it is well
	Opened    uint64 `json:"opened"`    // how often it opened; only grows, as the next
	KeptAway  uint64 `json:"kept_away"` // calls that it kept away from the handler
}

func (b *breaker) stats() BreakerStats {
	return BreakerStats{Interface: b.name, State: b.b.State().String(), Opened: b.opened.Load(), KeptAway: b.kept.Load()}
}
