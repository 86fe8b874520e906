package motan

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sweepEvery is how exactly deadlines are kept and how soon a cancelled call
	// returns.
	sweepEvery = 2 * time.Millisecond
	// sweepIdle is how many rounds without a waiting call end the goroutine.
	sweepIdle = 500
)

// sweeper ends the calls of one client whose time is over or whose context was
// cancelled. A timer and a select for each call would cost more than the rest of
// the waiting; one goroutine looks at all of them instead, and only while calls
// are there.
type sweeper struct {
	running atomic.Bool
	wg      sync.WaitGroup

	mu     sync.Mutex
	conns  map[*clientConn]struct{}
	closed bool
}

func (s *sweeper) add(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[*clientConn]struct{})
	}
	s.conns[c] = struct{}{}
}

func (s *sweeper) remove(c *clientConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// wakeup makes sure that the goroutine runs; a call has just been registered.
func (s *sweeper) wakeup() {
	if s.running.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed && s.running.CompareAndSwap(false, true) {
		s.wg.Go(s.run)
	}
}

// close ends the goroutine. No call may wait any more.
func (s *sweeper) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wg.Wait()
}

func (s *sweeper) run() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var conns []*clientConn
	var calls []waitingCall
	for idle := 0; ; {
		now := <-tick.C
		s.mu.Lock()
		conns = conns[:0]
		for c := range s.conns {
			conns = append(conns, c)
		}
		closed := s.closed
		s.mu.Unlock()
		idle++
		for _, c := range conns {
			calls = c.overview(calls[:0])
			for i := range calls {
				calls[i].end(c, now)
				idle = 0
			}
			c.tend()
		}
		clear(conns)
		clear(calls[:cap(calls)])
		if closed || idle >= sweepIdle {
			s.running.Store(false)
			// A call that was registered before that saw the goroutine running.
			if closed || !s.needed(conns) || !s.running.CompareAndSwap(false, true) {
				return
			}
			idle = 0
		}
	}
}

// needed reports whether calls wait, or a connection has nobody who reads.
func (s *sweeper) needed(conns []*clientConn) bool {
	s.mu.Lock()
	conns = conns[:0]
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.mu.Lock()
		n := c.waiting
		c.mu.Unlock()
		if n > 0 || !c.taken.Load() {
			return true
		}
	}
	return false
}

// waitingCall is what the sweeper looks at of a call, which may end meanwhile.
type waitingCall struct {
	id       uint64
	ctx      context.Context
	deadline time.Time
}

// overview appends the calls that wait.
func (c *clientConn) overview(list []waitingCall) []waitingCall {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == 0 {
		return list
	}
	for _, p := range c.places {
		if p.k != nil {
			list = append(list, waitingCall{p.id, p.k.ctx, p.k.deadline})
		}
	}
	return list
}

func (w *waitingCall) end(c *clientConn, now time.Time) {
	// A context with a deadline expires on its own; its error comes first.
	if err := w.ctx.Err(); err != nil {
		c.finish(w.id, err)
	} else if now.After(w.deadline) {
		c.finish(w.id, context.DeadlineExceeded)
	}
}
