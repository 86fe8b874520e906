package main

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// server answers connections with one store.
type server struct {
	store *store
	conns int
	idle  time.Duration
	drain time.Duration // how long wait lets requests end
	began time.Time

	stopping atomic.Bool

	mu       sync.Mutex
	ln       net.Listener
	sessions map[*session]struct{}
	wg       sync.WaitGroup

	counters struct {
		total, refused, get, hits, set, touch, deletes, errors atomic.Uint64
	}
}

func newServer(st *store, conns int, idle time.Duration) *server {
	return &server{store: st, conns: conns, idle: idle, drain: bodyTimeout, began: time.Now(), sessions: map[*session]struct{}{}}
}

// serve accepts until stop.
func (s *server) serve(ln net.Listener) error {
	s.mu.Lock()
	s.ln = ln
	s.mu.Unlock()
	if s.stopping.Load() {
		return ln.Close()
	}
	for wait := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err == nil {
			wait = 0
			s.accept(conn)
			continue
		}
		if s.stopping.Load() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept on %s: %w", ln.Addr(), err)
		}
		// Out of file descriptors, most likely: the others go on meanwhile.
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		time.Sleep(wait)
	}
}

func (s *server) accept(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() || len(s.sessions) >= s.conns {
		s.counters.refused.Add(1)
		_ = conn.Close()
		return
	}
	s.counters.total.Add(1)
	c := newSession(s, conn)
	s.sessions[c] = struct{}{}
	s.wg.Go(func() {
		c.run()
		s.mu.Lock()
		delete(s.sessions, c)
		s.mu.Unlock()
	})
}

// stop ends accepting, and each connection once it has answered what it read.
func (s *server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	if s.ln != nil {
		_ = s.ln.Close()
	}
	for c := range s.sessions {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// wait returns when all connections have ended. Those that are still in a request
// after drain are closed: a client may send its body, or read its answer, a byte
// at a time.
func (s *server) wait() {
	t := time.AfterFunc(s.drain, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for c := range s.sessions {
			_ = c.conn.Close()
		}
	})
	defer t.Stop()
	s.wg.Wait()
}

func (s *server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}
