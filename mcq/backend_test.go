package mcq_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// foreign hides from the server that its queues are a Broker's, so that it goes
// the way of queues that are elsewhere.
type foreign struct {
	mcq.Backend
	full bool
}

type foreignQueue struct {
	mcq.BackendQueue
	full bool
}

func (f foreign) FindQueue(ctx context.Context, name string, create bool) (mcq.BackendQueue, error) {
	q, err := f.Backend.FindQueue(ctx, name, create)
	if q == nil || err != nil {
		return nil, err
	}
	return foreignQueue{q, f.full}, nil
}

func (q foreignQueue) Enqueue(m mcq.Message, done func(mcq.Message, error)) {
	if q.full {
		done(m, fmt.Errorf("%w: %s", mcq.ErrFull, q.Name()))
		return
	}
	q.BackendQueue.Enqueue(m, done)
}

func serveBackend(t *testing.T, b mcq.Backend) string {
	t.Helper()
	s, err := mcq.NewBackendServer(b, &mcq.ServerOptions{Logger: silent, AllowFlushAll: true})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, mcq.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return ln.Addr().String()
}

// A server answers alike, whoever has the queues.
func TestBackendServer(t *testing.T) {
	if _, err := mcq.NewBackendServer(nil, nil); err == nil {
		t.Error("a server of nothing")
	}
	for name, table := range map[string][]exchange{"memcacheq": memcacheqTable, "options": optionTable} {
		t.Run(name, func(t *testing.T) {
			addr := serveBackend(t, foreign{Backend: memBroker(t, &mcq.Options{Sync: mcq.Never}).Backend()})
			for _, e := range table {
				t.Run(fmt.Sprintf("%.40q", e.request), func(t *testing.T) { e.run(t, addr, whole) })
			}
		})
	}
	addr := serveBackend(t, foreign{Backend: memBroker(t, nil).Backend()})
	exchange{"set q 0 0 1\r\nx\r\nset r 0 0 1\r\nx\r\nflush_all\r\nstats queue\r\n", "STORED\r\nSTORED\r\nOK\r\nEND\r\n"}.run(t, addr, whole)
}

// Sets are answered in their order, and the client works through such a server.
func TestBackendPipelining(t *testing.T) {
	addr := serveBackend(t, foreign{Backend: memBroker(t, nil).Backend()})
	w := connect(t, addr)
	const n = 3000 // more than may be pending
	go func() {
		for i := range n {
			fmt.Fprintf(w, "set q 0 0 4\r\n%04d\r\n", i)
		}
	}()
	for range n {
		w.expect("STORED\r\n")
	}
	q := dial(t, addr).Queue("q")
	for next := 0; next < n; {
		msgs := lease(t, q, 256, mcq.LeaseOptions{})
		for _, m := range msgs {
			if string(m.Body) != fmt.Sprintf("%04d", next) {
				t.Fatalf("message %d is %q", next, m.Body)
			}
			next++
		}
		if err := q.Ack(t.Context(), ids(msgs)...); err != nil {
			t.Fatal(err)
		}
	}
}

// A full queue answers NOT_STORED, and the connection goes on.
func TestBackendFull(t *testing.T) {
	addr := serveBackend(t, foreign{Backend: memBroker(t, nil).Backend(), full: true})
	exchange{"set q 0 0 1\r\nx\r\nset q 0 0 1 noreply\r\nx\r\nget q\r\n", "NOT_STORED\r\nEND\r\n"}.run(t, addr, whole)
}

// partial is a backend that does not know all figures of its queues.
type partial struct{ mcq.Backend }

type partialQueue struct{ mcq.BackendQueue }

func (p partial) FindQueue(ctx context.Context, name string, create bool) (mcq.BackendQueue, error) {
	q, err := p.Backend.FindQueue(ctx, name, create)
	if q == nil || err != nil {
		return nil, err
	}
	return partialQueue{q}, nil
}

func (q partialQueue) Stats(ctx context.Context) (mcq.QueueStats, error) {
	s, err := q.BackendQueue.Stats(ctx)
	s.Bytes, s.Partial = 0, true
	return s, err
}

// Figures that nobody knows are left out, and not said to be 0.
func TestPartialStats(t *testing.T) {
	b := memBroker(t, nil)
	addr := serveBackend(t, partial{b.Backend()})
	w := connect(t, addr)
	w.send("set q 0 0 1\r\nx\r\nget q\r\nstats queue q\r\n")
	w.expect("STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\nSTAT queue_q_items 0\r\nSTAT queue_q_total_items 1\r\nSTAT queue_q_done_items 1\r\n" +
		"STAT queue_q_open_transactions 0\r\nSTAT queue_q_waiters 0\r\nSTAT queue_q_age_msec 0\r\nSTAT queue_q_paused 0\r\nEND\r\n")
	got, err := dial(t, addr).Queue("q").Stats(t.Context())
	if want := (mcq.QueueStats{Name: "q", Put: 1, Done: 1, Partial: true}); err != nil || got != want {
		t.Errorf("a client hears %+v, %v, want %+v", got, err, want)
	}
}
