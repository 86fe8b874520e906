package motan

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	dialTimeout = 2 * time.Second
	redialFirst = 20 * time.Millisecond
	redialMost  = time.Second

	// breakerTrip consecutive failures take an endpoint out; after breakerRest
	// one call at a time may try it again.
	breakerTrip = 20
	breakerRest = 500 * time.Millisecond
)

// endpoint is one node with its connections. Each connection has a goroutine
// that dials it, waits until it fails, and dials again.
type endpoint struct {
	addr  string
	limit int
	conns []slot
	next  atomic.Uint32

	inFlight atomic.Int64
	lastUsed atomic.Int64 // for least recently used: the client's sequence number
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]

	tried     chan struct{} // closed when the first dial has ended either way
	triedOnce sync.Once
	lastErr   atomic.Pointer[error]

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

type slot struct {
	conn atomic.Pointer[clientConn]
}

func newEndpoint(addr string, connections, limit int) *endpoint {
	e := &endpoint{addr: addr, limit: limit, conns: make([]slot, connections), tried: make(chan struct{})}
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: addr, Timeout: breakerRest, MaxRequests: 1,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerTrip },
		IsSuccessful: func(err error) bool {
			var e *Error
			return err == nil || errors.As(err, &e) && e.Type != Framework
		},
		// A caller that gave up says nothing about the endpoint.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
	})
	e.ctx, e.cancel = context.WithCancel(context.Background())
	for i := range e.conns {
		e.wg.Go(func() { e.keep(&e.conns[i]) })
	}
	return e
}

// keep holds one connection up until the endpoint is closed.
func (e *endpoint) keep(s *slot) {
	wait := redialFirst
	dialer := net.Dialer{Timeout: dialTimeout}
	for e.ctx.Err() == nil {
		conn, err := dialer.DialContext(e.ctx, "tcp", e.addr)
		if err != nil {
			e.lastErr.Store(&err)
			e.triedOnce.Do(func() { close(e.tried) })
			select {
			case <-time.After(wait/2 + rand.N(wait)):
			case <-e.ctx.Done():
			}
			wait = min(2*wait, redialMost)
			continue
		}
		wait = redialFirst
		c := newClientConn(conn, e.limit)
		s.conn.Store(c)
		e.triedOnce.Do(func() { close(e.tried) })
		select {
		case <-c.gone:
		case <-e.ctx.Done():
		}
		s.conn.Store(nil)
		if err := c.failure(); err != nil {
			e.lastErr.Store(&err)
		}
		c.close(ErrClosed)
	}
}

// conn returns a live connection, nil if there is none.
func (e *endpoint) conn() *clientConn {
	n := uint32(len(e.conns))
	first := e.next.Add(1)
	for i := range n {
		if c := e.conns[(first+i)%n].conn.Load(); c != nil {
			return c
		}
	}
	return nil
}

// unavailable says why the endpoint cannot take a call now, nil if it can.
func (e *endpoint) unavailable() error {
	up := false
	for i := range e.conns {
		up = up || e.conns[i].conn.Load() != nil
	}
	if !up {
		if err := e.lastErr.Load(); err != nil {
			return fmt.Errorf("not connected: %w", *err)
		}
		return errors.New("not connected yet")
	}
	if e.breaker.State() == gobreaker.StateOpen {
		return errors.New("resting after too many failures in a row")
	}
	return nil
}

// close ends the endpoint; calls in flight fail.
func (e *endpoint) close() {
	e.cancel()
	e.wg.Wait()
	e.triedOnce.Do(func() { close(e.tried) })
}
