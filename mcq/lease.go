package mcq

import (
	"bytes"
	"context"
	"fmt"
	"math"
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
	if o.Duration < time.Millisecond || o.Duration > maxHold {
		return o, fmt.Errorf("mcq: LeaseOptions.Duration %v: want 1ms to 12h", o.Duration)
	}
	if o.Wait < 0 {
		return o, fmt.Errorf("mcq: LeaseOptions.Wait %v: negative", o.Wait)
	}
	return o, nil
}

const maxHold = 12 * time.Hour // the longest lease

// leaseBytes bounds the bodies that one Lease hands out; at least one message
// is handed out whatever its size.
const leaseBytes = 16 << 20

// lease is a message that is, or was, handed out.
type lease struct {
	until    int64 // Unix nanoseconds; the end of time while it is buried
	attempts int
	size     int // of the body
}

// expiry is a run of leases that may end together.
type expiry struct {
	until int64
	ids   interval
}

// Lease hands out up to limit messages from the head of the queue, in order; it
// returns as soon as there is at least one, and stops at 16 MiB of bodies. They
// stay in the queue until they are acknowledged. Of those that wait, whoever
// waits longest is served first. When nothing comes in o.Wait, the list is
// empty and the error nil; if ctx ends, its error is returned. The bodies must
// not be changed.
func (q *Queue) Lease(ctx context.Context, limit int, o LeaseOptions) ([]Message, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("mcq: lease from %s: limit %d, want at least 1", q.name, limit)
	}
	msgs, err := q.receive(ctx, nil, limit, o.Duration, o.Wait)
	if err == nil {
		err = q.recorded(msgs)
	}
	if err != nil {
		return nil, err
	}
	return msgs, nil
}

// receive hands messages out, waiting for the first one. A hold of 0 hands them
// out for good: there is no lease, and the caller must have them acknowledged. They
// may be put into room.
func (q *Queue) receive(ctx context.Context, room []Message, limit int, hold, wait time.Duration) ([]Message, error) {
	var timeout <-chan time.Time
	for waited := false; ; waited = true {
		msgs, turn, err := q.handOut(room, limit, hold, wait > 0, waited)
		if err != nil || len(msgs) > 0 || turn == nil {
			return msgs, err
		}
		if timeout == nil {
			timer := time.NewTimer(wait)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-turn:
		case <-timeout:
			q.stopWaiting(turn)
			return nil, nil
		case <-ctx.Done():
			q.stopWaiting(turn)
			return nil, ctx.Err()
		}
	}
}

// handOut hands out what there is. With nothing there and mayWait set it
// returns a channel that is closed when it is the caller's turn to look again;
// waited says that this was such a turn.
func (q *Queue) handOut(room []Message, limit int, hold time.Duration, mayWait, waited bool) (msgs []Message, turn chan struct{}, err error) {
	if waited {
		defer q.passTurn()
	}
	for {
		q.mu.Lock()
		if err := q.errLocked(); err != nil {
			defer q.mu.Unlock()
			return nil, nil, err
		}
		q.skipAcknowledgedLocked()
		behind := mayWait && !waited && (len(q.waiters) > 0 || q.turns > 0)
		if behind || !q.availableLocked() {
			defer q.mu.Unlock()
			if !mayWait {
				return nil, nil, nil
			}
			turn = make(chan struct{})
			if waited { // it had been at the front already
				q.waiters = slices.Insert(q.waiters, 0, turn)
			} else {
				q.waiters = append(q.waiters, turn)
			}
			q.wakeLocked()
			return nil, turn, nil
		}
		var stale *op // what has expired
		if q.again.len() > 0 {
			msgs, stale, err = q.handOutAgainLocked(limit, hold)
		} else {
			before := q.head
			msgs, stale = q.handOutNewLocked(room, limit, hold)
			stuck := q.head == before
			q.wakeLocked()
			q.mu.Unlock()
			if stuck {
				err = q.fill()
			}
		}
		if stale != nil {
			q.b.submitAside(stale)
		}
		if err != nil || len(msgs) > 0 {
			return msgs, nil, err
		}
	}
}

// availableLocked reports whether there may be something to hand out.
func (q *Queue) availableLocked() bool {
	return !q.paused && (q.again.len() > 0 || q.head < q.tail)
}

// inMemoryLocked returns a message that was never handed out, nil if it has to
// be read from the store.
func (q *Queue) inMemoryLocked(seq uint64) *Message {
	if m := q.recent.at(seq); m != nil {
		return m
	}
	return q.ahead.at(seq)
}

// skipLocked reports whether m is not handed out in its turn: it waits for its
// time, came before its turn when that had come, or is buried.
func (q *Queue) skipLocked(m *Message) bool {
	if m.Delay > 0 {
		if _, ok := q.delayed[m.ID]; ok {
			return true
		}
	}
	if len(q.jumped) == 0 {
		return false
	}
	_, ok := q.jumped[m.ID]
	return ok
}

// passLocked passes the message at the head if it is skipped.
func (q *Queue) passLocked(m *Message) bool {
	if !q.skipLocked(m) {
		return false
	}
	delete(q.jumped, m.ID)
	q.head++
	return true
}

// handOutNewLocked hands out messages that never were and are in memory. What
// has expired is taken out, for the caller to submit.
func (q *Queue) handOutNewLocked(room []Message, limit int, hold time.Duration) (msgs []Message, stale *op) {
	var now time.Time
	var until int64
	if hold > 0 {
		now = time.Now()
		until = untilOf(now, hold)
	}
	runs := q.head // the leases from here on have no expiry yet
	endRun := func() {
		if hold > 0 && runs < q.head {
			q.expireLaterLocked(until, interval{runs, q.head})
		}
	}
	for size := 0; len(msgs) < limit && q.head < q.tail && size < leaseBytes; {
		m := q.inMemoryLocked(q.head)
		if m == nil {
			break
		}
		if q.skipLocked(m) {
			endRun()
			q.passLocked(m)
			runs = q.head
			continue
		}
		if now.IsZero() && (m.TTL > 0 || q.opt.MaxAge > 0) {
			now = time.Now()
		}
		if q.expired(m, now) {
			endRun()
			if stale == nil {
				stale = takeOp(q)
			}
			stale.ack(m.ID, len(m.Body))
			q.goneLocked(m.ID, len(m.Body))
			stale.expired++
			q.head++
			runs = q.head
			continue
		}
		attempts := 1
		if n := q.earlier[q.head]; n > 0 {
			if attempts += n; q.suspects > q.head {
				if len(msgs) > 0 {
					break
				}
				limit = 1
			}
			delete(q.earlier, q.head)
		}
		if msgs == nil {
			if msgs = room[:0]; cap(room) < limit {
				msgs = make([]Message, 0, min(limit, int(q.tail-q.head), 1024))
			}
		}
		msgs = append(msgs, *m)
		msgs[len(msgs)-1].Attempts = attempts
		size += len(m.Body)
		if hold > 0 {
			msgs[len(msgs)-1].Receipt = q.receipt(q.head, attempts)
			q.leases[q.head] = lease{until, attempts, len(m.Body)}
		} else {
			q.goneLocked(m.ID, len(m.Body))
		}
		q.head++
	}
	endRun()
	q.recent.dropBelow(q.head)
	q.ahead.dropBelow(q.head)
	return msgs, stale
}

func untilOf(now time.Time, hold time.Duration) int64 { return now.Add(hold).UnixNano() }

// expireLaterLocked has the sweeper look at ids at that time.
func (q *Queue) expireLaterLocked(until int64, ids interval) {
	q.expiries.push(expiry{until, ids})
	q.expiring += ids.to - ids.from
	// Most leases end before their time: do not let what is over pile up.
	if q.expiring > 4096+2*uint64(len(q.leases)) {
		q.expiries.list, q.expiring = q.expiries.list[:0], 0
		for id, l := range q.leases {
			if l.until == math.MaxInt64 {
				continue
			}
			q.expiries.push(expiry{l.until, interval{id, id + 1}})
			q.expiring++
		}
	}
	q.due.Store(q.dueLocked())
}

// dueLocked is when the sweeper has something to do.
func (q *Queue) dueLocked() int64 {
	due := int64(math.MaxInt64)
	if q.expiries.len() > 0 {
		due = q.expiries.top().until
	}
	if q.laters.len() > 0 {
		due = min(due, q.laters.top().ms*int64(time.Millisecond))
	}
	return due
}

// fill reads the next messages from the store, many at once.
func (q *Queue) fill() error {
	q.fillMu.Lock()
	defer q.fillMu.Unlock()
	most := q.b.chunk()
	q.mu.Lock()
	from, to := q.head, min(q.tail, q.recent.base)
	if q.recent.at(from) != nil || q.ahead.at(from) != nil || from >= to {
		q.mu.Unlock()
		return nil
	}
	ring := q.ahead.ring // what the last chunk had
	if n := int(min(to-from, uint64(most/messageOverhead))); q.ahead.n > 0 || len(ring) > n {
		ring = make([]Message, min(len(ring), n))
	}
	q.ahead = window{}
	q.mu.Unlock()
	// What lies behind the chunk is not even looked for.
	to = min(to, from+readMessages)
	got := window{base: from, ring: ring}
	if err := q.readRun(&got, to, most); err != nil {
		return err
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
	q.countMemoryLocked()
	return nil
}

// readRun reads messages that were not consumed, from got.base on and below end, up to
// one that was, or until there are most bytes of them.
func (q *Queue) readRun(got *window, end uint64, most int) error {
	it, err := q.b.db.NewIter(&pebble.IterOptions{LowerBound: recordKey(q.log.id, got.base), UpperBound: recordKey(q.log.id, end)})
	if err != nil {
		return fmt.Errorf("mcq: read %s: %w", q.name, err)
	}
	defer it.Close()
	var room slab
	for ok := it.First(); ok && got.n < readMessages && got.bytes < most; ok = it.Next() {
		found, err := seqOf(it.Key())
		if err != nil {
			return fmt.Errorf("mcq: read %s: %w", q.name, err)
		}
		if q.consumed.has(found) { // acknowledged out of order before the last restart
			if got.n == 0 {
				continue
			}
			break
		}
		if got.n == 0 {
			got.base = found
		} else if found != got.end() {
			break
		}
		var m Message
		if err := parseRecord(it.Value(), &m); err != nil {
			return fmt.Errorf("mcq: read %s, message %d: %w", q.name, found, err)
		}
		m.ID, m.Body = found, room.copy(m.Body)
		got.push(&m)
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("mcq: read %s: %w", q.name, damaged(err))
	}
	return nil
}

// skipAcknowledgedLocked takes off the front of again what was acknowledged
// after its lease had run out.
func (q *Queue) skipAcknowledgedLocked() {
	for q.again.len() > 0 {
		if _, ok := q.returned[q.again.top()]; ok {
			return
		}
		q.again.pop()
	}
}

// handOutAgainLocked hands out messages that came back, reading them from the
// store. It is called with mu held and releases it. What has expired is taken
// out, for the caller to submit.
func (q *Queue) handOutAgainLocked(limit int, hold time.Duration) (kept []Message, stale *op, err error) {
	now := time.Now()
	// Until they are read they must not go to anybody else.
	msgs := make([]Message, 0, min(limit, q.again.len(), 1024))
	for q.again.len() > 0 && len(msgs) < limit {
		id := q.again.pop()
		l := q.returned[id]
		l.attempts++
		msgs = append(msgs, Message{ID: id, Attempts: l.attempts})
		l.until = untilOf(now, max(hold, time.Minute))
		delete(q.returned, id)
		q.leases[id] = l
		q.skipAcknowledgedLocked()
	}
	q.wakeLocked()
	q.mu.Unlock()

	n, err := q.readAgain(msgs)

	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wakeLocked()
	// What was not read goes back as if it had not been handed out.
	back := func(id uint64, l lease) {
		delete(q.leases, id)
		l.attempts--
		q.returned[id] = l
		q.again.push(id)
	}
	for i := range msgs {
		m := &msgs[i]
		l, ok := q.leases[m.ID]
		switch {
		case !ok: // acknowledged meanwhile by whoever had it before
		case i >= n:
			back(m.ID, l)
		case m.Enqueued.IsZero():
			err = fmt.Errorf("mcq: read %s, message %d: its record is missing", q.name, m.ID)
			back(m.ID, l)
		case q.expired(m, now):
			if stale == nil {
				stale = takeOp(q)
			}
			l.size = len(m.Body)
			q.unleaseLocked(m.ID, l, stale)
			stale.expired++
		default:
			kept = append(kept, *m)
			if hold == 0 {
				delete(q.leases, m.ID)
				q.goneLocked(m.ID, len(m.Body))
				continue
			}
			kept[len(kept)-1].Receipt = q.receipt(m.ID, l.attempts)
			l.until, l.size = untilOf(now, hold), len(m.Body)
			q.leases[m.ID] = l
			q.expireLaterLocked(l.until, interval{m.ID, m.ID + 1})
		}
	}
	if len(kept) > 0 {
		err = nil // it will be said when nothing else is there
	}
	return kept, stale, err
}

// readAgain reads the messages of msgs, whose ids ascend, until it has enough
// bytes, and returns how many it looked at. One without a record stays empty.
func (q *Queue) readAgain(msgs []Message) (n int, err error) {
	it, err := q.b.db.NewIter(&pebble.IterOptions{
		LowerBound: recordKey(q.log.id, msgs[0].ID), UpperBound: recordKey(q.log.id, msgs[len(msgs)-1].ID+1),
	})
	if err != nil {
		return 0, fmt.Errorf("mcq: read %s: %w", q.name, err)
	}
	defer it.Close()
	ok := it.First()
	for size := 0; n < len(msgs) && size < leaseBytes; n++ {
		m := &msgs[n]
		key := recordKey(q.log.id, m.ID)
		if ok && bytes.Compare(it.Key(), key) < 0 {
			if ok = it.Next(); ok && bytes.Compare(it.Key(), key) < 0 {
				ok = it.SeekGE(key)
			}
		}
		if err := it.Error(); err != nil {
			return n, fmt.Errorf("mcq: read %s, message %d: %w", q.name, m.ID, damaged(err))
		}
		if ok && bytes.Equal(it.Key(), key) {
			if err := parseRecord(it.Value(), m); err != nil {
				return n, fmt.Errorf("mcq: read %s, message %d: %w", q.name, m.ID, err)
			}
			m.Body = append(make([]byte, 0, len(m.Body)), m.Body...)
			size += len(m.Body)
		}
	}
	return n, nil
}

// Take removes the first message and returns it once the removal is durable:
// the message is handed out at most once. Without one it returns ErrEmpty.
func (q *Queue) Take(ctx context.Context) (m Message, err error) {
	began := time.Now()
	var room [1]Message
	msgs, err := q.remove(ctx, room[:0], 1, 0)
	if err != nil {
		return Message{}, err
	}
	if len(msgs) == 0 {
		return Message{}, ErrEmpty
	}
	q.takeOp.Observe(ctx, time.Since(began), nil)
	return msgs[0], nil
}

// remove takes up to limit messages out of the queue, waiting for the first
// one, and returns them once that is durable. They may be put into room.
func (q *Queue) remove(ctx context.Context, room []Message, limit int, wait time.Duration) ([]Message, error) {
	if err := q.b.spaceFor("take from", q); err != nil {
		return nil, err
	}
	msgs, err := q.receive(ctx, room, limit, 0, wait)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	o := takeOp(q)
	for i := range msgs {
		o.ack(msgs[i].ID, len(msgs[i].Body))
	}
	if err := q.b.commit(o); err != nil {
		return nil, err
	}
	return msgs, nil
}

// wakeLocked gives the first waiter its turn if there is something to see. Who
// has had its turn wakes the next.
func (q *Queue) wakeLocked() {
	if len(q.waiters) > 0 && q.turns == 0 && q.availableLocked() {
		close(q.waiters[0])
		q.waiters = slices.Delete(q.waiters, 0, 1)
		q.turns++
	}
}

// stopWaiting takes a waiter back; one whose turn it was passes it on.
func (q *Queue) stopWaiting(turn chan struct{}) {
	q.mu.Lock()
	i := slices.Index(q.waiters, turn)
	if i >= 0 {
		q.waiters = slices.Delete(q.waiters, i, i+1)
	}
	q.mu.Unlock()
	if i < 0 {
		q.passTurn()
	}
}

func (q *Queue) passTurn() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.turns--
	q.wakeLocked()
}
