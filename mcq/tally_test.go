package mcq_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// What was counted is counted after a restart and after a kill, to the last
// message; a queue that is made anew begins with nothing.
func TestTallySurvives(t *testing.T) {
	options := &mcq.Options{Logger: silent, MinFree: -1, Queues: map[string]mcq.QueueOptions{"q": {MaxLength: 4, DropOldest: true, DeadLetters: "dead"}}}
	live := filepath.Join(t.TempDir(), "live")
	b := openBroker(t, live, options)
	q := queue(t, b, "q")
	for range 3 {
		send(t, q, mcq.Message{Body: []byte("once"), Key: "k"})
	}
	send(t, q, mcq.Message{Body: []byte("short"), TTL: time.Millisecond})
	put(t, q, "bad", "x")
	time.Sleep(2 * time.Millisecond) // until that is over
	msgs := lease(t, q, 2, mcq.LeaseOptions{})
	expect(t, "leased", bodies(msgs), "once", "bad")
	if err := q.Reject(t.Context(), "no", msgs[1].ID); err != nil {
		t.Fatal(err)
	}
	put(t, q, "1", "2", "3", "4")
	waitFor(t, "the message that is over to be counted", func() bool { return q.Stats().Expired == 1 })
	sub := queue(t, b, "q+s")
	send(t, q, mcq.Message{Body: []byte("brief"), TTL: time.Millisecond})
	time.Sleep(2 * time.Millisecond)
	if msgs := lease(t, sub, 1, mcq.LeaseOptions{}); len(msgs) > 0 {
		t.Fatalf("leased %q", bodies(msgs))
	}
	waitFor(t, "the subscriber's to be counted", func() bool { return sub.Stats().Expired == 1 })
	check := func(t *testing.T, b *mcq.Broker) {
		s := queue(t, b, "q").Stats()
		if s.Expired != 1 || s.Buried != 1 || s.Duplicates != 2 || s.Discarded != 3 {
			t.Errorf("%+v", s)
		}
		if s := queue(t, b, "q+s").Stats(); s.Expired != 1 || s.Buried+s.Duplicates+s.Discarded != 0 {
			t.Errorf("subscriber: %+v", s)
		}
	}
	check(t, b)
	killed := filepath.Join(t.TempDir(), "killed")
	if err := os.CopyFS(killed, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{live, killed} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			if r, err := mcq.Check(dir, options); err != nil || len(r.Damage) > 0 {
				t.Errorf("check: %+v, %v", r, err)
			}
			b := openBroker(t, dir, options)
			check(t, b)
			if _, err := b.Drop("q"); err != nil {
				t.Fatal(err)
			}
			if s := queue(t, b, "q").Stats(); s.Expired+s.Buried+s.Duplicates+s.Discarded != 0 {
				t.Errorf("made anew: %+v", s)
			}
			if n := mcq.TalliesHeld(b); n != 0 {
				t.Errorf("%d tallies of queues that are dropped", n)
			}
		})
	}
}
