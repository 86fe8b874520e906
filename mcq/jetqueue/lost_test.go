package jetqueue_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// Each server is lost and comes back while messages are put, leased and
// acknowledged, the stream's leader among them. Every message whose Put returned
// nil is there, once, and none that was acknowledged comes back.
func TestServerLost(t *testing.T) {
	t.Parallel()
	s, err := startServers(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.stop()
	// What is not answered is sent again after two seconds, for a minute.
	opts := &jetqueue.Options{Timeout: 10 * time.Second, Failover: 2 * time.Second, Logger: silent}
	patiently := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), patience)
	}
	c, other := openOn(t, s, opts), openOn(t, s, opts)
	producer := queue(t, c, "q")
	const writers, readers = 8, 4
	var (
		stop   atomic.Bool
		wg     sync.WaitGroup
		mu     sync.Mutex
		put    = make(map[string]bool)
		acked  = make(map[string]int)
		unsure = make(map[string]bool) // acknowledged, but nobody said so
	)
	for w := range writers {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				body := fmt.Sprintf("%d-%d", w, i)
				ctx, cancel := patiently()
				err := producer.Put(ctx, mcq.Message{Body: []byte(body)})
				cancel()
				if err != nil {
					t.Errorf("put: %v", err)
					return
				}
				mu.Lock()
				put[body] = true
				mu.Unlock()
			}
		})
	}
	ctx, end := context.WithCancel(context.Background())
	defer end()
	var rg sync.WaitGroup
	for r := range readers {
		q := queue(t, []*jetqueue.Cluster{c, other}[r%2], "q")
		rg.Go(func() {
			for ctx.Err() == nil {
				msgs, err := q.Lease(ctx, 16, mcq.LeaseOptions{Wait: time.Second})
				if err != nil {
					continue // the server is away
				}
				for _, m := range msgs {
					body := string(m.Body)
					ctx, cancel := patiently()
					err := q.Ack(ctx, m.ID)
					cancel()
					mu.Lock()
					switch {
					case err == nil:
						acked[body]++
					case errors.Is(err, mcq.ErrNotLeased): // the lease ran out meanwhile: it comes again
					default:
						unsure[body] = true
					}
					mu.Unlock()
				}
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(put)
	}
	for i := range s.list {
		before := count()
		waitFor(t, "messages before the loss", func() bool { return count() > before+50 })
		s.list[i].Shutdown()
		s.list[i].WaitForShutdown()
		before = count()
		waitFor(t, "messages while a server is away", func() bool { return count() > before+50 || t.Failed() })
		if err := s.start(i); err != nil {
			t.Fatal(err)
		}
		if err := s.ready(); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	missing := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for body := range put {
			if acked[body] == 0 && !unsure[body] {
				n++
			}
		}
		return n
	}
	waitFor(t, "every message", func() bool { return missing() == 0 })
	waitFor(t, "the queue to be empty", func() bool { return backlog(t, producer) == 0 })
	end()
	rg.Wait()
	for body, n := range acked {
		// One whose lease ran out can have been acknowledged by two.
		if !put[body] || n > 2 {
			t.Errorf("%s: put %v, acknowledged %d times", body, put[body], n)
		}
	}
	twice := 0
	for _, n := range acked {
		if n > 1 {
			twice++
		}
	}
	t.Logf("%d messages put, %d acknowledged twice, %d without an answer; %d retries, %d reconnects",
		len(put), twice, len(unsure), c.Stats().Retries, c.Stats().Reconnects)
	all, cancel := patiently()
	defer cancel()
	st, err := producer.Stats(all)
	if err != nil {
		t.Fatal(err)
	}
	if st.Put != uint64(len(put)) {
		t.Errorf("%d messages in the stream, %d were put", st.Put, len(put))
	}
}
