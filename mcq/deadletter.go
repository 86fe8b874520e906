package mcq

import (
	"context"
	"fmt"
	"math"
	"slices"
)

// Reject takes leased messages out of the queue for good: they go to
// QueueOptions.DeadLetters with that reason, or are dropped if there is none. It
// returns when that is durable. An id that is not leased gives ErrNotLeased; ids
// may be Receipts.
func (q *Queue) Reject(_ context.Context, reason string, ids ...uint64) error {
	missing := 0
	var dying []uint64
	q.mu.Lock()
	if err := q.errLocked(); err != nil {
		defer q.mu.Unlock()
		return err
	}
	for _, receipt := range ids {
		id := receiptID(receipt)
		l, ok := q.leases[id]
		if !ok || l.until == math.MaxInt64 || !q.holds(receipt, l) {
			missing++
			continue
		}
		q.holdLocked(id, l)
		dying = append(dying, id)
	}
	q.mu.Unlock()
	if err := q.bury(dying, reason); err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d of %d rejected from %s", ErrNotLeased, missing, len(ids), q.name)
	}
	return nil
}

// holdLocked keeps a message from everybody else until it is buried.
func (q *Queue) holdLocked(id uint64, l lease) {
	delete(q.returned, id)
	l.until = math.MaxInt64
	q.leases[id] = l
}

const maxReason = 1000

// bury moves messages that are held to the dead letters, in steps of leaseBytes.
// What cannot be moved is given back.
func (q *Queue) bury(ids []uint64, reason string) error {
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for len(ids) > 0 {
		n, err := q.buryFirst(ids, reason)
		if err != nil {
			q.mu.Lock()
			for _, id := range ids {
				if l, ok := q.leases[id]; ok && l.until == math.MaxInt64 {
					delete(q.leases, id)
					q.returned[id] = l
					q.again.push(id)
				}
			}
			q.wakeLocked()
			q.mu.Unlock()
			return fmt.Errorf("mcq: bury %d messages of %s: %w", len(ids), q.name, err)
		}
		ids = ids[n:]
	}
	return nil
}

// buryFirst buries the first of ids and returns how many.
func (q *Queue) buryFirst(ids []uint64, reason string) (int, error) {
	msgs := make([]Message, len(ids))
	for i, id := range ids {
		msgs[i].ID = id
	}
	to := q
	if q.opt.DeadLetters != "" {
		var err error
		if to, err = q.b.Queue(q.opt.DeadLetters); err != nil {
			return 0, err
		}
	}
	n, err := q.readAgain(msgs)
	if err != nil {
		return 0, err
	}
	o := takeOp(to)
	o.from = q
	held := make(map[uint64]lease)
	q.mu.Lock()
	for _, m := range msgs[:n] {
		l, ok := q.leases[m.ID]
		if !ok || l.until != math.MaxInt64 || m.Enqueued.IsZero() {
			continue // acknowledged by its last holder, late
		}
		q.unleaseLocked(m.ID, l, o)
		held[m.ID] = l
		if to != q {
			o.msgs = append(o.msgs, Message{Body: m.Body, Flags: m.Flags, Trace: m.Trace,
				Dead: &Dead{Queue: q.name, ID: m.ID, Attempts: l.attempts, Reason: reason}})
		}
	}
	q.buried += uint64(len(held))
	q.mu.Unlock()
	if len(held) == 0 {
		o.release()
		return n, nil
	}
	if err := q.b.commit(o); err != nil {
		q.mu.Lock()
		q.buried -= uint64(len(held))
		for id, l := range held {
			q.leases[id] = l
			q.size += int64(l.size)
		}
		q.mu.Unlock()
		return 0, err
	}
	return n, nil
}
