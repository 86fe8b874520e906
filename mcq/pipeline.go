package mcq

import (
	"context"
	"errors"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
)

// Commands that write, on the queues of a Broker, do not hold up those behind
// them: like sets they are handed to the committer, which answers them in their
// order once they are durable.

// maxPendingBytes bounds the replies of one connection that wait for the disk.
const maxPendingBytes = 8 << 20

// getPipelined carries out a get or gets of one key that need not wait for
// messages; it reports whether it was one.
func (c *session) getPipelined(cmd *memcached.Command) bool {
	if c.srv.local == nil || len(cmd.Args) != 1 || memcached.CheckKey(cmd.Args[0]) != nil || c.key.parse(cmd.Args[0]) != nil {
		return false
	}
	k := &c.key
	if k.wait > 0 || k.open || k.close || k.abort || k.peek {
		return false
	}
	q := c.srv.local.lookup(string(k.name))
	if q == nil {
		return false
	}
	if k.n > 1 {
		c.settle() // what this connection has put before is to be seen
	}
	waited := c.waiting() // asked before: what it waits for may be stored right after the look
	msgs, err := q.receive(c.srv.ctx, max(k.n, 1), k.lease, 0)
	if err == nil && len(msgs) == 0 && waited {
		c.settle()
		msgs, err = q.receive(c.srv.ctx, max(k.n, 1), k.lease, 0)
	}
	if err != nil {
		return false // it will fail again, where that is dealt with
	}
	c.srv.stats.getCmds.Add(1)
	if len(msgs) == 0 {
		c.settle()
		c.say(replyEnd)
		return true
	}
	c.srv.stats.getHits.Add(1)
	withID := cmd.Is("gets")
	add := func(b []byte) []byte {
		for i := range msgs {
			c.head = c.head[:0]
			if k.envelope {
				c.head = appendEnvelope(c.head, &msgs[i])
			}
			cas := uint64(0)
			if withID {
				cas = k.number(&msgs[i])
			}
			b = appendValue(b, cmd.Args[0], &msgs[i], cas, c.head)
		}
		return append(b, replyEnd...)
	}
	if k.lease > 0 && !c.waiting() {
		c.out.Append(add) // there is nothing to wait for
		return true
	}
	o := takeOp(q)
	o.reply = add(o.reply[:0])
	if k.lease == 0 {
		for i := range msgs {
			o.ack(msgs[i].ID, len(msgs[i].Body))
		}
		o.taken = len(msgs)
	}
	c.submit(o)
	return true
}

// ackPipelined carries out delete q/ack=ids; it reports whether it was that.
func (c *session) ackPipelined(cmd *memcached.Command) bool {
	args := cmd.Args
	noreply := len(args) == 2 && string(args[1]) == "noreply"
	if c.srv.local == nil || len(args) != 1 && !noreply || c.key.parse(args[0]) != nil || c.key.ack == nil {
		return false
	}
	ids, err := parseIDs(c.key.ack)
	if err != nil {
		return false
	}
	q := c.srv.local.lookup(string(c.key.name))
	if q == nil {
		return false
	}
	o := takeOp(q)
	missing, err := q.claim(o, ids)
	if err != nil {
		o.release()
		return false
	}
	reply := replyDeleted
	if missing > 0 {
		reply = replyNotFound
	}
	if o.reply = o.reply[:0]; !noreply {
		o.reply = append(o.reply, reply...)
	}
	c.submit(o)
	return true
}

// waiting reports whether replies wait for the disk.
func (c *session) waiting() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending > 0
}

// reserve waits until another n bytes of reply may wait for the disk, and the
// client has read most of what it got.
func (c *session) reserve(n int) {
	c.out.Room()
	c.mu.Lock()
	for c.pending >= maxPending || c.pending > 0 && c.pendingBytes+n > maxPendingBytes {
		c.changed.Wait()
	}
	c.pending++
	c.pendingBytes += n
	c.mu.Unlock()
}

// submit hands o to the committer, which sends o.reply when it is durable.
func (c *session) submit(o *op) {
	c.reserve(len(o.reply))
	o.session, o.began = c, time.Now()
	o.finish = finishReply
	c.hand(o)
}

// hand gives o to the committer. If that does not work the op fails, after
// those before it.
func (c *session) hand(o *op) {
	if err := o.q.b.submit(o); err != nil {
		c.mu.Lock()
		for c.pending > 1 {
			c.changed.Wait()
		}
		c.mu.Unlock()
		o.err = err
		o.finish(o)
	}
}

// finishReply answers a get or an acknowledgement. It runs on the committer's
// goroutine and must not block.
func finishReply(o *op) {
	c, err, n := o.session, o.err, len(o.reply)
	switch {
	case err == nil:
		if n > 0 {
			c.out.Push(o.reply)
		}
		if o.taken > 0 {
			o.q.takeOp.Observe(context.Background(), time.Since(o.began), nil)
		}
	case errors.Is(err, ErrDropped) && o.taken > 0:
		c.out.Push([]byte(replyEnd))
	case errors.Is(err, ErrDropped):
		c.out.Push([]byte(replyNotFound))
	default:
		c.srv.stats.errors.Add(1)
		c.out.Push([]byte(serverError(err)))
	}
	o.release()
	c.answered(n)
}

// answered counts a reply that waited for the disk, of n reserved bytes.
func (c *session) answered(n int) {
	c.mu.Lock()
	c.pending--
	c.pendingBytes -= n
	c.changed.Broadcast()
	c.mu.Unlock()
}
