//go:build !race

package mcq_test

import (
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// What the cost section of doc.go promises.
func TestAllocations(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	q := queue(t, b, "q")
	body := make([]byte, 256)
	msgs := []mcq.Message{{Body: body}}
	ctx := t.Context()
	put := func() {
		if err := q.Put(ctx, msgs...); err != nil {
			t.Fatal(err)
		}
	}
	list := make([]uint64, 0, 256)
	batch := make([]mcq.Message, 256)
	for i := range batch {
		batch[i].Body = body
	}
	for _, c := range []struct {
		name string
		most float64
		f    func()
	}{
		{"put", 5, put},
		{"put and take", 7, func() {
			put()
			if _, err := q.Take(ctx); err != nil {
				t.Fatal(err)
			}
		}},
		{"put, lease and ack of 256", 256 + 24, func() {
			if err := q.Put(ctx, batch...); err != nil {
				t.Fatal(err)
			}
			msgs, err := q.Lease(ctx, 256, mcq.LeaseOptions{})
			if err != nil {
				t.Fatal(err)
			}
			list = list[:0]
			for i := range msgs {
				list = append(list, msgs[i].ID)
			}
			if err := q.Ack(ctx, list...); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		if got := testing.AllocsPerRun(500, c.f); got > c.most {
			t.Errorf("%s: %.1f allocations, want at most %v", c.name, got, c.most)
		}
	}
}
