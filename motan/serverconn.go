package motan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// serverConn is one connection. One goroutine at a time has the reading: it reads
// requests, answers those whose handlers are quick, and hands the others over. If
// a handler is not as quick as it used to be, the monitor gives the reading to
// another goroutine.
type serverConn struct {
	srv  *Server
	conn net.Conn
	peer string
	out  *writer

	// turn is odd while the reading goroutine is in a handler. Whoever changes it
	// from that to the next even number has the reading: the goroutine itself
	// when the handler returns, or the monitor.
	turn atomic.Uint64
	seen uint64 // the monitor's: turn when it looked last

	// These belong to whoever has the reading.
	in    frameSource
	r     *bufio.Reader
	frame frame
	last  lastSeen
}

func newServerConn(s *Server, conn net.Conn) *serverConn {
	c := &serverConn{srv: s, conn: conn}
	if a := conn.RemoteAddr(); a != nil {
		c.peer = a.String()
	}
	c.out = newWriter(conn, &s.memory, func(error) { conn.Close() })
	c.in = frameSource{Conn: conn, idle: s.opt.IdleTimeout, before: c.out.flush}
	c.in.direct.init(conn)
	c.r = bufio.NewReaderSize(&c.in, readBuffer)
	c.frame.src = &c.in
	c.frame.room.of = &s.memory
	return c
}

// begin makes the connection ready to be read, and reads it.
func (c *serverConn) begin() {
	if err := c.secure(); err != nil {
		// Who hangs up without a word, such as a health check, is no news.
		if err != io.EOF && !errors.Is(err, net.ErrClosed) && !errors.Is(err, context.Canceled) {
			c.srv.log.ended(c.peer, fmt.Errorf("TLS handshake: %w", err))
			c.srv.stats.handshakes.Add(1)
		}
		c.end()
		return
	}
	c.serve()
}

// secure makes the TLS handshake, if there is one, for which a peer has as much time
// as for a frame.
func (c *serverConn) secure() error {
	conn, ok := c.conn.(interface{ HandshakeContext(context.Context) error })
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.srv.ctx, frameTimeout)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

// serve has the reading until the connection ends or the monitor takes it.
func (c *serverConn) serve() {
	s := c.srv
	for {
		c.frame.trim()
		c.in.within = false
		if _, err := c.r.Peek(1); err != nil {
			c.end()
			return
		}
		c.in.within = true
		if err := c.frame.read(c.r, s.opt.MaxFrame); err != nil {
			if err != io.EOF && !errors.Is(err, net.ErrClosed) {
				s.log.ended(c.peer, err)
				s.stats.malformed.Add(1)
				c.explain(err)
			}
			c.end()
			return
		}
		c.in.took()
		if !c.dispatch() {
			return
		}
	}
}

// end closes the connection once what is answered has been written.
func (c *serverConn) end() {
	s := c.srv
	c.out.close()
	c.conn.Close()
	c.frame.drop()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// explain tells a Motan1 or oversized client why its connection ends.
func (c *serverConn) explain(err error) {
	if errors.Is(err, errMotan1) || errors.Is(err, errTooLarge) {
		e := &Error{Code: CodeInternal, Type: Service, Message: err.Error()}
		h := header{serialization: idSimple}
		if errors.Is(err, errTooLarge) {
			h = c.frame.header
		}
		c.out.stage(appendException(nil, h, encodeError(e), false))
	}
}

// finish makes the reader stop; what has been answered is still written.
func (c *serverConn) finish() {
	conn := c.conn
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = over.NetConn()
	}
	if half, ok := conn.(interface{ CloseRead() error }); ok {
		half.CloseRead()
		return
	}
	c.conn.Close()
}

const (
	// monitorEvery is how long at most a handler keeps the reading.
	monitorEvery = time.Millisecond
	// monitorIdle is how many rounds without such a handler end the monitor.
	monitorIdle = 1000
)

// monitored makes sure that the monitor runs.
func (s *Server) monitored() {
	if !s.watching.Load() && s.watching.CompareAndSwap(false, true) {
		s.all.Go(s.monitor)
	}
}

// monitor takes the reading from goroutines that have been in one handler for a
// whole round.
func (s *Server) monitor() {
	tick := time.NewTicker(monitorEvery)
	defer tick.Stop()
	var late []*serverConn
	for idle := 0; ; {
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			// Handlers are being cancelled. Nobody reads any more.
			s.watching.Store(false)
			return
		}
		idle++
		s.mu.Lock()
		for c := range s.conns {
			turn := c.turn.Load()
			if turn != c.seen {
				idle = 0
			} else if turn&1 == 1 {
				late = append(late, c)
			}
			c.seen = turn
		}
		s.mu.Unlock()
		for _, c := range late {
			if c.turn.CompareAndSwap(c.seen, c.seen+1) {
				idle = 0
				c.out.flush()
				s.all.Go(c.serve)
			}
		}
		clear(late)
		late = late[:0]
		if idle >= monitorIdle {
			s.watching.Store(false)
			// A handler that began before that saw the monitor running.
			if !s.anyInHandler() || !s.watching.CompareAndSwap(false, true) {
				return
			}
			idle = 0
		}
	}
}

func (s *Server) anyInHandler() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.turn.Load()&1 == 1 {
			return true
		}
	}
	return false
}
