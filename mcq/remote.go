package mcq

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// RemoteQueue is a queue on a server, with the methods of a Queue. It is safe
// for concurrent use.
type RemoteQueue struct {
	c     *Client
	name  string
	putOp *watchman.Operation
}

// Name is the queue's name.
func (q *RemoteQueue) Name() string { return q.name }

// Put adds messages at the end, sets their ID and Enqueued, and returns when the
// server says that they are stored. They are durable one by one: an error means that
// some may be stored, those with an ID certainly, and others not. Retryable tells
// errors after which Put may be called again, which stores no message twice that has
// a Key. What cannot be put is an error that wraps ErrMessage or ErrTooLarge.
func (q *RemoteQueue) Put(ctx context.Context, msgs ...Message) (err error) {
	if len(msgs) == 0 {
		return nil
	}
	for i := range msgs {
		if err := q.check(&msgs[i]); err != nil {
			return fmt.Errorf("%w: put to %s, message %d", err, q.name, i)
		}
	}
	for i := range msgs {
		msgs[i].ID, msgs[i].Enqueued = 0, time.Time{}
	}
	ctx, span := q.putOp.Start(ctx)
	defer func() { span.End(err) }()
	sc := span.SpanContext()
	conn, err := q.c.conn(ctx)
	if err != nil {
		return err
	}
	p := &putExchange{exchange: exchange{replies: len(msgs)}}
	if p.got = p.one[:0]; len(msgs) > 1 {
		p.got = make([]stored, 0, len(msgs))
	}
	p.line = p.read
	err = conn.do(ctx, q.c.opt.Timeout, &p.exchange, func(b []byte) []byte {
		for i := range msgs {
			m := msgs[i]
			if !m.Trace.IsValid() {
				m.Trace = sc
			}
			b = appendSet(b, q.name, &m)
		}
		return b
	})
	if p.ended {
		for i, s := range p.got {
			s.into(&msgs[i])
		}
	}
	return err
}

// putExchange keeps the replies to a Put until it has ended: the reader may go on when
// ctx has ended, and the messages are the caller's again.
type putExchange struct {
	exchange
	got []stored
	one [1]stored // room for it
}

func (p *putExchange) read(line []byte) error {
	s, err := parseStored(line)
	p.got = append(p.got, s)
	return err
}

// check reports what keeps m from being sent.
func (q *RemoteQueue) check(m *Message) error {
	return cmp.Or(CheckName(q.name), checkMessage(m, q.c.opt.MaxMessage))
}

// appendSet appends an eset command whose body has an envelope, in which is all that
// its line could not say.
func appendSet(b []byte, name string, m *Message) []byte {
	var room [128]byte
	sent := *m
	sent.Enqueued, sent.Attempts, sent.Dead = time.Time{}, 0, nil
	head := appendEnvelope(room[:0], &sent)
	b = append(b, "eset "...)
	b = append(b, name...)
	b = append(b, "/h "...)
	b = strconv.AppendUint(b, uint64(m.Flags), 10)
	b = append(b, " 0 "...)
	b = strconv.AppendInt(b, int64(len(head)+len(m.Body)), 10)
	b = append(b, "\r\n"...)
	b = append(b, head...)
	b = append(b, m.Body...)
	return append(b, "\r\n"...)
}

// stored is the reply to that.
type stored struct {
	id uint64 // 0 if it was another
	ms int64
}

func (s stored) into(m *Message) {
	if s.id != 0 {
		m.ID, m.Enqueued = s.id, time.UnixMilli(s.ms)
	}
}

func parseStored(line []byte) (stored, error) {
	first, second, _ := bytes.Cut(line, spaceBytes)
	id, err := strconv.ParseUint(string(first), 10, 64)
	ms, merr := strconv.ParseInt(string(second), 10, 64)
	if err != nil || merr != nil || id == 0 {
		return stored{}, errorOf(line)
	}
	return stored{id, ms}, nil
}

// Lease is Queue.Lease on the server; the lease is rounded up to seconds.
func (q *RemoteQueue) Lease(ctx context.Context, limit int, o LeaseOptions) ([]Message, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	return q.await(ctx, limit, o.Wait, "/receipt/lease="+strconv.FormatInt(wholeSeconds(o.Duration), 10))
}

// Take is Queue.Take on the server. If it fails, or ctx ends, the message may be
// gone nevertheless.
func (q *RemoteQueue) Take(ctx context.Context) (Message, error) {
	msgs, err := q.fetch(ctx, 1, 0, "")
	if err != nil {
		return Message{}, err
	}
	if len(msgs) == 0 {
		return Message{}, ErrEmpty
	}
	return msgs[0], nil
}

// Peek is Queue.Peek on the server.
func (q *RemoteQueue) Peek(ctx context.Context, limit int) ([]Message, error) {
	return q.fetch(ctx, limit, 0, "/peek")
}

// wholeSeconds are those that the protocol carries of a duration.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// await gets messages, waiting for the first one, with as many commands as the limit
// of the protocol's waiting makes necessary.
func (q *RemoteQueue) await(ctx context.Context, limit int, wait time.Duration, option string) ([]Message, error) {
	for end := time.Now().Add(wait); ; {
		msgs, err := q.fetch(ctx, limit, min(wait, maxWait), option)
		if wait = time.Until(end); err != nil || len(msgs) > 0 || wait <= 0 {
			return msgs, err
		}
	}
}

// fetch sends a gets of up to limit messages with that option.
func (q *RemoteQueue) fetch(ctx context.Context, limit int, wait time.Duration, option string) ([]Message, error) {
	if err := CheckName(q.name); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("mcq: get from %s: limit %d, want at least 1", q.name, limit)
	}
	conn, err := q.c.take(ctx)
	if err != nil {
		return nil, err
	}
	var msgs []Message
	var bad error
	limit = min(limit, maxBatch)
	x := &exchange{replies: 1, values: limit, value: func(_, head, body []byte) {
		m, err := parseValue(head, body)
		if m.ID != receiptID(m.ID) {
			m.Receipt, m.ID = m.ID, receiptID(m.ID)
		}
		if err != nil && bad == nil {
			bad = err
		}
		msgs = append(msgs, m)
	}}
	err = conn.do(ctx, q.c.opt.Timeout+wait, x, func(b []byte) []byte {
		b = append(b, "gets "...)
		b = append(b, q.name...)
		b = append(b, "/h/n="...)
		b = strconv.AppendInt(b, int64(limit), 10)
		b = append(b, option...)
		if wait > 0 {
			b = append(b, "/t="...)
			b = strconv.AppendInt(b, max(wait.Milliseconds(), 1), 10)
		}
		return append(b, "\r\n"...)
	})
	if err != nil {
		// The reader may still be filling msgs.
		conn.close(ErrClosed)
		return nil, err
	}
	q.c.put(conn)
	return msgs, bad
}

// parseValue reads the rest of a VALUE line, "flags length id", and the body.
func parseValue(head, body []byte) (m Message, err error) {
	fields := bytes.Split(head, spaceBytes)
	if len(fields) != 3 {
		return m, fmt.Errorf("mcq: VALUE without an id: %.80q", head)
	}
	flags, err := strconv.ParseUint(string(fields[0]), 10, 32)
	if err != nil {
		return m, fmt.Errorf("mcq: VALUE: %w", err)
	}
	if m.ID, err = strconv.ParseUint(string(fields[2]), 10, 64); err != nil {
		return m, fmt.Errorf("mcq: VALUE: %w", err)
	}
	m.Flags = uint32(flags)
	m.Body, err = parseEnvelope(body, &m)
	return m, err
}

// maxAckLine is how many bytes of ids go into one command line.
const maxAckLine = 7 << 10

// Ack is Queue.Ack on the server.
func (q *RemoteQueue) Ack(ctx context.Context, ids ...uint64) error {
	return q.settle(ctx, "ack", ids, "")
}

// Nack is Queue.Nack on the server.
func (q *RemoteQueue) Nack(ctx context.Context, ids ...uint64) error {
	return q.settle(ctx, "nack", ids, "")
}

// NackReason is Queue.NackReason on the server.
func (q *RemoteQueue) NackReason(ctx context.Context, reason string, ids ...uint64) error {
	return q.settle(ctx, "nack", ids, reasonOption(reason))
}

// Reject is Queue.Reject on the server.
func (q *RemoteQueue) Reject(ctx context.Context, reason string, ids ...uint64) error {
	return q.settle(ctx, "reject", ids, reasonOption(reason))
}

func reasonOption(reason string) string { return "/reason=" + url.PathEscape(cutReason(reason)) }

// settle sends what is to become of leased messages.
func (q *RemoteQueue) settle(ctx context.Context, verb string, ids []uint64, option string) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if err := CheckName(q.name); err != nil {
		return err
	}
	if len(ids) == 0 {
		return nil
	}
	var commands []byte
	replies := 0
	for ; len(ids) > 0; replies++ {
		commands = append(commands, "delete "+q.name+"/"+verb+"="...)
		commands, ids = appendIDs(commands, ids, maxAckLine-len(option))
		commands = append(commands, option+"\r\n"...)
	}
	return q.c.command(ctx, replies, commands, func(line []byte) error {
		if string(line) == "DELETED" {
			return nil
		}
		return errorOf(line)
	})
}

// Extend is Queue.Extend on the server; d is rounded up to seconds.
func (q *RemoteQueue) Extend(ctx context.Context, id uint64, d time.Duration) error {
	o, err := LeaseOptions{Duration: d}.filled()
	if err = errors.Join(err, CheckName(q.name)); err != nil {
		return err
	}
	return q.c.command(ctx, 1, fmt.Appendf(nil, "touch %s/id=%d %d\r\n", q.name, id, wholeSeconds(o.Duration)), func(line []byte) error {
		if string(line) == "TOUCHED" {
			return nil
		}
		return errorOf(line)
	})
}

// Purge is Queue.Purge on the server.
func (q *RemoteQueue) Purge(ctx context.Context) (int, error) {
	if err := CheckName(q.name); err != nil {
		return 0, err
	}
	n := 0
	err := q.c.command(ctx, 1, []byte("flush "+q.name+"/count\r\n"), func(line []byte) (err error) {
		if n, err = strconv.Atoi(string(line)); err != nil {
			return errorOf(line)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// command sends commands that are answered by so many lines. line may be told more
// when an error has been returned.
func (c *Client) command(ctx context.Context, replies int, commands []byte, line func([]byte) error) error {
	conn, err := c.conn(ctx)
	if err != nil {
		return err
	}
	x := &exchange{replies: replies, line: line}
	return conn.do(ctx, c.opt.Timeout, x, func(b []byte) []byte { return append(b, commands...) })
}
