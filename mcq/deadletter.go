package mcq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
)

// Reject takes leased messages out of the queue for good: they go to
// QueueOptions.DeadLetters with that reason, of which 1000 bytes are kept, or are
// dropped if there is none. It returns when that is durable. An id that is not leased gives ErrNotLeased; ids
// may be Receipts. Those that the dead letters have no room for are given back,
// and the error, which wraps ErrFull, says how many of how many.
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

// cutReason makes of reason what is kept of it.
func cutReason(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "?")
}

// bury moves messages that are held to the dead letters, in steps of leaseBytes,
// and as many as they have room for. What cannot be moved is given back.
func (q *Queue) bury(ids []uint64, reason string) error {
	reason = cutReason(reason)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	all, missed, misses := len(ids), 0, 0
	var bad error
	for step := len(ids); len(ids) > 0; {
		step = min(step, len(ids))
		n, err := q.buryFirst(ids[:step], reason)
		switch full := errors.Is(err, ErrFull); {
		case err == nil:
			ids, misses = ids[n:], 0
		case full && step > 1:
			step /= 2
		case full && misses == 0: // this one may be too large, and the next one not
			bad = err
			q.unhold(ids[:1])
			ids, step = ids[1:], len(ids)-1
			missed, misses = missed+1, 1
		default:
			q.unhold(ids)
			missed += len(ids)
			return fmt.Errorf("%w: bury %d of %d messages of %s", err, missed, all, q.name)
		}
	}
	if missed > 0 {
		return fmt.Errorf("%w: bury %d of %d messages of %s", bad, missed, all, q.name)
	}
	return nil
}

// unhold gives back messages that are held.
func (q *Queue) unhold(ids []uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		if l, ok := q.leases[id]; ok && l.until == math.MaxInt64 {
			delete(q.leases, id)
			q.returned[id] = l
			q.again.push(id)
		}
	}
	q.wakeLocked()
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
	o.buried = len(held)
	q.mu.Unlock()
	if len(held) == 0 {
		o.release()
		return n, nil
	}
	if err := q.b.commit(o); err != nil {
		q.mu.Lock()
		for id, l := range held {
			q.leases[id] = l
			q.goneLocked(id, -l.size)
		}
		q.mu.Unlock()
		return 0, err
	}
	return n, nil
}
