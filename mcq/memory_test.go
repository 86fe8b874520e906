package mcq_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// All queues together keep no more in memory than TotalMemory; what they do not
// keep is read from the store, and those who are drained, or dropped, leave their
// share to the others.
func TestTotalMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total, queues = 4 << 20, 100
		b := memBroker(t, &mcq.Options{Sync: mcq.Never, Memory: 1 << 20, TotalMemory: total})
		defer b.Close()
		body := func(i, n int) string { return fmt.Sprintf("%d/%d/%s", i, n, strings.Repeat("x", 10<<10)) }
		within := func(what string, most int64) {
			t.Helper()
			if counted, held := mcq.MemoryHeld(b); held > counted || counted > most {
				t.Fatalf("%s: %d bytes are held, %d are counted, limit %d", what, held, counted, most)
			}
		}
		var list []*mcq.Queue
		var next [queues]int
		for i := range queues {
			list = append(list, queue(t, b, fmt.Sprintf("q%d", i)))
		}
		for n := range 20 { // 20 MiB
			for i, q := range list {
				put(t, q, body(i, n))
				within("put", total)
			}
			time.Sleep(20 * time.Millisecond)
		}
		time.Sleep(time.Second)
		within("after a while", total*3/4)

		// One that is used while the others lie there has room.
		busy := queue(t, b, "busy")
		put(t, busy, "1", "2", "3")
		if n := mcq.InMemory(busy); n != 3 {
			t.Errorf("of a queue with 3 messages %d are in memory", n)
		}

		rnd := rand.New(rand.NewPCG(1, 2))
		for range 20 * queues / 2 {
			i := rnd.IntN(queues)
			for _, m := range lease(t, list[i], 1+rnd.IntN(4), mcq.LeaseOptions{}) {
				if got, want := string(m.Body), body(i, next[i]); got != want {
					t.Fatalf("queue %d: message %.10s, want %.10s", i, got, want)
				}
				next[i]++
			}
			if rnd.IntN(50) == 0 {
				time.Sleep(50 * time.Millisecond)
			}
			within("lease", total+queues*(32<<10))
		}
		time.Sleep(time.Second)
		within("after a while", total*3/4)

		for i := range queues {
			if i%2 == 0 {
				if _, err := b.Drop(list[i].Name()); err != nil {
					t.Fatal(err)
				}
			} else if _, err := list[i].Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) // the shares grow again
		for n := range 50 {
			put(t, busy, body(queues, n))
		}
		if n := mcq.InMemory(busy); n != 53 {
			t.Errorf("of a queue with 53 messages %d are in memory", n)
		}
	})
}

// Figures of 10,000 queues that nobody reads do not fill the memory either.
func TestStatsMemory(t *testing.T) {
	fs := vfs.NewMem()
	const total, queues = 1 << 20, 50
	opts := mcq.WithFS(&mcq.Options{Sync: mcq.Never, Memory: 64 << 10, TotalMemory: total}, fs)
	b := openBroker(t, "store", opts)
	for i := range queues {
		if err := queue(t, b, fmt.Sprint(i)).Put(t.Context(), make([]mcq.Message, 2000)...); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, "store", opts)
	for _, s := range b.Stats().Queues {
		if s.OldestAge == 0 {
			t.Errorf("%+v", s)
		}
	}
	if counted, held := mcq.MemoryHeld(b); held != counted || counted > total+queues*(48<<10) {
		t.Errorf("%d bytes are held, %d are counted", held, counted)
	}
	waitFor(t, "memory to be shared", func() bool {
		_, held := mcq.MemoryHeld(b)
		return held <= total*3/4
	})
}
