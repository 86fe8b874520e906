// Package mcqtest is the conformance test of mcq.Backend.
package mcqtest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

// Setup is a Backend to test.
type Setup struct {
	// Backend may have other queues; the test makes its own, under random names.
	Backend mcq.Backend

	// Full is the name of a queue that is not there yet and may hold 2 messages,
	// refusing more.
	Full string

	// Dead is the name of a queue that is not there yet, hands each message out
	// twice at most and has Dead+".dead" for its dead letters. "" if the Backend has
	// no dead letters, which are not tested then.
	Dead string

	// ByName says that a BackendQueue is but its name: what is done to it after
	// DropQueue is done to the next queue of that name, and nothing is ErrDropped.
	ByName bool
}

// TestBackend checks the rules of mcq.Backend, mcq.BackendQueue and mcq.Source.
// open is called for each part of the test.
func TestBackend(t *testing.T, open func(t *testing.T) Setup) {
	for _, part := range []struct {
		name string
		run  func(*testing.T, Setup)
	}{
		{"Queues", testQueues},
		{"Messages", testMessages},
		{"Order", testOrder},
		{"Lease", testLease},
		{"Receipt", testReceipt},
		{"Wait", testWait},
		{"Remove", testRemove},
		{"Times", testTimes},
		{"Keys", testKeys},
		{"Full", testFull},
		{"Subscriber", testSubscriber},
		{"Drop", testDrop},
		{"Crowd", testCrowd},
		{"Consume", testConsume},
		{"Dead", testDead},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, open(t)) })
	}
}

// patience is how long what should happen at once may take.
const patience = 30 * time.Second

// long is a lease that does not run out during the test.
const long = 10 * time.Minute

func testQueues(t *testing.T, s Setup) {
	a, b := name("a"), name("b")
	if q, err := s.Backend.FindQueue(t.Context(), a, false); q != nil || err != nil {
		t.Fatalf("FindQueue of none: %v, %v", q, err)
	}
	if q, err := s.Backend.FindQueue(t.Context(), "a b", true); q != nil || !errors.Is(err, mcq.ErrName) {
		t.Errorf("FindQueue of a bad name: %v, %v", q, err)
	}
	put(t, find(t, s.Backend, b), "1", "2", "3")
	put(t, find(t, s.Backend, a), "1")
	again, err := s.Backend.FindQueue(t.Context(), b, false)
	if again == nil || err != nil {
		t.Fatalf("FindQueue of one that is there: %v, %v", again, err)
	}
	must(t, "Ack", again.Ack(t.Context(), ids(lease(t, again, 2, long))...))
	within(t, "QueueStats and Stats to tell both", func() bool {
		all, err := s.Backend.QueueStats(t.Context())
		must(t, "QueueStats", err)
		if !slices.IsSortedFunc(all, func(x, y mcq.QueueStats) int { return strings.Compare(x.Name, y.Name) }) {
			t.Fatal("QueueStats is not sorted by name")
		}
		one, err := again.Stats(t.Context())
		must(t, "Stats", err)
		if one.Name != b {
			t.Fatalf("Stats of %s are those of %s", b, one.Name)
		}
		if one.Put != 3 || one.Done != 2 {
			return false
		}
		found := 0
		for _, q := range all {
			if q.Name == a && q.Put == 1 && q.Done == 0 || q.Name == b && q.Put == 3 && q.Done == 2 {
				found++
			}
		}
		return found == 2
	})
	if n := s.Backend.MaxMessage(); n < 1024 {
		t.Errorf("MaxMessage is %d", n)
	}
}

func testMessages(t *testing.T, s Setup) {
	q := find(t, s.Backend, name("q"))
	binary := make([]byte, 1024)
	for i := range binary {
		binary[i] = byte(i)
	}
	trace := watchman.SpanContext{TraceID: watchman.TraceID{1, 2, 3}, SpanID: watchman.SpanID{4}, Flags: watchman.FlagSampled}
	before := time.Now().Add(-time.Minute) // clocks of several machines
	sent := []mcq.Message{
		{Body: binary, Flags: 1<<32 - 1, Trace: trace},
		{Body: nil},
		{Body: []byte("\r\nEND\r\n"), Flags: 7},
	}
	var last uint64
	for i, m := range sent {
		m.Body = slices.Clone(m.Body)
		got, err := enqueue(t, q, m)
		if err != nil || got.ID <= last || receiptless(got.ID) != got.ID || got.Enqueued.Before(before) {
			t.Fatalf("message %d: id %d after %d, enqueued %v, %v", i, got.ID, last, got.Enqueued, err)
		}
		last = got.ID
	}
	for i, m := range lease(t, q, len(sent), long) {
		want := sent[i]
		if string(m.Body) != string(want.Body) || m.Flags != want.Flags || m.Trace.TraceID != want.Trace.TraceID || m.Trace.SpanID != want.Trace.SpanID || m.Trace.Sampled() != want.Trace.Sampled() {
			t.Errorf("message %d: %+v, want %+v", i, m, want)
		}
		if m.Attempts != 1 || m.Enqueued.Before(before) {
			t.Errorf("message %d: attempts %d, enqueued %v", i, m.Attempts, m.Enqueued)
		}
	}
}

// What one goroutine enqueues is stored in its order, and told of in it.
func testOrder(t *testing.T, s Setup) {
	const n = 500
	q := find(t, s.Backend, name("q"))
	done := make(chan stored, n)
	for i := range n {
		q.Enqueue(mcq.Message{Body: fmt.Appendf(nil, "%d", i)}, func(m mcq.Message, err error) { done <- stored{m, err} })
	}
	var last uint64
	for i := range n {
		select {
		case s := <-done:
			if s.err != nil || string(s.m.Body) != fmt.Sprint(i) || s.m.ID <= last {
				t.Fatalf("done %d: %q, id %d after %d, %v", i, s.m.Body, s.m.ID, last, s.err)
			}
			last = s.m.ID
		case <-time.After(patience):
			t.Fatalf("done %d is not called", i)
		}
	}
	for i, m := range lease(t, q, n, long) {
		if string(m.Body) != fmt.Sprint(i) {
			t.Fatalf("message %d is %q", i, m.Body)
		}
	}
	nothing(t, q)
}

func testLease(t *testing.T, s Setup) {
	ctx := t.Context()
	q := find(t, s.Backend, name("q"))
	nothing(t, q)
	put(t, q, "1", "2", "3", "4")
	first := lease(t, q, 2, long)
	expect(t, "the first lease", first, "1", "2")
	must(t, "Nack", q.Nack(ctx, ids(first)...))
	again := lease(t, q, 3, long)
	expect(t, "what was given back comes first", again, "1", "2", "3")
	for i, m := range again {
		if want := []int{2, 2, 1}[i]; m.Attempts != want {
			t.Errorf("%s has been handed out %d times, want %d", m.Body, m.Attempts, want)
		}
	}
	must(t, "Ack", q.Ack(ctx, again[0].ID, again[2].ID))
	notLeased(t, "Ack again", q.Ack(ctx, again[0].ID))
	notLeased(t, "Ack of some that are leased and one that is not", q.Ack(ctx, again[0].ID, again[1].ID))
	notLeased(t, "Nack of what is acknowledged", q.Nack(ctx, again[1].ID))
	notLeased(t, "Extend of what is acknowledged", q.Extend(ctx, again[1].ID, time.Minute))

	short := lease(t, q, 1, long)
	expect(t, "what is left", short, "4")
	must(t, "Extend", q.Extend(ctx, short[0].ID, 20*time.Millisecond))
	again = lease(t, q, 1, long)
	expect(t, "whose lease ran out", again, "4")
	if again[0].ID != short[0].ID || again[0].Attempts != 2 {
		t.Errorf("it was %d, now it is %d, handed out %d times", short[0].ID, again[0].ID, again[0].Attempts)
	}
	must(t, "Ack", q.Ack(ctx, again[0].ID))
	nothing(t, q)
}

// receiptless is the ID in what may be a receipt.
func receiptless(id uint64) uint64 { return id & (1<<48 - 1) }

// Where leases have receipts, an old one does nothing to the next holder.
func testReceipt(t *testing.T, s Setup) {
	ctx := t.Context()
	q := find(t, s.Backend, name("q"))
	put(t, q, "x")
	old := lease(t, q, 1, 20*time.Millisecond)[0]
	now := lease(t, q, 1, long)[0]
	if old.ID != now.ID {
		t.Fatalf("it was %d, now it is %d", old.ID, now.ID)
	}
	if old.Receipt == 0 && now.Receipt == 0 {
		must(t, "Ack by id", q.Ack(ctx, now.ID))
		return
	}
	for _, m := range []mcq.Message{old, now} {
		if receiptless(m.Receipt) != m.ID || m.Receipt == m.ID || m.Receipt>>63 != 0 {
			t.Fatalf("receipt %x of message %x", m.Receipt, m.ID)
		}
	}
	if old.Receipt == now.Receipt {
		t.Fatalf("both leases have receipt %x", now.Receipt)
	}
	notLeased(t, "Extend with the old receipt", q.Extend(ctx, old.Receipt, time.Millisecond))
	notLeased(t, "Nack with the old receipt", q.Nack(ctx, old.Receipt))
	notLeased(t, "Ack with the old receipt", q.Ack(ctx, old.Receipt))
	must(t, "Extend", q.Extend(ctx, now.Receipt, long))
	must(t, "Nack", q.Nack(ctx, now.Receipt))
	now = lease(t, q, 1, long)[0]
	must(t, "Ack", q.Ack(ctx, now.Receipt))
	notLeased(t, "Ack again", q.Ack(ctx, now.Receipt))
}

func testWait(t *testing.T, s Setup) {
	q := find(t, s.Backend, name("q"))
	if msgs, err := q.Lease(t.Context(), 1, mcq.LeaseOptions{Wait: 10 * time.Millisecond}); len(msgs) > 0 || err != nil {
		t.Errorf("Lease when nothing comes: %d messages, %v", len(msgs), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := q.Lease(ctx, 1, mcq.LeaseOptions{Wait: 10 * patience})
		ended <- err
	}()
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Lease when ctx ends: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("Lease goes on after its ctx has ended")
	}

	got := make(chan []mcq.Message, 1)
	go func() {
		msgs, err := q.Lease(t.Context(), 1, mcq.LeaseOptions{Duration: long, Wait: patience})
		if err != nil {
			t.Error(err)
		}
		got <- msgs
	}()
	put(t, q, "x")
	expect(t, "who waited", <-got, "x")
}

func testRemove(t *testing.T, s Setup) {
	q := find(t, s.Backend, name("q"))
	if msgs, err := q.Remove(t.Context(), 1, 0); len(msgs) > 0 || err != nil {
		t.Errorf("Remove from an empty queue: %d messages, %v", len(msgs), err)
	}
	put(t, q, "1", "2", "3")
	var msgs []mcq.Message
	for len(msgs) < 2 {
		more, err := q.Remove(t.Context(), 2-len(msgs), patience)
		if err != nil || len(more) == 0 {
			t.Fatalf("Remove: %d messages, %v", len(more), err)
		}
		msgs = append(msgs, more...)
	}
	expect(t, "Remove", msgs, "1", "2")
	notLeased(t, "Ack of what was removed", q.Ack(t.Context(), msgs[0].ID))
	expect(t, "the rest", lease(t, q, 1, long), "3")

	got := make(chan []mcq.Message, 1)
	go func() {
		msgs, err := q.Remove(t.Context(), 1, patience)
		if err != nil {
			t.Error(err)
		}
		got <- msgs
	}()
	put(t, q, "x")
	expect(t, "who waited", <-got, "x")
	within(t, "the counters", func() bool {
		all, err := s.Backend.QueueStats(t.Context())
		must(t, "QueueStats", err)
		i := slices.IndexFunc(all, func(st mcq.QueueStats) bool { return st.Name == q.Name() })
		return i >= 0 && all[i].Put == 4 && all[i].Done == 3
	})
}

// A message is not handed out before its Delay is over, nor after its TTL is.
func testTimes(t *testing.T, s Setup) {
	q := find(t, s.Backend, name("q"))
	for _, m := range []mcq.Message{
		{Body: []byte("late"), Delay: time.Hour},
		{Body: []byte("over"), TTL: time.Millisecond},
		{Body: []byte("later"), Delay: 20 * time.Millisecond},
		{Body: []byte("now"), TTL: time.Hour},
	} {
		if _, err := enqueue(t, q, m); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond)
	got := bodies(lease(t, q, 2, long))
	slices.Sort(got)
	if !slices.Equal(got, []string{"later", "now"}) {
		t.Fatalf("got %q", got)
	}
	nothing(t, q)
}

// A message whose key was there before is stored once.
func testKeys(t *testing.T, s Setup) {
	q := find(t, s.Backend, name("q"))
	key := name("key")
	first, err := enqueue(t, q, mcq.Message{Body: []byte("first"), Key: key})
	must(t, "Enqueue", err)
	second, err := enqueue(t, q, mcq.Message{Body: []byte("second"), Key: key})
	if err != nil || second.ID != first.ID {
		t.Errorf("the same key: id %d, it was %d, %v", second.ID, first.ID, err)
	}
	put(t, q, "other")
	expect(t, "what is there", lease(t, q, 2, long), "first", "other")
	nothing(t, q)
}

func testFull(t *testing.T, s Setup) {
	q := find(t, s.Backend, s.Full)
	key := name("key")
	first, err := enqueue(t, q, mcq.Message{Body: []byte("1"), Key: key})
	must(t, "Enqueue", err)
	put(t, q, "2")
	for range 2 {
		// What is there already needs no room.
		if m, err := enqueue(t, q, mcq.Message{Body: []byte("1"), Key: key}); err != nil || m.ID != first.ID {
			t.Fatalf("Enqueue of a known key to a full queue: id %d, it was %d, %v", m.ID, first.ID, err)
		}
		if m, err := enqueue(t, q, mcq.Message{Body: []byte("3")}); !errors.Is(err, mcq.ErrFull) {
			t.Fatalf("Enqueue to a full queue: id %d, %v", m.ID, err)
		}
	}
	msgs := lease(t, q, 1, long)
	expect(t, "what is there", msgs, "1")
	must(t, "Ack", q.Ack(t.Context(), msgs[0].ID))
	if m, err := enqueue(t, q, mcq.Message{Body: []byte("1"), Key: key}); err != nil || m.ID != first.ID {
		t.Fatalf("Enqueue of a key that was acknowledged: id %d, it was %d, %v", m.ID, first.ID, err)
	}
	within(t, "room for one more", func() bool {
		_, err := enqueue(t, q, mcq.Message{Body: []byte("4")})
		return err == nil
	})
	expect(t, "what is there now", lease(t, q, 2, long), "2", "4")
	nothing(t, q)
}

// A subscriber gets what was put since it was made, whoever else reads.
func testSubscriber(t *testing.T, s Setup) {
	root := name("q")
	q := find(t, s.Backend, root)
	put(t, q, "before")
	sub := find(t, s.Backend, root+"+s")
	nothing(t, sub)
	put(t, q, "1", "2")
	msgs := lease(t, q, 3, long)
	expect(t, "the queue's own readers", msgs, "before", "1", "2")
	must(t, "Ack", q.Ack(t.Context(), ids(msgs)...))
	msgs = lease(t, sub, 2, long)
	expect(t, "the subscriber", msgs, "1", "2")
	must(t, "Ack", sub.Ack(t.Context(), ids(msgs)...))
	nothing(t, sub)
	if _, err := enqueue(t, sub, mcq.Message{Body: []byte("x")}); err == nil {
		t.Error("Enqueue to a subscriber")
	}
	if there, err := s.Backend.DropQueue(t.Context(), root+"+s"); !there || err != nil {
		t.Errorf("DropQueue of the subscriber: %v, %v", there, err)
	}
	put(t, q, "3")
	expect(t, "the queue without its subscriber", lease(t, q, 1, long), "3")
}

func testDrop(t *testing.T, s Setup) {
	ctx := t.Context()
	q := find(t, s.Backend, name("q"))
	put(t, q, "1", "2")
	leased := lease(t, q, 1, long)
	if there, err := s.Backend.DropQueue(ctx, q.Name()); !there || err != nil {
		t.Fatalf("DropQueue: %v, %v", there, err)
	}
	if there, err := s.Backend.DropQueue(ctx, q.Name()); there || err != nil {
		t.Errorf("DropQueue again: %v, %v", there, err)
	}
	if again, err := s.Backend.FindQueue(ctx, q.Name(), false); again != nil || err != nil {
		t.Errorf("FindQueue of what was dropped: %v, %v", again, err)
	}
	if s.ByName {
		notLeased(t, "Ack of what was dropped", q.Ack(ctx, leased[0].ID))
		nothing(t, q)
	} else {
		if err := q.Ack(ctx, leased[0].ID); !errors.Is(err, mcq.ErrDropped) {
			t.Errorf("Ack: %v", err)
		}
		if _, err := q.Lease(ctx, 1, mcq.LeaseOptions{}); !errors.Is(err, mcq.ErrDropped) {
			t.Errorf("Lease: %v", err)
		}
		if _, err := enqueue(t, q, mcq.Message{Body: []byte("x")}); !errors.Is(err, mcq.ErrDropped) {
			t.Errorf("Enqueue: %v", err)
		}
	}
	fresh := find(t, s.Backend, q.Name())
	nothing(t, fresh)
	put(t, fresh, "new")
	expect(t, "the new queue", lease(t, fresh, 1, long), "new")
}

// Every message goes to one of many readers, each producer's in its order, and
// none comes again once it is acknowledged.
func testCrowd(t *testing.T, s Setup) {
	const producers, consumers, each = 4, 4, 100
	q := find(t, s.Backend, name("q"))
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for i := range each {
				done := make(chan error, 2)
				q.Enqueue(mcq.Message{Body: fmt.Appendf(nil, "%d %d", p, i)}, func(_ mcq.Message, err error) { done <- err })
				if err := <-done; err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var mu sync.Mutex
	seen := make(map[string]int)
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	for range consumers {
		wg.Go(func() {
			last := [producers]int{-1, -1, -1, -1}
			for end := time.Now().Add(2 * patience); count() < producers*each && time.Now().Before(end) && !t.Failed(); {
				msgs, err := q.Lease(t.Context(), 7, mcq.LeaseOptions{Duration: long, Wait: 50 * time.Millisecond})
				if err == nil && len(msgs) > 0 {
					err = q.Ack(t.Context(), ids(msgs)...)
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, m := range msgs {
					seen[string(m.Body)]++
					var p, i int
					if _, err := fmt.Sscanf(string(m.Body), "%d %d", &p, &i); err != nil || p < 0 || p >= producers || i <= last[p] {
						t.Errorf("got %q behind message %d of its producer, %v", m.Body, last[p], err)
					} else {
						last[p] = i
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != producers*each {
		t.Errorf("got %d messages, want %d", len(seen), producers*each)
	}
	for body, n := range seen {
		if n != 1 {
			t.Errorf("%s came %d times", body, n)
		}
	}
}

// mcq.Consume works on the queue: what fails comes again.
func testConsume(t *testing.T, s Setup) {
	q := find(t, s.Backend, name("q"))
	put(t, q, "a", "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	failed := false
	var got []string
	err := mcq.Consume(ctx, q, func(_ context.Context, batch []mcq.Message) error {
		if !failed {
			failed = true
			return errors.New("mcqtest: once")
		}
		if got = append(got, bodies(batch)...); len(got) == 3 {
			cancel()
		}
		return nil
	}, &mcq.ConsumeOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil || !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Fatalf("consumed %q, %v", got, err)
	}
	nothing(t, q)
}

// Of what mcq.Consume is given the bad message alone goes to the dead letters, with
// the error for which it did.
func testDead(t *testing.T, s Setup) {
	if s.Dead == "" {
		return
	}
	const n = 50
	q := find(t, s.Backend, s.Dead)
	for i := range n {
		put(t, q, fmt.Sprint(i))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	seen := make(map[string]bool)
	ended := make(chan error, 2)
	for range cap(ended) {
		go func() {
			ended <- mcq.Consume(ctx, q, func(_ context.Context, batch []mcq.Message) error {
				mu.Lock()
				defer mu.Unlock()
				if slices.Contains(bodies(batch), "7") {
					return errors.New("mcqtest: no sevens,\n50% ä/b=c")
				}
				for _, body := range bodies(batch) {
					seen[body] = true
				}
				return nil
			}, &mcq.ConsumeOptions{Batch: 20, Concurrency: 2, Logger: slog.New(slog.DiscardHandler)})
		}()
	}
	dead := lease(t, find(t, s.Backend, s.Dead+".dead"), 1, long)[0]
	within(t, "the others to be done", func() bool {
		st, err := q.Stats(t.Context())
		must(t, "Stats", err)
		return st.Done == n
	})
	cancel()
	for range cap(ended) {
		must(t, "Consume", <-ended)
	}
	if len(seen) != n-1 {
		t.Errorf("%d messages were processed, want %d", len(seen), n-1)
	}
	d := dead.Dead
	if string(dead.Body) != "7" || d == nil || d.Queue != s.Dead || d.Attempts != 2 {
		t.Fatalf("dead letter %q, %+v", dead.Body, d)
	}
	// It may have to be one line.
	if reason := strings.ReplaceAll(d.Reason, "\n", " "); reason != "mcqtest: no sevens, 50% ä/b=c" {
		t.Errorf("reason %q", d.Reason)
	}
	nothing(t, find(t, s.Backend, s.Dead+".dead"))
}
