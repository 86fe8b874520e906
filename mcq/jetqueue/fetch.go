package jetqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/heddle-go/heddle/mcq"
)

// A queue's readers share their requests to the server. One goroutine asks for
// what is there, for all who have come meanwhile, and deals it out in the order
// in which they came; who gets nothing and may wait is left to another, which
// has a request waiting at the server. So nothing is fetched that nobody has
// asked for, except when a reader leaves in that moment, or when an answer comes
// after its request was sent again: then it is given back.

// waiter is a reader.
type waiter struct {
	limit   int
	hold    time.Duration
	until   time.Time // how long it waits, or for an answer if it does not wait
	msgs    []mcq.Message
	bytes   int
	asked   bool // the server has been asked for it, and had nothing
	ended   bool
	err     error
	wake    chan struct{} // closed when it has ended
	waiting bool          // it may wait
}

// leaseBytes bounds the bodies that one Lease hands out.
const leaseBytes = 16 << 20

// finishLocked ends the wait. err counts only if there are no messages.
func (w *waiter) finishLocked(err error) {
	if w.ended {
		return
	}
	w.ended = true
	if len(w.msgs) == 0 {
		w.err = err
	}
	close(w.wake)
}

// receive hands messages out, waiting for the first one.
func (q *Queue) receive(ctx context.Context, limit int, hold, wait time.Duration) ([]mcq.Message, error) {
	if limit < 1 {
		return nil, fmt.Errorf("mcq: lease from %s: limit %d, want at least 1", q.name, limit)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if q.opt.FanOut && !q.subscriber {
		return nil, sleep(ctx, wait) // it keeps nothing for its own readers
	}
	w := &waiter{limit: min(limit, maxBatch), hold: hold, wake: make(chan struct{}), until: time.Now().Add(q.c.opt.Timeout)}
	var timeout <-chan time.Time
	if wait > 0 {
		w.waiting, w.until = true, time.Now().Add(wait)
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	q.mu.Lock()
	if q.closed != nil {
		defer q.mu.Unlock()
		return nil, q.closed
	}
	q.waiters = append(q.waiters, w)
	if !q.fetching {
		q.fetching = true
		q.c.wg.Go(q.fetch)
	}
	q.mu.Unlock()
	select {
	case <-w.wake:
	case <-timeout:
		q.leave(w)
	case <-ctx.Done():
		q.leave(w)
		if len(w.msgs) > 0 {
			ids := make([]uint64, len(w.msgs))
			for i := range w.msgs {
				ids[i] = w.msgs[i].ID
			}
			q.giveBack(ids)
		}
		return nil, ctx.Err()
	}
	q.c.stats.handedOut.Add(uint64(len(w.msgs)))
	return w.msgs, w.err
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave takes a reader out of the queue's; what it has got is in w.msgs.
func (q *Queue) leave(w *waiter) {
	q.mu.Lock()
	defer q.mu.Unlock()
	w.finishLocked(nil)
	q.dropEndedLocked()
}

func (q *Queue) dropEndedLocked() {
	q.waiters = slices.DeleteFunc(q.waiters, func(w *waiter) bool { return w.ended })
}

// fetch asks the server for what is there while there are readers for whom it
// has not been asked.
func (q *Queue) fetch() {
	for pause := time.Duration(0); ; {
		var round []*waiter
		batch := 0
		q.mu.Lock()
		for _, w := range q.waiters {
			if !w.asked && batch < maxBatch {
				round = append(round, w)
				batch += w.limit
			}
		}
		if len(round) == 0 {
			q.fetching = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		err := q.fetchNow(min(batch, maxBatch))
		failed := err != nil && passing(err) && !errors.Is(err, errMore)
		q.mu.Lock()
		now := time.Now()
		for _, w := range round {
			switch {
			case len(w.msgs) > 0, err != nil && !passing(err):
				w.finishLocked(err)
			case errors.Is(err, errMore), failed && !w.waiting && now.Before(w.until):
				// Once more.
			case w.waiting:
				w.asked = true
			default:
				w.finishLocked(err)
			}
		}
		q.dropEndedLocked()
		if len(q.waiters) > 0 && !q.watching && q.closed == nil {
			q.watching = true
			q.c.wg.Go(q.watch)
		}
		q.mu.Unlock()
		if pause = nextPause(pause, failed); pause > 0 {
			sleep(q.c.ctx, pause)
		}
	}
}

// nextPause is how long to wait after a request that failed, or did not.
func nextPause(last time.Duration, failed bool) time.Duration {
	if !failed {
		return 0
	}
	return min(max(2*last, 20*time.Millisecond), time.Second)
}

// fetchNow deals out what is there, up to batch messages.
func (q *Queue) fetchNow(batch int) error {
	if q.isPaused() {
		return nil
	}
	r, err := q.request(batch, 0)
	if err == nil {
		var got int
		if got, err = q.awaitRequest(r, q.c.opt.attempt()); got == 0 && errors.Is(err, errMore) {
			err = fmt.Errorf("%w: a message larger than the server now takes", mcq.ErrServer)
		}
		err = q.unanswered(err)
	}
	if isNobody(err) {
		ctx, cancel := context.WithTimeout(q.c.ctx, q.c.opt.attempt())
		defer cancel()
		if q.missing(ctx) {
			return mcq.ErrDropped
		}
	}
	return wrap("lease from", q.name, q.lost(err))
}

// maxWatch is how long one request waits at the server.
const maxWatch = 4 * time.Second

// watch deals out what comes while there are readers that wait.
func (q *Queue) watch() {
	for pause := time.Duration(0); ; {
		n, longest := 0, time.Duration(0)
		q.mu.Lock()
		for _, w := range q.waiters {
			if w.asked {
				n++
				longest = max(longest, time.Until(w.until))
			}
		}
		if n == 0 || q.closed != nil {
			q.watching = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		wait := min(max(longest, 10*time.Millisecond), maxWatch)
		r, err := q.request(min(n, maxBatch), wait)
		if err == nil {
			_, err = q.awaitRequest(r, wait+q.c.opt.attempt())
		}
		if q.lost(err) != err || isNobody(err) && q.missing(q.c.ctx) {
			continue // ended
		}
		if pause = nextPause(pause, err != nil && !errors.Is(err, errMore)); pause > 0 {
			sleep(q.c.ctx, pause)
		}
	}
}

// deal gives a message to the reader whose turn it is.
func (q *Queue) deal(msg *nats.Msg) {
	m, err := parseMsg(msg)
	if err != nil {
		q.c.opt.Logger.Error("jetqueue: delivery without metadata", "queue", q.name, "error", err)
		return
	}
	now := time.Now()
	if age := now.Sub(m.Enqueued); age < m.Delay {
		q.c.nc.Publish(msg.Reply, answerNakDelay(m.Delay-age))
		return
	} else if m.TTL > 0 && age >= m.TTL {
		q.c.nc.Publish(msg.Reply, answerAck) // lost, it comes again, and is dropped again
		q.trimmable.Store(true)
		return
	}
	answer := q.dealLocked(msg, m, now)
	if answer != nil {
		q.c.nc.Publish(msg.Reply, answer)
	}
}

// dealLocked takes the lock; it returns what to answer the server.
func (q *Queue) dealLocked(msg *nats.Msg, m mcq.Message, now time.Time) (answer []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return answerNak
	}
	if l := q.leases[m.ID]; l != nil {
		// The server lost patience, but the lease goes on.
		l.reply = msg.Reply
		return answerProgress
	}
	if most := q.opt.MaxAttempts; most > 0 && m.Attempts > most {
		b := burial{
			id: m.ID, stored: m.Enqueued, attempts: m.Attempts - 1, reply: msg.Reply, body: msg.Data, header: msg.Header,
			reason: "its last lease ran out or was given back",
		}
		q.c.wg.Go(func() { q.buryLater(b) })
		return nil
	}
	i := slices.IndexFunc(q.waiters, func(w *waiter) bool { return !w.ended && len(w.msgs) < w.limit && w.bytes < leaseBytes })
	if i < 0 {
		return answerNak
	}
	w := q.waiters[i]
	q.holdLocked(&m, msg.Reply, w.hold, now)
	w.msgs = append(w.msgs, m)
	w.bytes += len(m.Body)
	if w.asked || len(w.msgs) == w.limit || w.bytes >= leaseBytes {
		w.finishLocked(nil)
		q.waiters = slices.Delete(q.waiters, i, i+1)
	}
	return nil
}
