package jetqueue_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
	"github.com/heddle-go/heddle/watchman"
)

// The interfaces that a Queue and a Cluster are made for.
var (
	_ mcq.Source       = (*jetqueue.Queue)(nil)
	_ mcq.BackendQueue = (*jetqueue.Queue)(nil)
	_ mcq.Backend      = (*jetqueue.Cluster)(nil)
)

func TestOrder(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	q := queue(t, c, "q")
	msgs := []mcq.Message{
		{Body: []byte("a"), Flags: 7},
		{Body: []byte{}, Flags: 1<<32 - 1},
		{Body: []byte("c\r\n\x00")},
	}
	if err := q.Put(t.Context(), msgs...); err != nil {
		t.Fatal(err)
	}
	for i, m := range msgs {
		if m.ID != msgs[0].ID+uint64(i) || m.ID == 0 || time.Since(m.Enqueued) > time.Hour {
			t.Errorf("message %d: id %d, enqueued %v", i, m.ID, m.Enqueued)
		}
	}
	got := leaseAll(t, q, 3)
	for i, m := range got {
		if string(m.Body) != string(msgs[i].Body) || m.Flags != msgs[i].Flags || m.ID != msgs[i].ID || m.Attempts != 1 || m.Enqueued.IsZero() {
			t.Errorf("message %d: %+v, want %+v", i, m, msgs[i])
		}
	}
	if more := lease(t, q, 1, mcq.LeaseOptions{}); len(more) > 0 {
		t.Errorf("handed out twice: %v", more)
	}
	if err := q.Ack(t.Context(), ids(got)...); err != nil {
		t.Fatal(err)
	}
	if err := q.Ack(t.Context(), got[0].ID); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("acknowledged again: %v", err)
	}
	waitFor(t, "nothing to be left", func() bool { return backlog(t, q) == 0 })
	st, err := q.Stats(t.Context())
	if err != nil || st.Put != 3 || st.Done != 3 || st.Leased != 0 || st.Name != "q" {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestGiveBack(t *testing.T) {
	t.Parallel()
	q := queue(t, open(t, nil), "q")
	put(t, q, "a", "b", "c")
	got := leaseAll(t, q, 2)
	if err := q.Nack(t.Context(), ids(got)...); err != nil {
		t.Fatal(err)
	}
	again := leaseAll(t, q, 3)
	if bodies(again) != "a b c" || again[0].Attempts != 2 || again[2].Attempts != 1 {
		t.Errorf("got %s, attempts %d and %d", bodies(again), again[0].Attempts, again[2].Attempts)
	}
	if err := q.Nack(t.Context(), 999); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("gave back what was not leased: %v", err)
	}
	began := time.Now()
	if err := q.NackAfter(t.Context(), 700*time.Millisecond, again[0].ID); err != nil {
		t.Fatal(err)
	}
	late := leaseAll(t, q, 1)
	if bodies(late) != "a" || time.Since(began) < 600*time.Millisecond {
		t.Errorf("got %s after %v", bodies(late), time.Since(began))
	}
}

// A lease is as long as was asked for, whatever Failover says.
func TestLeaseDuration(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Failover: 2 * time.Second})
	q := queue(t, c, "q")
	put(t, q, "long", "extended", "short")
	long := lease(t, q, 1, mcq.LeaseOptions{Duration: time.Hour, Wait: patience})
	extended := lease(t, q, 1, mcq.LeaseOptions{Duration: 2 * time.Minute, Wait: patience})
	if err := q.Extend(t.Context(), extended[0].ID, time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := q.Extend(t.Context(), 999, time.Hour); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("extended what was not leased: %v", err)
	}
	short := lease(t, q, 1, mcq.LeaseOptions{Duration: 100 * time.Millisecond, Wait: patience})
	again := leaseAll(t, q, 1)
	if bodies(short) != "short" || bodies(again) != "short" {
		t.Fatalf("%s came, then %s", bodies(short), bodies(again))
	}
	if c.Stats().Expired != 1 {
		t.Errorf("%d leases ran out", c.Stats().Expired)
	}
	// Longer than the server would wait.
	if msgs := lease(t, q, 9, mcq.LeaseOptions{Wait: 3 * time.Second}); len(msgs) > 0 {
		t.Fatalf("%s came again", bodies(msgs))
	}
	if err := q.Ack(t.Context(), long[0].ID, extended[0].ID, again[0].ID); err != nil {
		t.Error(err)
	}
}

// What a process had leased that vanishes comes again.
func TestVanishedProcess(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	other := open(t, &jetqueue.Options{Prefix: prefix, Failover: time.Second})
	nc := connect(t, commonServers(t))
	c, err := jetqueue.Open(t.Context(), nc, &jetqueue.Options{Prefix: prefix, Failover: time.Second, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	q := queue(t, c, "q")
	put(t, queue(t, other, "q"), "a")
	got := leaseAll(t, q, 1)
	nc.Close()
	again := leaseAll(t, queue(t, other, "q"), 1)
	if again[0].ID != got[0].ID || again[0].Attempts < 2 {
		t.Errorf("got %+v", again[0])
	}
	if err := q.Ack(t.Context(), got[0].ID); !mcq.Retryable(err) {
		t.Errorf("acknowledged without a connection: %v", err)
	}
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("x")}); !mcq.Retryable(err) {
		t.Errorf("put without a connection: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// What is leased when a Cluster is closed is given back at once.
func TestClose(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	c, other := open(t, &jetqueue.Options{Prefix: prefix}), open(t, &jetqueue.Options{Prefix: prefix})
	q := queue(t, c, "q")
	put(t, q, "a")
	leaseAll(t, q, 1)
	waiting := make(chan error, 1)
	go func() {
		_, err := q.Lease(context.Background(), 1, mcq.LeaseOptions{Wait: time.Hour})
		waiting <- err
	}()
	waitFor(t, "both to be counted", func() bool { return c.Stats().Leased == 1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; !errors.Is(err, mcq.ErrClosed) {
		t.Errorf("who waited got %v", err)
	}
	if got := leaseAll(t, queue(t, other, "q"), 1); bodies(got) != "a" {
		t.Errorf("got %s", bodies(got))
	}
	if err := c.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
	_, qerr := c.Queue(t.Context(), "r")
	_, lerr := q.Lease(t.Context(), 1, mcq.LeaseOptions{})
	done := make(chan error, 1)
	q.Enqueue(mcq.Message{}, func(_ mcq.Message, err error) { done <- err })
	for what, err := range map[string]error{
		"Queue": qerr, "Lease": lerr, "Put": q.Put(t.Context(), mcq.Message{}), "Ack": q.Ack(t.Context(), 1), "Nack": q.Nack(t.Context(), 1),
		"Extend": q.Extend(t.Context(), 1, 0), "Enqueue": <-done,
	} {
		if !errors.Is(err, mcq.ErrClosed) {
			t.Errorf("%s on what is closed: %v", what, err)
		}
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	q := queue(t, open(t, nil), "q")
	if _, err := q.Take(t.Context()); !errors.Is(err, mcq.ErrEmpty) {
		t.Errorf("took from an empty queue: %v", err)
	}
	put(t, q, "a", "b", "c")
	waitFor(t, "the first to come", func() bool {
		m, err := q.Take(t.Context())
		return err == nil && string(m.Body) == "a"
	})
	if msgs, err := q.Remove(t.Context(), 9, patience); err != nil || bodies(msgs) != "b c" {
		t.Errorf("removed %s, %v", bodies(msgs), err)
	}
	waitFor(t, "nothing to be left", func() bool { return backlog(t, q) == 0 })
}

func TestDelayAndExpiry(t *testing.T) {
	t.Parallel()
	q := queue(t, open(t, nil), "q")
	began := time.Now()
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("late"), Delay: 1500 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("expires"), TTL: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	put(t, q, "now")
	// Whoever reads first sees the others; what expires does so unread.
	waitFor(t, "a message to expire", func() bool { return backlog(t, q) <= 2 })
	got := leaseAll(t, q, 2)
	if bodies(got) != "now late" && bodies(got) != "late now" || slices.ContainsFunc(got, func(m mcq.Message) bool { return m.Attempts != 1 }) {
		t.Errorf("got %s, attempts %d, %d", bodies(got), got[0].Attempts, got[1].Attempts)
	}
	if took := time.Since(began); took < 1500*time.Millisecond {
		t.Errorf("the delayed message came after %v", took)
	}
	for _, m := range []mcq.Message{{Delay: -1}, {TTL: -1}, {Key: strings.Repeat("x", 251)}, {Delay: 1 << 62}} {
		if err := q.Put(t.Context(), m); !errors.Is(err, mcq.ErrMessage) {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestDedupe(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	q := queue(t, c, "q")
	var first uint64
	for i := range 3 {
		msgs := []mcq.Message{{Body: []byte("once"), Key: "order\r\n 7"}}
		if err := q.Put(t.Context(), msgs...); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = msgs[0].ID
		} else if msgs[0].ID != first {
			t.Errorf("stored as %d, then as %d", first, msgs[0].ID)
		}
	}
	put(t, q, "same body", "same body")
	if got := leaseAll(t, q, 3); bodies(got) != "once same body same body" || got[0].Key != "order\r\n 7" || got[1].Key != "" {
		t.Errorf("got %+v", got)
	}
	if n := c.Stats().Duplicates; n != 2 {
		t.Errorf("%d duplicates", n)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Queue: mcq.QueueOptions{MaxLength: 3}})
	q := queue(t, c, "q")
	put(t, q, "a", "b", "c")
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("d")}); !errors.Is(err, mcq.ErrFull) {
		t.Fatalf("a fourth message: %v", err)
	}
	if c.Stats().Full != 1 {
		t.Errorf("%+v", c.Stats())
	}
	got := leaseAll(t, q, 1)
	if err := q.Ack(t.Context(), got[0].ID); err != nil {
		t.Fatal(err)
	}
	put(t, q, "d") // the room is there at once
	if got := leaseAll(t, q, 3); bodies(got) != "b c d" {
		t.Errorf("got %s", bodies(got))
	}
	if err := q.Put(t.Context(), mcq.Message{Body: make([]byte, c.MaxMessage()+1)}); !errors.Is(err, mcq.ErrTooLarge) {
		t.Errorf("too large a message: %v", err)
	}

	oldest := queue(t, open(t, &jetqueue.Options{Queue: mcq.QueueOptions{MaxLength: 3, DropOldest: true}}), "q")
	put(t, oldest, "a", "b", "c", "d", "e")
	waitFor(t, "the oldest to be dropped", func() bool { return backlog(t, oldest) == 3 })
	if got := leaseAll(t, oldest, 3); bodies(got) != "c d e" {
		t.Errorf("got %s", bodies(got))
	}
	large := make([]byte, c.MaxMessage())
	if err := oldest.Put(t.Context(), mcq.Message{Body: large}); err != nil {
		t.Errorf("as large a message as may be: %v", err)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Queue: mcq.QueueOptions{MaxAttempts: 2, DeadLetters: "q.dead"}})
	q := queue(t, c, "q")
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("poison"), Flags: 5}, mcq.Message{Body: []byte("good")}); err != nil {
		t.Fatal(err)
	}
	for attempt := 1; attempt <= 2; attempt++ {
		got := leaseAll(t, q, 1)
		if bodies(got) != "poison" || got[0].Attempts != attempt {
			t.Fatalf("attempt %d: %+v", attempt, got)
		}
		if err := q.Nack(t.Context(), got[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	good := leaseAll(t, q, 1)
	if bodies(good) != "good" {
		t.Fatalf("got %s", bodies(good))
	}
	dead := queue(t, c, "q.dead")
	for attempt := 1; attempt <= 4; attempt++ { // a dead letter is not buried again
		got := leaseAll(t, dead, 1)
		if m := got[0]; bodies(got) != "poison" || m.Flags != 5 || m.Key != "" || m.Dead == nil || m.Attempts != attempt {
			t.Fatalf("got %+v", got)
		} else if d := *m.Dead; d != (mcq.Dead{Queue: "q", ID: 1, Attempts: 2, Reason: "its last lease was given back"}) {
			t.Fatalf("dead letter %+v", d)
		}
		if err := dead.Nack(t.Context(), got[0].ID); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the dead letter to leave the queue", func() bool { return backlog(t, q) == 1 && c.Stats().Buried == 1 })

	if err := q.Reject(t.Context(), "bad\r\nbody", good[0].ID, 999); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("rejected one that is not leased, too: %v", err)
	}
	if err := q.Ack(t.Context(), good[0].ID); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("acknowledged what was rejected: %v", err)
	}
	got := leaseAll(t, dead, 2)
	if m := got[1]; string(m.Body) != "good" || m.Dead == nil || *m.Dead != (mcq.Dead{Queue: "q", ID: 2, Attempts: 1, Reason: "bad  body"}) {
		t.Errorf("got %+v, %+v", m, m.Dead)
	}
	waitFor(t, "the queue to be empty", func() bool { return backlog(t, q) == 0 })
}

// Why a message was given back for the last time is kept with it, on one line; if
// it cannot be buried then, it is when there is room.
func TestNackReason(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Failover: time.Hour, Queues: map[string]mcq.QueueOptions{
		"q": {MaxAttempts: 2, DeadLetters: "dead"}, "crowded": {MaxAttempts: 1, DeadLetters: "tiny"}, "tiny": {MaxLength: 1},
	}})
	q, dead := queue(t, c, "q"), queue(t, c, "dead")
	for given, want := range map[string]string{
		"":                        "its last lease was given back",
		"50% of \"ä/b\"\r\nis no": "50% of \"ä/b\"  is no",
		"cut \xff off":            "cut ? off",
		strings.Repeat("€", 1000): strings.Repeat("€", 333) + "?",
	} {
		put(t, q, "bad")
		for _, reason := range []string{"not yet", given} {
			if err := q.NackReason(t.Context(), reason, leaseAll(t, q, 1)[0].Receipt); err != nil {
				t.Fatal(err)
			}
		}
		got := leaseAll(t, dead, 1)[0]
		if got.Dead == nil || got.Dead.Reason != want || got.Dead.Attempts != 2 {
			t.Errorf("%+v, want %q", got.Dead, want)
		}
		if err := dead.Ack(t.Context(), got.ID); err != nil {
			t.Fatal(err)
		}
		if err := q.NackReason(t.Context(), given, 999); !errors.Is(err, mcq.ErrNotLeased) {
			t.Errorf("of what is not leased: %v", err)
		}
	}

	crowded, tiny := queue(t, c, "crowded"), queue(t, c, "tiny")
	put(t, tiny, "there")
	put(t, crowded, "bad", "worse")
	got := leaseAll(t, crowded, 2)
	if err := crowded.NackReason(t.Context(), "no", ids(got[:1])...); !errors.Is(err, mcq.ErrFull) {
		t.Errorf("buried where there is no room: %v", err)
	}
	if err := tiny.Ack(t.Context(), ids(leaseAll(t, tiny, 1))...); err != nil {
		t.Fatal(err)
	}
	// It is looked for when somebody asks for messages.
	waitFor(t, "it to be buried", func() bool {
		if msgs, err := crowded.Lease(t.Context(), 1, mcq.LeaseOptions{}); len(msgs) > 0 || err != nil {
			t.Fatalf("handed out once more: %+v, %v", msgs, err)
		}
		return c.Stats().Buried == 5
	})
	if m := leaseAll(t, tiny, 1)[0]; string(m.Body) != "bad" || m.Dead == nil || m.Dead.Attempts != 1 {
		t.Errorf("%+v", m)
	}
}

// The dead letters of a queue are not taken for those of one that had its name before.
func TestDeadLettersOfNamesakes(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Queue: mcq.QueueOptions{DeadLetters: "dead"}})
	for _, body := range []string{"first", "second"} {
		q := queue(t, c, "q")
		put(t, q, body)
		if err := q.Reject(t.Context(), "no", leaseAll(t, q, 1)[0].ID); err != nil {
			t.Fatal(err)
		}
		if got := leaseAll(t, queue(t, c, "dead"), 1); bodies(got) != body {
			t.Errorf("got %s", bodies(got))
		}
		if _, err := c.Drop(t.Context(), "q"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSubscribers(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	q := queue(t, c, "q")
	put(t, q, "before")
	s1 := queue(t, c, "q+one")
	s2 := queue(t, c, "q+two")
	put(t, q, "a", "b")
	for _, s := range []*jetqueue.Queue{s1, s2} {
		got := leaseAll(t, s, 2)
		if bodies(got) != "a b" {
			t.Errorf("%s got %s", s.Name(), bodies(got))
		}
		if s == s1 {
			if err := s.Ack(t.Context(), ids(got)...); err != nil {
				t.Fatal(err)
			}
		} else if err := s.Nack(t.Context(), ids(got)...); err != nil {
			t.Fatal(err)
		}
	}
	got := leaseAll(t, q, 3)
	if bodies(got) != "before a b" {
		t.Errorf("the queue got %s", bodies(got))
	}
	if err := q.Ack(t.Context(), ids(got)...); err != nil {
		t.Fatal(err)
	}
	// The second subscriber still holds the messages.
	if got := leaseAll(t, s2, 2); bodies(got) != "a b" {
		t.Errorf("again %s", bodies(got))
	}
	if err := s1.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrName) {
		t.Errorf("put to a subscriber: %v", err)
	}
	names, err := c.Queues(t.Context())
	if err != nil || !slices.Equal(names, []string{"q", "q+one", "q+two"}) {
		t.Errorf("queues %q, %v", names, err)
	}
	if there, err := c.Drop(t.Context(), "q+two"); !there || err != nil {
		t.Errorf("dropped a subscriber: %v, %v", there, err)
	}
	if _, err := s2.Lease(t.Context(), 1, mcq.LeaseOptions{}); !errors.Is(err, mcq.ErrDropped) {
		t.Errorf("leased from a dropped subscriber: %v", err)
	}
	put(t, q, "c")
	if got := leaseAll(t, s1, 1); bodies(got) != "c" {
		t.Errorf("got %s", bodies(got))
	}
}

// What everybody has acknowledged leaves the servers.
func TestTrim(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	c := open(t, &jetqueue.Options{Prefix: prefix})
	q, sub := queue(t, c, "q"), queue(t, c, "q+s")
	put(t, q, "a", "b", "c")
	s, err := jetStream(t, commonServers(t)).Stream(t.Context(), strings.ToUpper(prefix)+"_q")
	if err != nil {
		t.Fatal(err)
	}
	held := func() uint64 {
		info, err := s.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.State.Msgs
	}
	mine, theirs := leaseAll(t, q, 3), leaseAll(t, sub, 3)
	if err := errors.Join(q.Ack(t.Context(), ids(mine)...), sub.Ack(t.Context(), theirs[0].ID)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the first message to be removed", func() bool { return held() == 2 })
	if err := sub.Ack(t.Context(), theirs[1].ID, theirs[2].ID); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all messages to be removed", func() bool { return held() == 0 })
	waitFor(t, "them to be counted", func() bool { return c.Stats().Trimmed == 3 })
}

func TestPeekAndPurge(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	q := queue(t, c, "q")
	peek := func(limit int) string {
		msgs, err := q.Peek(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range msgs {
			if m.ID == 0 || m.Enqueued.IsZero() || m.Attempts != 0 || m.Receipt != 0 {
				t.Errorf("peeked at %+v", m)
			}
		}
		return bodies(msgs)
	}
	if got := peek(9); got != "" {
		t.Errorf("peeked at %s in an empty queue", got)
	}
	put(t, q, "a", "b", "c", "d")
	if err := q.Put(t.Context(), mcq.Message{Body: []byte("late"), Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if got := peek(2); got != "a b" {
		t.Errorf("peeked at %s", got)
	}
	leased := leaseAll(t, q, 1)
	if got := peek(9); got != "b c d" {
		t.Errorf("peeked at %s with one leased", got)
	}
	if st, err := q.Stats(t.Context()); err != nil || st.OldestAge <= 0 || st.OldestAge > time.Hour || st.Leased != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	alone := queue(t, c, "alone")
	put(t, alone, "stuck")
	leaseAll(t, alone, 1)
	if st, err := alone.Stats(t.Context()); err != nil || st.OldestAge <= 0 {
		t.Errorf("leased only: %+v, %v", st, err)
	}
	if _, err := q.Peek(t.Context(), 0); err == nil {
		t.Error("peeked at none")
	}
	if n, err := q.Purge(t.Context()); n != 3 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	if n, err := q.Purge(t.Context()); n != 0 || err != nil {
		t.Errorf("purged %d again, %v", n, err)
	}
	if got := peek(9); got != "" {
		t.Errorf("peeked at %s after the purge", got)
	}
	if err := q.Ack(t.Context(), leased[0].Receipt); err != nil {
		t.Errorf("what was leased: %v", err)
	}
	waitFor(t, "the delayed message to be what is left", func() bool { return backlog(t, q) == 1 })
	put(t, q, "new")
	if got := leaseAll(t, q, 1); bodies(got) != "new" {
		t.Errorf("got %s", bodies(got))
	}
}

// A paused queue hands out nothing, to no process, and all of it once it is
// resumed.
func TestPause(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	q := queue(t, open(t, &jetqueue.Options{Prefix: prefix}), "q")
	put(t, q, "a", "b")
	// The other was open before: it learns it from the servers.
	other := queue(t, open(t, &jetqueue.Options{Prefix: prefix, Timeout: 10 * time.Second}), "q")
	if err := q.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, q := range []*jetqueue.Queue{q, other} {
		if _, err := q.Take(t.Context()); !errors.Is(err, mcq.ErrEmpty) {
			t.Errorf("process %d takes from a paused queue: %v", i, err)
		}
		if st, err := q.Stats(t.Context()); err != nil || !st.Paused || st.Backlog() != 2 {
			t.Errorf("process %d: %+v, %v", i, st, err)
		}
	}
	if n, err := q.Purge(t.Context()); n != 0 || err == nil || !strings.Contains(err.Error(), "paused") {
		t.Errorf("purged %d of a paused queue: %v", n, err)
	}
	waiting := make(chan []mcq.Message, 1)
	go func() {
		msgs, err := other.Lease(t.Context(), 1, mcq.LeaseOptions{Wait: patience})
		if err != nil {
			t.Error(err)
		}
		waiting <- msgs
	}()
	put(t, q, "c")
	if err := q.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What the other had asked for while it did not know may come to it first.
	got := append(<-waiting, leaseAll(t, q, 2)...)
	slices.SortFunc(got, func(a, b mcq.Message) int { return cmp.Compare(a.ID, b.ID) })
	if bodies(got) != "a b c" {
		t.Errorf("after Resume got %s", bodies(got))
	}
	if st, err := q.Stats(t.Context()); err != nil || st.Paused {
		t.Errorf("%+v, %v", st, err)
	}
}

// Waiting readers get what comes, in their order, and a reader that has left
// costs no message.
func TestWaiters(t *testing.T) {
	t.Parallel()
	q := queue(t, open(t, nil), "q")
	if msgs := lease(t, q, 1, mcq.LeaseOptions{Wait: 50 * time.Millisecond}); len(msgs) > 0 {
		t.Fatalf("got %v", msgs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := q.Lease(ctx, 1, mcq.LeaseOptions{Wait: time.Hour})
		gone <- err
	}()
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	const readers = 20
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := make(map[string]int)
	for range readers {
		wg.Go(func() {
			msgs, err := q.Lease(t.Context(), 1, mcq.LeaseOptions{Duration: time.Hour, Wait: patience})
			if err != nil || len(msgs) != 1 {
				t.Errorf("got %v, %v", msgs, err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			seen[string(msgs[0].Body)]++
		})
	}
	for i := range readers {
		put(t, q, fmt.Sprint(i))
	}
	wg.Wait()
	if len(seen) != readers {
		t.Errorf("%d messages for %d readers: %v", len(seen), readers, seen)
	}
}

// A queue that only fans out keeps nothing for its own readers.
func TestFanOut(t *testing.T) {
	t.Parallel()
	c := open(t, &jetqueue.Options{Queues: map[string]mcq.QueueOptions{"q": {FanOut: true, MaxLength: 2}}})
	q := queue(t, c, "q")
	for range 3 { // nobody subscribes: it does not get full
		put(t, q, "lost", "too")
	}
	sub := queue(t, c, "q+s")
	put(t, q, "a", "b")
	if msgs := lease(t, q, 9, mcq.LeaseOptions{Wait: time.Millisecond}); len(msgs) > 0 {
		t.Errorf("the queue's own readers got %s", bodies(msgs))
	}
	if got := leaseAll(t, sub, 2); bodies(got) != "a b" {
		t.Errorf("the subscriber got %s", bodies(got))
	}
	if err := q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrFull) {
		t.Errorf("put to a full queue: %v", err)
	}
	if n := backlog(t, q); n != 0 {
		t.Errorf("backlog %d", n)
	}
	if err := q.Pause(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := q.Stats(t.Context()); err != nil || !s.Paused || s.Put != 8 || s.Done != 8 {
		t.Errorf("paused, its figures are %+v, %v", s, err)
	}
}

func TestDrop(t *testing.T) {
	t.Parallel()
	prefix := newPrefix()
	c, other := open(t, &jetqueue.Options{Prefix: prefix}), open(t, &jetqueue.Options{Prefix: prefix})
	q, theirs := queue(t, c, "q"), queue(t, other, "q")
	put(t, q, "a")
	if there, err := c.Drop(t.Context(), "q"); !there || err != nil {
		t.Fatalf("dropped: %v, %v", there, err)
	}
	if there, err := c.Drop(t.Context(), "q"); there || err != nil {
		t.Fatalf("dropped again: %v, %v", there, err)
	}
	if err := q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrDropped) {
		t.Errorf("put to a dropped queue: %v", err)
	}
	// Somebody else finds out.
	if err := theirs.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrDropped) {
		t.Errorf("put to a queue that somebody dropped: %v", err)
	}
	put(t, queue(t, other, "q"), "new")
	if got := leaseAll(t, queue(t, c, "q"), 1); bodies(got) != "new" {
		t.Errorf("got %s", bodies(got))
	}
}

func TestTrace(t *testing.T) {
	w, err := watchman.New("test", &watchman.Options{Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	c := open(t, &jetqueue.Options{Watchman: w})
	q := queue(t, c, "q")
	ctx, span := w.Operation(watchman.Server, "post").Start(t.Context())
	if err := q.Put(ctx, mcq.Message{Body: []byte("a")}); err != nil {
		t.Fatal(err)
	}
	span.End(nil)
	if got := leaseAll(t, q, 1); got[0].Trace.TraceID != span.SpanContext().TraceID || !got[0].Trace.Sampled() {
		t.Errorf("trace %+v, want that of %+v", got[0].Trace, span.SpanContext())
	}
}

func TestOptions(t *testing.T) {
	nc := connect(t, commonServers(t))
	bad := &jetqueue.Options{
		Prefix: "a.b", Replicas: 6, Failover: 1, Timeout: -1,
		Queue:  mcq.QueueOptions{MaxLength: -1, MaxBytes: -1, MaxAge: 1, MaxAttempts: -1, DeadLetters: "+", DedupeWindow: -1},
		Queues: map[string]mcq.QueueOptions{"a b": {MaxLength: -1}},
	}
	_, err := jetqueue.Open(t.Context(), nc, bad)
	if err == nil {
		t.Fatal("opened with bad options")
	}
	for _, field := range []string{
		"Prefix", "Replicas", "Failover", "Timeout", "Queue.MaxLength", "Queue.MaxBytes", "Queue.MaxAge", "Queue.MaxAttempts", "Queue.DeadLetters",
		"Queue.DedupeWindow", `Queues["a b"]:`, `Queues["a b"].MaxLength`,
	} {
		if !strings.Contains(err.Error(), "Options."+field) {
			t.Errorf("%s is not in %v", field, err)
		}
	}
	if _, err := jetqueue.Open(t.Context(), nil, nil); err == nil {
		t.Error("opened without a connection")
	}
	c := open(t, nil)
	for _, name := range []string{"", "a b", "a/b", "q+", "+s", "q+a+b", strings.Repeat(".", 100)} {
		if _, err := c.Queue(t.Context(), name); !errors.Is(err, mcq.ErrName) {
			t.Errorf("queue %.20q: %v", name, err)
		}
	}
	q := queue(t, c, "sta.tus*es>=\xff")
	put(t, q, "a")
	if names, err := c.Queues(t.Context()); err != nil || !slices.Equal(names, []string{q.Name()}) {
		t.Errorf("queues %q, %v", names, err)
	}
	if _, err := q.Lease(t.Context(), 0, mcq.LeaseOptions{}); err == nil {
		t.Error("leased none")
	}
	if _, err := q.Lease(t.Context(), 1, mcq.LeaseOptions{Duration: 13 * time.Hour}); err == nil {
		t.Error("leased for 13 hours")
	}
}

// Options that changed are applied to the stream that is there.
func TestOptionsChange(t *testing.T) {
	prefix := newPrefix()
	put(t, queue(t, open(t, &jetqueue.Options{Prefix: prefix}), "q"), "a")
	q := queue(t, open(t, &jetqueue.Options{Prefix: prefix, Queue: mcq.QueueOptions{MaxLength: 1}}), "q")
	if err := q.Put(t.Context(), mcq.Message{}); !errors.Is(err, mcq.ErrFull) {
		t.Errorf("put beyond the new bound: %v", err)
	}
}

func FuzzToken(f *testing.F) {
	for _, s := range []string{"", "q", "=2E", "=2e", "=41", "a=", "=", "=2", "q=2Edead"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, ok := jetqueue.ParseToken(s); ok && jetqueue.Token(name) != s {
			t.Errorf("%q is the token of %q, whose token is %q", s, name, jetqueue.Token(name))
		}
		if back, ok := jetqueue.ParseToken(jetqueue.Token(s)); !ok || back != s {
			t.Errorf("%q comes back as %q, %v", s, back, ok)
		}
		if i := strings.IndexAny(jetqueue.Token(s), " .*>/\\\t\r\n\f"); i >= 0 {
			t.Errorf("token %q", jetqueue.Token(s))
		}
	})
}
