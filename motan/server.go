package motan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Server answers Motan2 calls. Handle and Register say what it offers, before Serve.
type Server struct {
	opt      ServerOptions
	services map[string]*service
	methods  int // of all services
	most     *watchman.Dial
	weight   atomic.Int64   // that it wants; 0: what the registry says
	listed   atomic.Int64   // what that is
	share    *watchman.Dial // of the weight
	meta     *serverMethod  // tells it

	work     chan *job // to a worker that waits
	inFlight atomic.Int64
	memory   memory
	// When relieve ran last, in ticks.
	lookedForRoom, lookedForSlots atomic.Int64

	refusing atomic.Bool // Shutdown: requests are refused
	watching atomic.Bool // monitor runs

	ctx    context.Context // done when the server closes
	cancel context.CancelFunc
	all    sync.WaitGroup // every goroutine

	mu        sync.Mutex
	serving   bool
	draining  bool
	listeners map[net.Listener]struct{}
	conns     map[*serverConn]struct{}
	leave     []func(context.Context) error // what Announce has to undo

	log   *connLog
	stats serverCounters
}

// InFlightDial is the name of the dial by which operators and control loops bound
// the calls in flight of every server under a Watchman, below its MaxInFlight. Its
// default is the MaxInFlight of the first one.
const InFlightDial = "motan.max-in-flight"

// maxInFlightDial is how far that dial goes at least, for servers that come later.
const maxInFlightDial = 1 << 20

// NewServer returns a server that offers nothing yet. It does no I/O.
func NewServer(opts *ServerOptions) (*Server, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opt: o, services: make(map[string]*service), work: make(chan *job),
		listeners: make(map[net.Listener]struct{}), conns: make(map[*serverConn]struct{}),
	}
	s.memory.most = int64(o.MaxBuffered)
	s.log = newConnLog(o.Logger)
	s.meta = newMetaMethod(s)
	s.most = o.Watchman.Dial(InFlightDial, float64(o.MaxInFlight), 1, max(float64(o.MaxInFlight), maxInFlightDial))
	s.share = o.Watchman.Dial(WeightDial, 1, 0.01, 1)
	s.listed.Store(int64(weightOf(Endpoint{})))
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Serve answers calls on the connections of ln until Shutdown or Close, then
// returns ErrClosed. It closes ln, which may be a listener for TCP, for a unix
// socket, or one of crypto/tls. Serve may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error {
	if ln == nil {
		return errors.New("motan: Serve: no listener given")
	}
	defer ln.Close()
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return ErrClosed
	}
	s.serving = true
	s.listeners[ln] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
	}()
	for wait := time.Duration(0); ; {
		conn, err := ln.Accept()
		if err != nil {
			s.mu.Lock()
			closed := s.draining
			s.mu.Unlock()
			if closed {
				return ErrClosed
			}
			if isTemporary(err) {
				// Out of file descriptors, most likely: the others go on meanwhile.
				wait = min(max(2*wait, 5*time.Millisecond), time.Second)
				pause := time.NewTimer(wait)
				select {
				case <-pause.C:
				case <-s.ctx.Done():
				}
				pause.Stop()
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
	c := newServerConn(s, conn)
	s.conns[c] = struct{}{}
	s.all.Go(c.begin)
	s.mu.Unlock()
	s.stats.conns.Add(1)
}

// background runs f on a goroutine that Close waits for; it returns false if there is
// to be none any more.
func (s *Server) background(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx.Err() != nil {
		return false
	}
	s.all.Go(f)
	return true
}

// Shutdown leaves the registries, for which it takes at most 5 s and a fifth of the
// time that ctx has, stops accepting, tells the clients that it leaves, answers what
// is in flight, and closes when the answers are written or their peers have not taken
// them for 10 s. Clients of this package then send their calls elsewhere at once;
// calls that others keep sending are answered for DrainGrace more and then refused
// with CodeReject. When ctx ends first, Shutdown does as Close does, and ctx's error is
// returned.
func (s *Server) Shutdown(ctx context.Context) error {
	left := s.leaveRegistries(ctx)
	conns := s.drain()
	s.refusing.Store(s.opt.DrainGrace == 0)
	goaway := appendGoaway(nil)
	for _, c := range conns {
		c.out.send(goaway, false, time.Now(), nil)
	}
	grace := time.Now().Add(s.opt.DrainGrace)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if !s.refusing.Load() && !time.Now().Before(grace) {
			s.refusing.Store(true)
		}
		s.mu.Lock()
		open := len(s.conns)
		s.mu.Unlock()
		// Our clients hang up when they have all their answers; who stays has not
		// understood.
		if s.inFlight.Load() == 0 && (open == 0 || s.refusing.Load()) {
			s.refusing.Store(true)
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), left, s.Close())
		}
	}
	s.cancel()
	for _, c := range s.drain() {
		c.finish()
	}
	ended := make(chan struct{})
	go func() {
		s.all.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return left
	case <-ctx.Done():
		err := s.Close()
		<-ended
		return errors.Join(ctx.Err(), left, err)
	}
}

// drain closes the listeners and returns the connections.
func (s *Server) drain() []*serverConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for ln := range s.listeners {
		ln.Close()
	}
	conns := make([]*serverConn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// Close closes all connections at once, with what has not been written to them, and
// waits for the goroutines. Handlers that run have their context cancelled and are
// waited for. Close does not leave registries by itself: they notice.
func (s *Server) Close() error {
	s.refusing.Store(true)
	s.cancel()
	for _, c := range s.drain() { // behind cancel, for background
		c.out.abandon(ErrClosed)
		c.conn.Close()
	}
	s.all.Wait()
	return nil
}

type serverCounters struct {
	conns, refused, calls, errors, rejected, malformed, expired, inline, deaf, handshakes atomic.Uint64
}

// ServerStats are a server's counters.
type ServerStats struct {
	Conns     int    // connections now
	Accepted  uint64 // connections accepted; only grows
	Refused   uint64 // connections refused because there were too many; only grows
	InFlight  int64  // calls being worked on
	Buffered  int64  // bytes that count towards MaxBuffered
	Calls     uint64 // calls answered, with errors too; only grows
	Errors    uint64 // calls answered with an exception; only grows
	Rejected  uint64 // calls refused for too many in flight, for want of room, a rate, a switch, a token or a shutdown; only grows
	Expired   uint64 // calls whose deadline had passed before the handler began; only grows
	Inline    uint64 // calls of quick handlers, answered on the reading goroutine; only grows
	Malformed uint64 // connections closed because of what they sent; only grows
	Insecure  uint64 // connections closed because their TLS handshake failed; only grows
	Deaf      uint64 // connections closed because nobody read their answers while others wanted the room or the slots; only grows
}

// Stats returns a snapshot.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	n := len(s.conns)
	s.mu.Unlock()
	return ServerStats{
		Conns: n, Accepted: s.stats.conns.Load(), Refused: s.stats.refused.Load(), InFlight: s.inFlight.Load(),
		Calls: s.stats.calls.Load(), Errors: s.stats.errors.Load(), Rejected: s.stats.rejected.Load(),
		Expired: s.stats.expired.Load(), Inline: s.stats.inline.Load(), Malformed: s.stats.malformed.Load(),
		Buffered: s.memory.held.Load(), Deaf: s.stats.deaf.Load(), Insecure: s.stats.handshakes.Load(),
	}
}
