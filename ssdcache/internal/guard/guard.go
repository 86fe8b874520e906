// Package guard keeps a shared tier's failures short: while its server fails,
// calls fail at once instead of waiting for it each time.
package guard

import (
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
)

// ErrOpen is wrapped by errors of calls that were not made.
var ErrOpen = errors.New("the server failed lately, not asked")

// Guard is a circuit breaker. It is safe for concurrent use.
type Guard struct {
	name string
	b    *gobreaker.TwoStepCircuitBreaker[any]
}

// New makes a guard that opens after so many failures in a row, and lets one
// call try again after a pause.
func New(name string, failures uint32, pause time.Duration) *Guard {
	return &Guard{name, gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name: name, MaxRequests: 1, Timeout: pause,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
	})}
}

// Do calls f unless the guard is open. A failure of the server counts, and so
// does a panic, which goes on.
func (g *Guard) Do(f func() error) error {
	done, err := g.b.Allow()
	if err != nil {
		return fmt.Errorf("%s: %w", g.name, ErrOpen)
	}
	err = errors.New("panic")
	defer func() { done(err) }()
	if err = f(); err != nil {
		return fmt.Errorf("%s: %w", g.name, err)
	}
	return nil
}

// Open reports whether calls would not be made.
func (g *Guard) Open() bool { return g.b.State() == gobreaker.StateOpen }
