package mcq

import (
	"bytes"
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

// verdict is what becomes of a command that may be carried out at once.
type verdict uint8

const (
	slow        verdict = iota // it goes the long way
	answeredNow                // it is done, and its reply on the way
	commit                     // its op is for the committer
	settleFirst                // it can be carried out when nothing is pending
	incomplete                 // its body has not come
)

// pipelined carries out a get or an acknowledgement that need not wait; it
// reports whether it was one.
func (c *session) pipelined(cmd *memcached.Command, quick func(c *session, cmd *memcached.Command, waited bool) (*op, verdict)) bool {
	for {
		switch o, v := quick(c, cmd, c.waiting()); v {
		case answeredNow:
			return true
		case commit:
			c.submit(o)
			return true
		case settleFirst:
			c.settle()
		default:
			return false
		}
	}
}

// quickGet carries out a get or gets of one key that need not wait for messages.
// waited says whether replies waited for the disk, or perhaps, when that was asked,
// which must be before: what is waited for may be stored right after the look.
func (c *session) quickGet(cmd *memcached.Command, waited bool) (*op, verdict) {
	if c.srv.local == nil || len(cmd.Args) != 1 || memcached.CheckKey(cmd.Args[0]) != nil || c.key.parse(cmd.Args[0], optionsOfGet) != nil {
		return nil, slow
	}
	k := &c.key
	if k.open || k.close || k.abort || k.peek {
		return nil, slow
	}
	q := c.lookup(k.name)
	if q == nil {
		switch {
		case k.wait > 0 || bytes.IndexByte(k.name, '+') >= 0:
			return nil, slow // it makes the queue
		case waited:
			return nil, settleFirst
		}
		c.srv.stats.getCmds.Add(1)
		c.out.Push(endBytes)
		return nil, answeredNow
	}
	if k.n > 1 && waited {
		return nil, settleFirst // what this connection has put before is to be seen
	}
	if k.lease == 0 && q.b.held.Load() > 0 {
		return nil, slow // it will be refused
	}
	msgs, err := q.receive(c.srv.ctx, c.room[:0], max(k.n, 1), k.lease, 0)
	defer clear(c.room[:])
	switch {
	case err != nil:
		return nil, slow // it will fail again, where that is dealt with
	case len(msgs) == 0 && waited:
		return nil, settleFirst
	case len(msgs) == 0 && k.wait > 0:
		return nil, slow
	}
	c.srv.stats.getCmds.Add(1)
	if len(msgs) == 0 {
		c.out.Push(endBytes)
		return nil, answeredNow
	}
	c.srv.stats.getHits.Add(1)
	o := takeOp(q)
	withID := cmd.Is("gets")
	for i := range msgs {
		c.head = c.head[:0]
		if k.envelope {
			c.head = appendEnvelope(c.head, &msgs[i])
		}
		cas := uint64(0)
		if withID {
			cas = k.number(&msgs[i])
		}
		o.reply = appendValue(o.reply, cmd.Args[0], &msgs[i], cas, c.head)
	}
	o.reply = append(o.reply, replyEnd...)
	recording := k.lease > 0 && q.record(o, msgs)
	if k.lease > 0 && !waited && !recording {
		c.out.Push(o.reply) // there is nothing to wait for
		o.release()
		return nil, answeredNow
	}
	if k.lease == 0 {
		for i := range msgs {
			o.ack(msgs[i].ID, len(msgs[i].Body))
		}
		o.taken = len(msgs)
	}
	o.finish = finishReply
	return o, commit
}

// quickAck carries out delete q/ack=ids.
func (c *session) quickAck(cmd *memcached.Command, _ bool) (*op, verdict) {
	args := cmd.Args
	noreply := len(args) == 2 && string(args[1]) == "noreply"
	if c.srv.local == nil || len(args) != 1 && !noreply || c.key.parse(args[0], optionAck) != nil || c.key.ack == nil {
		return nil, slow
	}
	ids, err := appendParsedIDs(c.ids[:0], c.key.ack)
	if err != nil {
		return nil, slow
	}
	if c.ids = ids; cap(ids) > maxBatch {
		c.ids = nil
	}
	q := c.lookup(c.key.name)
	if q == nil {
		return nil, slow
	}
	o := takeOp(q)
	missing, err := q.claim(o, ids)
	if err != nil {
		o.release()
		return nil, slow
	}
	reply := replyDeleted
	if missing > 0 {
		reply = replyNotFound
	}
	if !noreply {
		o.reply = append(o.reply, reply...)
	}
	o.finish = finishReply
	return o, commit
}

// lookup returns a queue that is there already, or nil: mostly the one of the
// command before.
func (c *session) lookup(name []byte) *Queue {
	if q := c.found; q != nil && q.name == string(name) && !q.dropped.Load() {
		return q
	}
	q := c.srv.local.lookup(string(name))
	c.found = q
	return q
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
	err, n, reply := o.err, len(o.reply), o.reply
	switch {
	case err == nil:
		if o.taken > 0 {
			o.q.takeOp.Observe(context.Background(), o.took(), nil)
		}
	case errors.Is(err, ErrDropped) && o.taken > 0:
		reply = endBytes
	case errors.Is(err, ErrDropped):
		reply = []byte(replyNotFound)
	default:
		o.session.srv.stats.errors.Add(1)
		reply = []byte(errorReply(err))
	}
	o.answer(reply, n)
	o.release()
}

// answer sends what an op has to say, if anything, for which n bytes were reserved.
func (o *op) answer(reply []byte, n int) {
	c := o.session
	if o.lane != nil {
		o.lane.answer(reply, n)
		return
	}
	if len(reply) > 0 {
		c.out.Push(reply)
	}
	c.answered(n)
}

// answered counts a reply that waited for the disk, of n reserved bytes.
func (c *session) answered(n int) {
	c.mu.Lock()
	c.answeredLocked(n)
	c.mu.Unlock()
}

func (c *session) answeredLocked(n int) {
	c.pending--
	c.pendingBytes -= n
	c.changed.Broadcast()
}
