package mcqtest

import (
	"crypto/rand"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

func name(s string) string { return s + rand.Text() }

func find(t *testing.T, b mcq.Backend, name string) mcq.BackendQueue {
	t.Helper()
	q, err := b.FindQueue(t.Context(), name, true)
	if q == nil || err != nil {
		t.Fatalf("FindQueue(%s), to be made: %v, %v", name, q, err)
	}
	if q.Name() != name {
		t.Fatalf("FindQueue(%s) is called %s", name, q.Name())
	}
	return q
}

type stored struct {
	m   mcq.Message
	err error
}

// enqueue waits until m is stored.
func enqueue(t *testing.T, q mcq.BackendQueue, m mcq.Message) (mcq.Message, error) {
	t.Helper()
	done := make(chan stored, 2)
	q.Enqueue(m, func(m mcq.Message, err error) { done <- stored{m, err} })
	select {
	case s := <-done:
		return s.m, s.err
	case <-time.After(patience):
		t.Fatal("Enqueue: done is not called")
		panic("")
	}
}

func put(t *testing.T, q mcq.BackendQueue, bodies ...string) (ids []uint64) {
	t.Helper()
	for _, body := range bodies {
		m, err := enqueue(t, q, mcq.Message{Body: []byte(body)})
		if err != nil || m.ID == 0 {
			t.Fatalf("Enqueue: id %d, %v", m.ID, err)
		}
		ids = append(ids, m.ID)
	}
	return ids
}

// lease leases n messages, as they come.
func lease(t *testing.T, q mcq.BackendQueue, n int, d time.Duration) (msgs []mcq.Message) {
	t.Helper()
	for len(msgs) < n {
		more, err := q.Lease(t.Context(), n-len(msgs), mcq.LeaseOptions{Duration: d, Wait: patience})
		if err != nil || len(more) == 0 || len(more) > n-len(msgs) {
			t.Fatalf("Lease of %d: %d messages, %v", n-len(msgs), len(more), err)
		}
		msgs = append(msgs, more...)
	}
	return msgs
}

func nothing(t *testing.T, q mcq.BackendQueue) {
	t.Helper()
	if msgs, err := q.Lease(t.Context(), 10, mcq.LeaseOptions{Duration: long}); len(msgs) > 0 || err != nil {
		t.Fatalf("Lease of an empty queue: %q, %v", bodies(msgs), err)
	}
}

func bodies(msgs []mcq.Message) (list []string) {
	for _, m := range msgs {
		list = append(list, string(m.Body))
	}
	return list
}

func ids(msgs []mcq.Message) (list []uint64) {
	for _, m := range msgs {
		list = append(list, m.ID)
	}
	return list
}

func expect(t *testing.T, what string, msgs []mcq.Message, want ...string) {
	t.Helper()
	if !slices.Equal(bodies(msgs), want) {
		t.Fatalf("%s: got %q, want %q", what, bodies(msgs), want)
	}
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func notLeased(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, mcq.ErrNotLeased) {
		t.Fatalf("%s: %v, want ErrNotLeased", what, err)
	}
}

// within waits until cond is true: counters may lag behind.
func within(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for: %s", patience, what)
		}
	}
}
