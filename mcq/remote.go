package mcq

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
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

// Put adds messages at the end and returns when the server says that they are
// stored. They are durable one by one: an error means that some may be stored
// and others not. Retryable tells errors after which Put may be called again.
//
// Delay and TTL are rounded up to whole seconds, and a TTL needs a server that heeds
// exptimes. A Key travels in the command's: it must have no spaces, control
// characters or slashes, and with the queue's name and the options at most 250 bytes.
// What cannot be sent is an error that wraps ErrMessage.
func (q *RemoteQueue) Put(ctx context.Context, msgs ...Message) (err error) {
	if len(msgs) == 0 {
		return nil
	}
	if err := CheckName(q.name); err != nil {
		return err
	}
	for i := range msgs {
		if n := len(msgs[i].Body); n > q.c.opt.MaxMessage {
			return fmt.Errorf("%w: put to %s: message %d has %d bytes, limit %d", ErrTooLarge, q.name, i, n, q.c.opt.MaxMessage)
		}
		if err := sendable(q.name, &msgs[i]); err != nil {
			return fmt.Errorf("put to %s: message %d: %w", q.name, i, err)
		}
	}
	ctx, span := q.putOp.Start(ctx)
	defer func() { span.End(err) }()
	sc := span.SpanContext()
	conn, err := q.c.conn(ctx)
	if err != nil {
		return err
	}
	x := &exchange{replies: len(msgs), line: func(line []byte) error {
		if string(line) == "STORED" {
			return nil
		}
		return errorOf(line)
	}}
	return conn.do(ctx, q.c.opt.Timeout, x, func(b []byte) []byte {
		for i := range msgs {
			m := msgs[i]
			if !m.Trace.IsValid() {
				m.Trace = sc
			}
			b = appendSet(b, q.name, &m)
		}
		return b
	})
}

// sendable says why a message cannot be sent with all that is in it.
func sendable(name string, m *Message) error {
	if m.Delay < 0 || m.Delay > maxDelay || m.TTL < 0 || m.TTL > maxDelay {
		return fmt.Errorf("%w: Delay %v, TTL %v: want 0 to %v", ErrMessage, m.Delay, m.TTL, maxDelay)
	}
	if m.Key == "" {
		return nil
	}
	if i := strings.IndexFunc(m.Key, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }); i >= 0 {
		return fmt.Errorf("%w: a server takes no Key with %q", ErrMessage, m.Key[i])
	}
	if n, most := len(m.Key), memcached.MaxKey-len(name)-len("/delay=/key=/h")-len(strconv.FormatInt(wholeSeconds(maxDelay), 10)); n > most {
		return fmt.Errorf("%w: Key of %d bytes, limit with this queue's name %d", ErrMessage, n, most)
	}
	return nil
}

// wholeSeconds are those that the protocol carries of a duration.
func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// exptime is the protocol's for a time to live: 0 is for ever, and what is long is a
// point in time.
func exptime(ttl time.Duration) int64 {
	s := wholeSeconds(ttl)
	if s > relativeExptime {
		s += time.Now().Unix()
	}
	return s
}

// appendSet appends a set command; a message with a trace carries it in an envelope.
func appendSet(b []byte, name string, m *Message) []byte {
	var room [128]byte
	var head []byte
	b = append(b, "set "...)
	b = append(b, name...)
	if m.Delay > 0 {
		b = append(b, "/delay="...)
		b = strconv.AppendInt(b, wholeSeconds(m.Delay), 10)
	}
	if m.Key != "" {
		b = append(b, "/key="...)
		b = append(b, m.Key...)
	}
	if m.Trace.IsValid() {
		head = appendEnvelope(room[:0], m)
		b = append(b, "/h"...)
	}
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(m.Flags), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, exptime(m.TTL), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(head)+len(m.Body)), 10)
	b = append(b, "\r\n"...)
	b = append(b, head...)
	b = append(b, m.Body...)
	return append(b, "\r\n"...)
}

// Lease is Queue.Lease on the server; durations are rounded up to what the
// protocol carries, seconds for the lease and at most 30 s of waiting.
func (q *RemoteQueue) Lease(ctx context.Context, limit int, o LeaseOptions) ([]Message, error) {
	o, err := o.filled()
	if err != nil {
		return nil, err
	}
	return q.fetch(ctx, limit, (o.Duration+time.Second-1)/time.Second, min(o.Wait, maxWait))
}

// Take is Queue.Take on the server.
func (q *RemoteQueue) Take(ctx context.Context) (Message, error) {
	msgs, err := q.fetch(ctx, 1, 0, 0)
	if err != nil {
		return Message{}, err
	}
	if len(msgs) == 0 {
		return Message{}, ErrEmpty
	}
	return msgs[0], nil
}

// fetch gets messages, leased for so many seconds, or removed if that is 0.
func (q *RemoteQueue) fetch(ctx context.Context, limit int, lease time.Duration, wait time.Duration) ([]Message, error) {
	if err := CheckName(q.name); err != nil {
		return nil, err
	}
	if limit < 1 {
		return nil, fmt.Errorf("mcq: lease from %s: limit %d, want at least 1", q.name, limit)
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
		if lease > 0 && m.ID != receiptID(m.ID) {
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
		if lease > 0 {
			b = append(b, "/receipt/lease="...)
			b = strconv.AppendInt(b, int64(lease), 10)
		}
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
func (q *RemoteQueue) Ack(ctx context.Context, ids ...uint64) error { return q.settle(ctx, "ack", ids) }

// Nack is Queue.Nack on the server.
func (q *RemoteQueue) Nack(ctx context.Context, ids ...uint64) error {
	return q.settle(ctx, "nack", ids)
}

func (q *RemoteQueue) settle(ctx context.Context, verb string, ids []uint64) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if len(ids) == 0 {
		return nil
	}
	if err := CheckName(q.name); err != nil {
		return err
	}
	conn, err := q.c.conn(ctx)
	if err != nil {
		return err
	}
	var commands []byte
	x := &exchange{line: func(line []byte) error {
		if string(line) == "DELETED" {
			return nil
		}
		return errorOf(line)
	}}
	for len(ids) > 0 {
		commands = append(commands, "delete "+q.name+"/"+verb+"="...)
		commands, ids = appendIDs(commands, ids, maxAckLine)
		commands = append(commands, "\r\n"...)
		x.replies++
	}
	return conn.do(ctx, q.c.opt.Timeout, x, func(b []byte) []byte { return append(b, commands...) })
}

// Extend is Queue.Extend on the server; d is rounded up to seconds.
func (q *RemoteQueue) Extend(ctx context.Context, id uint64, d time.Duration) error {
	o, err := LeaseOptions{Duration: d}.filled()
	if err = errors.Join(err, CheckName(q.name)); err != nil {
		return err
	}
	conn, err := q.c.conn(ctx)
	if err != nil {
		return err
	}
	x := &exchange{replies: 1, line: func(line []byte) error {
		if string(line) == "TOUCHED" {
			return nil
		}
		return errorOf(line)
	}}
	return conn.do(ctx, q.c.opt.Timeout, x, func(b []byte) []byte {
		return fmt.Appendf(b, "touch %s/id=%d %d\r\n", q.name, id, (o.Duration+time.Second-1)/time.Second)
	})
}
