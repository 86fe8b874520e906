package jetqueue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
)

const (
	maxPublications = 1024                  // of one queue that wait for their acknowledgement
	fullEvery       = 20 * time.Millisecond // how often a full queue is trimmed, unless something was acknowledged
)

// publication is one message on its way.
type publication struct {
	m       mcq.Message
	msg     *nats.Msg
	future  jetstream.PubAckFuture // nil if sending failed at once
	err     error                  // why
	until   time.Time              // when to give up
	done    func(mcq.Message, error)
	counted bool          // in Queue.published
	alone   chan struct{} // closed when it is done; nil if others may be sent meanwhile
}

// Put adds messages at the end and returns when more than half of the servers
// that have the stream have stored them. They are stored one by one: an error
// means that some may be stored and others not. What is not answered is sent
// again, and stored once, until ctx ends or Options.Timeout has passed; then the
// error is one for which mcq.Retryable is true. Messages keep their order unless
// the stream changes its leader in between. Put sets their ID and Enqueued; a
// message whose Key is known already gets the ID of the first one.
func (q *Queue) Put(ctx context.Context, msgs ...mcq.Message) (err error) {
	if len(msgs) == 0 {
		return nil
	}
	if err := q.check(msgs); err != nil {
		return err
	}
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	until, _ := ctx.Deadline()
	_, span := q.putOp.Start(ctx)
	defer func() { span.End(err) }()
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		errs []error
	)
	for i := range msgs {
		if !msgs[i].Trace.IsValid() {
			msgs[i].Trace = span.SpanContext()
		}
		m := msgs[i]
		m.Body = slices.Clone(m.Body)
		wg.Add(1)
		q.publish(ctx, m, until, func(m mcq.Message, err error) {
			defer wg.Done()
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if len(errs) < 3 {
					errs = append(errs, err)
				}
				return
			}
			msgs[i].ID, msgs[i].Enqueued = m.ID, m.Enqueued
		})
	}
	wg.Wait() // every publication ends in its time
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func (q *Queue) check(msgs []mcq.Message) error {
	if q.subscriber {
		return fmt.Errorf("%w: put to %s: a subscriber only reads", mcq.ErrName, q.name)
	}
	limit := q.c.MaxMessage()
	for i := range msgs {
		if err := checkMessage(&msgs[i], limit); err != nil {
			return fmt.Errorf("%w: put to %s, message %d", err, q.name, i)
		}
	}
	return q.err()
}

// Enqueue is Put without waiting: done is called when m is stored or cannot be.
// The body belongs to the queue from then on. It waits only while 1024 messages
// of the queue are on their way. Dones are called in the order of the Enqueues
// of one goroutine, and must not block.
func (q *Queue) Enqueue(m mcq.Message, done func(mcq.Message, error)) {
	if err := q.check([]mcq.Message{m}); err != nil {
		q.publishNothing(m, err, done)
		return
	}
	began := time.Now()
	q.publish(q.c.ctx, m, began.Add(q.c.opt.Timeout), func(m mcq.Message, err error) {
		if m.Trace.Sampled() {
			_, span := q.setOp.StartRemoteAt(context.Background(), m.Trace, began)
			span.SetAttr("message", strconv.FormatUint(m.ID, 10))
			span.End(err)
		} else {
			q.setOp.Observe(context.Background(), time.Since(began), err)
		}
		done(m, err)
	})
}

// publish sends m and returns; done is called later, in the order of the calls.
// While it is not known that the stream can be reached, each message waits for
// the one before: a new stream may not be known to all servers yet, and would
// miss the first of many messages but not the rest.
func (q *Queue) publish(ctx context.Context, m mcq.Message, until time.Time, done func(mcq.Message, error)) {
	select {
	case q.room <- struct{}{}:
	case <-ctx.Done():
		q.publishNothing(m, fmt.Errorf("%w: put to %s: %w", mcq.ErrConnection, q.name, ctx.Err()), done)
		return
	}
	p := &publication{m: m, msg: natsMsg(q.subject, &m, q.c.ids.next()), until: until, done: done}
	if !q.reached.Load() {
		q.reaching.Lock()
		defer q.reaching.Unlock()
		if !q.reached.Load() {
			p.alone = make(chan struct{})
		}
	}
	switch p.counted = q.begin(); {
	case !p.counted:
		p.err = q.err()
	case p.alone != nil:
		// Sent when it is its turn.
	case q.c.nc.IsClosed():
		p.err = nats.ErrConnectionClosed
	default:
		// Who sends again must be whoever keeps the order.
		p.future, p.err = q.c.js.PublishMsgAsync(p.msg, jetstream.WithRetryAttempts(0))
	}
	q.await(p)
	if p.alone != nil {
		<-p.alone
	}
}

// publishNothing has done called in its turn.
func (q *Queue) publishNothing(m mcq.Message, err error, done func(mcq.Message, error)) {
	q.room <- struct{}{}
	q.await(&publication{m: m, err: err, done: done, counted: q.begin()})
}

// begin counts a publication that Close will wait for, unless the queue has ended.
func (q *Queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return false
	}
	q.published.Add(1)
	return true
}

// await queues p for its acknowledgement.
func (q *Queue) await(p *publication) {
	q.pubMu.Lock()
	defer q.pubMu.Unlock()
	q.pubs = append(q.pubs, p)
	if !q.completing {
		q.completing = true
		go q.complete()
	}
}

// complete waits for the acknowledgements, in order; it ends when none are due.
func (q *Queue) complete() {
	var pubs []*publication
	for {
		q.pubMu.Lock()
		pubs, q.pubs = q.pubs, pubs[:0]
		if len(pubs) == 0 {
			q.completing = false
			q.pubMu.Unlock()
			return
		}
		q.pubMu.Unlock()
		for i, p := range pubs {
			pubs[i] = nil
			ack, err := q.acknowledged(p)
			if err == nil && ack.Duplicate && p.m.Key != "" {
				q.c.stats.duplicates.Add(1)
			}
			if err == nil {
				p.m.ID, p.m.Enqueued, p.m.Attempts = ack.Sequence, time.Now(), 0
				q.c.stats.put.Add(1)
				if q.opt.FanOut {
					q.trimmable.Store(true) // there may be no subscriber to acknowledge it
				}
			}
			if errors.Is(err, mcq.ErrFull) {
				q.c.stats.full.Add(1)
			}
			if p.msg != nil {
				q.reached.Store(err == nil || !passing(err))
			}
			p.done(p.m, err)
			<-q.room
			if p.alone != nil {
				close(p.alone)
			}
			if p.counted {
				q.published.Done()
			}
		}
	}
}

// acknowledged waits for the stream's answer, sending again what is not answered.
func (q *Queue) acknowledged(p *publication) (ack *jetstream.PubAck, err error) {
	ctx, cancel := context.WithDeadline(context.Background(), p.until)
	defer cancel()
	switch {
	case p.future != nil:
		select {
		case ack = <-p.future.Ok():
		case err = <-p.future.Err():
		}
	case p.err != nil:
		err = p.err
	default:
		ack, err = q.send(ctx, p)
	}
	if err == nil || !passing(err) && !isFull(err) {
		return ack, wrap("put to", q.name, err)
	}
	if passing(err) {
		q.reached.Store(false)
	}
	if isFull(err) {
		// Perhaps what fills it has been consumed. Who comes right behind need
		// not look again, but finds the room.
		if now := time.Now().UnixNano(); q.trimmable.Load() || now-q.lookedAt.Load() > int64(fullEvery) {
			q.lookedAt.Store(now)
			q.trim(ctx)
		}
	}
	ack, err = q.send(ctx, p)
	return ack, wrap("put to", q.name, err)
}

// send sends p, and again while that is not answered.
func (q *Queue) send(ctx context.Context, p *publication) (ack *jetstream.PubAck, err error) {
	err = q.c.try(ctx, func(ctx context.Context) error {
		p.msg.Reply = ""
		ack, err = q.c.js.PublishMsg(ctx, p.msg, jetstream.WithRetryAttempts(0))
		if isNobody(err) && q.missing(ctx) {
			return mcq.ErrDropped
		}
		return err
	})
	return ack, err
}

// missing finds out whether nobody answers because the stream is gone.
func (q *Queue) missing(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), q.c.opt.attempt())
	defer cancel()
	_, err := q.c.js.Stream(ctx, q.stream)
	return isGone(err) && q.lost(err) != nil
}
