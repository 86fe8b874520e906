package mcq_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// modelQueue is what a queue should be, in the plainest form.
type modelQueue struct {
	start  uint64            // id of the first message: a subscriber joins late
	next   uint64            // id of the next message
	bodies map[uint64]string // not acknowledged
	ready  []uint64          // never handed out, ascending
	again  []uint64          // given back, ascending
	leased map[uint64]bool
	tries  map[uint64]int
	done   uint64
}

func newModelQueue(start uint64) *modelQueue {
	return &modelQueue{start: start, next: start, bodies: make(map[uint64]string), leased: make(map[uint64]bool), tries: make(map[uint64]int)}
}

func (m *modelQueue) put(body string) {
	m.bodies[m.next] = body
	m.ready = append(m.ready, m.next)
	m.next++
}

// purge removes what is not handed out.
func (m *modelQueue) purge() (n int) {
	for _, id := range slices.Concat(m.ready, m.again) {
		delete(m.bodies, id)
		n++
	}
	m.ready, m.again = nil, nil
	m.done += uint64(n)
	return n
}

func (m *modelQueue) handOut(n int) (list []uint64) {
	for _, from := range []*[]uint64{&m.again, &m.ready} {
		if len(list) > 0 {
			break // what came back is not mixed with what is new
		}
		k := min(n, len(*from))
		list = append(list, (*from)[:k]...)
		*from = slices.Delete(*from, 0, k)
	}
	for _, id := range list {
		m.leased[id] = true
		m.tries[id]++
	}
	return list
}

func (m *modelQueue) giveBack(id uint64) {
	delete(m.leased, id)
	i, _ := slices.BinarySearch(m.again, id)
	m.again = slices.Insert(m.again, i, id)
}

// reopen is what a restart does: leases are void.
func (m *modelQueue) reopen() {
	m.ready = slices.Sorted(maps.Keys(m.bodies))
	m.again = nil
	clear(m.leased)
}

// TestModel runs random operations on a Broker and on the model side by side.
// MCQ_TEST_SEED repeats a run.
func TestModel(t *testing.T) {
	seed := rand.Uint64()
	if v := os.Getenv("MCQ_TEST_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for run := range uint64(6) {
		t.Run(fmt.Sprintf("seed=%d", seed+run), func(t *testing.T) { runModel(t, seed+run) })
	}
}

func runModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	opts := mcq.WithFS(&mcq.Options{
		Sync:   mcq.Sync(rnd.IntN(3)),
		Memory: []int{1, 4 << 10, 0}[rnd.IntN(3)],
	}, vfs.NewMem())
	b := openBroker(t, "store", opts)
	names := []string{"a", "b", "c", "a+s", "a+t"}
	model := make(map[string]*modelQueue)
	find := func(name string) *modelQueue {
		owner, _, isSub := strings.Cut(name, "+")
		if model[owner] == nil {
			model[owner] = newModelQueue(1)
		}
		if isSub && model[name] == nil {
			model[name] = newModelQueue(model[owner].next)
		}
		return model[name]
	}
	ctx := t.Context()
	ops := 3000
	for range ops {
		name := names[rnd.IntN(len(names))]
		m := find(name)
		q := queue(t, b, name)
		switch op := rnd.IntN(100); {
		case op < 30 && strings.Contains(name, "+"):
			if err := q.Put(ctx, mcq.Message{}); !errors.Is(err, mcq.ErrName) {
				t.Fatalf("put to the subscriber %s: %v", name, err)
			}
		case op < 30: // put
			msgs := make([]mcq.Message, 1+rnd.IntN(20))
			for i := range msgs {
				body := fmt.Sprintf("%s %d %0*d", name, m.next+uint64(i), rnd.IntN(300), 0)
				msgs[i].Body = []byte(body)
				msgs[i].Flags = uint32(m.next + uint64(i))
			}
			if err := q.Put(ctx, msgs...); err != nil {
				t.Fatal(err)
			}
			for i := range msgs {
				if msgs[i].ID != m.next {
					t.Fatalf("put gave id %d, want %d", msgs[i].ID, m.next)
				}
				for reader, m := range model {
					if owner, _, _ := strings.Cut(reader, "+"); owner == name {
						m.put(string(msgs[i].Body))
					}
				}
			}
		case op < 55: // lease
			limit := 1 + rnd.IntN(40)
			msgs := lease(t, q, limit, mcq.LeaseOptions{Duration: time.Hour})
			if got := ids(msgs); len(got) < limit {
				// The queue may stop early where its memory ends.
				limit = max(len(got), min(limit, 1))
			}
			want := m.handOut(limit)
			if got := ids(msgs); !slices.Equal(got, want) {
				t.Fatalf("%s: leased %v, want %v", name, got, want)
			}
			for _, msg := range msgs {
				if string(msg.Body) != m.bodies[msg.ID] || msg.Flags != uint32(msg.ID) || msg.Attempts != m.tries[msg.ID] {
					t.Fatalf("%s: message %d is %q, flags %d, attempt %d; want %q, attempt %d", name, msg.ID, msg.Body, msg.Flags, msg.Attempts, m.bodies[msg.ID], m.tries[msg.ID])
				}
			}
		case op < 65: // take
			msg, err := q.Take(ctx)
			want := m.handOut(1)
			switch {
			case len(want) == 0 && errors.Is(err, mcq.ErrEmpty):
			case len(want) == 1 && err == nil && msg.ID == want[0] && string(msg.Body) == m.bodies[msg.ID]:
				delete(m.leased, msg.ID)
				delete(m.bodies, msg.ID)
				m.done++
			default:
				t.Fatalf("%s: took %d, %v; want %v", name, msg.ID, err, want)
			}
		case op < 85: // ack some that are leased or were given back, and one that is not
			list := some(rnd, m.leased)
			if len(m.again) > 0 && rnd.IntN(2) == 0 {
				list = append(list, m.again[rnd.IntN(len(m.again))])
			}
			missing := rnd.IntN(4) == 0
			if missing {
				list = append(list, m.next+uint64(rnd.IntN(5)))
			}
			rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
			if err := q.Ack(ctx, list...); errors.Is(err, mcq.ErrNotLeased) != missing || err != nil && !missing {
				t.Fatalf("%s: ack %v: %v", name, list, err)
			}
			for _, id := range list {
				if _, ok := m.bodies[id]; ok {
					m.done++
				}
				delete(m.leased, id)
				delete(m.bodies, id)
				if i := slices.Index(m.again, id); i >= 0 {
					m.again = slices.Delete(m.again, i, i+1)
				}
			}
		case op < 86: // purge
			if n, err := q.Purge(ctx); err != nil || n != m.purge() {
				t.Fatalf("%s: purged %d, %v", name, n, err)
			}
		case op < 94: // nack
			list := some(rnd, m.leased)
			if err := q.Nack(ctx, list...); err != nil {
				t.Fatal(err)
			}
			for _, id := range list {
				m.giveBack(id)
			}
		case op < 95: // drop
			if there, err := b.Drop(name); !there || err != nil {
				t.Fatalf("drop: %v, %v", there, err)
			}
			for reader := range model {
				if reader == name || strings.HasPrefix(reader, name+"+") {
					delete(model, reader)
				}
			}
		case op < 97: // reopen
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			b = openBroker(t, "store", opts)
			for _, m := range model {
				m.reopen()
			}
		default: // look
			for _, s := range b.Stats().Queues {
				m := model[s.Name]
				if m == nil || s.Put != m.next-m.start || s.Done != m.done || s.Leased != len(m.leased) || s.Backlog() != uint64(len(m.bodies)) {
					t.Fatalf("stats %+v of %+v", s, m)
				}
			}
		}
	}
}

// some picks a random part of set.
func some(rnd *rand.Rand, set map[uint64]bool) (list []uint64) {
	for _, id := range slices.Sorted(maps.Keys(set)) {
		if rnd.IntN(2) == 0 {
			list = append(list, id)
		}
	}
	return list
}
