package motan_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// Under load from clients that never retry, one server of two is shut down and
// replaced again and again: no call fails.
func TestShutdownLosesNothing(t *testing.T) {
	start := func(ln net.Listener) *motan.Server {
		srv := newServer(t, nil)
		motan.Handle(srv, "s", "quick", func(_ context.Context, n *int64) (*int64, error) { return n, nil })
		motan.Handle(srv, "s", "slow", func(_ context.Context, n *int64) (*int64, error) {
			time.Sleep(3 * time.Millisecond)
			return n, nil
		})
		go srv.Serve(ln)
		t.Cleanup(func() { srv.Close() })
		return srv
	}
	listen := func(addr string) net.Listener {
		var ln net.Listener
		eventually(t, "the address is free", func() (ok bool) {
			var err error
			ln, err = net.Listen("tcp", addr)
			return err == nil
		})
		return ln
	}
	var servers [2]*motan.Server
	var addrs [2]string
	for i := range servers {
		ln := listen("127.0.0.1:0")
		addrs[i] = ln.Addr().String()
		servers[i] = start(ln)
	}
	c := newClient(t, "s", motan.Static(addrs[:]...), &motan.ClientOptions{HA: motan.Failfast, Timeout: patience})
	eventuallyUp(t, c, 2)
	var stop atomic.Bool
	var calls atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := int64(0); !stop.Load(); i++ {
				n, err := motan.Call[int64](t.Context(), c, []string{"quick", "slow"}[g%2], i)
				if err != nil || *n != i {
					t.Errorf("call %d: %v", i, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for round := range 4 {
		before := calls.Load()
		eventually(t, "calls are made", func() bool { return calls.Load() > before+200 || t.Failed() })
		i := round % 2
		if err := servers[i].Shutdown(t.Context()); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		servers[i] = start(listen(addrs[i]))
		eventually(t, "the new one is found", func() bool {
			for _, e := range c.Stats().Endpoints {
				if e.Connections < 2 {
					return false
				}
			}
			return true
		})
	}
	stop.Store(true)
	wg.Wait()
}

// A client that has not understood is refused after a while, and what it had
// asked before is answered.
func TestShutdownRefusesStubbornClients(t *testing.T) {
	release := make(chan struct{})
	srv := newServer(t, &motan.ServerOptions{DrainGrace: -1})
	motan.Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) {
		<-release
		return s, nil
	})
	addr := startServer(t, srv)
	c := dialWire(t, addr)
	c.send(t, request(1, "s", "m", "before"))
	eventually(t, "it is being worked on", func() bool { return srv.Stats().InFlight == 1 })
	done := make(chan error)
	go func() { done <- srv.Shutdown(t.Context()) }()
	if f := c.read(t); f.kind != wireHeartbeat|wireResponse || f.id != 0 || f.meta["heddle-goaway"] == "" {
		t.Errorf("first came %+v", f)
	}
	eventually(t, "new calls are refused", func() bool {
		c.send(t, request(2, "s", "m", "after"))
		f := c.read(t)
		if f.id != 2 {
			t.Fatalf("%+v", f)
		}
		return f.status == 1
	})
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still accepts connections")
	}
	close(release)
	if f := c.read(t); f.id != 1 || string(f.body) != string(simpleString("before")) {
		t.Errorf("the call in flight: %+v", f)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := readWire(c.r); err == nil {
		t.Error("the connection is still open")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(ln); !errors.Is(err, motan.ErrClosed) {
		t.Errorf("Serve on a closed server: %v", err)
	}
}

func TestShutdownThatTakesTooLong(t *testing.T) {
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: time.Hour, Retries: -1})
	f := motan.Go[string](t.Context(), c, "wait", "")
	eventually(t, "it is being worked on", func() bool { return n.srv.Stats().InFlight == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := n.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if _, err := f.Wait(); err == nil {
		t.Error("the call in flight succeeded")
	}
	for range 2 {
		if err := n.srv.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCloseCancelsHandlers(t *testing.T) {
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: time.Hour, Retries: -1})
	f := motan.Go[string](t.Context(), c, "wait", "")
	eventually(t, "it is being worked on", func() bool { return n.srv.Stats().InFlight == 1 })
	if err := n.srv.Close(); err != nil {
		t.Error(err)
	}
	if s := n.srv.Stats(); s.InFlight != 0 || s.Conns != 0 {
		t.Errorf("after Close: %+v", s)
	}
	if _, err := f.Wait(); err == nil {
		t.Error("the call in flight succeeded")
	}
}

// deaf announces, and cannot leave again: its registry is gone.
type deaf struct{ release chan struct{} }

func (d deaf) Announce(context.Context, motan.Offer) (func(context.Context) error, error) {
	return func(context.Context) error { <-d.release; return nil }, nil
}

// What is in flight is answered though the registry is gone.
func TestShutdownWithoutRegistry(t *testing.T) {
	srv := newServer(t, nil)
	running, end := make(chan struct{}), make(chan struct{})
	motan.Handle(srv, "s", "slow", func(context.Context, *string) (*string, error) {
		close(running)
		<-end
		answer := "done"
		return &answer, nil
	})
	addr := startServer(t, srv)
	gone := deaf{make(chan struct{})}
	defer close(gone.release)
	if err := srv.Announce(t.Context(), gone, "g", "1.0", motan.Endpoint{Addr: addr}); err != nil {
		t.Fatal(err)
	}
	c := newClient(t, "s", motan.Static(addr), &motan.ClientOptions{Timeout: patience})
	answered := make(chan error, 1)
	go func() {
		_, err := motan.Call[string](context.Background(), c, "slow", "x")
		answered <- err
	}()
	<-running
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	shut := make(chan error, 1)
	go func() { shut <- srv.Shutdown(ctx) }()
	eventually(t, "the server no longer listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	close(end)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if err := <-shut; !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		t.Errorf("%v, and the time: %v", err, ctx.Err())
	}
}

// largeAnswers is a server whose answers fill what the system holds for a connection
// that is not read.
func largeAnswers(t testing.TB) *motan.Server {
	srv := newServer(t, &motan.ServerOptions{DrainGrace: -1})
	motan.Handle(srv, "s", "large", func(context.Context, *string) (*[]byte, error) {
		b := make([]byte, 9<<20)
		return &b, nil
	})
	return srv
}

func dialTLS(t testing.TB, addr string, cfg *tls.Config) *wireConn {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.NetConn().(*net.TCPConn).SetReadBuffer(256 << 10)
	conn.SetDeadline(time.Now().Add(patience))
	return &wireConn{conn, bufio.NewReader(conn)}
}

// soon fails the test if f takes as long as a peer may take to read.
func soon(t testing.TB, what string, f func()) {
	t.Helper()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f()
	}()
	select {
	case <-ended:
	case <-time.After(8 * time.Second):
		t.Errorf("%s waits for peers that do not read", what)
		<-ended
	}
}

func TestCloseDoesNotWaitForDeafPeers(t *testing.T) {
	for _, over := range []string{"TCP", "TLS"} {
		srv := largeAnswers(t)
		var c *wireConn
		if over == "TLS" {
			ln, cfg := listenTLS(t)
			go srv.Serve(ln)
			c = dialTLS(t, ln.Addr().String(), cfg)
		} else {
			c = dialWire(t, startServer(t, srv))
			c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		}
		for id := range uint64(4) { // one is written, one gathers, two wait
			c.send(t, request(id, "s", "large", ""))
		}
		eventually(t, "answers wait", func() bool { s := srv.Stats(); return s.Calls == 4 && s.InFlight == 2 })
		soon(t, "Close over "+over, func() { srv.Close() })
		if s := srv.Stats(); s.Conns != 0 || s.InFlight != 0 || s.Buffered != 0 {
			t.Errorf("%s: after Close %+v", over, s)
		}
	}
}

func TestShutdownDoesNotWaitLongerThanItMayForDeafPeers(t *testing.T) {
	srv := largeAnswers(t)
	c := dialWire(t, startServer(t, srv))
	c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	c.send(t, request(1, "s", "large", ""))
	eventually(t, "the answer waits", func() bool { s := srv.Stats(); return s.Calls == 1 && s.InFlight == 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	soon(t, "Shutdown", func() {
		if err := srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
	})
	if s := srv.Stats(); s.Conns != 0 || s.Buffered != 0 {
		t.Errorf("after Shutdown %+v", s)
	}
}

// Who reads slowly gets all of its answers, over TLS too.
func TestShutdownWaitsForSlowReaders(t *testing.T) {
	srv := largeAnswers(t)
	ln, cfg := listenTLS(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	slow, idle := dialTLS(t, ln.Addr().String(), cfg), dialTLS(t, ln.Addr().String(), cfg)
	slow.send(t, request(1, "s", "large", ""))
	eventually(t, "the answer waits", func() bool { s := srv.Stats(); return s.Calls == 1 && s.InFlight == 0 && s.Conns == 2 })
	shut := make(chan error, 1)
	go func() { shut <- srv.Shutdown(t.Context()) }()
	io.Copy(io.Discard, idle.r) // until the server closes its connections
	if f := slow.read(t); f.id != 1 || len(f.body) < 9<<20 {
		t.Errorf("%d bytes of answer %d", len(f.body), f.id)
	}
	if err := <-shut; err != nil {
		t.Error(err)
	}
}
