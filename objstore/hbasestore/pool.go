package hbasestore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

const (
	connectTimeout = 5 * time.Second

	// maxIdle is how long a connection is kept without use. A gateway ends those
	// that have said nothing for a minute.
	maxIdle = 30 * time.Second

	// A call that finds no gateway waits this long before it tries again, at
	// first and at most.
	minPause, maxPause = 20 * time.Millisecond, time.Second
)

// pool is the connections to the gateways.
type pool struct {
	addrs []string
	opts  *Options
	slots chan struct{} // one token for each connection that may be in use

	mu   sync.Mutex
	idle []*conn // the last one used last
	next int     // the address to try first

	calls, retries, dials atomic.Uint64
}

func newPool(addrs []string, o *Options) *pool {
	return &pool{addrs: addrs, opts: o, slots: make(chan struct{}, o.Conns)}
}

// call makes a call that may be made twice, until it is answered or ctx ends.
// tries is how often it was sent, or may have been.
func (p *pool) call(ctx context.Context, op string, f func(*thrift2.THBaseServiceClient) error) (tries int, err error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.opts.Timeout)
		defer cancel()
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return 0, fmt.Errorf("hbasestore: %s: no connection free: %w", op, ctx.Err())
	}
	p.calls.Add(1)
	for pause := minPause; ; {
		c, reused, err := p.take(ctx)
		if err == nil {
			tries++
			var broken bool
			broken, err = c.call(ctx, p.opts.MaxMessage, f)
			p.release(c, broken)
			if err == nil {
				return tries, nil
			}
			if answered(err) || errors.Is(err, errTooLarge) {
				return tries, fmt.Errorf("hbasestore: %s: %w", op, describe(err))
			}
			err = fmt.Errorf("gateway %s: %w", c.addr, err)
		}
		if ctx.Err() != nil {
			return tries, fmt.Errorf("hbasestore: %s: %w, at last: %w", op, ctx.Err(), err)
		}
		p.retries.Add(1)
		if reused {
			continue // a gateway ends connections that were idle: no reason to wait
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return tries, fmt.Errorf("hbasestore: %s: %w, at last: %w", op, ctx.Err(), err)
		}
		pause = min(2*pause, maxPause)
	}
}

// describe keeps the first line of what a gateway says: the rest is where its
// program was.
func describe(err error) error {
	var io *thrift2.TIOError
	if !errors.As(err, &io) || io.Message == nil {
		return err
	}
	return &gatewayError{text: firstLine(*io.Message), err: err}
}

type gatewayError struct {
	text string
	err  error
}

func (e *gatewayError) Error() string { return "the gateway says: " + e.text }
func (e *gatewayError) Unwrap() error { return e.err }

func firstLine(s string) string {
	for i, r := range s {
		if r == '\n' || i >= 500 {
			return s[:i]
		}
	}
	return s
}

// take returns a connection, and whether it was used before.
func (p *pool) take(ctx context.Context) (c *conn, reused bool, err error) {
	p.mu.Lock()
	var stale []*conn
	if n := len(p.idle); n > 0 {
		if c = p.idle[n-1]; time.Since(c.used) < maxIdle {
			p.idle[n-1], p.idle = nil, p.idle[:n-1]
		} else {
			stale, p.idle, c = p.idle, nil, nil // the others are older
		}
	}
	first := p.next
	p.mu.Unlock()
	closeAll(stale)
	if c != nil {
		return c, true, nil
	}
	var errs []error
	for i := range p.addrs {
		at := (first + i) % len(p.addrs)
		p.dials.Add(1)
		c, err := dial(ctx, p.addrs[at], p.opts)
		if err == nil {
			p.mu.Lock()
			p.next = (at + 1) % len(p.addrs)
			p.mu.Unlock()
			return c, false, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, false, errors.Join(errs...)
}

func (p *pool) release(c *conn, broken bool) {
	if broken {
		_ = c.net.Close()
		return
	}
	p.mu.Lock()
	p.idle = append(p.idle, c)
	p.mu.Unlock()
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		_ = c.net.Close()
	}
}

// close closes the idle connections, which are all once no call is under way.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	closeAll(idle)
}
