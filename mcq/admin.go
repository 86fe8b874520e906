package mcq

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// maxPeek is how many messages Peek shows.
const maxPeek = 1024

// Peek returns up to limit messages, at most 1024, that Lease would hand out
// next, and leaves them where they are; it may show fewer than there are. The
// bodies must not be changed.
func (q *Queue) Peek(_ context.Context, limit int) ([]Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("mcq: peek at %s: limit %d, want at least 1", q.name, limit)
	}
	limit = min(limit, maxPeek)
	now := time.Now()
	for filled := false; ; filled = true {
		q.mu.Lock()
		if err := q.errLocked(); err != nil {
			defer q.mu.Unlock()
			return nil, err
		}
		var msgs []Message
		if q.skipAcknowledgedLocked(); q.again.len() > 0 {
			ids := []uint64{q.again.top()}
			if limit > 1 {
				ids = slices.Sorted(maps.Keys(q.returned))
			}
			for _, id := range ids[:min(limit, len(ids))] {
				msgs = append(msgs, Message{ID: id, Attempts: q.returned[id].attempts})
			}
			q.mu.Unlock()
			n, err := q.readAgain(msgs)
			// What was taken out meanwhile has no record.
			return slices.DeleteFunc(msgs[:n], func(m Message) bool { return m.Enqueued.IsZero() || q.expired(&m, now) }), err
		}
		inMemory := true
		for seq := q.head; seq < q.tail && len(msgs) < limit; seq++ {
			m := q.inMemoryLocked(seq)
			if m == nil {
				inMemory = false
				break
			}
			if !q.skipLocked(m) && !q.expired(m, now) {
				msgs = append(msgs, *m)
				msgs[len(msgs)-1].Attempts = q.earlier[seq]
			}
		}
		q.mu.Unlock()
		if inMemory || filled || len(msgs) > 0 {
			return msgs, nil
		}
		if err := q.fill(); err != nil {
			return nil, err
		}
	}
}

// Purge removes all messages that are not handed out, delayed ones too, and
// returns how many, once that is durable.
func (q *Queue) Purge(_ context.Context) (int, error) {
	o := takeOp(q)
	q.mu.Lock()
	if err := q.errLocked(); err != nil {
		defer q.mu.Unlock()
		o.release()
		return 0, err
	}
	// Of those from head on some may be handed out: they were delayed and came first.
	from := q.head
	for _, id := range slices.Sorted(maps.Keys(q.jumped)) {
		if _, leased := q.leases[id]; leased {
			if from < id {
				o.acks = append(o.acks, interval{from, id})
			}
			from = id + 1
		}
	}
	if from < q.tail {
		o.acks = append(o.acks, interval{from, q.tail})
	}
	for id := range q.returned {
		o.acks = append(o.acks, interval{id, id + 1})
	}
	for id := range q.delayed {
		o.acks = append(o.acks, interval{id, id + 1})
	}
	slices.SortFunc(o.acks, func(a, b interval) int { return cmp.Compare(a.from, b.from) })
	q.head = q.tail
	q.recent.dropBelow(q.head)
	q.ahead.dropBelow(q.head)
	clear(q.returned)
	clear(q.delayed)
	clear(q.jumped)
	clear(q.earlier)
	q.again.list, q.laters.list = nil, nil
	left := int64(0)
	for id, l := range q.leases {
		if id >= q.sized {
			left += int64(l.size)
		}
	}
	o.bytes = int(q.size - left)
	q.size = left
	q.mu.Unlock()
	if len(o.acks) == 0 {
		o.release()
		return 0, nil
	}
	n := 0
	o.count = &n
	err := q.b.commit(o)
	return n, err
}

// Pause stops handing messages out until Resume or the end of the process;
// readers wait as if the queue were empty. Put, Ack and all else go on.
func (q *Queue) Pause() { q.setPaused(true) }

// Resume ends Pause.
func (q *Queue) Resume() { q.setPaused(false) }

func (q *Queue) setPaused(on bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = on
	q.wakeLocked()
}
