package mcq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// reasoner is a queue, here or elsewhere.
type reasoner interface {
	putter
	Name() string
	NackReason(ctx context.Context, reason string, ids ...uint64) error
}

// Why a message was given back for the last time is kept with it, as far as it is text.
func TestNackReason(t *testing.T) {
	b := memBroker(t, &mcq.Options{Queue: mcq.QueueOptions{MaxAttempts: 2, DeadLetters: "dead"}})
	client := dial(t, serve(t, b))
	for _, q := range []reasoner{queue(t, b, "local"), client.Queue("remote")} {
		for given, want := range map[string]string{
			"":                        "the last lease was given back",
			"50% of \"ä/b\"\r\n,=no":  "50% of \"ä/b\"\r\n,=no",
			"cut \xff off":            "cut ? off",
			strings.Repeat("ä", 1000): strings.Repeat("ä", 500),
			strings.Repeat("€", 1000): strings.Repeat("€", 333) + "?",
			strings.Repeat("%", 2000): strings.Repeat("%", 1000),
		} {
			put(t, q, "x")
			for _, reason := range []string{"not yet", given} {
				m := lease(t, q, 1, mcq.LeaseOptions{})[0]
				if err := q.NackReason(t.Context(), reason, m.Receipt); err != nil {
					t.Fatal(err)
				}
			}
			dead, err := client.Queue("dead").Take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := dead.Dead; d == nil || d.Reason != want || d.Attempts != 2 {
				t.Errorf("%s: %+v, want %q", q.Name(), d, want)
			}
			if err := q.NackReason(t.Context(), given, 99); !errors.Is(err, mcq.ErrNotLeased) {
				t.Errorf("of what is not leased: %v", err)
			}
		}
	}
}

// A reason is that of one lease: the next may end otherwise.
func TestNackReasonIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, &mcq.Options{Queues: map[string]mcq.QueueOptions{"q": {MaxAttempts: 2, DeadLetters: "dead"}}})
		defer b.Close()
		q := queue(t, b, "q")
		put(t, q, "x")
		if err := q.NackReason(t.Context(), "not yet", lease(t, q, 1, mcq.LeaseOptions{})[0].ID); err != nil {
			t.Fatal(err)
		}
		lease(t, q, 1, mcq.LeaseOptions{Duration: time.Second})
		time.Sleep(2 * time.Second)
		if d := lease(t, queue(t, b, "dead"), 1, mcq.LeaseOptions{})[0].Dead; d.Reason != "the last lease ran out" {
			t.Errorf("%+v", d)
		}
	})
}
