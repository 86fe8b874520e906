package mcq_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

func TestOrderAcrossReopen(t *testing.T) {
	opts := mcq.WithFS(nil, vfs.NewMem())
	b := openBroker(t, "store", opts)
	q := queue(t, b, "q")
	put(t, q, "a", "b", "", "d")
	for _, want := range []string{"a", "b"} {
		if m, err := q.Take(t.Context()); err != nil || string(m.Body) != want {
			t.Fatalf("take: %q, %v; want %q", m.Body, err, want)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, "store", opts)
	q = queue(t, b, "q")
	s := q.Stats()
	if s.Put != 4 || s.Done != 2 || s.Backlog() != 2 {
		t.Fatalf("after reopening: %+v", s)
	}
	put(t, q, "e")
	msgs := lease(t, q, 10, mcq.LeaseOptions{})
	expect(t, "after reopening", bodies(msgs), "", "d", "e")
	if !slices.Equal(ids(msgs), []uint64{3, 4, 5}) {
		t.Fatalf("ids %v", ids(msgs))
	}
	if _, err := q.Take(t.Context()); !errors.Is(err, mcq.ErrEmpty) {
		t.Fatalf("take from an empty queue: %v", err)
	}
}

func TestMessageKeepsItsFields(t *testing.T) {
	opts := mcq.WithFS(&mcq.Options{Memory: 1}, vfs.NewMem()) // so that it is read from the store
	b := openBroker(t, "store", opts)
	sc := watchman.SpanContext{TraceID: [16]byte{1, 2}, SpanID: [8]byte{3}, Flags: 1}
	if !sc.IsValid() {
		t.Fatal("the span context is not valid")
	}
	in := mcq.Message{Body: []byte{0, 0xff, '\r', '\n'}, Flags: 1<<32 - 1, Trace: sc}
	before := time.Now().Truncate(time.Millisecond)
	msgs := []mcq.Message{in}
	if err := queue(t, b, "q").Put(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	if msgs[0].ID != 1 || msgs[0].Enqueued.Before(before) || msgs[0].Enqueued.After(after) {
		t.Fatalf("put left %+v", msgs[0])
	}
	in.Body[0] = 9 // ours again
	m, err := queue(t, b, "q").Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(m.Body, []byte{0, 0xff, '\r', '\n'}) || m.Flags != in.Flags || m.Trace.TraceID != sc.TraceID || m.Trace.SpanID != sc.SpanID ||
		!m.Enqueued.Equal(msgs[0].Enqueued) || m.ID != 1 || m.Attempts != 1 {
		t.Fatalf("got %+v", m)
	}
}

// A batch is stored as a whole, without others between its messages.
func TestBatchStaysTogether(t *testing.T) {
	q := queue(t, memBroker(t, &mcq.Options{Sync: mcq.Never}), "q")
	const producers, rounds, size = 8, 20, 5
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for r := range rounds {
				batch := make([]mcq.Message, size)
				for i := range batch {
					batch[i].Body = fmt.Appendf(nil, "%d/%d/%d", p, r, i)
				}
				if err := q.Put(t.Context(), batch...); err != nil {
					t.Error(err)
				}
				for i := 1; i < size; i++ {
					if batch[i].ID != batch[0].ID+uint64(i) {
						t.Errorf("ids of a batch: %v", ids(batch))
					}
				}
			}
		})
	}
	wg.Wait()
	next := make(map[string]int)
	for range producers * rounds {
		msgs := lease(t, q, size, mcq.LeaseOptions{})
		var p, r, i int
		for n, m := range msgs {
			if _, err := fmt.Sscanf(string(m.Body), "%d/%d/%d", &p, &r, &i); err != nil || i != n {
				t.Fatalf("batch %q", bodies(msgs))
			}
		}
		key := fmt.Sprint(p)
		if next[key] != r {
			t.Fatalf("producer %d: round %d, want %d", p, r, next[key])
		}
		next[key]++
	}
}

func TestTooLargeStoresNothing(t *testing.T) {
	q := queue(t, memBroker(t, &mcq.Options{MaxMessage: 10}), "q")
	err := q.Put(t.Context(), mcq.Message{Body: make([]byte, 10)}, mcq.Message{Body: make([]byte, 11)})
	if !errors.Is(err, mcq.ErrTooLarge) || !strings.Contains(err.Error(), "11 bytes, limit 10: put to q, message 1") {
		t.Fatalf("put: %v", err)
	}
	if s := q.Stats(); s.Put != 0 {
		t.Fatalf("stats %+v", s)
	}
	if err := q.Put(t.Context()); err != nil {
		t.Fatalf("put of nothing: %v", err)
	}
}

func TestNames(t *testing.T) {
	b := memBroker(t, &mcq.Options{MaxQueues: 2})
	for _, name := range []string{"", strings.Repeat("n", 201), "a b", "a/b", "+b", "a+", "a+b+c", "a~", "a\x00", "a\n", "\x7f"} {
		if _, err := b.Queue(name); !errors.Is(err, mcq.ErrName) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{strings.Repeat("n", 200), "微博.#:日"} {
		if _, err := b.Queue(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := b.Queue("third"); !errors.Is(err, mcq.ErrTooMany) {
		t.Errorf("third queue: %v", err)
	}
	if got := len(b.Queues()); got != 2 {
		t.Errorf("%d queues", got)
	}
}

func TestDrop(t *testing.T) {
	opts := mcq.WithFS(nil, vfs.NewMem())
	b := openBroker(t, "store", opts)
	old := queue(t, b, "q")
	put(t, old, "a", "b")
	held := lease(t, old, 1, mcq.LeaseOptions{})
	waiting := make(chan error, 1)
	empty := queue(t, b, "empty")
	go func() {
		_, err := empty.Lease(t.Context(), 1, mcq.LeaseOptions{Wait: patience})
		waiting <- err
	}()
	for _, name := range []string{"q", "empty"} {
		if there, err := b.Drop(name); !there || err != nil {
			t.Fatalf("drop %s: %v, %v", name, there, err)
		}
	}
	if there, err := b.Drop("q"); there || err != nil {
		t.Fatalf("drop again: %v, %v", there, err)
	}
	if err := <-waiting; !errors.Is(err, mcq.ErrDropped) {
		t.Fatalf("waiting reader got %v", err)
	}
	_, takeErr := old.Take(t.Context())
	for what, err := range map[string]error{
		"put": old.Put(t.Context(), mcq.Message{}), "take": takeErr, "ack": old.Ack(t.Context(), held[0].ID),
		"nack": old.Nack(t.Context(), held[0].ID), "extend": old.Extend(t.Context(), held[0].ID, 0),
	} {
		if !errors.Is(err, mcq.ErrDropped) {
			t.Errorf("%s: %v", what, err)
		}
	}
	put(t, queue(t, b, "q"), "new")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, "store", opts)
	if got := b.Queues(); !slices.Equal(got, []string{"q"}) {
		t.Fatalf("queues after reopening: %q", got)
	}
	expect(t, "new queue of the name", bodies(lease(t, queue(t, b, "q"), 9, mcq.LeaseOptions{})), "new")
}

// Dropping and making queues of one name while others write to it must neither
// block nor lose what was put into the last one.
func TestDropUnderLoad(t *testing.T) {
	opts := mcq.WithFS(&mcq.Options{Sync: mcq.Never}, vfs.NewMem())
	b := openBroker(t, "store", opts)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				q, err := b.Queue("q")
				if err == nil {
					err = q.Put(t.Context(), mcq.Message{Body: make([]byte, 100)})
				}
				if err != nil && !errors.Is(err, mcq.ErrDropped) {
					t.Error(err)
					return
				}
			}
		})
	}
	for range 200 {
		if _, err := b.Drop("q"); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	if _, err := b.Drop("q"); err != nil {
		t.Fatal(err)
	}
	put(t, queue(t, b, "q"), "last")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, "last", bodies(lease(t, queue(t, openBroker(t, "store", opts), "q"), 9, mcq.LeaseOptions{})), "last")
}

func TestClosed(t *testing.T) {
	b := memBroker(t, nil)
	q := queue(t, b, "q")
	put(t, q, "a", "b")
	held := lease(t, q, 1, mcq.LeaseOptions{})
	waiting := make(chan error, 1)
	empty := queue(t, b, "empty")
	go func() {
		_, err := empty.Lease(t.Context(), 1, mcq.LeaseOptions{Wait: patience})
		waiting <- err
	}()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := <-waiting; !errors.Is(err, mcq.ErrClosed) {
		t.Errorf("waiting reader got %v", err)
	}
	_, leaseErr := q.Lease(t.Context(), 1, mcq.LeaseOptions{})
	_, takeErr := q.Take(t.Context())
	_, queueErr := b.Queue("other")
	_, dropErr := b.Drop("q")
	for what, err := range map[string]error{
		"put": q.Put(t.Context(), mcq.Message{}), "lease": leaseErr, "take": takeErr, "ack": q.Ack(t.Context(), held[0].ID),
		"nack": q.Nack(t.Context(), held[0].ID), "extend": q.Extend(t.Context(), held[0].ID, 0), "queue": queueErr, "drop": dropErr,
	} {
		if !errors.Is(err, mcq.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

func TestOptionsAreCheckedTogether(t *testing.T) {
	_, err := mcq.Open(t.TempDir(), &mcq.Options{Sync: 7, SyncInterval: -1, MaxMessage: -1, MaxQueues: -1, Memory: -1, TotalMemory: -1})
	for _, part := range []string{"Sync 7", "SyncInterval", "MaxMessage", "MaxQueues", "Options.Memory", "TotalMemory"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v says nothing about %s", err, part)
		}
	}
	if _, err := mcq.NewServer(nil, &mcq.ServerOptions{MaxConns: -1}); err == nil {
		t.Error("NewServer took no broker and a negative limit")
	}
	for _, addr := range []string{"", "nowhere", "[::1"} {
		if _, err := mcq.Dial(addr, nil); err == nil {
			t.Errorf("Dial took %q", addr)
		}
	}
	if _, err := mcq.Dial("x:1", &mcq.ClientOptions{Timeout: -1, MaxMessage: -1}); err == nil {
		t.Error("Dial took negative options")
	}
}

// What does not fit in memory is read from the store; there are messages of
// all ages, and some were acknowledged out of order before a restart.
func TestBacklogBeyondMemory(t *testing.T) {
	opts := mcq.WithFS(&mcq.Options{Sync: mcq.Never, Memory: 64 << 10}, vfs.NewMem())
	b := openBroker(t, "store", opts)
	q := queue(t, b, "q")
	const n = 20_000
	batch := make([]mcq.Message, 500)
	for i := range n {
		batch[i%500] = mcq.Message{Body: fmt.Appendf(nil, "%06d", i+1)}
		if i%500 == 499 {
			if err := q.Put(t.Context(), batch...); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := uint64(1)
	check := func(limit int, upTo uint64) {
		t.Helper()
		for want <= upTo {
			msgs := lease(t, q, limit, mcq.LeaseOptions{})
			if len(msgs) == 0 {
				t.Fatalf("empty before message %d", want)
			}
			var odd []uint64
			for _, m := range msgs {
				if m.ID != want || string(m.Body) != fmt.Sprintf("%06d", want) {
					t.Fatalf("got message %d %q, want %d", m.ID, m.Body, want)
				}
				want++
				if m.ID > 9000 && m.ID < 9500 && m.ID%2 == 0 {
					continue // stays leased
				}
				odd = append(odd, m.ID)
			}
			if err := q.Ack(t.Context(), odd...); err != nil {
				t.Fatal(err)
			}
		}
	}
	check(77, 12_000)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, "store", opts)
	q = queue(t, b, "q")
	taken := want
	for want = 9002; want < 9500; want += 2 {
		m, err := q.Take(t.Context())
		if err != nil || m.ID != want {
			t.Fatalf("after reopening: message %d, %v; want %d", m.ID, err, want)
		}
	}
	want = taken
	check(1000, n)
	if s := q.Stats(); s.Put != n || s.Done != n || s.Leased != 0 {
		t.Fatalf("at the end: %+v", s)
	}
}

func TestStats(t *testing.T) {
	b := memBroker(t, nil)
	put(t, queue(t, b, "b"), "1", "2", "3")
	a := queue(t, b, "a")
	put(t, a, "1")
	msgs := lease(t, queue(t, b, "b"), 2, mcq.LeaseOptions{})
	if err := queue(t, b, "b").Ack(t.Context(), msgs[0].ID); err != nil {
		t.Fatal(err)
	}
	s := b.Stats()
	if len(s.Queues) != 2 || s.Queues[0].Name != "a" || s.Queues[1].Name != "b" || s.Groups == 0 || s.Bytes == 0 {
		t.Fatalf("stats %+v", s)
	}
	if q := s.Queues[1]; q.Put != 3 || q.Done != 1 || q.Leased != 1 || q.Backlog() != 2 || q.OldestAge < 0 {
		t.Fatalf("stats of b: %+v", q)
	}
}

// Without MaxBytes, Bytes is of what was put since Open, whatever becomes of what was
// there before.
func TestBytesSinceOpen(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, dir, nil)
	put(t, queue(t, b, "q"), "1old", "2old", "3old", "4old", "5old", "6old")
	if s := queue(t, b, "q").Stats(); s.Bytes != 24 {
		t.Errorf("%+v", s)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	q := queue(t, openBroker(t, dir, nil), "q")
	put(t, q, "first", "second")
	is := func(what string, want int64) {
		t.Helper()
		if s := q.Stats(); s.Bytes != want {
			t.Errorf("%s: %d bytes, want %d", what, s.Bytes, want)
		}
	}
	is("put", 11)
	for range 2 {
		if _, err := q.Take(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	msgs := lease(t, q, 2, mcq.LeaseOptions{})
	if err := errors.Join(q.Ack(t.Context(), msgs[0].ID), q.Reject(t.Context(), "no", msgs[1].ID)); err != nil {
		t.Fatal(err)
	}
	is("four are gone", 11)
	lease(t, q, 1, mcq.LeaseOptions{})
	if n, err := q.Purge(t.Context()); n != 3 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	is("purged", 0)
	put(t, q, "third")
	is("put again", 5)
}

// A message that is leased, and may be stuck with its reader, counts for the age of
// the oldest; one that waits for its time does not.
func TestOldestAge(t *testing.T) {
	q := queue(t, memBroker(t, nil), "q")
	age := func(what string, some bool) {
		t.Helper()
		if !some {
			if age := q.Stats().OldestAge; age != 0 {
				t.Errorf("%s: %v", what, age)
			}
			return
		}
		waitFor(t, what, func() bool { return q.Stats().OldestAge > time.Millisecond })
	}
	age("empty", false)
	send(t, q, mcq.Message{Body: []byte("late"), Delay: time.Hour})
	age("delayed", false)
	put(t, q, "1", "2")
	age("waiting", true)
	msgs := lease(t, q, 2, mcq.LeaseOptions{Duration: time.Hour})
	age("leased behind a delayed one", true)
	for _, m := range msgs {
		if err := q.Ack(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
	}
	age("acknowledged", false)
	q = queue(t, memBroker(t, nil), "q")
	put(t, q, "1")
	age("waiting", true)
	put(t, q, "2")
	msgs = lease(t, q, 1, mcq.LeaseOptions{Duration: time.Hour})
	began := time.Now()
	if age, want := q.Stats().OldestAge, began.Sub(msgs[0].Enqueued); age < want {
		t.Errorf("the first message is leased and %v old at least, the age is %v", want, age)
	}
	if err := q.Nack(t.Context(), msgs[0].ID); err != nil {
		t.Fatal(err)
	}
	age("given back", true)
}
