package jetqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// What JetStream understands as answers to a delivery.
var (
	answerAck      = []byte("+ACK")
	answerNak      = []byte("-NAK")
	answerProgress = []byte("+WPI")
)

func answerNakDelay(d time.Duration) []byte { return fmt.Appendf(nil, `-NAK {"delay": %d}`, d) }

// lease is a message that this process has handed out. On the server a lease
// lasts Options.Failover and is renewed from here, so that it can be as long or
// short as the caller wants and ends if this process does.
type lease struct {
	reply string // where to answer the delivery
	until int64  // Unix nanoseconds
	renew int64  // when to tell the server that it goes on

	attempts int
	receipt  uint64
}

// A receipt is a message's id and, above it, a number of the lease that comes
// again after 32767 leases of the queue. The topmost bit stays clear.
const (
	receiptShift = 48
	receiptLast  = 1<<15 - 1
)

func receiptID(receipt uint64) uint64 { return receipt & (1<<receiptShift - 1) }

// leaseLocked returns the lease that a message's id or a receipt names, or nil.
func (q *Queue) leaseLocked(id uint64) *lease {
	l := q.leases[receiptID(id)]
	if l == nil || id != receiptID(id) && id != l.receipt {
		return nil
	}
	return l
}

const (
	maxBatch  = 4096
	maxHold   = 12 * time.Hour
	sweepTick = 50 * time.Millisecond
)

func checkLease(hold, wait time.Duration) (time.Duration, error) {
	if hold == 0 {
		hold = 30 * time.Second
	}
	if hold < time.Millisecond || hold > maxHold {
		return hold, fmt.Errorf("mcq: LeaseOptions.Duration %v: want 1ms to 12h", hold)
	}
	if wait < 0 {
		return hold, fmt.Errorf("mcq: LeaseOptions.Wait %v: negative", wait)
	}
	return hold, nil
}

// Lease hands out up to limit messages, at most 4096, from the head of the
// queue; it returns as soon as there is at least one. Messages that were given
// back come first. Who waits longest in this process is served first. The leases
// are this process's: only this Cluster can acknowledge them. When nothing comes
// in o.Wait, the list is empty and the error nil; if ctx ends, its error is
// returned.
func (q *Queue) Lease(ctx context.Context, limit int, o mcq.LeaseOptions) ([]mcq.Message, error) {
	hold, err := checkLease(o.Duration, o.Wait)
	if err != nil {
		return nil, err
	}
	return q.receive(ctx, limit, hold, o.Wait)
}

// Take removes the first message and returns it once the removal is
// acknowledged: it is handed out at most once. Without one it returns mcq.ErrEmpty.
func (q *Queue) Take(ctx context.Context) (mcq.Message, error) {
	began := time.Now()
	msgs, err := q.Remove(ctx, 1, 0)
	if err != nil {
		return mcq.Message{}, err
	}
	if len(msgs) == 0 {
		return mcq.Message{}, mcq.ErrEmpty
	}
	q.takeOp.Observe(ctx, time.Since(began), nil)
	return msgs[0], nil
}

// Remove takes up to limit messages, at most 4096, out of the queue for good,
// waiting so long for the first one. Those whose removal is not acknowledged are
// not returned, and come again unless it was done all the same.
func (q *Queue) Remove(ctx context.Context, limit int, wait time.Duration) ([]mcq.Message, error) {
	msgs, err := q.receive(ctx, limit, q.c.opt.Timeout+q.c.opt.Failover, wait)
	if err != nil || len(msgs) == 0 {
		return nil, err
	}
	ids := make([]uint64, len(msgs))
	for i := range msgs {
		ids[i] = msgs[i].ID
		msgs[i].Receipt = 0
	}
	failed, err := q.ack(context.WithoutCancel(ctx), ids)
	if len(failed) == 0 {
		return msgs, nil
	}
	kept := slices.DeleteFunc(msgs, func(m mcq.Message) bool { return slices.Contains(failed, m.ID) })
	q.giveBack(failed)
	if len(kept) > 0 {
		return kept, nil
	}
	return nil, err
}

// Ack removes leased messages, named by their IDs or Receipts, for good and
// returns when more than half of the servers know. An id that is not leased by this process any more gives
// mcq.ErrNotLeased; the others are removed all the same. After any other error
// Ack may be called again.
func (q *Queue) Ack(ctx context.Context, ids ...uint64) error {
	failed, err := q.ack(ctx, ids)
	if err != nil && len(failed) > 0 && !errors.Is(err, mcq.ErrNotLeased) {
		return fmt.Errorf("%w (%d of %d)", err, len(failed), len(ids))
	}
	return err
}

// ack returns the ids that were leased and could not be acknowledged, which stay leased.
func (q *Queue) ack(ctx context.Context, ids []uint64) (failed []uint64, err error) {
	if err := q.err(); err != nil {
		return nil, err
	}
	claimed, missing := q.claim(ids)
	lost, err := q.answer(ctx, claimed, answerAck)
	for _, k := range lost {
		failed = append(failed, k.id)
		q.putBack(k)
	}
	if n := len(claimed) - len(lost); n > 0 {
		q.c.stats.acked.Add(uint64(n))
		q.trimmable.Store(true)
	}
	switch {
	case err != nil:
		return failed, wrap("acknowledge to", q.name, err)
	case missing > 0:
		return nil, fmt.Errorf("%w: %d of %d acknowledged to %s", mcq.ErrNotLeased, missing, len(ids), q.name)
	}
	return nil, nil
}

// answersAtOnce is how many answers of one call wait for the server's.
const answersAtOnce = 64

// answer answers deliveries and waits until the server has heard it. It returns
// those of which that is not known.
func (q *Queue) answer(ctx context.Context, list []claimed, answer []byte) (lost []claimed, err error) {
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		next int
	)
	for range min(answersAtOnce, len(list)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(list) {
					return
				}
				e := q.c.try(ctx, func(ctx context.Context) error {
					_, err := q.c.nc.RequestWithContext(ctx, list[i].lease.reply, answer)
					return err
				})
				if e != nil {
					mu.Lock()
					lost, err = append(lost, list[i]), e
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return lost, err
}

// claimed is a lease that was taken out of the queue's, to be ended.
type claimed struct {
	id    uint64
	lease *lease
}

// claim takes leases out; missing is how many are not there.
func (q *Queue) claim(ids []uint64) (list []claimed, missing int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, id := range ids {
		if l := q.leaseLocked(id); l != nil {
			delete(q.leases, receiptID(id))
			list = append(list, claimed{receiptID(id), l})
		} else {
			missing++
		}
	}
	return list, missing
}

// putBack is the reverse of claim.
func (q *Queue) putBack(k claimed) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil && q.leases[k.id] == nil { // else it has been handed out again
		q.leases[k.id] = k.lease
		q.due = min(q.due, k.lease.until, k.lease.renew)
	}
}

// Nack gives leased messages back: they are handed out again before what never
// was. It returns when the server knows. One that was handed out
// QueueOptions.MaxAttempts times goes to the dead letters instead; if it cannot, it
// does when it would be handed out. An id that is not leased gives
// mcq.ErrNotLeased; after any other error messages may only come again after
// Options.Failover.
func (q *Queue) Nack(ctx context.Context, ids ...uint64) error {
	return q.nack(ctx, answerNak, "", ids)
}

// NackReason is Nack, and says why: of messages that go to the dead letters it is
// Dead.Reason, up to 1000 bytes of it on one line. Of others nothing is kept.
func (q *Queue) NackReason(ctx context.Context, reason string, ids ...uint64) error {
	return q.nack(ctx, answerNak, reason, ids)
}

// NackAfter is Nack of messages that are to be handed out again after so long.
func (q *Queue) NackAfter(ctx context.Context, d time.Duration, ids ...uint64) error {
	if d <= 0 {
		return q.nack(ctx, answerNak, "", ids)
	}
	return q.nack(ctx, answerNakDelay(d), "", ids)
}

func (q *Queue) nack(ctx context.Context, answer []byte, reason string, ids []uint64) error {
	if err := q.err(); err != nil {
		return err
	}
	list, missing := q.claim(ids)
	q.c.stats.givenBack.Add(uint64(len(list)))
	var last []claimed // those that are not handed out again
	list = slices.DeleteFunc(list, func(k claimed) bool {
		most := q.opt.MaxAttempts
		if most == 0 || k.lease.attempts < most {
			return false
		}
		last = append(last, k)
		return true
	})
	var err error
	// The server hands them out in the order in which they are given back.
	slices.SortFunc(list, func(a, b claimed) int { return cmp.Compare(a.id, b.id) })
	for i, k := range list {
		if i < len(list)-1 {
			err = errors.Join(err, q.c.nc.Publish(k.lease.reply, answer))
			continue
		}
		// The server reads them in order: that it has this one says so of all.
		_, e := q.answer(ctx, list[i:], answer)
		err = errors.Join(err, e)
	}
	err = errors.Join(err, q.buryAll(ctx, cmp.Or(reason, "its last lease was given back"), last))
	switch {
	case err != nil:
		return wrap("give back to", q.name, err)
	case missing > 0:
		return fmt.Errorf("%w: %d of %d given back to %s", mcq.ErrNotLeased, missing, len(ids), q.name)
	}
	return nil
}

// giveBack ends leases without waiting. An answer that is lost is as if the
// process were: the message comes again after Options.Failover.
func (q *Queue) giveBack(ids []uint64) {
	list, _ := q.claim(ids)
	for _, k := range list {
		q.c.nc.Publish(k.lease.reply, answerNak)
	}
}

func (q *Queue) giveAllBack() {
	q.mu.Lock()
	ids := make([]uint64, 0, len(q.leases))
	for id := range q.leases {
		ids = append(ids, id)
	}
	q.mu.Unlock()
	slices.Sort(ids)
	q.giveBack(ids)
}

// Extend makes the lease of a message last d from now; 0 means 30 s, at most 12 h.
func (q *Queue) Extend(_ context.Context, id uint64, d time.Duration) error {
	d, err := checkLease(d, 0)
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	l := q.leaseLocked(id)
	if l == nil {
		return fmt.Errorf("%w: message %d of %s", mcq.ErrNotLeased, receiptID(id), q.name)
	}
	l.until = time.Now().Add(d).UnixNano()
	q.due = min(q.due, l.until)
	return nil
}

// holdLocked makes a lease of a message that is handed out now, and sets its receipt.
func (q *Queue) holdLocked(m *mcq.Message, reply string, hold time.Duration, now time.Time) {
	q.leased = q.leased%receiptLast + 1
	m.Receipt = q.leased<<receiptShift | m.ID
	l := &lease{reply: reply, attempts: m.Attempts, receipt: m.Receipt, until: now.Add(hold).UnixNano(), renew: now.Add(q.c.opt.Failover / 3).UnixNano()}
	if len(q.leases) == 0 {
		q.due = math.MaxInt64
	}
	q.leases[m.ID] = l
	q.due = min(q.due, l.until, l.renew)
}

// sweep ends the leases that have run out, and renews the others on the server.
func (c *Cluster) sweep() {
	tick := time.NewTicker(sweepTick)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case now := <-tick.C:
			for _, q := range c.all() {
				q.sweep(now)
			}
		}
	}
}

func (q *Queue) sweep(now time.Time) {
	ns := now.UnixNano()
	var ended []claimed
	var renewed []string
	q.mu.Lock()
	if len(q.leases) == 0 || q.due > ns {
		q.mu.Unlock()
		return
	}
	q.due = math.MaxInt64
	for id, l := range q.leases {
		if l.until <= ns {
			delete(q.leases, id)
			ended = append(ended, claimed{id, l})
			continue
		}
		if l.renew <= ns {
			l.renew = now.Add(q.c.opt.Failover / 3).UnixNano()
			renewed = append(renewed, l.reply)
		}
		q.due = min(q.due, l.until, l.renew)
	}
	q.mu.Unlock()
	q.c.stats.expired.Add(uint64(len(ended)))
	// If these fail, the server ends the leases by itself.
	slices.SortFunc(ended, func(a, b claimed) int { return cmp.Compare(a.id, b.id) })
	for _, k := range ended {
		q.c.nc.Publish(k.lease.reply, answerNak)
	}
	for _, reply := range renewed {
		q.c.nc.Publish(reply, answerProgress)
	}
}
