package mcq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

func TestLease(t *testing.T) {
	q := queue(t, memBroker(t, nil), "q")
	ctx := t.Context()
	put(t, q, "a", "b", "c", "d", "e")
	first := lease(t, q, 3, mcq.LeaseOptions{})
	expect(t, "first lease", bodies(first), "a", "b", "c")
	expect(t, "second lease", bodies(lease(t, q, 1, mcq.LeaseOptions{})), "d")

	if err := q.Nack(ctx, 3, 1); err != nil {
		t.Fatal(err)
	}
	again := lease(t, q, 9, mcq.LeaseOptions{})
	expect(t, "given back", bodies(again), "a", "c")
	if again[0].Attempts != 2 || first[0].Attempts != 1 || again[0].Enqueued.IsZero() {
		t.Fatalf("again %+v", again[0])
	}
	expect(t, "never handed out", bodies(lease(t, q, 9, mcq.LeaseOptions{})), "e")

	if err := q.Ack(ctx, 2, 1, 5); err != nil {
		t.Fatal(err)
	}
	if err := q.Ack(ctx, 1, 3); !errors.Is(err, mcq.ErrNotLeased) {
		t.Fatalf("ack of 1 twice: %v", err)
	}
	for what, err := range map[string]error{
		"ack": q.Ack(ctx, 3), "ack of 0": q.Ack(ctx, 0), "ack of the future": q.Ack(ctx, 99),
		"nack": q.Nack(ctx, 3), "extend": q.Extend(ctx, 3, time.Second),
	} {
		if !errors.Is(err, mcq.ErrNotLeased) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := q.Ack(ctx, 4, 4, 4); !errors.Is(err, mcq.ErrNotLeased) {
		t.Errorf("ack of one message three times: %v", err)
	}
	if s := q.Stats(); s.Done != 5 || s.Leased != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestLeaseOptions(t *testing.T) {
	q := queue(t, memBroker(t, nil), "q")
	put(t, q, "a")
	for _, o := range []mcq.LeaseOptions{{Duration: -1}, {Duration: time.Microsecond}, {Duration: 13 * time.Hour}, {Wait: -1}} {
		if msgs, err := q.Lease(t.Context(), 1, o); err == nil || len(msgs) > 0 {
			t.Errorf("%+v: %v, %v", o, msgs, err)
		}
	}
	if _, err := q.Lease(t.Context(), 0, mcq.LeaseOptions{}); err == nil {
		t.Error("lease of no messages")
	}
	if err := q.Extend(t.Context(), 1, 13*time.Hour); err == nil {
		t.Error("extended by 13 hours")
	}
}

// One lease never holds more than about 16 MiB.
func TestLeaseIsBoundedInBytes(t *testing.T) {
	q := queue(t, memBroker(t, &mcq.Options{Sync: mcq.Never, Memory: 64 << 20}), "q")
	for range 40 {
		if err := q.Put(t.Context(), mcq.Message{Body: make([]byte, 1<<20)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, what := range []string{"new", "given back"} {
		msgs := lease(t, q, 4096, mcq.LeaseOptions{Duration: time.Hour})
		if len(msgs) != 16 || msgs[0].ID != 1 {
			t.Fatalf("%s: %d messages from %d", what, len(msgs), msgs[0].ID)
		}
		more := lease(t, q, 4096, mcq.LeaseOptions{Duration: time.Hour})
		if err := q.Nack(t.Context(), append(ids(msgs), ids(more)...)...); err != nil {
			t.Fatal(err)
		}
	}
}

// The next three run on the bubble's clock, so they take no time and depend on none.

func TestLeaseRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		put(t, q, "a", "b", "c")
		began := time.Now()
		held := lease(t, q, 2, mcq.LeaseOptions{Duration: 10 * time.Second})
		if err := q.Extend(t.Context(), held[1].ID, time.Minute); err != nil {
			t.Fatal(err)
		}
		expect(t, "the third", bodies(lease(t, q, 9, mcq.LeaseOptions{Duration: time.Hour})), "c")
		msgs := lease(t, q, 9, mcq.LeaseOptions{Wait: time.Hour})
		expect(t, "after its lease", bodies(msgs), "a")
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second || msgs[0].Attempts != 2 {
			t.Fatalf("came back after %v: %+v", took, msgs[0])
		}
		// The first holder is late, but nobody has acknowledged it yet.
		if err := q.Ack(t.Context(), held[0].ID); err != nil {
			t.Fatal(err)
		}
		if err := q.Ack(t.Context(), msgs[0].ID); !errors.Is(err, mcq.ErrNotLeased) {
			t.Fatalf("second acknowledgement: %v", err)
		}
		expect(t, "the extended one", bodies(lease(t, q, 9, mcq.LeaseOptions{Wait: time.Hour})), "b")
		if took := time.Since(began); took < time.Minute || took > 61*time.Second {
			t.Fatalf("the extended lease took %v", took)
		}
		time.Sleep(time.Minute)
		// Acknowledged between running out and being handed out again.
		if err := q.Ack(t.Context(), held[1].ID); err != nil {
			t.Fatal(err)
		}
		if msgs := lease(t, q, 9, mcq.LeaseOptions{}); len(msgs) != 0 {
			t.Fatalf("got %q", bodies(msgs))
		}
		if s := q.Stats(); s.Leased != 1 || s.Done != 2 {
			t.Fatalf("stats %+v", s)
		}
	})
}

func TestWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		began := time.Now()
		if msgs := lease(t, q, 1, mcq.LeaseOptions{Wait: 3 * time.Second}); len(msgs) != 0 || time.Since(began) != 3*time.Second {
			t.Fatalf("got %q after %v", bodies(msgs), time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := q.Lease(ctx, 1, mcq.LeaseOptions{Wait: time.Hour}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("ctx ended: %v", err)
		}
	})
}

// Readers that wait are served in the order in which they came, and one that
// gives up costs the others nothing.
func TestWaitersAreServedInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := memBroker(t, nil)
		defer b.Close()
		q := queue(t, b, "q")
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for i := range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			if i%3 == 1 {
				time.AfterFunc(time.Minute, cancel)
			}
			wg.Go(func() {
				defer cancel()
				msgs, err := q.Lease(ctx, 1, mcq.LeaseOptions{Wait: time.Hour})
				if i%3 == 1 {
					if !errors.Is(err, context.Canceled) {
						t.Errorf("reader %d: %q, %v", i, bodies(msgs), err)
					}
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if len(msgs) == 1 {
					order = append(order, fmt.Sprintf("%d:%s", i, msgs[0].Body))
				}
			})
			synctest.Wait()
		}
		time.Sleep(2 * time.Minute)
		for i := range 7 {
			put(t, q, fmt.Sprint(i))
			synctest.Wait()
		}
		wg.Wait()
		expect(t, "served", order, "0:0", "2:1", "3:2", "5:3", "6:4", "8:5", "9:6")
	})
}

// A message has at most one holder at a time: its lease ran out, or it was
// given back, before somebody else gets it; and once acknowledged, nobody does.
func TestLeaseRaces(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	q := queue(t, b, "q")
	const n = 3000
	const hold = 40 * time.Millisecond
	type state struct {
		mu     sync.Mutex
		holder int       // 0: nobody
		from   time.Time // when the lease had certainly begun
		until  time.Time // earliest end of the lease
		unsure bool      // a lease may have ended without its holder knowing
		acked  time.Time // when Ack had returned; zero: not yet
	}
	states := make([]state, n+1)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	var acked atomic.Int64
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for acked.Load() < n && ctx.Err() == nil {
				before := time.Now()
				msgs, err := q.Lease(ctx, 1+rnd.IntN(20), mcq.LeaseOptions{Duration: hold, Wait: hold})
				if err != nil {
					t.Error(err)
					return
				}
				after := time.Now()
				for _, m := range msgs {
					s := &states[m.ID]
					s.mu.Lock()
					// A worker may be stopped between Lease and here while others lease and acknowledge
					// what it had, so only calls of which one began after the other returned count.
					if !s.acked.IsZero() && before.After(s.acked) {
						t.Errorf("message %d was handed out after its acknowledgement", m.ID)
					}
					if s.holder != 0 && before.After(s.from) && after.Before(s.until) && !s.unsure {
						t.Errorf("message %d has holders %d and %d", m.ID, s.holder, w+1)
					}
					if after.After(s.from) {
						s.holder, s.from, s.until = w+1, after, before.Add(hold)
					}
					s.mu.Unlock()
				}
				for _, m := range msgs {
					s := &states[m.ID]
					switch rnd.IntN(4) {
					case 0: // let it run out
					case 1:
						s.mu.Lock()
						if s.holder == w+1 {
							if err := q.Nack(ctx, m.ID); err != nil && !errors.Is(err, mcq.ErrNotLeased) {
								t.Error(err)
							}
							// One that came late may have given back the lease of the next holder.
							s.unsure = s.unsure || !time.Now().Before(s.until)
							s.holder = 0
						}
						s.mu.Unlock()
					default:
						err := q.Ack(ctx, m.ID)
						if errors.Is(err, mcq.ErrNotLeased) {
							continue
						}
						if err != nil {
							t.Error(err)
						}
						now := time.Now()
						s.mu.Lock()
						if !s.acked.IsZero() {
							t.Errorf("message %d was acknowledged twice", m.ID)
						}
						s.acked = now
						s.mu.Unlock()
						acked.Add(1)
					}
				}
			}
		})
	}
	for range n / 100 {
		batch := make([]mcq.Message, 100)
		if err := q.Put(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if s := q.Stats(); acked.Load() != n || s.Done != n || s.Leased != 0 {
		t.Fatalf("acknowledged %d of %d: %+v", acked.Load(), n, s)
	}
}

// Leases that ended early leave nothing behind until their time comes.
func TestLeasesLeaveNothingBehind(t *testing.T) {
	q := queue(t, memBroker(t, &mcq.Options{Sync: mcq.Never}), "q")
	batch := make([]mcq.Message, 100)
	for range 50 {
		if err := q.Put(t.Context(), batch...); err != nil {
			t.Fatal(err)
		}
		for {
			msgs := lease(t, q, 7, mcq.LeaseOptions{Duration: 12 * time.Hour})
			if len(msgs) == 0 {
				break
			}
			list := ids(msgs)
			slices.Reverse(list)
			for _, id := range list {
				if err := q.Extend(t.Context(), id, 11*time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.Ack(t.Context(), list...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := mcq.ExpiriesHeld(q); n > 5000 {
		t.Fatalf("%d ended leases are remembered", n)
	}
}

// A long run of messages that were acknowledged out of order is passed after a restart.
func TestGapAfterRestart(t *testing.T) {
	opts := mcq.WithFS(&mcq.Options{Sync: mcq.Never}, vfs.NewMem())
	b := openBroker(t, "store", opts)
	q := queue(t, b, "q")
	const n, from, to = 20_000, 3, 15_000
	if err := q.Put(t.Context(), make([]mcq.Message, n)...); err != nil {
		t.Fatal(err)
	}
	var all []uint64
	for len(all) < n {
		all = append(all, ids(lease(t, q, n, mcq.LeaseOptions{}))...)
	}
	if err := q.Ack(t.Context(), all[from:to]...); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	q = queue(t, openBroker(t, "store", opts), "q")
	var left []uint64
	for msgs := lease(t, q, n, mcq.LeaseOptions{}); len(msgs) > 0; msgs = lease(t, q, n, mcq.LeaseOptions{}) {
		left = append(left, ids(msgs)...)
	}
	if want := slices.Concat(all[:from], all[to:]); !slices.Equal(left, want) {
		t.Errorf("%d messages are left, want %d", len(left), len(want))
	}
}
