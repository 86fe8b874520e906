package motan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/internal/flush"
	"github.com/heddle-go/heddle/watchman"
)

// ServerOptions configures NewServer. The zero value is ready to use.
type ServerOptions struct {
	// MaxFrame bounds the metadata and the body of a frame, in bytes each; a
	// gzip body may inflate to as much. 0 means 10 MiB.
	MaxFrame int

	// MaxInFlight bounds the calls worked on at once; further ones are rejected
	// with CodeReject. 0 means 4096.
	MaxInFlight int

	// MaxConns bounds the connections; further ones are closed at once.
	// 0 means 4096.
	MaxConns int

	// IdleTimeout closes a connection that sends nothing for so long.
	// 0 means 15 minutes; negative never.
	IdleTimeout time.Duration

	Watchman *watchman.Watchman // nil: nothing is watched
	Logger   *slog.Logger       // nil means slog.Default()
}

func (o *ServerOptions) filled() (ServerOptions, error) {
	var out ServerOptions
	if o != nil {
		out = *o
	}
	if out.MaxFrame == 0 {
		out.MaxFrame = 10 << 20
	}
	if out.MaxInFlight == 0 {
		out.MaxInFlight = 4096
	}
	if out.MaxConns == 0 {
		out.MaxConns = 4096
	}
	if out.IdleTimeout == 0 {
		out.IdleTimeout = 15 * time.Minute
	}
	out.IdleTimeout = max(out.IdleTimeout, 0)
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	var errs []error
	for _, f := range [...]struct {
		name  string
		value int
	}{{"MaxFrame", out.MaxFrame}, {"MaxInFlight", out.MaxInFlight}, {"MaxConns", out.MaxConns}} {
		if f.value < 0 {
			errs = append(errs, fmt.Errorf("motan: ServerOptions.%s %d: negative", f.name, f.value))
		}
	}
	return out, errors.Join(errs...)
}

// Server answers Motan2 calls. Handle registers what it offers, before Serve.
type Server struct {
	opt      ServerOptions
	services map[string]map[string]*serverMethod

	work     chan *request // to a worker that waits
	inFlight atomic.Int64
	workers  sync.WaitGroup

	mu        sync.Mutex
	serving   bool
	draining  bool
	listeners map[net.Listener]struct{}
	conns     map[*serverConn]struct{}
	stop      chan struct{} // closed by Close: idle workers end
	ctx       context.Context
	cancel    context.CancelFunc
	readers   sync.WaitGroup

	stats serverCounters
}

type serverMethod struct {
	op    *watchman.Operation
	serve func(ctx context.Context, s Serializer, body, dst []byte) ([]byte, error)
}

// NewServer returns a server that offers nothing yet. It does no I/O.
func NewServer(opts *ServerOptions) (*Server, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opt: o, services: make(map[string]map[string]*serverMethod), work: make(chan *request),
		listeners: make(map[net.Listener]struct{}), conns: make(map[*serverConn]struct{}), stop: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Handle offers fn as a method of a service. Req and Resp must be types that the
// serializers in use can carry. fn runs on many goroutines at once; its context
// ends with the caller's deadline. It panics if the method is there already, if
// the server is serving, or if a type cannot travel at all.
func Handle[Req, Resp any](s *Server, service, method string, fn func(context.Context, *Req) (*Resp, error)) {
	for _, t := range []reflect.Type{reflect.TypeFor[Req](), reflect.TypeFor[Resp]()} {
		if message(reflect.New(t).Interface()) != nil {
			continue
		}
		if _, err := codecOf(t); err != nil {
			panic(fmt.Sprintf("motan: Handle %s/%s: %v", service, method, err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	methods := s.services[service]
	switch {
	case s.serving:
		panic(fmt.Sprintf("motan: Handle %s/%s: the server is serving", service, method))
	case service == "" || method == "" || fn == nil:
		panic(fmt.Sprintf("motan: Handle %q/%q: want a service, a method and a function", service, method))
	case methods[method] != nil:
		panic(fmt.Sprintf("motan: Handle %s/%s: registered twice", service, method))
	case methods == nil:
		methods = make(map[string]*serverMethod)
		s.services[service] = methods
	}
	methods[method] = &serverMethod{
		op: s.opt.Watchman.Operation(watchman.Server, service+"/"+method),
		serve: func(ctx context.Context, ser Serializer, body, dst []byte) ([]byte, error) {
			req := new(Req)
			if err := ser.Decode(body, req); err != nil {
				return dst, &Error{Code: CodeInternal, Type: Service, Message: "argument: " + err.Error()}
			}
			resp, err := fn(ctx, req)
			if err != nil || resp == nil {
				return dst, err
			}
			out, err := ser.Append(dst, resp)
			if err != nil {
				return dst, &Error{Code: CodeInternal, Type: Service, Message: "answer: " + err.Error()}
			}
			return out, nil
		},
	}
}

// Serve answers calls on the connections of ln until Shutdown or Close, then
// returns ErrClosed. It closes ln. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrClosed
	}
	s.serving = true
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	for wait := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.draining
			s.mu.Unlock()
			if closed {
				return ErrClosed
			}
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() || isTemporary(err) {
				// Out of file descriptors, most likely: the others go on meanwhile.
				wait = min(max(2*wait, 5*time.Millisecond), time.Second)
				time.Sleep(wait)
				continue
			}
			return fmt.Errorf("motan: accept on %s: %w", ln.Addr(), err)
		}
		wait = 0
		s.accept(conn)
	}
}

func isTemporary(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Temporary() bool
	}](err)
	return ok && t.Temporary()
}

func (s *Server) accept(conn net.Conn) {
	s.mu.Lock()
	if s.draining || len(s.conns) >= s.opt.MaxConns {
		s.mu.Unlock()
		s.stats.refused.Add(1)
		conn.Close()
		return
	}
	c := &serverConn{srv: s, conn: conn}
	s.conns[c] = struct{}{}
	s.readers.Add(1)
	s.mu.Unlock()
	s.stats.conns.Add(1)
	go c.run()
}

// Shutdown stops accepting, answers what has been read, and closes. When ctx
// ends first, the calls in flight are cut off and ctx's error is returned.
func (s *Server) Shutdown(ctx context.Context) error {
	s.beginDrain()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for s.inFlight.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Close()
			return ctx.Err()
		}
	}
	return s.Close()
}

// beginDrain closes the listeners; requests that come from now on are refused.
func (s *Server) beginDrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return
	}
	s.draining = true
	for ln := range s.listeners {
		ln.Close()
	}
}

// Close closes all connections at once and waits for the goroutines. Handlers
// that run have their context cancelled and are waited for.
func (s *Server) Close() error {
	s.beginDrain()
	s.mu.Lock()
	select {
	case <-s.stop:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.stop)
	s.cancel()
	conns := make([]*serverConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.finish()
	}
	s.readers.Wait()
	s.workers.Wait()
	return nil
}

type serverCounters struct {
	conns, refused, calls, errors, rejected, malformed atomic.Uint64
}

// ServerStats are a server's counters.
type ServerStats struct {
	Conns     int    // connections now
	Accepted  uint64 // connections accepted; only grows
	Refused   uint64 // connections refused because there were too many; only grows
	InFlight  int64  // calls being worked on
	Calls     uint64 // calls answered, with errors too; only grows
	Errors    uint64 // calls answered with an exception; only grows
	Rejected  uint64 // calls refused because too many were in flight; only grows
	Malformed uint64 // connections closed because of what they sent; only grows
}

// Stats returns a snapshot.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	return ServerStats{
		Conns: n, Accepted: s.stats.conns.Load(), Refused: s.stats.refused.Load(), InFlight: s.inFlight.Load(),
		Calls: s.stats.calls.Load(), Errors: s.stats.errors.Load(), Rejected: s.stats.rejected.Load(), Malformed: s.stats.malformed.Load(),
	}
}

// serverConn is one connection: a reader, and a writer that combines answers.
type serverConn struct {
	srv  *Server
	conn net.Conn
	out  *flush.Writer
}

func (c *serverConn) run() {
	s := c.srv
	c.out = flush.NewWriter(c.conn, writeLimit, writeTimeout, func(error) { c.conn.Close() })
	defer s.readers.Done()
	defer func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		c.out.Close()
		c.conn.Close()
	}()
	in := &frameSource{Conn: c.conn, idle: s.opt.IdleTimeout}
	r := bufio.NewReaderSize(in, readBuffer)
	for {
		in.within = false
		if _, err := r.Peek(1); err != nil {
			return
		}
		in.within = true
		q := takeRequest(c)
		if err := q.frame.read(r, s.opt.MaxFrame); err != nil {
			q.release()
			if err != io.EOF && !errors.Is(err, net.ErrClosed) {
				s.stats.malformed.Add(1)
				s.opt.Logger.Warn("motan: connection closed", "peer", c.conn.RemoteAddr().String(), "error", err)
				c.refuse(err)
			}
			return
		}
		s.dispatch(q)
	}
}

// refuse tells a Motan1 or oversized client why its connection ends.
func (c *serverConn) refuse(err error) {
	if errors.Is(err, errMotan1) || errors.Is(err, errTooLarge) {
		e := &Error{Code: CodeInternal, Type: Service, Message: err.Error()}
		c.out.Append(func(b []byte) []byte { return appendException(b, header{serialization: idSimple}, encodeError(e)) })
	}
}

// finish makes the reader stop; what has been answered is still written.
func (c *serverConn) finish() {
	if half, ok := c.conn.(interface{ CloseRead() error }); ok {
		half.CloseRead()
		return
	}
	c.conn.Close()
}
