package jetqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
)

// Reject takes leased messages out of the queue for good: they go to
// QueueOptions.DeadLetters with that reason, up to 1000 bytes of it on one line, or
// are dropped if there is none. An id that is not leased gives mcq.ErrNotLeased. A
// message that could not be moved stays leased.
func (q *Queue) Reject(ctx context.Context, reason string, ids ...uint64) error {
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	list, missing := q.claim(ids)
	var errs []error
	for _, k := range list {
		if err := q.reject(ctx, reason, k); err != nil {
			q.putBack(k)
			errs = append(errs, err)
		}
	}
	if missing > 0 {
		errs = append(errs, fmt.Errorf("%w: %d of %d rejected from %s", mcq.ErrNotLeased, missing, len(ids), q.name))
	}
	return errors.Join(errs...)
}

func (q *Queue) reject(ctx context.Context, reason string, k claimed) error {
	var raw *jetstream.RawStreamMsg
	err := q.c.try(ctx, func(ctx context.Context) error {
		s, err := q.c.js.Stream(ctx, q.stream)
		if err == nil {
			raw, err = s.GetMsg(ctx, k.id)
		}
		if errors.Is(err, jetstream.ErrMsgNotFound) { // expired meanwhile
			err = nil
		}
		return err
	})
	if err != nil {
		return wrap("read from", q.name, q.lost(err))
	}
	if raw == nil {
		return nil
	}
	return q.bury(ctx, burial{id: k.id, stored: raw.Time, attempts: k.lease.attempts, reply: k.lease.reply, body: raw.Data, header: raw.Header, reason: reason})
}

// buryAll buries messages whose last lease was given back. Those that it cannot
// are buried by whoever they are delivered to next.
func (q *Queue) buryAll(ctx context.Context, reason string, list []claimed) (err error) {
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	for _, k := range list {
		if e := q.reject(ctx, reason, k); e != nil {
			err = errors.Join(err, e, q.c.nc.Publish(k.lease.reply, answerNak))
		}
	}
	return err
}

// burial is a message on its way to the dead letters.
type burial struct {
	id       uint64
	stored   time.Time // when the stream stored it
	attempts int
	reply    string // answers its delivery
	body     []byte
	header   nats.Header
	reason   string
}

// buryLater buries a message that has been handed out too often.
func (q *Queue) buryLater(b burial) {
	ctx, cancel := context.WithTimeout(q.c.ctx, q.c.opt.Timeout)
	defer cancel()
	for {
		err := q.bury(ctx, b)
		if err == nil {
			return
		}
		q.c.opt.Logger.Error("jetqueue: dead letter not moved, it will be tried again", "queue", q.name, "message", b.id, "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done(): // by whoever it is delivered to next
			q.c.nc.Publish(b.reply, answerNak)
			return
		}
	}
}

const maxReason = 1000

// bury moves a message to the queue of dead letters: it is stored there, once
// however often this is tried, before it is removed here.
func (q *Queue) bury(ctx context.Context, b burial) error {
	b.reason = oneLine(b.reason)
	if to := q.opt.DeadLetters; to != "" {
		dead, err := q.c.queue(ctx, to, true)
		if err != nil {
			return err
		}
		h := nats.Header{}
		for k, v := range b.header {
			switch k {
			case headerDelay, headerTTL, jetstream.MsgTTLHeader:
			default:
				h[k] = v
			}
		}
		h[headerDeadQueue] = []string{q.name}
		h[headerDeadID] = []string{strconv.FormatUint(b.id, 10)}
		h[headerDeadAttempts] = []string{strconv.Itoa(b.attempts)}
		h[headerDeadReason] = []string{b.reason}
		// The time tells it from that of a queue which had the name before.
		h[jetstream.MsgIDHeader] = []string{"d" + q.name + "/" + strconv.FormatUint(b.id, 10) + "/" + strconv.FormatInt(b.stored.UnixNano(), 36)}
		err = q.c.try(ctx, func(ctx context.Context) error {
			_, err := q.c.js.PublishMsg(ctx, &nats.Msg{Subject: dead.subject, Data: b.body, Header: h}, jetstream.WithRetryAttempts(0))
			return err
		})
		if err != nil {
			return wrap("put to", dead.name, err)
		}
	}
	err := q.c.try(ctx, func(ctx context.Context) error {
		_, err := q.c.nc.RequestWithContext(ctx, b.reply, answerAck)
		return err
	})
	if err != nil {
		return wrap("acknowledge to", q.name, err)
	}
	q.c.stats.buried.Add(1)
	q.trimmable.Store(true)
	q.c.opt.Logger.Warn("jetqueue: dead letter", "queue", q.name, "message", b.id, "attempts", b.attempts, "reason", b.reason)
	return nil
}

// oneLine makes of a reason what fits into a header.
func oneLine(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxReason)], "?")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
