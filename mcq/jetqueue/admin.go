package jetqueue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
)

// maxPeek is how many messages Peek shows.
const maxPeek = 1024

// Peek returns up to limit messages, at most 1024 and 16 MiB, that were never
// handed out, in their order, and leaves them where they are. It does not show
// those that were given back, which come before these. It is one request for
// each message.
func (q *Queue) Peek(ctx context.Context, limit int) (msgs []mcq.Message, err error) {
	if limit < 1 {
		return nil, fmt.Errorf("mcq: peek at %s: limit %d, want at least 1", q.name, limit)
	}
	if err := q.err(); err != nil {
		return nil, err
	}
	if q.opt.FanOut && !q.subscriber {
		return nil, nil
	}
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	s, k, err := q.info(ctx)
	if err != nil {
		return nil, wrap("peek at", q.name, q.lost(err))
	}
	size := 0
	for seq := k.Delivered.Stream + 1; len(msgs) < min(limit, maxPeek) && size < leaseBytes; {
		raw, err := q.at(ctx, s, seq)
		if err != nil {
			return nil, wrap("peek at", q.name, q.lost(err))
		}
		if raw == nil {
			break
		}
		seq = raw.Sequence + 1
		m := mcq.Message{ID: raw.Sequence, Body: raw.Data, Enqueued: raw.Time}
		parseHeader(raw.Header, &m)
		if age := time.Since(m.Enqueued); age < m.Delay || m.TTL > 0 && age >= m.TTL {
			continue
		}
		msgs = append(msgs, m)
		size += len(m.Body)
	}
	return msgs, nil
}

// Purge takes out all messages that are there and not leased by anybody, and
// returns how many. A message that waits for its time stays if it was looked at
// before. It costs as much as to read and acknowledge them, and fails if the
// queue is paused.
func (q *Queue) Purge(ctx context.Context) (n int, err error) {
	if err := q.err(); err != nil {
		return 0, err
	}
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	s, k, err := q.info(ctx)
	if err != nil {
		return 0, wrap("purge", q.name, q.lost(err))
	}
	if k.Paused {
		return 0, wrap("purge", q.name, errPaused)
	}
	for last := s.CachedInfo().State.LastSeq; ; {
		msgs, err := q.receive(ctx, maxBatch, q.c.opt.Timeout+q.c.opt.Failover, 0)
		if err != nil {
			return n, err
		}
		var old, later []uint64
		for i := range msgs {
			if id := msgs[i].ID; id <= last {
				old = append(old, id)
			} else {
				later = append(later, id)
			}
		}
		q.giveBack(later)
		failed, err := q.ack(ctx, old)
		n += len(old) - len(failed)
		if err != nil {
			q.giveBack(failed)
			return n, err
		}
		if len(old) == 0 {
			return n, nil
		}
	}
}

// info asks about the stream and the consumer.
func (q *Queue) info(ctx context.Context) (s jetstream.Stream, k *jetstream.ConsumerInfo, err error) {
	err = q.c.try(ctx, func(ctx context.Context) error {
		if s, err = q.c.js.Stream(ctx, q.stream); err != nil {
			return err
		}
		k, err = q.consumer.Info(ctx)
		return err
	})
	return s, k, err
}

// at returns the first message of the stream from seq on, nil if there is none.
func (q *Queue) at(ctx context.Context, s jetstream.Stream, seq uint64) (raw *jetstream.RawStreamMsg, err error) {
	err = q.c.try(ctx, func(ctx context.Context) error {
		raw, err = next(ctx, s, q.subject, seq)
		return err
	})
	return raw, err
}

func next(ctx context.Context, s jetstream.Stream, subject string, seq uint64) (*jetstream.RawStreamMsg, error) {
	raw, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	return raw, err
}
