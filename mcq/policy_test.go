package mcq_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// bubble runs f on the clock of synctest with a store in memory that reopen
// closes and opens again.
func bubble(t *testing.T, o mcq.Options, f func(t *testing.T, b func() *mcq.Broker, reopen func())) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts := mcq.WithFS(&o, vfs.NewMem())
		b := openBroker(t, "store", opts)
		f(t, func() *mcq.Broker { return b }, func() {
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = openBroker(t, "store", opts)
		})
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func send(t *testing.T, q *mcq.Queue, m mcq.Message) mcq.Message {
	t.Helper()
	msgs := []mcq.Message{m}
	if err := q.Put(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
	return msgs[0]
}

func TestDelay(t *testing.T) {
	for _, memory := range []int{0, 1} {
		bubble(t, mcq.Options{Memory: memory}, func(t *testing.T, b func() *mcq.Broker, reopen func()) {
			q := func() *mcq.Queue { return queue(t, b(), "q") }
			send(t, q(), mcq.Message{Body: []byte("late"), Delay: time.Minute})
			put(t, q(), "a")
			send(t, q(), mcq.Message{Body: []byte("soon"), Delay: 10 * time.Second})
			put(t, q(), "b", "c")
			if s := q().Stats(); s.Delayed != 2 || s.Backlog() != 5 {
				t.Fatalf("stats %+v", s)
			}
			expect(t, "at once", bodies(lease(t, q(), 2, mcq.LeaseOptions{Duration: time.Hour})), "a", "b")
			began := time.Now()
			// Its time has come: it is the next, though it stands behind c.
			time.Sleep(11 * time.Second)
			msgs := lease(t, q(), 9, mcq.LeaseOptions{Duration: time.Hour})
			expect(t, "after 11 s", bodies(msgs), "soon")
			if msgs[0].Attempts != 1 || msgs[0].Delay != 10*time.Second {
				t.Fatalf("got %+v", msgs[0])
			}
			if err := q().Ack(t.Context(), msgs[0].ID); err != nil {
				t.Fatal(err)
			}
			reopen()
			var rest []string // a lease ends where what is missing was acknowledged
			for len(rest) < 3 {
				rest = append(rest, bodies(lease(t, q(), 9, mcq.LeaseOptions{Wait: time.Second, Duration: time.Hour}))...)
			}
			expect(t, "after reopening", rest, "a", "b", "c")
			expect(t, "the late one", bodies(lease(t, q(), 9, mcq.LeaseOptions{Wait: time.Hour})), "late")
			if took := time.Since(began); took < 59*time.Second || took > 61*time.Second {
				t.Fatalf("it came after %v", took)
			}
			// Its time came while the store was closed, or just before.
			send(t, q(), mcq.Message{Body: []byte("x"), Delay: time.Minute})
			time.Sleep(2 * time.Minute)
			reopen()
			var all []string
			for len(all) < 5 {
				all = append(all, bodies(lease(t, q(), 9, mcq.LeaseOptions{Wait: time.Second, Duration: time.Hour}))...)
			}
			slices.Sort(all)
			expect(t, "all again", all, "a", "b", "c", "late", "x")
			if msgs := lease(t, q(), 9, mcq.LeaseOptions{}); len(msgs) > 0 {
				t.Fatalf("twice: %q", bodies(msgs))
			}
		})
	}
}

// A delayed message cannot be acknowledged or extended before it is handed out.
func TestDelayedIsNotLeased(t *testing.T) {
	bubble(t, mcq.Options{}, func(t *testing.T, b func() *mcq.Broker, _ func()) {
		q := queue(t, b(), "q")
		m := send(t, q, mcq.Message{Delay: time.Minute})
		for range 2 {
			if err := q.Ack(t.Context(), m.ID); !errors.Is(err, mcq.ErrNotLeased) {
				t.Errorf("ack: %v", err)
			}
			if err := q.Nack(t.Context(), m.ID); !errors.Is(err, mcq.ErrNotLeased) {
				t.Errorf("nack: %v", err)
			}
			time.Sleep(2 * time.Minute) // its time has come, but nobody has had it
		}
		for _, m := range []mcq.Message{{Delay: -1}, {TTL: -1}, {Delay: 1 << 62}, {Key: strings.Repeat("k", 251)}} {
			if err := q.Put(t.Context(), m); !errors.Is(err, mcq.ErrMessage) {
				t.Errorf("%+v: %v", m, err)
			}
		}
	})
}

func TestExpiry(t *testing.T) {
	for _, memory := range []int{0, 1} {
		bubble(t, mcq.Options{Memory: memory, Queues: map[string]mcq.QueueOptions{"aging": {MaxAge: time.Minute}}}, func(t *testing.T, b func() *mcq.Broker, reopen func()) {
			q := queue(t, b(), "q")
			send(t, q, mcq.Message{Body: []byte("short"), TTL: time.Second})
			send(t, q, mcq.Message{Body: []byte("long"), TTL: time.Hour})
			put(t, q, "for ever")
			held := lease(t, q, 1, mcq.LeaseOptions{Duration: 10 * time.Second})
			expect(t, "in time", bodies(held), "short")
			aging := queue(t, b(), "aging")
			send(t, aging, mcq.Message{Body: []byte("no longer"), TTL: time.Hour})
			time.Sleep(time.Minute)
			// short is back, and too old by now; aging's is too.
			expect(t, "a minute later", bodies(lease(t, q, 9, mcq.LeaseOptions{Wait: time.Second})), "long", "for ever")
			if msgs := lease(t, aging, 9, mcq.LeaseOptions{Wait: time.Second}); len(msgs) > 0 {
				t.Fatalf("got %q", bodies(msgs))
			}
			for _, q := range []*mcq.Queue{q, aging} {
				if s := q.Stats(); s.Expired != 1 || s.Done != 1 {
					t.Errorf("stats %+v", s)
				}
			}
			reopen()
			if s := queue(t, b(), "aging").Stats(); s.Done != 1 || s.Backlog() != 0 {
				t.Errorf("after reopening: %+v", s)
			}
		})
	}
}

func TestLimits(t *testing.T) {
	opts := &mcq.Options{Memory: 1, Queues: map[string]mcq.QueueOptions{
		"length": {MaxLength: 3}, "bytes": {MaxBytes: 10}, "drop": {MaxLength: 3, DropOldest: true}, "dropbytes": {MaxBytes: 10, DropOldest: true},
		"aging": {MaxLength: 2, MaxAge: time.Nanosecond},
	}}
	fs := vfs.NewMem()
	b := openBroker(t, "store", mcq.WithFS(opts, fs))
	ctx := t.Context()

	q := queue(t, b, "length")
	put(t, q, "1", "2", "3")
	if err := q.Put(ctx, mcq.Message{}); !errors.Is(err, mcq.ErrFull) || !strings.Contains(err.Error(), "length") {
		t.Fatalf("put: %v", err)
	}
	held := lease(t, q, 1, mcq.LeaseOptions{})
	if err := q.Put(ctx, mcq.Message{}); !errors.Is(err, mcq.ErrFull) {
		t.Fatalf("put with one leased: %v", err)
	}
	if err := q.Ack(ctx, held[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(ctx, mcq.Message{}, mcq.Message{}); !errors.Is(err, mcq.ErrFull) {
		t.Fatalf("put two where one fits: %v", err)
	}
	put(t, q, "4")

	q = queue(t, b, "bytes")
	put(t, q, "12345", "1234")
	if err := q.Put(ctx, mcq.Message{Body: []byte("12")}); !errors.Is(err, mcq.ErrFull) {
		t.Fatalf("put: %v", err)
	}
	put(t, q, "1")
	if _, err := q.Take(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, q, "54321")
	if s := q.Stats(); s.Bytes != 10 {
		t.Fatalf("stats %+v", s)
	}

	q = queue(t, b, "drop")
	put(t, q, "1", "2", "3")
	lease(t, q, 1, mcq.LeaseOptions{})
	put(t, q, "4", "5")
	if err := q.Put(ctx, mcq.Message{Body: []byte("6")}, mcq.Message{Body: []byte("7")}); err != nil {
		t.Fatal(err)
	}
	expect(t, "the newest", bodies(lease(t, q, 9, mcq.LeaseOptions{})), "6", "7")
	if err := q.Put(ctx, mcq.Message{}); !errors.Is(err, mcq.ErrFull) {
		t.Fatalf("put with all leased: %v", err)
	}
	if s := q.Stats(); s.Put != 7 || s.Discarded != 4 || s.Backlog() != 3 {
		t.Fatalf("stats %+v", s)
	}
	if err := q.Put(ctx, make([]mcq.Message, 4)...); !errors.Is(err, mcq.ErrFull) {
		t.Fatalf("more than fits at all: %v", err)
	}

	q = queue(t, b, "dropbytes")
	for i := range 50 {
		put(t, q, fmt.Sprintf("%04d", i))
	}
	expect(t, "two fit", bodies(lease(t, q, 9, mcq.LeaseOptions{})), "0048", "0049")

	// What has expired is not in the way.
	q = queue(t, b, "aging")
	for range 20 {
		put(t, q, "x")
		time.Sleep(2 * time.Millisecond)
	}

	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, "store", mcq.WithFS(opts, fs))
	expect(t, "length after reopening", bodies(lease(t, queue(t, b, "length"), 9, mcq.LeaseOptions{})), "2", "3", "4")
	if s := queue(t, b, "bytes").Stats(); s.Bytes != 10 {
		t.Errorf("bytes after reopening: %+v", s)
	}
	if err := queue(t, b, "bytes").Put(ctx, mcq.Message{Body: []byte("x")}); !errors.Is(err, mcq.ErrFull) {
		t.Errorf("bytes after reopening: %v", err)
	}
}

// Whatever comes in at once, a queue that drops its oldest ends with the newest.
func TestDropOldestUnderLoad(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queue: mcq.QueueOptions{MaxLength: 10, DropOldest: true}})
	q := queue(t, b, "q")
	done := make(chan error)
	for range 8 {
		go func() {
			var err error
			for range 500 {
				err = errors.Join(err, q.Put(t.Context(), mcq.Message{}))
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	got := ids(lease(t, q, 100, mcq.LeaseOptions{}))
	if len(got) != 10 || got[0] != 3991 || got[9] != 4000 {
		t.Fatalf("left %v", got)
	}
	if s := q.Stats(); s.Discarded != 3990 {
		t.Fatalf("stats %+v", s)
	}
}

func TestDeadLetters(t *testing.T) {
	bubble(t, mcq.Options{Queues: map[string]mcq.QueueOptions{
		"q": {MaxAttempts: 2, DeadLetters: "dead"}, "none": {MaxAttempts: 1}, "full": {MaxAttempts: 1, DeadLetters: "tiny"}, "tiny": {MaxLength: 1},
		"dead": {MaxAttempts: 1, DeadLetters: "dead"},
	}}, func(t *testing.T, b func() *mcq.Broker, reopen func()) {
		ctx := t.Context()
		q := queue(t, b(), "q")
		send(t, q, mcq.Message{Body: []byte("runs out"), Flags: 7, Key: "k"})
		put(t, q, "given back", "rejected", "fine")
		for range 2 {
			msgs := lease(t, q, 2, mcq.LeaseOptions{Duration: time.Second})
			expect(t, "leased", bodies(msgs), "runs out", "given back")
			if err := q.Nack(ctx, msgs[1].ID); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		msgs := lease(t, q, 9, mcq.LeaseOptions{})
		expect(t, "what is left", bodies(msgs), "rejected", "fine")
		if err := q.Reject(ctx, "it has no sense", msgs[0].ID, 99); !errors.Is(err, mcq.ErrNotLeased) {
			t.Fatalf("reject: %v", err)
		}
		if err := q.Ack(ctx, msgs[0].ID); !errors.Is(err, mcq.ErrNotLeased) {
			t.Fatalf("ack of a rejected message: %v", err)
		}
		if s := q.Stats(); s.Buried != 3 || s.Done != 3 || s.Leased != 1 {
			t.Fatalf("stats %+v", s)
		}
		reopen()
		dead := lease(t, queue(t, b(), "dead"), 9, mcq.LeaseOptions{Duration: time.Second})
		expect(t, "dead", bodies(dead), "given back", "runs out", "rejected")
		if d := dead[1].Dead; d == nil || *d != (mcq.Dead{Queue: "q", ID: 1, Attempts: 2, Reason: "the last lease ran out"}) || dead[1].Flags != 7 {
			t.Fatalf("%+v of %+v", d, dead[1])
		}
		if d := dead[2].Dead; d.Reason != "it has no sense" || d.Attempts != 1 {
			t.Fatalf("%+v", d)
		}
		// A dead-letter queue buries nothing in itself.
		time.Sleep(2 * time.Second)
		if s := queue(t, b(), "dead").Stats(); s.Backlog() != 3 || s.Leased != 0 {
			t.Fatalf("stats %+v", s)
		}

		none := queue(t, b(), "none")
		put(t, none, "x")
		lease(t, none, 1, mcq.LeaseOptions{Duration: time.Second})
		time.Sleep(2 * time.Second)
		if s := none.Stats(); s.Buried != 1 || s.Backlog() != 0 {
			t.Fatalf("stats %+v", s)
		}

		// No room for the dead: they are not lost but come again.
		full := queue(t, b(), "full")
		put(t, full, "1", "2")
		for _, m := range lease(t, full, 2, mcq.LeaseOptions{}) {
			err := full.Nack(ctx, m.ID)
			if m.ID == 1 && err != nil || m.ID == 2 && !errors.Is(err, mcq.ErrFull) {
				t.Fatalf("nack %d: %v", m.ID, err)
			}
		}
		expect(t, "not buried", bodies(lease(t, full, 2, mcq.LeaseOptions{})), "2")
	})
}

// Of many messages that are to be buried at once as many go to the dead letters
// as there is room for, also if one of them is too large ever to.
func TestDeadLettersWithLittleRoom(t *testing.T) {
	b := memBroker(t, &mcq.Options{Logger: silent, Queues: map[string]mcq.QueueOptions{
		"q": {MaxAttempts: 1, DeadLetters: "seven"}, "seven": {MaxLength: 7},
		"r": {MaxAttempts: 1, DeadLetters: "bytes"}, "bytes": {MaxBytes: 10},
	}})
	q := queue(t, b, "q")
	if err := q.Put(t.Context(), make([]mcq.Message, 20)...); err != nil {
		t.Fatal(err)
	}
	err := q.Nack(t.Context(), ids(lease(t, q, 20, mcq.LeaseOptions{}))...)
	if !errors.Is(err, mcq.ErrFull) || !strings.Contains(err.Error(), "13 of 20 messages of q") {
		t.Errorf("nack: %v", err)
	}
	if s := q.Stats(); s.Buried != 7 || s.Done != 7 || s.Leased != 0 {
		t.Errorf("%+v", s)
	}
	if n := queue(t, b, "seven").Stats().Backlog(); n != 7 {
		t.Errorf("%d dead letters", n)
	}
	left := lease(t, q, 20, mcq.LeaseOptions{})
	if len(left) != 13 || left[0].ID != 8 {
		t.Errorf("left are %v", ids(left))
	}
	lease(t, queue(t, b, "seven"), 2, mcq.LeaseOptions{})
	if err := queue(t, b, "seven").Ack(t.Context(), 1, 2); err != nil {
		t.Fatal(err)
	}
	if err := q.Reject(t.Context(), "no", ids(left)...); !errors.Is(err, mcq.ErrFull) || !strings.Contains(err.Error(), "11 of 13") {
		t.Errorf("reject: %v", err)
	}

	r := queue(t, b, "r")
	put(t, r, "aaaa", "this is far too large", "bbbb", "cccc")
	err = r.Nack(t.Context(), ids(lease(t, r, 9, mcq.LeaseOptions{}))...)
	if !errors.Is(err, mcq.ErrFull) || !strings.Contains(err.Error(), "2 of 4") {
		t.Errorf("nack: %v", err)
	}
	expect(t, "dead", bodies(lease(t, queue(t, b, "bytes"), 9, mcq.LeaseOptions{})), "aaaa", "bbbb")
	expect(t, "left", bodies(lease(t, r, 9, mcq.LeaseOptions{})), "this is far too large", "cccc")
}

// A subscriber of the dead letters buries nothing in them, or it would get it again
// and again.
func TestDeadLettersHaveSubscribers(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queue: mcq.QueueOptions{MaxAttempts: 1, DeadLetters: "dead"}})
	sub, dead := queue(t, b, "dead+s"), queue(t, b, "dead")
	put(t, dead, "x")
	for range 2 {
		msgs := lease(t, sub, 1, mcq.LeaseOptions{})
		expect(t, "leased", bodies(msgs), "x")
		if err := sub.Nack(t.Context(), msgs[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	if s := dead.Stats(); s.Put != 1 {
		t.Errorf("stats %+v", s)
	}
}

// A holder that is late but faster than the burial wins.
func TestAckBeatsBurial(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queue: mcq.QueueOptions{MaxAttempts: 1, DeadLetters: "dead"}})
	q := queue(t, b, "q")
	const n = 500
	if err := q.Put(t.Context(), make([]mcq.Message, n)...); err != nil {
		t.Fatal(err)
	}
	msgs := lease(t, q, n, mcq.LeaseOptions{})
	acked := 0
	done := make(chan int)
	go func() {
		n := 0
		for _, m := range msgs {
			if q.Ack(t.Context(), m.ID) == nil {
				n++
			}
		}
		done <- n
	}()
	for _, m := range msgs {
		if err := q.Nack(t.Context(), m.ID); err != nil && !errors.Is(err, mcq.ErrNotLeased) {
			t.Fatal(err)
		}
	}
	acked = <-done
	waitFor(t, "all done", func() bool { return q.Stats().Done == n })
	if dead := queue(t, b, "dead").Stats().Put; int(dead)+acked != n {
		t.Fatalf("%d acknowledged, %d dead, of %d", acked, dead, n)
	}
}

func TestSubscribers(t *testing.T) {
	for _, memory := range []int{0, 1} {
		opts := mcq.WithFS(&mcq.Options{Memory: memory}, vfs.NewMem())
		b := openBroker(t, "store", opts)
		put(t, queue(t, b, "q"), "before")
		one := queue(t, b, "q+one")
		put(t, queue(t, b, "q"), "a", "b")
		two := queue(t, b, "q+two")
		put(t, queue(t, b, "q"), "c")
		if err := one.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrName) {
			t.Fatalf("put to a subscriber: %v", err)
		}
		msgs := lease(t, one, 2, mcq.LeaseOptions{})
		expect(t, "one", bodies(msgs), "a", "b")
		if err := one.Ack(t.Context(), msgs[1].ID); err != nil {
			t.Fatal(err)
		}
		if s := one.Stats(); s.Put != 3 || s.Done != 1 || s.Leased != 1 {
			t.Fatalf("stats of one: %+v", s)
		}
		if s := two.Stats(); s.Put != 1 || s.Done != 0 || s.Backlog() != 1 {
			t.Fatalf("stats of two: %+v", s)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = openBroker(t, "store", opts)
		one = queue(t, b, "q+one")
		if got := b.Queues(); !slices.Equal(got, []string{"q", "q+one", "q+two"}) {
			t.Fatalf("queues %q", got)
		}
		put(t, queue(t, b, "q"), "d")
		readAll := func(q *mcq.Queue) (all []string) {
			for {
				m, err := q.Take(t.Context())
				if errors.Is(err, mcq.ErrEmpty) {
					return all
				}
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, string(m.Body))
			}
		}
		expect(t, "one after reopening", readAll(one), "a", "c", "d")
		expect(t, "the queue itself", readAll(queue(t, b, "q")), "before", "a", "b", "c", "d")
		if there, err := b.Drop("q+two"); !there || err != nil {
			t.Fatalf("drop: %v, %v", there, err)
		}
		expect(t, "a new subscriber", readAll(queue(t, b, "q+two")))
		if _, err := b.Drop("q"); err != nil {
			t.Fatal(err)
		}
		if _, err := one.Take(t.Context()); !errors.Is(err, mcq.ErrDropped) {
			t.Fatalf("subscriber of a dropped queue: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = openBroker(t, "store", opts)
		if got := b.Queues(); len(got) != 0 {
			t.Fatalf("queues after dropping: %q", got)
		}
	}
}

// A subscriber that lags behind finds everything that others have consumed long
// ago, and what all have consumed is removed.
func TestSubscribersLag(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Memory: 10_000, Queue: mcq.QueueOptions{FanOut: true}})
	fast, slow := queue(t, b, "q+fast"), queue(t, b, "q+slow")
	q := queue(t, b, "q")
	const n = 20_000
	next := 1
	for range n / 500 {
		batch := make([]mcq.Message, 500)
		for i := range batch {
			batch[i].Body = fmt.Appendf(nil, "%0100d", next)
			next++
		}
		if err := q.Put(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		msgs := lease(t, fast, 1000, mcq.LeaseOptions{})
		for len(msgs) < 500 {
			msgs = append(msgs, lease(t, fast, 1000, mcq.LeaseOptions{})...)
		}
		if err := fast.Ack(t.Context(), ids(msgs)...); err != nil {
			t.Fatal(err)
		}
	}
	if records := mcq.RecordsHeld(b); records != n {
		t.Fatalf("%d records with one subscriber behind", records)
	}
	if s := q.Stats(); s.Backlog() != 0 || s.Put != n {
		t.Fatalf("the queue itself: %+v", s)
	}
	for want := 1; want <= n; {
		msgs := lease(t, slow, 777, mcq.LeaseOptions{})
		for _, m := range msgs {
			if string(m.Body) != fmt.Sprintf("%0100d", want) {
				t.Fatalf("got %q, want %d", m.Body, want)
			}
			want++
		}
		if err := slow.Ack(t.Context(), ids(msgs)...); err != nil {
			t.Fatal(err)
		}
	}
	if records := mcq.RecordsHeld(b); records > 4096 {
		t.Fatalf("%d records are left", records)
	}
	for _, name := range []string{"q+fast", "q+slow"} {
		if _, err := b.Drop(name); err != nil {
			t.Fatal(err)
		}
	}
	put(t, q, "for nobody")
	if s := q.Stats(); s.Backlog() != 0 || s.Put != n+1 {
		t.Fatalf("without subscribers: %+v", s)
	}
}

func TestDedupe(t *testing.T) {
	bubble(t, mcq.Options{Queues: map[string]mcq.QueueOptions{"q": {DedupeWindow: time.Minute}, "off": {DedupeWindow: -1}}}, func(t *testing.T, b func() *mcq.Broker, reopen func()) {
		q := func() *mcq.Queue { return queue(t, b(), "q") }
		first := send(t, q(), mcq.Message{Body: []byte("a"), Key: "k"})
		if m := send(t, q(), mcq.Message{Body: []byte("b"), Key: "k"}); m.ID != first.ID {
			t.Fatalf("put again: id %d, want %d", m.ID, first.ID)
		}
		send(t, q(), mcq.Message{Body: []byte("c"), Key: "other"})
		if m, err := q().Take(t.Context()); err != nil || string(m.Body) != "a" || m.Key != "k" {
			t.Fatalf("took %+v, %v", m, err)
		}
		reopen()
		send(t, q(), mcq.Message{Body: []byte("d"), Key: "k"})
		if s := q().Stats(); s.Put != 2 || s.Duplicates != 2 {
			t.Fatalf("stats %+v", s)
		}
		time.Sleep(61 * time.Second)
		send(t, q(), mcq.Message{Body: []byte("e"), Key: "k"})
		expect(t, "after the window", bodies(lease(t, q(), 9, mcq.LeaseOptions{})), "c", "e")
		for i := range 5000 { // so many that old keys are removed
			time.Sleep(time.Second)
			send(t, q(), mcq.Message{Key: fmt.Sprint(i)})
		}
		if n := mcq.KeysHeld(b()); n > 1500 {
			t.Fatalf("%d keys are remembered", n)
		}
		off := queue(t, b(), "off")
		send(t, off, mcq.Message{Key: "k"})
		if m := send(t, off, mcq.Message{Key: "k"}); m.ID != 2 {
			t.Fatalf("without a window: %d", m.ID)
		}
	})
}

func TestPeekPurgePause(t *testing.T) {
	for _, memory := range []int{0, 1} {
		b := memBroker(t, &mcq.Options{Memory: memory})
		q := queue(t, b, "q")
		ctx := t.Context()
		peek := func(limit int) []string {
			t.Helper()
			msgs, err := q.Peek(ctx, limit)
			if err != nil {
				t.Fatal(err)
			}
			return bodies(msgs)
		}
		expect(t, "peek at nothing", peek(9))
		send(t, q, mcq.Message{Body: []byte("later"), Delay: time.Hour})
		put(t, q, "a", "b", "c", "d")
		expect(t, "peek", peek(2), "a", "b")
		msgs := lease(t, q, 2, mcq.LeaseOptions{})
		expect(t, "leased", bodies(msgs), "a", "b")
		expect(t, "peek", peek(9), "c", "d")
		if err := q.Nack(ctx, msgs[0].ID); err != nil {
			t.Fatal(err)
		}
		expect(t, "peek at what came back", peek(9), "a")
		if s := q.Stats(); s.OldestAge < 0 || s.OldestAge > time.Minute {
			t.Errorf("age %v", s.OldestAge)
		}
		q.Pause()
		if _, err := q.Take(ctx); !errors.Is(err, mcq.ErrEmpty) || !q.Stats().Paused {
			t.Fatalf("take from a paused queue: %v", err)
		}
		waiting := make(chan []string)
		go func() { waiting <- bodies(lease(t, q, 1, mcq.LeaseOptions{Wait: patience})) }()
		select {
		case got := <-waiting:
			t.Fatalf("paused, got %q", got)
		case <-time.After(10 * time.Millisecond):
		}
		q.Resume()
		expect(t, "after Resume", <-waiting, "a")
		if err := q.Nack(ctx, msgs[0].ID); err != nil {
			t.Fatal(err)
		}
		if n, err := q.Purge(ctx); n != 4 || err != nil {
			t.Fatalf("purge: %d, %v", n, err)
		}
		if s := q.Stats(); s.Backlog() != 1 || s.Leased != 1 || s.Delayed != 0 {
			t.Fatalf("after Purge: %+v", s)
		}
		if n, err := q.Purge(ctx); n != 0 || err != nil {
			t.Fatalf("purge again: %d, %v", n, err)
		}
		if err := q.Ack(ctx, msgs[1].ID); err != nil {
			t.Fatal(err)
		}
		put(t, q, "e")
		expect(t, "then", peek(9), "e")
		if _, err := q.Peek(ctx, 0); err == nil {
			t.Error("peek at no messages")
		}
	}
}

func TestQueueOptionsAreCheckedTogether(t *testing.T) {
	_, err := mcq.Open(t.TempDir(), &mcq.Options{
		Queue:  mcq.QueueOptions{MaxLength: -1, MaxBytes: -1, MaxAge: -1},
		Queues: map[string]mcq.QueueOptions{"a b": {}, "x": {MaxAttempts: -1, DeadLetters: "a/b"}, "y": {DeadLetters: "q+s"}},
	})
	for _, part := range []string{"MaxLength", "MaxBytes", "MaxAge", `"a b"`, "of x: MaxAttempts", "of x: DeadLetters", "of y: DeadLetters"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v says nothing about %s", err, part)
		}
	}
}

// A message that is there already needs no room: putting it again drops nothing, and
// is not refused.
func TestDuplicatesNeedNoRoom(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: map[string]mcq.QueueOptions{
		"full": {MaxLength: 1}, "drop": {MaxLength: 2, DropOldest: true}, "bytes": {MaxBytes: 5}, "twice": {MaxLength: 1},
	}})
	ctx := t.Context()
	queue := func(name string) *mcq.Queue {
		q, err := b.Queue(name)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	put := func(q *mcq.Queue, msgs ...mcq.Message) {
		t.Helper()
		if err := q.Put(ctx, msgs...); err != nil {
			t.Errorf("%s: %v", q.Name(), err)
		}
	}
	second := mcq.Message{Body: []byte("second"), Key: "a"}

	full := queue("full")
	put(full, second)
	put(full, second)
	if err := full.Put(ctx, mcq.Message{Body: []byte("third"), Key: "b"}); !errors.Is(err, mcq.ErrFull) {
		t.Errorf("a new one: %v", err)
	}

	drop := queue("drop")
	put(drop, mcq.Message{Body: []byte("first")})
	put(drop, second)
	put(drop, second)
	if m, err := drop.Take(ctx); err != nil || string(m.Body) != "first" {
		t.Errorf("%q, %v", m.Body, err)
	}
	if st := drop.Stats(); st.Discarded != 0 || st.Duplicates != 1 {
		t.Errorf("%+v", st)
	}

	bytes := queue("bytes")
	put(bytes, mcq.Message{Body: []byte("12345"), Key: "a"})
	put(bytes, mcq.Message{Body: []byte("12345"), Key: "a"})

	twice := queue("twice")
	put(twice, second, second)
	if n := twice.Stats().Backlog(); n != 1 {
		t.Errorf("backlog %d", n)
	}
}

// With MaxBytes what was delayed, or handed out for the last time, when the store was
// closed keeps its size.
func TestMaxBytesAfterOpen(t *testing.T) {
	dir := t.TempDir()
	opts := &mcq.Options{Logger: silent, Queues: map[string]mcq.QueueOptions{
		"delayed": {MaxBytes: 40, DropOldest: true}, "tried": {MaxBytes: 40, MaxAttempts: 1, DeadLetters: "dead"},
	}}
	b := openBroker(t, dir, opts)
	for i := range 4 {
		m := mcq.Message{Body: fmt.Appendf(nil, "%010d", i), Delay: 300 * time.Millisecond}
		if err := queue(t, b, "delayed").Put(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	put(t, queue(t, b, "tried"), "0123456789")
	lease(t, queue(t, b, "tried"), 1, mcq.LeaseOptions{})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, dir, opts)
	q := queue(t, b, "delayed")
	waitFor(t, "the delay", func() bool { return q.Stats().Delayed == 0 })
	put(t, q, "one more")
	if s := q.Stats(); s.Discarded != 1 || s.Bytes != 38 {
		t.Errorf("%d dropped for one, %d bytes", s.Discarded, s.Bytes)
	}
	tried := queue(t, b, "tried")
	waitFor(t, "the burial", func() bool { return tried.Stats().Done == 1 })
	if s := tried.Stats(); s.Bytes != 0 || s.Buried != 1 {
		t.Errorf("%d bytes of nothing, %d buried", s.Bytes, s.Buried)
	}
}
