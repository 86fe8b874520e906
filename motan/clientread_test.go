package motan_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// A call that is alone on its connection reads its answer itself. It ends in time
// all the same, and the next one finds the connection in order.
func TestLoneCallIsInterrupted(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS=%v", secure), func(t *testing.T) {
			srv := newServer(t, nil)
			handleEcho(srv, "a")
			opts := &motan.ClientOptions{Timeout: patience, Connections: 1}
			var addr string
			if secure {
				ln, cfg := listenTLS(t)
				go srv.Serve(ln)
				t.Cleanup(func() { srv.Close() })
				addr, opts.TLS = ln.Addr().String(), cfg
			} else {
				addr = startServer(t, srv)
			}
			c := newClient(t, "test.Echo", motan.Static(addr), opts)
			for range 3 {
				call(t, c, "say", "")
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
				_, err := motan.Call[string](ctx, c, "wait", "")
				cancel()
				wantCode(t, err, motan.CodeTimeout)
				call(t, c, "say", "")
				ctx, cancel = context.WithCancel(t.Context())
				time.AfterFunc(20*time.Millisecond, cancel)
				_, err = motan.Call[string](ctx, c, "wait", "")
				wantCode(t, err, motan.CodeCancelled)
			}
			if n := srv.Stats().Accepted; n != 1 {
				t.Errorf("%d connections, want one", n)
			}
		})
	}
}

// The deadline holds also while an answer has arrived in part, and what comes of
// it later does no harm.
func TestLoneCallEndsInsideFrame(t *testing.T) {
	for _, cut := range []int{1, 16, 17, 20, 4000, 70000} {
		var rest []byte
		s := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
			switch {
			case f.kind&wireHeartbeat != 0:
			case f.meta["M_m"] == "half":
				b := wireFrame{kind: wireResponse, serialization: wireSimple, id: f.id, body: simpleString(string(make([]byte, 100000)))}.bytes()
				conn.Write(b[:cut])
				rest = b[cut:]
			default:
				conn.Write(rest)
				rest = nil
				answerString(conn, f, "whole")
			}
			return true
		})
		c := newClient(t, "s", motan.Static(s.addr), &motan.ClientOptions{Timeout: patience, Connections: 1})
		for range 3 {
			call(t, c, "m", "")
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			_, err := motan.Call[string](ctx, c, "half", "")
			cancel()
			wantCode(t, err, motan.CodeTimeout)
			if got := call(t, c, "m", ""); got != "whole" {
				t.Errorf("cut at %d: %q", cut, got)
			}
		}
		s.mu.Lock()
		if n := len(s.conns); n != 1 {
			t.Errorf("cut at %d: %d connections, want one", cut, n)
		}
		s.mu.Unlock()
	}
}

// When no calls come any more somebody reads, and notices that the server has gone.
func TestIdleConnectionIsRead(t *testing.T) {
	s := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
		answerString(conn, f, "")
		return true
	})
	c := newClient(t, "s", motan.Static(s.addr), &motan.ClientOptions{Timeout: patience, Connections: 1})
	for range 3 {
		call(t, c, "m", "")
	}
	s.kill()
	eventually(t, "the end is noticed", func() bool { return c.Stats().Endpoints[0].Connections == 0 })
}

// Calls that come and go, answered or not, hand the reading on.
func TestReadingIsHandedOn(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(_ context.Context, n *int64) (*int64, error) {
		if *n%4 == 0 {
			time.Sleep(rand.N(2 * time.Millisecond))
		}
		return n, nil
	})
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Connections: 1})
	if _, err := motan.Call[int64](t.Context(), c, "m", new(int64)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 3 {
		wg.Go(func() {
			for i := range 400 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%5 == 0 {
					time.AfterFunc(rand.N(2*time.Millisecond), cancel)
				}
				n := int64(g*1000 + i)
				switch got, err := motan.Call[int64](ctx, c, "m", &n); {
				case err == nil && *got != n:
					t.Errorf("%d for %d", *got, n)
				case err != nil && !(i%5 == 0 && errors.Is(err, context.Canceled)):
					t.Error(err)
				}
				cancel()
				if i%7 == 0 {
					time.Sleep(rand.N(6 * time.Millisecond)) // the sweeper looks every 2
				}
			}
		})
	}
	wg.Wait()
	if n := srv.Stats().Accepted; n != 1 {
		t.Errorf("%d connections, want one", n)
	}
}
