package jetqueue_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	natsd "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// route stands in front of a server's port for the other servers, and can cut
// what leads to a server or comes from it.
type route struct {
	ln net.Listener
	to string // address of the server

	mu    sync.Mutex
	conns map[net.Conn]string // both ends of each connection; who made it
	cut   func(from string) bool
	wg    sync.WaitGroup
}

func newRoute(t *testing.T, to string) *route {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &route{ln: ln, to: to, conns: make(map[net.Conn]string)}
	r.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			r.wg.Go(func() { r.serve(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		r.set(func(string) bool { return true })
		r.wg.Wait()
	})
	return r
}

// set cuts the connections for which cut is true, those that are there and new
// ones; who makes them is "" until it has said so.
func (r *route) set(cut func(from string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cut = cut
	for conn, from := range r.conns {
		if cut(from) {
			conn.Close()
		}
	}
}

// know notes who made a connection; it closes it if that is cut.
func (r *route) know(from string, ends ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range ends {
		r.conns[conn] = from
		if r.cut != nil && r.cut(from) {
			conn.Close()
		}
	}
}

func (r *route) serve(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer server.Close()
	r.know("", conn, server)
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, conn)
		delete(r.conns, server)
	}()
	r.wg.Go(func() {
		io.Copy(conn, server)
		conn.Close()
	})
	// Whoever connects first says who it is.
	var hello []byte
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		hello = append(hello, buf[:n]...)
		if _, rest, ok := bytes.Cut(hello, []byte(`"name":"`)); ok {
			if id, _, ok := bytes.Cut(rest, []byte(`"`)); ok {
				r.know(string(id), conn, server)
				break
			}
		}
	}
	if _, err := server.Write(hello); err != nil {
		return
	}
	io.Copy(server, conn)
}

// The leader of a queue's stream is cut off from the other servers while
// messages are put on both sides. Those of the others go on; what was put at the
// one that is cut off waits until it is back. Each message is stored once.
func TestPartition(t *testing.T) {
	t.Parallel()
	s, err := newServers(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	var routes [3]*route
	for i, o := range s.opts {
		routes[i] = newRoute(t, fmt.Sprintf("127.0.0.1:%d", o.Cluster.Port))
		o.Cluster.Advertise = routes[i].ln.Addr().String()
		o.Cluster.PoolSize = -1
	}
	for i, o := range s.opts {
		var others []string
		for j, r := range routes {
			if j != i {
				others = append(others, "nats://"+r.ln.Addr().String())
			}
		}
		o.Routes = natsd.RoutesFromStr(strings.Join(others, ","))
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
	opts := &jetqueue.Options{Timeout: 10 * time.Second, Failover: 2 * time.Second, Logger: silent}
	at := func(i int) *jetqueue.Queue {
		nc, err := nats.Connect(s.list[i].ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.IgnoreDiscoveredServers())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		c, err := jetqueue.Open(t.Context(), nc, opts)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		q, err := c.Queue(ctx, "q")
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	q := at(0)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	want := make(map[string]bool)
	puts := func(what string) {
		t.Helper()
		for i := range 50 {
			body := fmt.Sprintf("%s-%d", what, i)
			want[body] = true
			if err := q.Put(ctx, mcq.Message{Body: []byte(body)}); err != nil {
				t.Fatalf("put %s: %v", body, err)
			}
		}
	}
	puts("before")
	stream, err := jetStream(t, s).Stream(ctx, "MCQ_q")
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for i, o := range s.opts {
		if stream.CachedInfo().Cluster.Leader == o.ServerName {
			cut = i
		}
	}
	alone := at(cut)
	q = at((cut + 1) % 3)

	id := s.list[cut].ID()
	for i, r := range routes {
		r.set(func(from string) bool { return i == cut || from == id })
	}
	waitFor(t, "the server to be alone", func() bool { return s.list[cut].NumRoutes() == 0 })
	late := make(chan error, 1)
	go func() { late <- alone.Put(ctx, mcq.Message{Body: []byte("alone")}) }()
	want["alone"] = true
	puts("meanwhile")
	select {
	case err := <-late:
		t.Errorf("what was put at the server that is cut off: %v", err)
	default:
	}
	for _, r := range routes {
		r.set(func(string) bool { return false })
	}
	if err := <-late; err != nil {
		t.Errorf("when it was back: %v", err)
	}
	puts("afterwards")

	got := make(map[string]int)
	for len(got) < len(want) {
		msgs, err := q.Lease(ctx, 64, mcq.LeaseOptions{Wait: time.Second})
		if err != nil && ctx.Err() != nil {
			t.Fatalf("got %d of %d messages: %v", len(got), len(want), err)
		}
		for _, m := range msgs {
			got[string(m.Body)]++
		}
		if len(msgs) > 0 {
			if err := q.Ack(ctx, ids(msgs)...); err != nil && !mcq.Retryable(err) {
				t.Errorf("acknowledge: %v", err)
			}
		}
	}
	for body := range got {
		if !want[body] {
			t.Errorf("got %q, which nobody put", body)
		}
	}
	st, err := q.Stats(ctx)
	if err != nil || st.Put != uint64(len(want)) {
		t.Errorf("%d messages in the stream, %d were put, %v", st.Put, len(want), err)
	}
}
