package mcq

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// ack adds a message to those that o acknowledges; ids should ascend.
func (o *op) ack(id uint64, size int) {
	o.bytes += size
	if n := len(o.acks); n > 0 && o.acks[n-1].to == id {
		o.acks[n-1].to++
	} else {
		o.acks = append(o.acks, interval{id, id + 1})
	}
}

// Ack removes leased messages for good and returns when that is durable. An id
// that is not leased any more gives ErrNotLeased; the others are removed all
// the same. A message whose lease ran out can be acknowledged by its ID until it
// has been acknowledged by somebody else, and by its Receipt until it has been
// handed out again.
func (q *Queue) Ack(_ context.Context, ids ...uint64) error {
	o := takeOp(q)
	missing, err := q.claim(o, ids)
	if err != nil || len(o.acks) == 0 {
		o.release()
	} else {
		err = q.b.commit(o)
	}
	if err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d of %d acknowledged to %s", ErrNotLeased, missing, len(ids), q.name)
	}
	return nil
}

// claim ends the leases of ids and collects them as o's acknowledgements. It
// returns how many were not leased.
func (q *Queue) claim(o *op, ids []uint64) (missing int, err error) {
	if !slices.IsSorted(ids) {
		ids = slices.Sorted(slices.Values(ids))
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := cmp.Or(q.errLocked(), q.b.spaceFor("acknowledge to", q)); err != nil {
		return 0, err
	}
	for _, receipt := range ids {
		id := receiptID(receipt)
		l, ok := q.leases[id]
		if !ok {
			l, ok = q.returned[id]
		}
		if !ok || l.attempts == 0 || !q.holds(receipt, l) { // 0: its time has come, but nobody has had it
			missing++
			continue
		}
		q.unleaseLocked(id, l, o)
	}
	return missing, nil
}

// unleaseLocked takes a message out of the queue, as an acknowledgement of o.
func (q *Queue) unleaseLocked(id uint64, l lease, o *op) {
	delete(q.leases, id)
	delete(q.returned, id) // and from again when it gets to the front
	q.goneLocked(id, l.size)
	o.ack(id, l.size)
}

// Nack gives leased messages back at once: they are the next to be handed out,
// in the order of their ids. One that was handed out QueueOptions.MaxAttempts
// times goes to the dead letters instead, or comes again if those are full, and then
// the error wraps ErrFull. An id that is not leased gives
// ErrNotLeased. ids may be Receipts.
func (q *Queue) Nack(ctx context.Context, ids ...uint64) error {
	return q.NackReason(ctx, "", ids...)
}

// NackReason is Nack, and says why: of messages that go to the dead letters it is
// Dead.Reason, up to 1000 bytes of it. Of others nothing is kept.
func (q *Queue) NackReason(_ context.Context, reason string, ids ...uint64) error {
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
		switch {
		case !ok || l.until == math.MaxInt64 || !q.holds(receipt, l):
			missing++
		case q.giveBackLocked(id, l):
			dying = append(dying, id)
		}
	}
	q.wakeLocked()
	q.mu.Unlock()
	if err := q.bury(dying, cmp.Or(reason, "the last lease was given back")); err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d of %d given back to %s", ErrNotLeased, missing, len(ids), q.name)
	}
	return nil
}

// giveBackLocked ends a lease. It reports whether the message has had its last
// and is to be buried; until then it is held.
func (q *Queue) giveBackLocked(id uint64, l lease) (dying bool) {
	if most := q.opt.MaxAttempts; most > 0 && l.attempts >= most {
		q.holdLocked(id, l)
		return true
	}
	delete(q.leases, id)
	q.returned[id] = l
	q.again.push(id)
	return false
}

// Extend makes the lease of a message, which is named by its ID or its Receipt,
// last d from now; 0 means 30 s, at most 12 h.
func (q *Queue) Extend(_ context.Context, receipt uint64, d time.Duration) error {
	o, err := LeaseOptions{Duration: d}.filled()
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.errLocked(); err != nil {
		return err
	}
	id := receiptID(receipt)
	l, ok := q.leases[id]
	if !ok || l.until == math.MaxInt64 || !q.holds(receipt, l) {
		return fmt.Errorf("%w: message %d of %s", ErrNotLeased, id, q.name)
	}
	l.until = time.Now().Add(o.Duration).UnixNano()
	q.leases[id] = l
	q.expireLaterLocked(l.until, interval{id, id + 1})
	return nil
}
