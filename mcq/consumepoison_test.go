package mcq_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// A message that fails, by an error or a panic, does so alone: the others of its
// batch are done without being handed out again, and after it too once it gets
// through.
func TestConsumePoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		for i := range 20 {
			put(t, q, fmt.Sprint(i))
		}
		calls := make(map[string]int)
		var batches [][]string
		var log safeBuffer
		stop := consume(t, q, func(_ context.Context, batch []mcq.Message) error {
			defer clear(batch) // which is fn's own
			batches = append(batches, bodies(batch))
			for _, m := range batch {
				calls[string(m.Body)]++
				if string(m.Body) != "7" && m.Attempts != 1 {
					t.Errorf("%s has been handed out %d times", m.Body, m.Attempts)
				}
				if string(m.Body) == "7" && m.Attempts < 5 {
					if m.Attempts == 2 {
						panic("seven")
					}
					return errors.New("no sevens")
				}
			}
			return nil
		}, &mcq.ConsumeOptions{Batch: 10, Logger: log.logger()})
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Done != 20 || s.Leased != 0 {
			t.Fatalf("stats %+v", s)
		}
		if len(calls) != 20 {
			t.Errorf("%d messages were seen", len(calls))
		}
		for body, n := range calls { // the first time of 7 was with the others, and again alone
			if body == "7" && n != 6 || body != "7" && n > 2 {
				t.Errorf("%s was tried %d times", body, n)
			}
		}
		for _, batch := range batches[1:] {
			if len(batch) > 1 && slices.Contains(batch, "7") {
				t.Errorf("7 came again in %q", batch)
			}
		}
		for _, part := range []string{"batch failed", "no sevens", "panicked: seven"} {
			if !strings.Contains(log.String(), part) {
				t.Errorf("the log does not say %q", part)
			}
		}
	})
}

// poisonous is a function for Consume that fails for one message.
type poisonous struct {
	mu   sync.Mutex
	done map[string]bool
}

const poison = "100"

func (p *poisonous) process(_ context.Context, batch []mcq.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range batch {
		if string(m.Body) == poison {
			return fmt.Errorf("cannot parse %q", m.Body)
		}
	}
	if p.done == nil {
		p.done = make(map[string]bool)
	}
	for _, m := range batch {
		p.done[string(m.Body)] = true
	}
	return nil
}

// numbered are messages that say which they are.
func numbered(n int) []mcq.Message {
	msgs := make([]mcq.Message, n)
	for i := range msgs {
		msgs[i].Body = fmt.Append(nil, i)
	}
	return msgs
}

// However many consume at once, the bad message is what is buried, and nothing else.
func TestConsumeBuriesTheBadOne(t *testing.T) {
	const n = 2000
	for _, v := range []struct{ consumers, concurrency, attempts int }{
		{1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {1, 2, 2}, {1, 4, 2}, {1, 4, 3}, {1, 16, 1}, {1, 16, 2}, {1, 16, 3}, {1, 16, 5}, {2, 1, 2}, {3, 4, 3}, {2, 8, 1},
	} {
		for _, letters := range []string{"dead", ""} {
			t.Run(fmt.Sprintf("%+v,%q", v, letters), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: map[string]mcq.QueueOptions{"q": {MaxAttempts: v.attempts, DeadLetters: letters}}})
					defer b.Close()
					q := queue(t, b, "q")
					if err := q.Put(t.Context(), numbered(n)...); err != nil {
						t.Fatal(err)
					}
					var p poisonous
					var stops []func() error
					for range v.consumers {
						stops = append(stops, consume(t, q, p.process, &mcq.ConsumeOptions{Batch: 256, Concurrency: v.concurrency, Logger: silent}))
					}
					time.Sleep(5 * time.Minute)
					for _, stop := range stops {
						if err := stop(); err != nil {
							t.Fatal(err)
						}
					}
					if s := q.Stats(); s.Done != n || s.Buried != 1 || len(p.done) != n-1 {
						t.Errorf("%d processed, %+v", len(p.done), s)
					}
					if letters == "" {
						return
					}
					wantDead(t, lease(t, queue(t, b, "dead"), 99, mcq.LeaseOptions{}), v.attempts)
				})
			})
		}
	}
}

// wantDead checks that the dead letters are the poison alone, with its error.
func wantDead(t *testing.T, dead []mcq.Message, attempts int) {
	t.Helper()
	expect(t, "dead letters", bodies(dead), poison)
	if d := *dead[0].Dead; d != (mcq.Dead{Queue: "q", ID: 101, Attempts: attempts, Reason: `cannot parse "100"`}) {
		t.Errorf("%+v", d)
	}
}

// So it is with consumers elsewhere.
func TestConsumeBuriesTheBadOneRemotely(t *testing.T) {
	t.Parallel()
	const n = 2000
	for _, v := range []struct{ consumers, concurrency, attempts int }{{1, 4, 2}, {2, 2, 3}, {2, 1, 1}} {
		t.Run(fmt.Sprintf("%+v", v), func(t *testing.T) {
			t.Parallel()
			b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: map[string]mcq.QueueOptions{"q": {MaxAttempts: v.attempts, DeadLetters: "dead"}}})
			addr := serve(t, b)
			q := queue(t, b, "q")
			if err := q.Put(t.Context(), numbered(n)...); err != nil {
				t.Fatal(err)
			}
			var p poisonous
			var stops []func() error
			for range v.consumers {
				stops = append(stops, consume(t, dial(t, addr).Queue("q"), p.process, &mcq.ConsumeOptions{Batch: 256, Concurrency: v.concurrency, Logger: silent}))
			}
			waitFor(t, "all to be done", func() bool { return q.Stats().Backlog() == 0 })
			for _, stop := range stops {
				if err := stop(); err != nil {
					t.Fatal(err)
				}
			}
			if s := q.Stats(); s.Done != n || s.Buried != 1 || len(p.done) != n-1 {
				t.Errorf("%d processed, %+v", len(p.done), s)
			}
			wantDead(t, lease(t, dial(t, addr).Queue("dead"), 99, mcq.LeaseOptions{}), v.attempts)
		})
	}
}

// What somebody else had before comes one by one, whatever it was leased with, and
// those behind it wait without their leases running out.
func TestConsumeWhatOthersHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		put(t, q, "a", "b", "c", "d", "e", "f")
		if err := q.Nack(t.Context(), ids(lease(t, q, 4, mcq.LeaseOptions{}))...); err != nil {
			t.Fatal(err)
		}
		var got []string
		stop := consume(t, q, func(ctx context.Context, batch []mcq.Message) error {
			until, _ := ctx.Deadline()
			got = append(got, fmt.Sprint(bodies(batch), batch[0].Attempts, time.Until(until)))
			time.Sleep(25 * time.Second)
			return nil
		}, &mcq.ConsumeOptions{MaxWait: time.Millisecond, Logger: silent}) // so that it leases both sorts
		time.Sleep(5 * time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if want := []string{"[a] 2 30s", "[b] 2 30s", "[c] 2 30s", "[d] 2 30s", "[e f] 1 30s"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if s := q.Stats(); s.Done != 6 {
			t.Errorf("%+v", s)
		}
	})
}

// A function that heeds the end of its time still has its messages then: even if
// they are handed out once, only the one that takes too long is buried.
func TestConsumeTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, &mcq.Options{Queues: map[string]mcq.QueueOptions{"q": {MaxAttempts: 1, DeadLetters: "dead"}}})
		defer b.Close()
		q := queue(t, b, "q")
		put(t, q, "a", "slow", "c")
		stop := consume(t, q, func(ctx context.Context, batch []mcq.Message) error {
			if slices.Contains(bodies(batch), "slow") {
				<-ctx.Done()
				return fmt.Errorf("ask the database: %w", ctx.Err())
			}
			return nil
		}, &mcq.ConsumeOptions{Lease: 2 * time.Second, Logger: silent})
		time.Sleep(time.Minute)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if s := q.Stats(); s.Done != 3 || s.Buried != 1 {
			t.Errorf("%+v", s)
		}
		dead := lease(t, queue(t, b, "dead"), 9, mcq.LeaseOptions{})
		expect(t, "dead letters", bodies(dead), "slow")
		if reason := dead[0].Dead.Reason; reason != "ask the database: context deadline exceeded" {
			t.Errorf("reason %q", reason)
		}
	})
}

// Once ctx is done Consume keeps nothing longer than it has it.
func TestConsumeStopsWithItsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		if err := q.Put(t.Context(), numbered(20)...); err != nil {
			t.Fatal(err)
		}
		calls := 0
		stop := consume(t, q, func(ctx context.Context, batch []mcq.Message) error {
			calls++
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
			return errors.New("no")
		}, &mcq.ConsumeOptions{Lease: 8 * time.Second, Logger: silent})
		time.Sleep(time.Millisecond)
		began := time.Now()
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 9*time.Second || calls != 9 { // a batch, and eight of it
			t.Errorf("%d calls in %v", calls, took)
		}
		time.Sleep(time.Second)
		if s := q.Stats(); s.Leased != 0 || s.Backlog() != 20 {
			t.Errorf("%+v", s)
		}
	})
}
