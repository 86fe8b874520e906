package mcq

import (
	"bufio"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
)

// envelopeMost is how long an envelope may be.
const envelopeMost = 32 << 10

// storage reads the body of a storage command, and stores it if it is a set.
func (c *session) storage(cmd *memcached.Command) bool {
	noreply := cmd.NoReply
	set := incoming{noreply: noreply, exptime: cmd.Exptime, m: Message{Flags: cmd.Flags}}
	switch {
	case cmd.Is("set"):
	case cmd.Is("eset"):
		set.form = replyID
	case cmd.Is("eack"):
		set.form = acknowledge
	case cmd.Is("ms"):
		set.form = replyMeta
		set.meta = cmd.Meta.Own()
	default:
		set.form = unknown
	}
	if set.form != unknown && set.form != acknowledge {
		c.countSet()
	}
	c.counted = false
	limit := c.srv.b.MaxMessage()
	allowed := optionsOfSet
	if set.form == acknowledge {
		allowed = optionsOfNone
	}
	refuse := ""
	switch {
	case set.form == unknown:
		refuse = replyNoQueue
	case cmd.BadFlag:
		refuse = string(replyBadFlag)
	case c.key.parse(cmd.Key, allowed) != nil || CheckName(string(c.key.name)) != nil:
		refuse = replyBadFormat
	default:
		set.envelope, set.name = c.key.envelope, string(c.key.name)
		set.m.Delay, set.m.Key = c.key.delay, string(c.key.dedupe)
	}
	if set.envelope {
		limit += envelopeMost
	}
	if cmd.Bytes > limit {
		if cmd.Bytes > 2*limit {
			c.complain(replyTooLarge)
			return false
		}
		refuse = replyTooLarge
	}
	n := cmd.Bytes
	// From here on the line's buffer is gone.
	c.body = true
	var data []byte
	var held int64
	defer c.srv.bodies.release(&held)
	var err error
	if refuse != "" {
		_, err = c.in.Discard(n)
	} else if data, err = c.readBody(n, &held); data == nil {
		refuse = replyNoMemory
	}
	if err != nil {
		return false
	}
	end, err := c.in.ReadSlice('\n')
	if err != nil && err != bufio.ErrBufferFull || len(end) == 0 {
		return false
	}
	if len(end) > 2 || len(end) == 2 && end[0] != '\r' || err != nil {
		// More data than announced: what follows cannot be trusted either.
		c.complain(replyBadChunk)
		return false
	}
	if refuse != "" {
		c.srv.stats.errors.Add(1)
		if !noreply {
			c.settle()
			c.say(refuse)
		}
		return true
	}
	set.m.Body = data
	if set.form == acknowledge {
		c.eack(&set)
	} else {
		c.set(&set)
	}
	return true
}

// countSet counts a set command once, however often it is looked at until its
// body has come.
func (c *session) countSet() {
	if !c.counted {
		c.counted = true
		c.srv.stats.setCmds.Add(1)
	}
}

// incoming is a storage command whose body has come.
type incoming struct {
	name     string
	m        Message
	envelope bool
	exptime  int64
	noreply  bool
	form     form
	meta     memcached.Meta // of replyMeta
}

// form says what a storage command is and how it is answered.
type form uint8

const (
	replyStatus form = iota // set: STORED
	replyID                 // eset: the message's id
	replyMeta               // ms: HD
	acknowledge             // eack: STORED
	unknown
)

// relativeExptime is the longest exptime that is a number of seconds, and not a
// point in time.
const relativeExptime = 30 * 24 * 3600

// timeToLive reads the exptime of a set: 0 is for ever, up to 30 days are
// seconds from now, more is a time, and what is negative or past is over. The
// message is stored all the same.
func timeToLive(exptime int64, now time.Time) (ttl time.Duration, over bool) {
	switch {
	case exptime == 0:
		return 0, false
	case exptime > relativeExptime:
		// In seconds first: a far time does not fit into a Duration.
		exptime = min(exptime-now.Unix(), int64(maxDelay/time.Second))
	}
	if exptime <= 0 {
		return 0, true
	}
	return time.Duration(exptime) * time.Second, false
}

// set hands a message to the committer.
func (c *session) set(in *incoming) {
	m := in.m
	if in.envelope {
		if err := openEnvelope(&m, c.srv.b.MaxMessage()); errors.Is(err, ErrTooLarge) {
			c.refuse(in.noreply, replyTooLarge)
			return
		} else if err != nil {
			c.refuse(in.noreply, "CLIENT_ERROR bad envelope\r\n")
			return
		}
	}
	if in.exptime != 0 && !c.srv.opt.IgnoreExptime {
		var over bool
		if m.TTL, over = timeToLive(in.exptime, time.Now()); over {
			m.TTL = time.Nanosecond // it counts as put, and as expired
		}
	}
	q, err := c.srv.b.FindQueue(context.Background(), in.name, true)
	if err != nil {
		c.refuse(in.noreply, errorReply(err))
		return
	}
	local, ok := q.(localQueue)
	if ok {
		if err := local.b.spaceFor("put to", local.Queue); err != nil {
			c.refuse(in.noreply, errorReply(err))
			return
		}
	}
	c.reserve(0)
	if ok && in.form != replyMeta {
		o := setOp(local.Queue, &m, finishOf(in.form, in.envelope, in.noreply))
		o.session, o.began = c, time.Now()
		c.hand(o)
		return
	}
	noreply, form, timed, meta := in.noreply, in.form, in.envelope, in.meta
	q.Enqueue(m, func(m Message, err error) {
		switch {
		case form == replyMeta:
			c.out.Push(c.metaStored(&meta, m.ID, err))
		case noreply:
		case form == replyID && err == nil:
			c.out.Push(appendStored(nil, &m, timed))
		default:
			c.out.Push(c.setReply(err))
		}
		c.countStored(err)
		c.answered(0)
	})
}

// openEnvelope takes m's body out of the envelope that it came in, and what else is in
// there that a producer may say.
func openEnvelope(m *Message, most int) (err error) {
	if m.Body, err = parseEnvelope(m.Body, m); err != nil {
		return err
	}
	m.Dead = nil
	return checkMessage(m, most)
}

// setOp is Enqueue of a Broker's queue, sparing a closure for each command.
func setOp(q *Queue, m *Message, finish func(*op)) *op {
	o := takeOp(q)
	o.one[0] = *m
	o.msgs = o.one[:]
	o.finish = finish
	return o
}

// finishOf is what answers a set or eset.
func finishOf(form form, timed, noreply bool) func(*op) {
	switch {
	case noreply:
		return finishSilentSet
	case form == replyStatus:
		return finishSet
	case timed:
		return finishTimedSet
	}
	return finishNumberedSet
}

func (c *session) refuse(noreply bool, reply string) {
	c.srv.stats.errors.Add(1)
	c.settle()
	if !noreply {
		c.say(reply)
	}
}

var storedBytes, notStoredBytes, endBytes = []byte(replyStored), []byte(replyNotStored), []byte(replyEnd)

// finishSet answers a set. It runs on the committer's goroutine and must not block.
func finishSet(o *op) { o.answerSet(o.session.setReply(o.err)) }

// finishSilentSet ends one with noreply.
func finishSilentSet(o *op) { o.answerSet(nil) }

// finishNumberedSet answers an eset.
func finishNumberedSet(o *op) { o.stored(false) }

// finishTimedSet answers an eset whose body had an envelope.
func finishTimedSet(o *op) { o.stored(true) }

func (o *op) stored(timed bool) {
	if o.err != nil {
		finishSet(o)
		return
	}
	o.reply = appendStored(o.reply[:0], &o.msgs[0], timed)
	o.answerSet(o.reply)
}

// appendStored appends what an eset answers: the message's id, and when it was taken.
func appendStored(b []byte, m *Message, timed bool) []byte {
	b = strconv.AppendUint(b, m.ID, 10)
	if timed {
		b = strconv.AppendInt(append(b, ' '), m.Enqueued.UnixMilli(), 10)
	}
	return append(b, "\r\n"...)
}

func (c *session) setReply(err error) []byte {
	switch {
	case err == nil:
		return storedBytes
	case errors.Is(err, ErrFull) && !c.srv.opt.FullIsError:
		return notStoredBytes
	}
	return []byte(errorReply(err))
}

func (o *op) answerSet(reply []byte) {
	if m := &o.msgs[0]; m.Trace.Sampled() {
		_, span := o.q.setOp.StartRemoteAt(context.Background(), m.Trace, o.began)
		span.SetAttr("message", strconv.FormatUint(m.ID, 10))
		span.End(o.err)
	} else {
		o.q.setOp.Observe(context.Background(), o.took(), o.err)
	}
	o.session.countStored(o.err)
	o.answer(reply, 0)
	o.release()
}

func (c *session) countStored(err error) {
	if err == nil {
		c.srv.stats.setHits.Add(1)
	} else {
		c.srv.stats.errors.Add(1)
	}
}
