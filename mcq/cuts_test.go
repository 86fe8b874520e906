package mcq_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// However much is put and taken, a record is looked for in few tables, and tables are not
// written again.
func TestTablesFollow(t *testing.T) {
	const journal, size = 4 << 20, 1 << 10
	opts := mcq.WithJournal(mcq.WithFS(&mcq.Options{Sync: mcq.Never, Memory: 1 << 20}, vfs.NewMem()), journal)
	b := openBroker(t, "store", opts)
	queues := []*mcq.Queue{queue(t, b, "a"), queue(t, b, "b")}
	batch := bulk(256, size)
	for n := range 20 * journal / (len(queues) * len(batch) * size) {
		for _, q := range queues {
			if err := q.Put(t.Context(), batch...); err != nil {
				t.Fatal(err)
			}
			if n >= 30 { // 7.5 MiB
				drain(t, q, len(batch))
			}
		}
	}
	if n := mcq.Layers(b); n > 6 {
		t.Errorf("%d tables lie over each other", n)
	}
}
