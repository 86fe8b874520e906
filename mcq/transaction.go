package mcq

import (
	"context"
	"errors"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
)

var errOpen = errors.New("mcq: a message of that queue is open already")

// transaction is kestrel's way to read reliably: /open hands a message to the
// connection, /close removes it, /abort or the end of the connection gives it
// back. A connection has one message of each queue open at most, but for those
// that it monitors; of these /close and /abort mean the oldest.
func (c *session) transaction(k *keyOptions) ([]Message, error) {
	name := string(k.name)
	has := len(c.opens[name]) > 0
	if has && k.open && !k.close {
		return nil, errOpen
	}
	q, err := c.find(k.name, k.open && k.wait > 0 && CheckName(name) == nil)
	if q == nil || err != nil {
		return nil, err
	}
	if has {
		id := c.closeOldest(name, 1)[0]
		end := q.Ack
		if k.abort {
			end = q.Nack
		}
		// It may have been open for too long.
		if err := end(context.Background(), id); err != nil && !errors.Is(err, ErrNotLeased) {
			return nil, err
		}
	}
	if !k.open {
		return nil, nil
	}
	lease := *k
	lease.lease = c.srv.opt.OpenTimeout
	msgs, err := c.take(q, &lease)
	c.opened(name, msgs)
	return msgs, err
}

func (c *session) opened(name string, msgs []Message) {
	if c.opens == nil {
		c.opens = make(map[string][]uint64)
	}
	for i := range msgs {
		c.opens[name] = append(c.opens[name], msgs[i].handle())
	}
}

// closeOldest takes the n oldest messages, which must be there, from those that are open.
func (c *session) closeOldest(name string, n int) []uint64 {
	open := c.opens[name]
	if c.opens[name] = open[n:]; len(open) == n {
		delete(c.opens, name)
	}
	return open[:n]
}

// maxOpen is how many messages of a queue a connection can have open.
const maxOpen = 1024

// monitor is kestrel's way to have messages sent as they come: monitor q seconds
// [count] opens them for the connection until the time is over, or there are so many.
func (c *session) monitor(cmd *memcached.Command) {
	cmd.Own() // watch reads on
	args := cmd.Args
	if len(args) < 2 || len(args) > 3 || c.plainKey(args[0]) != nil {
		c.complain(replyBadFormat)
		return
	}
	name := string(c.key.name)
	seconds, err := number(args[1], uint64(maxWait/time.Second))
	left := maxOpen - len(c.opens[name])
	if err == nil && len(args) == 3 {
		var count uint64
		count, err = number(args[2], maxOpen)
		left = min(left, int(count))
	}
	if err != nil {
		c.complain(replyBadFormat)
		return
	}
	q, err := c.find(c.key.name, true)
	if err != nil {
		c.complain(errorReply(err))
		return
	}
	ctx, stop := c.watch()
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for left > 0 && err == nil {
		wait := max(time.Until(end), 0)
		var msgs []Message
		msgs, err = q.Lease(ctx, min(left, 256), LeaseOptions{Duration: c.srv.opt.OpenTimeout, Wait: wait})
		c.opened(name, msgs)
		for i := range msgs {
			if e := c.out.Append(func(b []byte) []byte { return appendValue(b, args[0], &msgs[i], 0, nil) }); e != nil {
				err = e
			}
		}
		left -= len(msgs)
		if len(msgs) == 0 || wait == 0 {
			break
		}
	}
	stop()
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrDropped) {
		c.complain(errorReply(err))
		return
	}
	c.say(replyEnd)
}

// confirm removes the oldest messages that monitor has opened: confirm q count.
func (c *session) confirm(cmd *memcached.Command) {
	if len(cmd.Args) != 2 || c.plainKey(cmd.Args[0]) != nil {
		c.complain(replyBadFormat)
		return
	}
	name := string(c.key.name)
	n, err := number(cmd.Args[1], maxOpen)
	if err != nil || n == 0 {
		c.complain(replyBadFormat)
		return
	}
	if uint64(len(c.opens[name])) < n {
		c.complain(replyError)
		return
	}
	ids := c.closeOldest(name, int(n))
	q, err := c.find(c.key.name, false)
	if err == nil && q != nil {
		err = q.Ack(context.Background(), ids...)
	}
	switch {
	case q == nil, errors.Is(err, ErrNotLeased), errors.Is(err, ErrDropped): // open for too long: somebody else has them
		c.complain(replyError)
	case err != nil:
		c.complain(errorReply(err))
	default:
		c.say(replyEnd)
	}
}

// plainKey reads a key that must be a queue's name and no more.
func (c *session) plainKey(key []byte) error {
	if memcached.CheckKey(key) != nil || c.key.parse(key, optionsOfNone) != nil {
		return errOption
	}
	return CheckName(string(key))
}

// abortAll gives back what is open when the connection ends.
func (c *session) abortAll() {
	for name, ids := range c.opens {
		if q, err := c.find([]byte(name), false); q != nil && err == nil {
			q.Nack(context.Background(), ids...) // or their leases run out
		}
	}
}
