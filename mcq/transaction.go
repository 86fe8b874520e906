package mcq

import (
	"context"
	"errors"
)

var errOpen = errors.New("mcq: a message of that queue is open already")

// transaction is kestrel's way to read reliably: /open hands a message to the
// connection, /close removes it, /abort or the end of the connection gives it
// back. A connection has one message of each queue open at most.
func (c *session) transaction(k *keyOptions) ([]Message, error) {
	name := string(k.name)
	id, has := c.opens[name]
	if has && k.open && !k.close {
		return nil, errOpen
	}
	q, err := c.find(k.name, k.open && k.wait > 0 && CheckName(name) == nil)
	if q == nil || err != nil {
		return nil, err
	}
	if has {
		delete(c.opens, name)
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
	if len(msgs) > 0 {
		if c.opens == nil {
			c.opens = make(map[string]uint64)
		}
		c.opens[name] = msgs[0].handle()
	}
	return msgs, err
}

// abortAll gives back what is open when the connection ends.
func (c *session) abortAll() {
	for name, id := range c.opens {
		if q, err := c.find([]byte(name), false); q != nil && err == nil {
			q.Nack(context.Background(), id) // or its lease runs out
		}
	}
}
