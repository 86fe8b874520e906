package mcq

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// LeaseOptions says how Lease hands messages out.
type LeaseOptions struct {
	// Duration is how long the messages are the caller's. After that they are
	// handed out again. 0 means 30 s, at most 12 h.
	Duration time.Duration

	// Wait is how long to wait for the first message. 0 means not at all.
	Wait time.Duration
}

func (o LeaseOptions) filled() (LeaseOptions, error) {
	if o.Duration == 0 {
		o.Duration = 30 * time.Second
	}
	if o.Duration < time.Millisecond || o.Duration > 12*time.Hour {
		return o, fmt.Errorf("mcq: LeaseOptions.Duration %v: want 1ms to 12h", o.Duration)
	}
	if o.Wait < 0 {
		return o, fmt.Errorf("mcq: LeaseOptions.Wait %v: negative", o.Wait)
	}
	return o, nil
}

// Lease hands out up to limit messages from the head of the queue, in order; it
// returns as soon as there is at least one. They stay in the queue until they
// are acknowledged; whoever waits longest is served first. When nothing comes
// in o.Wait, the list is empty and the error nil; if ctx ends, its error is
// returned. The bodies must not be changed.
func (q *Queue) Lease(ctx context.Context, limit int, o LeaseOptions) ([]Message, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("mcq: lease from %s: limit %d, want at least 1", q.name, limit)
	}
	var timeout <-chan time.Time
	for waited := false; ; waited = true {
		msgs, wait, err := q.handOut(limit, o.Duration, o.Wait > 0, waited)
		if err != nil || len(msgs) > 0 || wait == nil {
			return msgs, err
		}
		if timeout == nil {
			timer := time.NewTimer(o.Wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-wait:
		case <-timeout:
			q.stopWaiting(wait)
			return nil, nil
		case <-ctx.Done():
			q.stopWaiting(wait)
			return nil, ctx.Err()
		}
	}
}

// handOut leases what there is. With nothing there and mayWait set it returns a
// channel that is closed when it is the caller's turn to look again.
func (q *Queue) handOut(limit int, d time.Duration, mayWait, first bool) (msgs []Message, wait chan struct{}, err error) {
	for {
		q.mu.Lock()
		if q.closed != nil {
			defer q.mu.Unlock()
			return nil, nil, q.closed
		}
		if len(q.again) > 0 {
			return q.handOutAgainLocked(limit, d)
		}
		if q.head == q.tail {
			defer q.mu.Unlock()
			if !mayWait {
				return nil, nil, nil
			}
			w := make(chan struct{})
			if first { // it had been at the front already
				q.waiters = slices.Insert(q.waiters, 0, w)
			} else {
				q.waiters = append(q.waiters, w)
			}
			return nil, w, nil
		}
		until := time.Now().Add(d)
		var ids []uint64
		for len(msgs) < limit && q.head < q.tail {
			m := q.recent.at(q.head)
			if m == nil {
				m = q.ahead.at(q.head)
			}
			if m == nil {
				break
			}
			msgs = append(msgs, *m)
			ids = append(ids, q.head)
			q.head++
		}
		if len(msgs) > 0 {
			for i := range msgs {
				msgs[i].Attempts = 1
				q.leases[ids[i]] = lease{until.UnixNano(), 1}
			}
			heap.Push(&q.expiries, expiry{until.UnixNano(), ids})
			q.recent.dropBelow(q.head)
			q.ahead.dropBelow(q.head)
			q.wakeLocked()
			q.mu.Unlock()
			return msgs, nil, nil
		}
		q.mu.Unlock()
		if err := q.fill(); err != nil {
			return nil, nil, err
		}
	}
}

const (
	readMessages = 1024
	readBytes    = 1 << 20
)

// fill reads the next messages from the store, many at once.
func (q *Queue) fill() error {
	q.fillMu.Lock()
	defer q.fillMu.Unlock()
	q.mu.Lock()
	from, to := q.head, min(q.tail, q.recent.base)
	there := q.recent.at(from) != nil || q.ahead.at(from) != nil
	q.mu.Unlock()
	if there || from >= to {
		return nil
	}
	it, err := q.b.db.NewIter(&pebble.IterOptions{LowerBound: recordKey(q.id, from), UpperBound: recordKey(q.id, to)})
	if err != nil {
		return fmt.Errorf("mcq: read %s: %w", q.name, err)
	}
	defer it.Close()
	got := window{base: from}
	seq := from
	for ok := it.First(); ok && got.len() < readMessages && got.bytes < readBytes; ok = it.Next() {
		found := seqOf(it.Key())
		if q.consumed.has(found) { // acknowledged out of order before the last restart
			if got.len() == 0 {
				continue
			}
			break
		}
		if got.len() > 0 && found != seq {
			break
		}
		if got.len() == 0 {
			got.base, seq = found, found
		}
		var m Message
		if err := parseRecord(it.Value(), &m); err != nil {
			return fmt.Errorf("mcq: read %s, message %d: %w", q.name, found, err)
		}
		m.ID = found
		got.push(m)
		seq++
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("mcq: read %s: %w", q.name, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.head != from {
		return nil // dropped meanwhile
	}
	if got.len() == 0 {
		q.head = to // nothing but consumed messages on the way
		return nil
	}
	q.head = got.base
	q.ahead = got
	return nil
}

// handOutAgainLocked leases messages that came back, reading them from the
// store. It is called with mu held and releases it.
func (q *Queue) handOutAgainLocked(limit int, d time.Duration) ([]Message, chan struct{}, error) {
	n := min(limit, len(q.again))
	ids := slices.Clone(q.again[:n])
	q.again = slices.Delete(q.again, 0, n)
	until := time.Now().Add(d)
	msgs := make([]Message, n)
	for i, id := range ids {
		q.attempts[id]++
		msgs[i] = Message{ID: id, Attempts: q.attempts[id]}
		q.leases[id] = lease{until.UnixNano(), q.attempts[id]}
	}
	heap.Push(&q.expiries, expiry{until.UnixNano(), ids})
	q.wakeLocked()
	q.mu.Unlock()
	for i := range msgs {
		v, closer, err := q.b.db.Get(recordKey(q.id, msgs[i].ID))
		if err == nil {
			err = parseRecord(v, &msgs[i])
			closer.Close()
		}
		if err != nil {
			q.giveBack(ids)
			return nil, nil, fmt.Errorf("mcq: read %s, message %d: %w", q.name, msgs[i].ID, err)
		}
	}
	return msgs, nil, nil
}

// Take removes the first message and returns it once the removal is durable:
// the message is handed out at most once. Without one it returns ErrEmpty.
func (q *Queue) Take(ctx context.Context) (m Message, err error) {
	began := time.Now()
	msgs, err := q.Lease(ctx, 1, LeaseOptions{})
	if err != nil {
		return Message{}, err
	}
	if len(msgs) == 0 {
		return Message{}, ErrEmpty
	}
	err = q.Ack(ctx, msgs[0].ID)
	q.takeOp.Observe(ctx, time.Since(began), err)
	return msgs[0], err
}

// Ack removes leased messages for good and returns when that is durable. An id
// that is not leased any more gives ErrNotLeased; the others are removed all
// the same. A message whose lease ran out can be acknowledged until it has been
// acknowledged by somebody else.
func (q *Queue) Ack(_ context.Context, ids ...uint64) error {
	o := takeOp(q)
	missing := q.claim(o, ids)
	if len(o.acks) == 0 {
		o.release()
	} else if err := q.b.commit(o); err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%w: %d of %d acknowledged to %s", ErrNotLeased, missing, len(ids), q.name)
	}
	return nil
}

// claim ends the leases of ids and collects them as o's acknowledgements. It
// returns how many were not leased.
func (q *Queue) claim(o *op, ids []uint64) (missing int) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		if !q.unleaseLocked(id) {
			missing++
			continue
		}
		if n := len(o.acks); n > 0 && o.acks[n-1].to == id {
			o.acks[n-1].to++
		} else {
			o.acks = append(o.acks, interval{id, id + 1})
		}
	}
	return missing
}

// unleaseLocked forgets a message that is leased or waits to be handed out again.
func (q *Queue) unleaseLocked(id uint64) bool {
	if _, ok := q.leases[id]; ok {
		delete(q.leases, id)
		delete(q.attempts, id)
		return true
	}
	if i, ok := slices.BinarySearch(q.again, id); ok {
		q.again = slices.Delete(q.again, i, i+1)
		delete(q.attempts, id)
		return true
	}
	return false
}

// Nack gives leased messages back at once: they are the next to be handed out,
// in the order of their ids. An id that is not leased gives ErrNotLeased.
func (q *Queue) Nack(_ context.Context, ids ...uint64) error {
	if missing := q.giveBack(ids); missing > 0 {
		return fmt.Errorf("%w: %d of %d given back to %s", ErrNotLeased, missing, len(ids), q.name)
	}
	return nil
}

func (q *Queue) giveBack(ids []uint64) (missing int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		l, ok := q.leases[id]
		if !ok {
			missing++
			continue
		}
		q.giveBackLocked(id, l)
	}
	q.wakeLocked()
	return missing
}

func (q *Queue) giveBackLocked(id uint64, l lease) {
	delete(q.leases, id)
	q.attempts[id] = l.attempts
	if i, found := slices.BinarySearch(q.again, id); !found {
		q.again = slices.Insert(q.again, i, id)
	}
}

// Extend makes the lease of a message last d from now.
func (q *Queue) Extend(_ context.Context, id uint64, d time.Duration) error {
	o, err := LeaseOptions{Duration: d}.filled()
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	l, ok := q.leases[id]
	if !ok {
		return fmt.Errorf("%w: message %d of %s", ErrNotLeased, id, q.name)
	}
	l.until = time.Now().Add(o.Duration).UnixNano()
	q.leases[id] = l
	heap.Push(&q.expiries, expiry{l.until, []uint64{id}})
	return nil
}

// expire gives back what was leased for too long.
func (q *Queue) expire(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	ns, came := now.UnixNano(), false
	for len(q.expiries) > 0 && q.expiries[0].until <= ns {
		e := heap.Pop(&q.expiries).(expiry)
		for _, id := range e.ids {
			if l, ok := q.leases[id]; ok && l.until <= ns {
				q.giveBackLocked(id, l)
				came = true
			}
		}
	}
	if came {
		q.wakeLocked()
	}
}

// wakeLocked lets the first waiter look, if there is something to see. A waiter
// that has taken its share wakes the next.
func (q *Queue) wakeLocked() {
	if len(q.waiters) > 0 && (len(q.again) > 0 || q.head < q.tail) {
		close(q.waiters[0])
		q.waiters = slices.Delete(q.waiters, 0, 1)
	}
}

// stopWaiting takes a waiter back; one that was woken passes the turn on.
func (q *Queue) stopWaiting(w chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiters, w); i >= 0 {
		q.waiters = slices.Delete(q.waiters, i, i+1)
		return
	}
	q.wakeLocked()
}

// expiry is a batch of leases that end together.
type expiry struct {
	until int64
	ids   []uint64
}

type expiryHeap []expiry

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return cmp.Less(h[i].until, h[j].until) }
func (h expiryHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *expiryHeap) Push(x any)        { *h = append(*h, x.(expiry)) }
func (h *expiryHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = expiry{}
	*h = old[:len(old)-1]
	return e
}
