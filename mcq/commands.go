package mcq

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
)

// get answers get and gets: one message from each key in turn, removed, or with
// the lease option up to n messages handed out.
func (c *session) get(cmd *memcached.Command) bool {
	if len(cmd.Args) == 0 {
		c.complain(replyError)
		return true
	}
	for _, key := range cmd.Args { // all, before one has given its message away
		if memcached.CheckKey(key) != nil || c.key.parse(key, optionsOfGet) != nil {
			c.complain(replyBadFormat)
			return true
		}
	}
	withID, prefixed := cmd.Is("gets"), cmd.Is("eget")
	sent := false
	for i, key := range cmd.Args {
		c.key.parse(key, optionsOfGet)
		c.srv.stats.getCmds.Add(1)
		if c.key.wait > 0 {
			cmd.Own() // watch reads on
			key = cmd.Args[i]
		}
		if prefixed && c.key.lease == 0 {
			c.key.lease = egetLease
		}
		msgs, err := c.fetch(&c.key)
		if err != nil && sent {
			// Clients throw away what stands in front of an error, and some of it
			// is nowhere else: it will be said when nothing else is there.
			c.srv.stats.errors.Add(1)
			break
		}
		if err == errOpen {
			c.complain("CLIENT_ERROR a message of that queue is open already\r\n")
			return true
		}
		for i := range msgs {
			head := c.head[:0]
			switch {
			case prefixed:
				head = strconv.AppendUint(append(head, 0), c.key.number(&msgs[i]), 10)
				head[0] = byte(len(head) - 1)
			case c.key.envelope:
				head = appendEnvelope(head, &msgs[i])
			}
			c.head = head
			cas := uint64(0)
			if withID {
				cas = c.key.number(&msgs[i])
			}
			c.out.Append(func(b []byte) []byte { return appendValue(b, key, &msgs[i], cas, head) })
		}
		if len(msgs) > 0 {
			sent = true
			c.srv.stats.getHits.Add(1)
		}
		if err != nil {
			c.complain(errorReply(err))
			return true
		}
	}
	c.say(replyEnd)
	return true
}

// egetLease is how long a message got with eget is kept for its reader.
const egetLease = 30 * time.Second

// fetch gets what one key of a get asks for.
func (c *session) fetch(k *keyOptions) ([]Message, error) {
	if k.open || k.close || k.abort {
		return c.transaction(k)
	}
	// Reading makes no queue, unless to wait at, but it makes subscribers.
	create := k.wait > 0 || bytes.IndexByte(k.name, '+') >= 0
	q, err := c.find(k.name, create && CheckName(string(k.name)) == nil)
	if q == nil || err != nil {
		return nil, err
	}
	if k.peek {
		p, ok := q.(interface {
			Peek(ctx context.Context, limit int) ([]Message, error)
		})
		if !ok {
			return nil, errors.New("mcq: peek is not supported here")
		}
		return p.Peek(c.srv.ctx, max(k.n, 1))
	}
	return c.take(q, k)
}

func (c *session) take(q BackendQueue, k *keyOptions) ([]Message, error) {
	fetch := q.Remove
	if k.lease > 0 {
		fetch = func(ctx context.Context, limit int, wait time.Duration) ([]Message, error) {
			return q.Lease(ctx, limit, LeaseOptions{Duration: k.lease, Wait: wait})
		}
	}
	msgs, err := fetch(c.srv.ctx, max(k.n, 1), 0)
	if err == nil && len(msgs) == 0 && k.wait > 0 {
		ctx, stop := c.watch()
		msgs, err = fetch(ctx, max(k.n, 1), k.wait)
		stop()
	}
	if errors.Is(err, ErrDropped) || errors.Is(err, context.Canceled) {
		return nil, nil
	}
	return msgs, err
}

// appendValue appends one VALUE block; the key is echoed as it came, a cas of 0
// is left out. head goes in front of the body.
func appendValue(b, key []byte, m *Message, cas uint64, head []byte) []byte {
	b = append(b, "VALUE "...)
	b = append(b, key...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(m.Flags), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(head)+len(m.Body)), 10)
	if cas != 0 {
		b = append(b, ' ')
		b = strconv.AppendUint(b, cas, 10)
	}
	b = append(b, "\r\n"...)
	b = append(b, head...)
	b = append(b, m.Body...)
	return append(b, "\r\n"...)
}

// delete drops a queue, or acknowledges or gives back leased messages.
func (c *session) delete(cmd *memcached.Command) {
	args := cmd.Args
	noreply := len(args) > 0 && string(args[len(args)-1]) == "noreply"
	if noreply {
		args = args[:len(args)-1]
	}
	if len(args) == 2 && string(args[1]) != "0" || len(args) < 1 || len(args) > 2 {
		c.complain("CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n")
		return
	}
	reply := c.remove(args[0])
	if !strings.HasPrefix(reply, replyDeleted) && reply != replyNotFound {
		c.srv.stats.errors.Add(1)
	}
	if !noreply {
		c.say(reply)
	}
}

func (c *session) remove(key []byte) string {
	k := &c.key
	if len(key) > memcached.MaxLine || k.parse(key, optionsOfDelete) != nil {
		return replyBadFormat
	}
	var list []byte
	var act func(BackendQueue, context.Context, ...uint64) error
	switch {
	case k.given == optionAck:
		list, act = k.ack, BackendQueue.Ack
	case k.given&^optionReason == optionNack:
		reason := k.reason
		list, act = k.nack, func(q BackendQueue, ctx context.Context, ids ...uint64) error { return nack(q, ctx, reason, ids) }
	case k.given&^optionReason == optionReject:
		reason := cmp.Or(k.reason, "rejected")
		list, act = k.reject, func(q BackendQueue, ctx context.Context, ids ...uint64) error { return reject(q, ctx, reason, ids) }
	case k.given != 0: // more than one
		return replyBadFormat
	case c.srv.opt.RefuseDrop:
		return "SERVER_ERROR delete of a queue is not allowed here\r\n"
	default:
		there, err := c.srv.b.DropQueue(context.Background(), string(k.name))
		switch {
		case err != nil:
			return errorReply(err)
		case !there:
			return replyNotFound
		}
		return replyDeleted
	}
	ids, err := parseIDs(list)
	if err != nil {
		return replyBadFormat
	}
	q, err := c.find(k.name, false)
	switch {
	case err != nil:
		return errorReply(err)
	case q == nil:
		return replyNotFound
	}
	switch err := act(q, context.Background(), ids...); {
	case errors.Is(err, ErrNotLeased), errors.Is(err, ErrDropped):
		return replyNotFound
	case err != nil:
		return errorReply(err)
	}
	return replyDeleted
}

// nack gives messages back; where reasons are not known it does so without.
func nack(q BackendQueue, ctx context.Context, reason string, ids []uint64) error {
	if r, ok := q.(nackReasoner); ok && reason != "" {
		return r.NackReason(ctx, reason, ids...)
	}
	return q.Nack(ctx, ids...)
}

func reject(q BackendQueue, ctx context.Context, reason string, ids []uint64) error {
	r, ok := q.(interface {
		Reject(ctx context.Context, reason string, ids ...uint64) error
	})
	if !ok {
		return errors.New("mcq: reject is not supported here")
	}
	return r.Reject(ctx, reason, ids...)
}

// ack is wqs's acknowledgement: ack key id [noreply].
func (c *session) ack(cmd *memcached.Command) {
	noreply := len(cmd.Args) == 3 && string(cmd.Args[2]) == "noreply"
	if len(cmd.Args) != 2 && !noreply || c.key.parse(cmd.Args[0], optionsOfNone) != nil {
		c.complain(replyBadFormat)
		return
	}
	reply := c.acknowledge(c.key.name, cmd.Args[1])
	if !noreply {
		c.say(reply)
	}
}

// eack is the same with the id as its data.
func (c *session) eack(in *incoming) {
	c.settle()
	reply := c.acknowledge([]byte(in.name), in.m.Body)
	if !in.noreply {
		c.say(reply)
	}
}

func (c *session) acknowledge(name, id []byte) string {
	n, err := number(id, 1<<63)
	if err != nil || n == 0 {
		return replyBadFormat
	}
	q, err := c.find(name, false)
	if q != nil && err == nil {
		err = q.Ack(context.Background(), n)
	}
	switch {
	case q == nil && err == nil, errors.Is(err, ErrNotLeased), errors.Is(err, ErrDropped):
		return replyNotFound
	case err != nil:
		c.srv.stats.errors.Add(1)
		return errorReply(err)
	}
	return replyStored
}

// purge is kestrel's flush: it empties one queue.
func (c *session) purge(cmd *memcached.Command) {
	if len(cmd.Args) != 1 || c.key.parse(cmd.Args[0], optionsOfFlush) != nil {
		c.complain(replyBadFormat)
		return
	}
	if c.srv.opt.RefuseDrop {
		c.complain("SERVER_ERROR flush of a queue is not allowed here\r\n")
		return
	}
	q, err := c.find(c.key.name, false)
	n := 0
	if q != nil && err == nil {
		p, ok := q.(interface {
			Purge(ctx context.Context) (int, error)
		})
		if !ok {
			c.complain(replyNoQueue)
			return
		}
		n, err = p.Purge(context.Background())
	}
	switch {
	case err != nil && !errors.Is(err, ErrDropped):
		c.complain(errorReply(err))
	case c.key.count:
		c.say(strconv.Itoa(n) + "\r\n")
	default:
		c.say(replyEnd)
	}
}

// touch extends a lease: touch q/id=ID seconds.
func (c *session) touch(cmd *memcached.Command) {
	args := cmd.Args
	noreply := len(args) == 3 && string(args[2]) == "noreply"
	if len(args) != 2 && !noreply || c.key.parse(args[0], optionsOfTouch) != nil {
		c.complain(replyBadFormat)
		return
	}
	secs, err := number(args[1], 12*3600)
	if err != nil || secs == 0 {
		c.complain(replyBadFormat)
		return
	}
	reply := replyNotFound
	q, err := c.find(c.key.name, false)
	if q != nil && c.key.id != 0 {
		if err = q.Extend(context.Background(), c.key.id, time.Duration(secs)*time.Second); err == nil {
			reply = "TOUCHED\r\n"
		}
	}
	if err != nil && !errors.Is(err, ErrNotLeased) && !errors.Is(err, ErrDropped) {
		c.srv.stats.errors.Add(1)
		reply = errorReply(err)
	}
	if !noreply {
		c.say(reply)
	}
}

func (c *session) flushAll(cmd *memcached.Command) {
	noreply := len(cmd.Args) > 0 && string(cmd.Args[len(cmd.Args)-1]) == "noreply"
	reply := "OK\r\n"
	if !c.srv.opt.AllowFlushAll {
		reply = "SERVER_ERROR flush_all is not allowed here\r\n"
	} else {
		queues, err := c.srv.b.QueueStats(context.Background())
		for i := 0; i < len(queues) && err == nil; i++ {
			_, err = c.srv.b.DropQueue(context.Background(), queues[i].Name)
		}
		if err != nil {
			reply = errorReply(err)
		}
	}
	if !noreply {
		c.say(reply)
	}
}

// errorReply words err as one line, which says whose fault it is.
func errorReply(err error) string {
	whose := "SERVER_ERROR"
	switch {
	case errors.Is(err, ErrNoSpace):
		return replyNoSpace
	case errors.Is(err, ErrName), errors.Is(err, ErrMessage):
		whose = "CLIENT_ERROR"
	}
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())
	if len(text) > 512 {
		text = text[:512]
	}
	return fmt.Sprintf("%s %s\r\n", whose, text)
}
