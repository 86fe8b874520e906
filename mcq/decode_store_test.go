package mcq

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

func fuzzStoreKeys(t *testing.T, key, value []byte) {
	if len(key) == 0 {
		return
	}
	opts := &Options{fs: vfs.NewMem(), Logger: slog.New(slog.NewTextHandler(io.Discard, nil))}
	b, err := Open("store", opts)
	if err != nil {
		t.Fatal(err)
	}
	q, err := b.Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	if err := q.Put(ctx, Message{Body: []byte("a")}, Message{Body: []byte("b")}); err != nil {
		t.Fatal(err)
	}
	if err := b.db.Set(key, value, pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b, err = Open("store", opts)
	if err != nil {
		return
	}
	defer b.Close()
	for _, name := range b.Queues() {
		q, err := b.Queue(name)
		if err != nil {
			t.Fatal(err)
		}
		for range 5 {
			if _, err := q.Take(ctx); err != nil {
				break
			}
		}
		if err := q.Put(ctx, Message{}); err != nil && q.parent == nil {
			t.Fatalf("put: %v", err)
		}
	}
}
