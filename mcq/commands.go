package mcq

import (
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
	withID := cmd.Is("gets")
	for i, key := range cmd.Args {
		if memcached.CheckKey(key) != nil || c.key.parse(key) != nil {
			c.complain(replyBadFormat)
			return true
		}
		c.srv.stats.getCmds.Add(1)
		if c.key.wait > 0 {
			cmd.Own() // watch reads on
			key = cmd.Args[i]
		}
		msgs, err := c.take(&c.key)
		for i := range msgs {
			c.out.Append(func(b []byte) []byte { return appendValue(b, key, &msgs[i], withID, c.key.envelope) })
		}
		if len(msgs) > 0 {
			c.srv.stats.getHits.Add(1)
		}
		if err != nil {
			c.complain(serverError(err))
			return true
		}
	}
	c.say(replyEnd)
	return true
}

// take gets what one key of a get asks for.
func (c *session) take(k *keyOptions) ([]Message, error) {
	// Reading makes no queue, unless to wait at.
	q, err := c.find(k.name, k.wait > 0 && CheckName(string(k.name)) == nil)
	if q == nil || err != nil {
		return nil, err
	}
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

// appendValue appends one VALUE block; the key is echoed as it came.
func appendValue(b, key []byte, m *Message, withID, envelope bool) []byte {
	var room [128]byte
	var head []byte
	if envelope {
		head = appendEnvelope(room[:0], m)
	}
	b = append(b, "VALUE "...)
	b = append(b, key...)
	b = append(b, ' ')
	b = strconv.AppendUint(b, uint64(m.Flags), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(len(head)+len(m.Body)), 10)
	if withID {
		b = append(b, ' ')
		b = strconv.AppendUint(b, m.ID, 10)
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
	if len(key) > memcached.MaxLine || k.parse(key) != nil {
		return replyBadFormat
	}
	if k.ack == nil && k.nack == nil {
		there, err := c.srv.b.DropQueue(context.Background(), string(k.name))
		switch {
		case err != nil:
			return serverError(err)
		case !there:
			return replyNotFound
		}
		return replyDeleted
	}
	list, act := k.ack, BackendQueue.Ack
	if k.ack == nil {
		list, act = k.nack, BackendQueue.Nack
	}
	ids, err := parseIDs(list)
	if err != nil {
		return replyBadFormat
	}
	q, err := c.find(k.name, false)
	switch {
	case err != nil:
		return serverError(err)
	case q == nil:
		return replyNotFound
	}
	switch err := act(q, context.Background(), ids...); {
	case errors.Is(err, ErrNotLeased), errors.Is(err, ErrDropped):
		return replyNotFound
	case err != nil:
		return serverError(err)
	}
	return replyDeleted
}

// touch extends a lease: touch q/id=ID seconds.
func (c *session) touch(cmd *memcached.Command) {
	args := cmd.Args
	noreply := len(args) == 3 && string(args[2]) == "noreply"
	if len(args) != 2 && !noreply || c.key.parse(args[0]) != nil {
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
		reply = serverError(err)
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
			reply = serverError(err)
		}
	}
	if !noreply {
		c.say(reply)
	}
}

// serverError words err as one line.
func serverError(err error) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, err.Error())
	if len(text) > 512 {
		text = text[:512]
	}
	return fmt.Sprintf("SERVER_ERROR %s\r\n", text)
}
