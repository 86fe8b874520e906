package motan

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

const (
	dialTimeout = 2 * time.Second
	redialFirst = 20 * time.Millisecond
	redialMost  = time.Second

	// A connection whose calls get no answer for one beat is asked for a sign of
	// life, and given up after deadAfter beats without one. One without calls is
	// asked every idleBeats, so that nobody takes it for dead.
	deadAfter = 3
	idleBeats = 30
)

// endpoint is one node with its connections. Each connection has a goroutine
// that dials it, waits until it fails, and dials again.
type endpoint struct {
	addr   string
	weight atomic.Int64 // its own wish or, if it has none, as
	listed atomic.Int64
	silent atomic.Bool  // it cannot be asked for its wish
	forced atomic.Int64 // by SetWeight, plus one; 0: nothing is
	client *Client
	conns  []slot
	server *Server      // of this process; nil for others
	web    *http.Client // for an address that is a URL; nil for others
	mc     *mcPool      // of a memcached server; nil for others
	next   atomic.Uint32
	since  time.Time   // when it came
	cold   atomic.Bool // it came to a running client, and warms up

	leaving  atomic.Bool // no longer listed: no new calls
	inFlight atomic.Int64
	lastUsed atomic.Int64 // for least recently used: the client's sequence number
	calls    atomic.Uint64
	errors   atomic.Uint64
	breaker  breaker

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

func newEndpoint(c *Client, l Endpoint, first bool) *endpoint {
	e := &endpoint{addr: l.Addr, server: l.server, client: c, since: time.Now(), tried: make(chan struct{})}
	e.cold.Store(!first)
	e.breaker.now, e.breaker.began = time.Now, time.Now()
	e.ctx, e.cancel = context.WithCancel(context.Background())
	switch {
	case l.memcached:
		e.mc = new(mcPool)
	case isURL(l.Addr):
		e.web = &http.Client{Transport: &http.Transport{
			TLSClientConfig: c.opt.TLS, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
			DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
		}}
	case l.server == nil:
		e.conns = make([]slot, c.opt.Connections)
	}
	if len(e.conns) == 0 { // nothing to wait for
		e.triedOnce.Do(func() { close(e.tried) })
	}
	for i := range e.conns {
		e.wg.Go(func() { e.keep(&e.conns[i]) })
	}
	return e
}

// network splits an address into what net.Dial wants.
func network(addr string) (network, address string) {
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		return "unix", strings.TrimPrefix(path, "//")
	}
	return "tcp", addr
}

// dial connects, until ctx is done or the endpoint closed.
func (e *endpoint) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stop := context.AfterFunc(e.ctx, cancel)
	defer stop()
	nw, addr := network(e.addr)
	if cfg := e.client.opt.TLS; cfg != nil {
		d := tls.Dialer{Config: cfg}
		return d.DialContext(ctx, nw, addr)
	}
	var d net.Dialer
	return d.DialContext(ctx, nw, addr)
}

// keep holds one connection up until the endpoint is closed.
func (e *endpoint) keep(s *slot) {
	wait := redialFirst
	for e.ctx.Err() == nil {
		conn, err := e.dial(e.ctx)
		if err != nil {
			e.lastErr.Store(&err)
			e.triedOnce.Do(func() { close(e.tried) })
			e.pause(wait)
			wait = min(2*wait, redialMost)
			continue
		}
		c := newClientConn(conn, e.client.opt.MaxFrame, &e.client.sweep)
		e.silent.Store(false) // it may be another program now
		s.conn.Store(c)
		e.triedOnce.Do(func() { close(e.tried) })
		up := time.Now()
		e.watch(c)
		s.conn.Store(nil)
		if err := c.failure(); err != nil {
			e.lastErr.Store(&err)
		}
		c.close(ErrClosed)
		if time.Since(up) > redialMost {
			wait = redialFirst
		} else { // it accepts and hangs up: no reason to hurry
			e.pause(wait)
			wait = min(2*wait, redialMost)
		}
	}
}

// pause waits about as long as told, or until the endpoint is closed.
func (e *endpoint) pause(d time.Duration) {
	t := time.NewTimer(d/2 + rand.N(d))
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.ctx.Done():
	}
}

// watch returns when c has failed or the endpoint is closed. Meanwhile it asks
// for signs of life.
func (e *endpoint) watch(c *clientConn) {
	var beat <-chan time.Time
	if every := e.client.opt.Heartbeat; every > 0 {
		t := time.NewTicker(every)
		defer t.Stop()
		beat = t.C
	}
	seen, silent, asked := int64(-1), 0, false
	for {
		select {
		case <-c.gone:
			return
		case <-e.ctx.Done():
			return
		case <-beat:
		}
		if frames := c.frames.Load(); frames != seen {
			seen, silent, asked = frames, 0, false
			continue
		}
		silent++
		switch {
		case asked && silent >= deadAfter:
			c.fail(fmt.Errorf("no answer to a heartbeat for %v", deadAfter*e.client.opt.Heartbeat))
			return
		case asked, silent < idleBeats && c.idle():
		default:
			silent, asked = 0, true
			// Nobody waits for room here: a connection that has none is not idle.
			c.out.send(appendHeartbeat(nil, 1<<placeBits, false), false, time.Now(), nil)
		}
	}
}

// conn returns a live connection, nil if there is none.
func (e *endpoint) conn() *clientConn {
	n := uint32(len(e.conns))
	first := e.next.Add(1)
	for i := range n {
		if c := e.conns[(first+i)%n].conn.Load(); c != nil && !c.leaving.Load() {
			return c
		}
	}
	return nil
}

// usable reports whether the endpoint can take a call now.
func (e *endpoint) usable() bool { return !e.out() && e.up() && e.breaker.ready() }

// out reports whether an operator has taken the endpoint out.
func (e *endpoint) out() bool { return e.forced.Load() == 1 }

// share is the weight that counts.
func (e *endpoint) share() int64 {
	if f := e.forced.Load(); f > 1 {
		return f - 1
	}
	return e.weight.Load()
}

func (e *endpoint) up() bool {
	if len(e.conns) == 0 {
		return true
	}
	for i := range e.conns {
		if c := e.conns[i].conn.Load(); c != nil && !c.leaving.Load() {
			return true
		}
	}
	return false
}

// unavailable says why the endpoint cannot take a call now, nil if it can.
func (e *endpoint) unavailable() error {
	if e.out() {
		return errTakenOut
	}
	if !e.up() {
		if err := e.lastErr.Load(); err != nil {
			return fmt.Errorf("not connected: %w", *err)
		}
		for i := range e.conns {
			if e.conns[i].conn.Load() != nil {
				return errServerLeaves
			}
		}
		return errors.New("not connected yet")
	}
	if !e.breaker.ready() {
		return errResting
	}
	return nil
}

var errTakenOut = errors.New("taken out by an operator")

// errResting is why an endpoint whose breaker is open takes no calls.
var errResting error = resting{}

type resting struct{}

func (resting) Error() string { return "resting after too many failures" }
func (resting) Unwrap() error { return watchman.ErrRejected }

func (e *endpoint) stats() EndpointStats {
	s := EndpointStats{
		Addr: e.addr, Weight: int(e.share()), InFlight: e.inFlight.Load(),
		Calls: e.calls.Load(), Errors: e.errors.Load(), Opened: e.breaker.opened(),
	}
	for i := range e.conns {
		if e.conns[i].conn.Load() != nil {
			s.Connections++
		}
	}
	if err := e.unavailable(); err != nil {
		s.Down = err.Error()
	}
	return s
}

// drain closes an endpoint that is no longer listed once its calls are answered,
// or when the client closes.
func (e *endpoint) drain(most time.Duration, closing <-chan struct{}) {
	e.leaving.Store(true)
	end := time.NewTimer(most)
	defer end.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for e.inFlight.Load() > 0 {
		select {
		case <-tick.C:
			continue
		case <-end.C:
		case <-closing:
		}
		break
	}
	e.close()
}

// close ends the endpoint; calls in flight fail.
func (e *endpoint) close() {
	e.cancel()
	e.wg.Wait()
	e.triedOnce.Do(func() { close(e.tried) })
	if e.web != nil {
		e.web.CloseIdleConnections()
	}
	if e.mc != nil {
		e.mc.close()
	}
}
