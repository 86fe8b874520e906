package mcq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

var poisonOptions = mcq.Options{Logger: silent, MinFree: -1, Queues: map[string]mcq.QueueOptions{"q": {MaxAttempts: 3, DeadLetters: "dead"}}}

const poisonExit = 77

// poisoned consumes the store in dir until nothing is left of q; one message ends
// the process at once.
func poisoned(dir string) error {
	b, err := mcq.Open(dir, &poisonOptions)
	if err != nil {
		return err
	}
	q, err := b.Queue("q")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		for q.Stats().Backlog() > 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	err = mcq.Consume(ctx, q, func(_ context.Context, batch []mcq.Message) error {
		for _, m := range batch {
			if string(m.Body) == "poison" {
				os.Exit(poisonExit)
			}
		}
		return nil
	}, nil)
	if n := q.Stats().Backlog(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d messages are left", n))
	}
	return errors.Join(err, b.Close())
}

// A message that ends the process of its consumer, and with it the embedded
// broker, gets to the dead letters; those that were handed out with it do not.
func TestPoisonEndsProcess(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, dir, &poisonOptions)
	for i := range 20 {
		body := fmt.Sprint(i)
		if i == 5 {
			body = "poison"
		}
		put(t, queue(t, b, "q"), body)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	crashes := 0
	for ; ; crashes++ {
		cmd := exec.Command(os.Args[0], "-test.run=^$")
		cmd.Env = append(os.Environ(), childEnv+"="+poisonRole+dir)
		out, err := cmd.CombinedOutput()
		if err == nil {
			break
		}
		if code := cmd.ProcessState.ExitCode(); code != poisonExit || crashes > 10 {
			t.Fatalf("run %d: %v, %s", crashes+1, err, out)
		}
	}
	if crashes != 4 { // the first of which cannot be counted
		t.Errorf("it ended %d processes, want 4", crashes)
	}
	b = openBroker(t, dir, &poisonOptions)
	if s := queue(t, b, "q").Stats(); s.Put != 20 || s.Done != 20 {
		t.Errorf("%+v", s)
	}
	dead := lease(t, queue(t, b, "dead"), 99, mcq.LeaseOptions{})
	expect(t, "dead letters", bodies(dead), "poison")
	if d := dead[0].Dead; d.Attempts != 3 || d.ID != 6 {
		t.Errorf("%+v", d)
	}
}

// attemptsOf leases up to n messages and returns their bodies and attempts.
func attemptsOf(t *testing.T, q putter, n int) (list []string) {
	t.Helper()
	for _, m := range lease(t, q, n, mcq.LeaseOptions{Duration: time.Hour}) {
		list = append(list, fmt.Sprintf("%s %d", m.Body, m.Attempts))
	}
	return list
}

// allAttempts leases all: a message that is gone may end a lease.
func allAttempts(t *testing.T, q putter) (list []string) {
	t.Helper()
	for more := attemptsOf(t, q, 9); len(more) > 0; more = attemptsOf(t, q, 9) {
		list = append(list, more...)
	}
	return list
}

// Attempts are counted across restarts, of a subscriber for itself.
func TestAttemptsSurviveClose(t *testing.T) {
	opts := mcq.WithFS(&mcq.Options{Queue: mcq.QueueOptions{MaxAttempts: 4}}, vfs.NewMem())
	b := openBroker(t, "store", opts)
	reopen := func() {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = openBroker(t, "store", opts)
	}
	queue(t, b, "q+s")
	put(t, queue(t, b, "q"), "a", "b", "c", "d")
	q := queue(t, b, "q")
	expect(t, "first", attemptsOf(t, q, 3), "a 1", "b 1", "c 1")
	if err := errors.Join(q.Nack(t.Context(), 1), q.Ack(t.Context(), 2)); err != nil {
		t.Fatal(err)
	}
	expect(t, "again", attemptsOf(t, q, 1), "a 2")
	reopen()
	q = queue(t, b, "q")
	if msgs, err := q.Peek(t.Context(), 1); err != nil || len(msgs) != 1 || msgs[0].Attempts != 2 {
		t.Errorf("peek: %+v, %v", msgs, err)
	}
	expect(t, "after a restart", allAttempts(t, q), "a 3", "c 2", "d 1")
	expect(t, "the subscriber", attemptsOf(t, queue(t, b, "q+s"), 2), "a 1", "b 1")
	reopen()
	reopen()
	q = queue(t, b, "q")
	expect(t, "after more restarts", allAttempts(t, q), "a 4", "c 3", "d 2")
	expect(t, "the subscriber", attemptsOf(t, queue(t, b, "q+s"), 9), "a 2", "b 2", "c 1", "d 1")
	reopen()
	q = queue(t, b, "q")
	expect(t, "a had its last", allAttempts(t, q), "c 4", "d 3")
	waitFor(t, "a to be buried", func() bool { return q.Stats().Buried == 1 })
}

// What a store has in it that was not closed is handed out only once that is
// recorded, by Lease and by a server; it comes alone if it had been handed out.
func TestAttemptsSurviveCrashes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	fs := vfs.NewCrashableMem()
	b := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	crash := func() *mcq.Queue {
		t.Helper()
		fs = crashClone(fs, 0, rnd)
		b = openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
		return queue(t, b, "q")
	}
	q := queue(t, b, "q")
	put(t, q, "a", "b", "c")
	expect(t, "first", attemptsOf(t, q, 2), "a 1", "b 1")
	q = crash()
	expect(t, "after a crash", attemptsOf(t, q, 2), "a 1", "b 1") // nobody suspected them
	q = crash()
	put(t, q, "d")
	server := dial(t, serve(t, b)).Queue("q")
	expect(t, "after two crashes", attemptsOf(t, server, 9), "a 2")
	expect(t, "after two crashes", attemptsOf(t, server, 9), "b 2")
	expect(t, "after two crashes", attemptsOf(t, server, 9), "c 1", "d 1")
	if err := server.Nack(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	expect(t, "again", attemptsOf(t, server, 9), "d 2")
	if err := q.Ack(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	q = crash()
	for _, want := range []string{"a 3", "c 2", "d 3"} {
		expect(t, "after three crashes", attemptsOf(t, q, 9), want)
	}
	expect(t, "after three crashes", attemptsOf(t, q, 9))
	if taken := mcq.HandedHeld(b); taken != 4 {
		t.Errorf("the attempts of %d messages are recorded", taken)
	}
	// What is recorded goes with the messages, or with the queue.
	if err := q.Ack(t.Context(), 1, 3, 4); err != nil {
		t.Fatal(err)
	}
	for left := 5000; left > 0; left -= 1000 {
		if err := q.Put(t.Context(), slices.Repeat([]mcq.Message{{}}, 1000)...); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left := mcq.HandedHeld(b); left != 0 {
		t.Errorf("the attempts of %d messages that are gone are recorded", left)
	}
	put(t, q, "e")
	q = crash()
	attemptsOf(t, q, 1)
	if n := mcq.HandedHeld(b); n != 1 {
		t.Errorf("the attempts of %d messages are recorded", n)
	}
	if _, err := b.Drop("q"); err != nil {
		t.Fatal(err)
	}
	if n := mcq.HandedHeld(b); n != 0 {
		t.Errorf("the attempts of %d messages of a dropped queue are recorded", n)
	}
}

// A store that cannot be opened does not count as closed afterwards.
func TestFailedOpenIsNoClose(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	put(t, queue(t, b, "q"), "a")
	fs = crashClone(fs, 0, rand.New(rand.NewPCG(1, 2)))
	damage := func(do func(db *pebble.DB) error) {
		t.Helper()
		db, err := pebble.Open("store", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatNewest})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(do(db), db.Flush(), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	cursor := []byte("c\x00\x00\x00\x01")
	damage(func(db *pebble.DB) error { return db.Set(cursor, []byte{0}, pebble.Sync) })
	if b, err := mcq.Open("store", mcq.WithFS(&mcq.Options{Logger: silent}, fs)); err == nil {
		b.Close()
		t.Fatal("opened a store with a bad cursor")
	}
	damage(func(db *pebble.DB) error { return db.Delete(cursor, pebble.Sync) })
	b = openBroker(t, "store", mcq.WithFS(&mcq.Options{Logger: silent}, fs))
	expect(t, "the message", attemptsOf(t, queue(t, b, "q"), 1), "a 1")
	if n := mcq.HandedHeld(b); n != 1 {
		t.Errorf("that it was handed out is recorded %d times", n)
	}
}
