package mcq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions configures NewServer. The zero value is ready to use.
type ServerOptions struct {
	// MaxConns bounds the connections; further ones are closed at once.
	// 0 means 4096.
	MaxConns int

	// IdleTimeout closes a connection that sends nothing for so long.
	// 0 means 15 minutes; negative never.
	IdleTimeout time.Duration

	// AllowFlushAll lets flush_all drop every queue. The default refuses it.
	AllowFlushAll bool

	// RefuseDrop refuses to delete a whole queue, or to empty it with flush.
	RefuseDrop bool

	// IgnoreExptime stores messages for ever whatever their exptime, as memcacheq
	// does. The default drops a message that is not handed out by then.
	IgnoreExptime bool

	// FullIsError answers SERVER_ERROR instead of NOT_STORED when a queue is
	// full; breeze needs that to try another server.
	FullIsError bool

	// OpenTimeout is how long a message that was got with /open is kept for its
	// connection. 0 means 10 minutes, at most 12 h.
	OpenTimeout time.Duration

	// BodyMemory bounds the bodies that have not come whole, of all connections
	// together, in bytes; of each 16 KiB are not counted. What there is no room for
	// is refused with SERVER_ERROR out of memory storing object. 0 means 256 MiB;
	// there is always room for the largest message.
	BodyMemory int64

	// Users are passwords by name. If there are any, a connection must first set
	// some key to "name password", as with memcached -Y. They travel as they
	// are: give Serve a listener of crypto/tls unless it is on loopback.
	Users map[string]string

	Logger *slog.Logger // nil means slog.Default()
}

func (o *ServerOptions) filled() (ServerOptions, error) {
	var out ServerOptions
	if o != nil {
		out = *o
	}
	if out.MaxConns == 0 {
		out.MaxConns = 4096
	}
	if out.IdleTimeout == 0 {
		out.IdleTimeout = 15 * time.Minute
	}
	out.IdleTimeout = max(out.IdleTimeout, 0)
	if out.OpenTimeout == 0 {
		out.OpenTimeout = 10 * time.Minute
	}
	if out.BodyMemory == 0 {
		out.BodyMemory = 256 << 20
	}
	out.Users = maps.Clone(out.Users)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	var errs []error
	if out.MaxConns < 0 {
		errs = append(errs, fmt.Errorf("mcq: ServerOptions.MaxConns %d: negative", out.MaxConns))
	}
	if out.BodyMemory < 0 {
		errs = append(errs, fmt.Errorf("mcq: ServerOptions.BodyMemory %d: negative", out.BodyMemory))
	}
	if out.OpenTimeout < time.Second || out.OpenTimeout > 12*time.Hour {
		errs = append(errs, fmt.Errorf("mcq: ServerOptions.OpenTimeout %v: want 1s to 12h", out.OpenTimeout))
	}
	for name, password := range out.Users {
		if name == "" || password == "" || strings.ContainsAny(name, " \r\n") {
			errs = append(errs, fmt.Errorf("mcq: ServerOptions.Users: bad name %q or its password is empty", name))
		}
	}
	return out, errors.Join(errs...)
}

// Server serves the queues of a Broker, or of another Backend, over the
// memcached text protocol.
type Server struct {
	b     Backend
	local *Broker // of b, if that is one: the short way
	opt   ServerOptions
	began time.Time

	mu        sync.Mutex
	listeners map[net.Listener]struct{}
	sessions  map[*session]struct{}
	loop      *loop // nil where there is none
	draining  bool
	closed    bool
	wg        sync.WaitGroup
	ctx       context.Context // ends when sessions should
	cancel    context.CancelFunc

	bodies bodies
	stats  serverCounters
	base   atomic.Pointer[statsBase] // nil until the first stats reset
}

type serverCounters struct {
	total, refused, getCmds, getHits, setCmds, setHits, errors, authErrors, bytesRead, bytesWritten atomic.Uint64
}

// NewServer returns a server of b's queues; it does no I/O. Closing the server
// does not close b.
func NewServer(b *Broker, opts *ServerOptions) (*Server, error) {
	if b == nil {
		return newServer(nil, nil, opts)
	}
	return newServer(localBackend{b}, b, opts)
}

// NewBackendServer returns a server of the queues of b, which may be elsewhere;
// it does no I/O. Closing the server does not close b.
func NewBackendServer(b Backend, opts *ServerOptions) (*Server, error) {
	return newServer(b, nil, opts)
}

func newServer(b Backend, local *Broker, opts *ServerOptions) (*Server, error) {
	o, err := opts.filled()
	if b == nil {
		err = errors.Join(err, errors.New("mcq: NewServer: nothing to serve given"))
	}
	if err != nil {
		return nil, err
	}
	s := &Server{b: b, local: local, opt: o, began: time.Now(), listeners: make(map[net.Listener]struct{}), sessions: make(map[*session]struct{})}
	s.bodies.most = max(o.BodyMemory, int64(b.MaxMessage()+envelopeMost))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve answers the connections of ln until Shutdown or Close, then returns
// ErrClosed. It closes ln. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrClosed
	}
	s.listeners[ln] = struct{}{}
	if s.loop == nil && s.local != nil {
		s.loop = startLoop(s)
	}
	s.mu.Unlock()
	for wait := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err == nil {
			wait = 0
			s.accept(conn)
			continue
		}
		s.mu.Lock()
		closed := s.draining
		s.mu.Unlock()
		if closed {
			return ErrClosed
		}
		if t, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err); ok && t.Temporary() {
			// Out of file descriptors, most likely: the others go on meanwhile.
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			time.Sleep(wait)
			continue
		}
		return fmt.Errorf("mcq: accept on %s: %w", ln.Addr(), err)
	}
}

func (s *Server) accept(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining || len(s.sessions) >= s.opt.MaxConns {
		s.stats.refused.Add(1)
		conn.Close()
		return
	}
	c := newSession(s, conn)
	s.sessions[c] = struct{}{}
	s.stats.total.Add(1)
	if s.loop != nil && s.loop.take(c) {
		return
	}
	s.wg.Go(func() {
		c.run()
		s.forget(c)
	})
}

func (s *Server) forget(c *session) {
	s.mu.Lock()
	delete(s.sessions, c)
	s.mu.Unlock()
}

// Shutdown stops accepting, lets each connection finish the commands that have
// arrived and the one whose body is arriving, answers them and closes; what arrives
// after that is not looked at. When ctx ends first, connections are cut off and ctx's
// error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.Close()
		return ctx.Err()
	}
}

// drain closes the listeners and makes the sessions end after their command.
func (s *Server) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.draining {
		s.draining = true
		for ln := range s.listeners {
			ln.Close()
		}
		s.cancel()
		if s.loop != nil {
			s.loop.drain()
		}
	}
	for c := range s.sessions {
		c.stopReading()
	}
}

// Close closes all connections at once and waits for their goroutines.
func (s *Server) Close() error {
	s.drain()
	s.mu.Lock()
	s.closed = true
	if s.loop != nil {
		s.loop.kill()
	}
	for c := range s.sessions {
		if c.conn != nil {
			c.conn.Close()
		}
	}
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// ServerStats are a server's counters; all but Conns only grow.
type ServerStats struct {
	Conns    int    // connections now
	Accepted uint64 // connections accepted
	Refused  uint64 // connections refused because there were too many
	Gets     uint64 // get and gets commands, each key counted
	GetHits  uint64 // of which found a message
	Sets     uint64 // set commands
	SetHits  uint64 // of which stored one
	Errors   uint64 // commands answered with an error

	AuthErrors uint64 // wrong credentials
}

// Stats returns a snapshot.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	n := len(s.sessions)
	s.mu.Unlock()
	return ServerStats{
		Conns: n, Accepted: s.stats.total.Load(), Refused: s.stats.refused.Load(),
		Gets: s.stats.getCmds.Load(), GetHits: s.stats.getHits.Load(),
		Sets: s.stats.setCmds.Load(), SetHits: s.stats.setHits.Load(), Errors: s.stats.errors.Load(), AuthErrors: s.stats.authErrors.Load(),
	}
}
