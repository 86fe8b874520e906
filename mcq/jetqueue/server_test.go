package jetqueue_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

func serve(t testing.TB, c *jetqueue.Cluster) string {
	t.Helper()
	s, err := mcq.NewBackendServer(c, &mcq.ServerOptions{AllowFlushAll: true, Logger: silent})
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

// The memcached protocol on JetStream, reply by reply.
func TestServer(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Queues: map[string]mcq.QueueOptions{"full": {MaxLength: 1}}})
	conn, err := net.Dial("tcp", serve(t, c))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for _, e := range []struct{ request, reply string }{
		{"get q\r\n", "END\r\n"},
		{"stats queue\r\n", "END\r\n"},
		{"set q 7 0 3\r\nabc\r\nset q 4294967295 0 0\r\n\r\nset q 0 0 1 noreply\r\nx\r\n", "STORED\r\nSTORED\r\n"},
		{"get q/t=20000\r\n", "VALUE q/t=20000 7 3\r\nabc\r\nEND\r\n"},
		{"gets q/lease=600/t=20000\r\n", "VALUE q/lease=600/t=20000 4294967295 0 2\r\n\r\nEND\r\n"},
		{"gets q/lease=600/t=20000\r\n", "VALUE q/lease=600/t=20000 0 1 3\r\nx\r\nEND\r\n"},
		{"touch q/id=2 600\r\n", "TOUCHED\r\n"},
		{"delete q/nack=2\r\n", "DELETED\r\n"},
		{"gets q/lease=600/t=20000\r\n", "VALUE q/lease=600/t=20000 4294967295 0 2\r\n\r\nEND\r\n"},
		{"delete q/ack=2-3\r\n", "DELETED\r\n"},
		{"delete q/ack=2-3\r\n", "NOT_FOUND\r\n"},
		{"touch q/id=2 600\r\n", "NOT_FOUND\r\n"},
		{"set full 0 0 1\r\na\r\nset full 0 0 1\r\nb\r\n", "STORED\r\nNOT_STORED\r\n"},
		{"get full/t=20000\r\nset full 0 0 1\r\nc\r\n", "VALUE full/t=20000 0 1\r\na\r\nEND\r\nSTORED\r\n"},
		{"delete q\r\ndelete q\r\n", "DELETED\r\nNOT_FOUND\r\n"},
		{"flush_all\r\nstats queue\r\n", "OK\r\nEND\r\n"},
	} {
		if _, err := io.WriteString(conn, e.request); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(e.reply))
		n, err := io.ReadFull(in, got)
		if string(got[:n]) != e.reply {
			t.Fatalf("%q: got %q (%v), want %q", e.request, got[:n], err, e.reply)
		}
	}
}

// The figures that are not known here are left out.
func TestServedStats(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	client, err := mcq.Dial(serve(t, c), &mcq.ClientOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	q := client.Queue("q")
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if st, err := q.Stats(t.Context()); err != nil || st.Put != 1 || !st.Partial {
		t.Errorf("%+v, %v", st, err)
	}
	all, err := c.QueueStats(t.Context())
	if err != nil || len(all) != 1 || !all[0].Partial {
		t.Errorf("%+v, %v", all, err)
	}
}

// Consume works on a queue on JetStream, and on one that a server serves; with
// each a function that fails now and then sees every message until it succeeds.
func TestConsume(t *testing.T) {
	t.Parallel()
	// A delivery that is lost comes again soon.
	c := open(t, &jetqueue.Options{Replicas: 3, Failover: 2 * time.Second})
	client, err := mcq.Dial(serve(t, c), &mcq.ClientOptions{Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	type source interface {
		mcq.Source
		Put(ctx context.Context, msgs ...mcq.Message) error
	}
	for name, src := range map[string]source{"direct": queue(t, c, "direct"), "served": client.Queue("served")} {
		const n = 500
		var want []mcq.Message
		for i := range n {
			want = append(want, mcq.Message{Body: fmt.Append(nil, i)})
		}
		if err := src.Put(t.Context(), want...); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		seen := make(map[string]int)
		failures := 2
		err := mcq.Consume(ctx, src, func(_ context.Context, batch []mcq.Message) error {
			mu.Lock()
			defer mu.Unlock()
			if failures > 0 && len(batch) > 0 {
				failures--
				return errors.New("not now")
			}
			for _, m := range batch {
				seen[string(m.Body)]++
			}
			if len(seen) == n {
				stop()
			}
			return nil
		}, &mcq.ConsumeOptions{Batch: 64, Concurrency: 2, Lease: 10 * time.Second, Logger: silent})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for body, times := range seen {
			if times != 1 {
				t.Errorf("%s: %s was seen %d times", name, body, times)
			}
		}
		stop()
	}
	waitFor(t, "everything to be acknowledged", func() bool {
		stats, err := c.QueueStats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		left := uint64(0)
		for _, q := range stats {
			left += q.Backlog()
		}
		return left == 0 && len(stats) == 2
	})
}

// However many consume at once, the bad message is what is buried, with its error.
func TestConsumeBuriesTheBadOne(t *testing.T) {
	t.Parallel()
	const n = 500
	for _, v := range []struct {
		consumers, concurrency, attempts int
		served                           bool
	}{{1, 4, 3, false}, {2, 2, 2, false}, {1, 4, 1, false}, {2, 2, 2, true}} {
		t.Run(fmt.Sprintf("%+v", v), func(t *testing.T) {
			t.Parallel()
			options := &jetqueue.Options{Prefix: newPrefix(), Queue: mcq.QueueOptions{MaxAttempts: v.attempts, DeadLetters: "dead"}}
			c := open(t, options)
			q := queue(t, c, "q")
			var msgs []mcq.Message
			for i := range n {
				msgs = append(msgs, mcq.Message{Body: fmt.Append(nil, i)})
			}
			if err := q.Put(t.Context(), msgs...); err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var mu sync.Mutex
			done := make(map[string]bool)
			ended := make(chan error, v.consumers)
			for i := range v.consumers {
				var src mcq.Source = q
				if v.served {
					client, err := mcq.Dial(serve(t, c), &mcq.ClientOptions{Timeout: patience})
					if err != nil {
						t.Fatal(err)
					}
					defer client.Close()
					src = client.Queue("q")
				} else if i > 0 {
					src = queue(t, open(t, options), "q") // as another process has it
				}
				go func() {
					ended <- mcq.Consume(ctx, src, func(_ context.Context, batch []mcq.Message) error {
						mu.Lock()
						defer mu.Unlock()
						for _, m := range batch {
							if string(m.Body) == "100" {
								return fmt.Errorf("cannot parse\n%q", m.Body)
							}
						}
						for _, m := range batch {
							done[string(m.Body)] = true
						}
						return nil
					}, &mcq.ConsumeOptions{Concurrency: v.concurrency, Logger: silent})
				}()
			}
			waitFor(t, "all to be done", func() bool { return backlog(t, q) == 0 })
			stop()
			for range v.consumers {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			if len(done) != n-1 {
				t.Errorf("%d processed, want %d", len(done), n-1)
			}
			dead := queue(t, c, "dead")
			m := leaseAll(t, dead, 1)[0]
			if string(m.Body) != "100" || m.Dead == nil || *m.Dead != (mcq.Dead{Queue: "q", ID: 101, Attempts: v.attempts, Reason: `cannot parse "100"`}) {
				t.Errorf("%s: %+v", m.Body, m.Dead)
			}
			if more := backlog(t, dead); more != 1 {
				t.Errorf("%d dead letters", more)
			}
		})
	}
}

// Producers of one goroutine keep their order through the server's pipeline.
func TestPipeline(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	q := queue(t, c, "q")
	const n = 3000 // more than may be under way
	var wg sync.WaitGroup
	var mu sync.Mutex
	var stored []string
	wg.Add(n)
	for i := range n {
		q.Enqueue(mcq.Message{Body: fmt.Append(nil, i)}, func(m mcq.Message, err error) {
			defer wg.Done()
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			stored = append(stored, string(m.Body))
		})
	}
	wg.Wait()
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, " %d", i)
	}
	if got := " " + strings.Join(stored, " "); got != want.String() {
		t.Errorf("done in another order: %.200s", got)
	}
	if got := " " + bodies(leaseAll(t, q, n)); got != want.String() {
		t.Errorf("stored in another order: %.200s", got)
	}
}
