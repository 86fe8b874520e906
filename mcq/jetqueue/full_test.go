package jetqueue_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/jetqueue"
)

// A message whose key is known needs no room, however many servers have the queue
// and whatever it is that fills it.
func TestKnownKeysNeedNoRoom(t *testing.T) {
	for _, replicas := range []int{1, 3} {
		for name, limit := range map[string]mcq.QueueOptions{"length": {MaxLength: 2}, "bytes": {MaxBytes: 5000}} {
			t.Run(fmt.Sprintf("%s/replicas=%d", name, replicas), func(t *testing.T) {
				t.Parallel()
				c := open(t, &jetqueue.Options{Replicas: replicas, Queue: limit})
				q := queue(t, c, "q")
				first := []mcq.Message{{Body: make([]byte, 2000), Key: "k"}, {Body: make([]byte, 2000)}}
				if err := q.Put(t.Context(), first...); err != nil {
					t.Fatal(err)
				}
				if err := q.Put(t.Context(), mcq.Message{Body: make([]byte, 2000)}); !errors.Is(err, mcq.ErrFull) {
					t.Fatalf("put to a full queue: %v", err)
				}
				for range 3 {
					again := []mcq.Message{{Body: make([]byte, 2000), Key: "k"}}
					if err := q.Put(t.Context(), again...); err != nil || again[0].ID != first[0].ID {
						t.Fatalf("put of a known key: id %d, it was %d, %v", again[0].ID, first[0].ID, err)
					}
				}
				waitFor(t, "two messages", func() bool { return backlog(t, q) == 2 }) // figures may lag behind
			})
		}
	}
}
