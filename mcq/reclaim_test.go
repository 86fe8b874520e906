package mcq_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/heddle-go/heddle/mcq"
)

// What is reclaimed stays so after a crash, and is nothing but what was consumed.
func TestReclaimAndCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, left, size = 16 << 10, 100, 1 << 10
		fs := vfs.NewCrashableMem()
		opts := mcq.WithFS(&mcq.Options{Memory: 1 << 20}, fs)
		b := openBroker(t, "store", opts)
		q, other := queue(t, b, "q"), queue(t, b, "other")
		batch := bulk(256, size)
		body := func(i int) string { return fmt.Sprint(i, string(batch[i%len(batch)].Body)) }
		rnd := rand.New(rand.NewPCG(1, 2))
		numbered := make([]mcq.Message, len(batch))
		for i := 0; i < n; i += len(batch) {
			for j := range numbered {
				numbered[j].Body = []byte(body(i + j))
			}
			if err := q.Put(t.Context(), numbered...); err != nil {
				t.Fatal(err)
			}
			put(t, other, fmt.Sprint(i))
		}
		if err := mcq.Flush(b); err != nil {
			t.Fatal(err)
		}
		drain(t, q, n-left)
		time.Sleep(time.Minute)
		if got := mcq.TableBytes(b); got > 5<<20 { // what is not worth it stays
			t.Errorf("tables of %d consumed messages take %d bytes", n-left, got)
		}
		again := mcq.WithFS(opts, crashClone(fs, 50, rnd))
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b = openBroker(t, "store", again)
		defer b.Close()
		msgs := lease(t, queue(t, b, "q"), n, mcq.LeaseOptions{})
		if len(msgs) != left {
			t.Fatalf("%d messages are left, want %d", len(msgs), left)
		}
		for i := range msgs {
			if got := string(msgs[i].Body); got != body(n-left+i) {
				t.Fatalf("message %d is %.10s", i, got)
			}
		}
		if msgs := lease(t, queue(t, b, "other"), n, mcq.LeaseOptions{}); len(msgs) != n/len(batch) {
			t.Errorf("of the other queue %d messages are left, want %d", len(msgs), n/len(batch))
		}
	})
}

// What was consumed or dropped is reclaimed by the next who opens the store if it was not.
func TestReclaimLater(t *testing.T) {
	for _, dropped := range []bool{false, true} {
		t.Run(fmt.Sprintf("dropped=%t", dropped), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const n = 16 << 10
				opts := mcq.WithFS(&mcq.Options{Sync: mcq.Never, Memory: 1 << 20}, vfs.NewMem())
				b := openBroker(t, "store", opts)
				put(t, queue(t, b, "first"), "stays")
				q := queue(t, b, "q")
				batch := bulk(256, 1<<10)
				for range n / len(batch) {
					if err := q.Put(t.Context(), batch...); err != nil {
						t.Fatal(err)
					}
				}
				if err := mcq.Flush(b); err != nil {
					t.Fatal(err)
				}
				if dropped {
					if _, err := b.Drop("q"); err != nil {
						t.Fatal(err)
					}
				} else {
					drain(t, q, n)
				}
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
				b = openBroker(t, "store", opts)
				defer b.Close()
				put(t, queue(t, b, "new"), "stays too") // it may have the number of the old one
				time.Sleep(time.Minute)
				if got := mcq.TableBytes(b); got > 5<<20 { // what is not worth it stays
					t.Errorf("tables take %d bytes", got)
				}
				expect(t, "the first queue", bodies(lease(t, queue(t, b, "first"), 9, mcq.LeaseOptions{})), "stays")
				expect(t, "the new queue", bodies(lease(t, queue(t, b, "new"), 9, mcq.LeaseOptions{})), "stays too")
			})
		})
	}
}

// Nothing is reclaimed of queues that tables have hardly anything of.
func TestReclaimNothing(t *testing.T) {
	var lists atomic.Int32
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if strings.Contains(op.Path, "MANIFEST-") && isSync(op) {
			lists.Add(1)
		}
		return nil
	}))
	b := openBroker(t, "store", mcq.WithFS(nil, fs))
	const queues = 30
	for i := range queues {
		name := fmt.Sprint("q", i)
		put(t, queue(t, b, name), "x")
		if _, err := b.Drop(name); err != nil {
			t.Fatal(err)
		}
	}
	lists.Store(0)
	if err := mcq.Reclaim(b); err != nil {
		t.Fatal(err)
	}
	if n := lists.Load(); n > queues/2 {
		t.Errorf("the list of tables was written %d times", n)
	}
}
