package mcq

import (
	"bytes"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
)

// quickBody is the largest body that a loop reads.
const quickBody = 32 << 10

// step is what a loop has to do next for a connection.
type step uint8

const (
	readMore step = iota // no whole command is there
	wait                 // until what is pending is answered and sent
	promote              // the command is one for goroutines
)

// quick carries out the commands in data that need not wait, and returns the
// rest; ops get what has to be committed.
func (ln *lane) quick(data []byte, now time.Time, ops []*op) ([]byte, []*op, step) {
	var l load
	ln.look(&l)
	rest, ops, next := ln.quickly(data, now, ops, &l)
	if l.added > 0 {
		ln.look(&l)
	}
	return rest, ops, next
}

func (ln *lane) quickly(data []byte, now time.Time, ops []*op, l *load) ([]byte, []*op, step) {
	c := ln.c
	if !c.passed {
		return data, ops, promote
	}
	for {
		ln.inBody = false
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			if len(data) > memcached.MaxLine || len(data) > 0 && data[0] == binaryRequest {
				return data, ops, promote
			}
			return data, ops, readMore
		}
		line, rest := bytes.TrimSuffix(data[:end], carriageReturn), data[end+1:]
		if len(line) > memcached.MaxLine || c.cmd.Parse(line) != nil {
			return data, ops, promote
		}
		if !l.room() {
			if ln.look(l); !l.room() {
				return data, ops, wait
			}
		}
		var o *op
		v := slow
		switch cmd := &c.cmd; {
		case cmd.Storage:
			if o, rest, v = ln.quickSet(cmd, rest); v == incomplete {
				ln.inBody = true
				return data, ops, readMore
			}
		case cmd.Is("get"), cmd.Is("gets"):
			o, v = c.quickGet(cmd, l.pending > 0)
		case cmd.Is("delete"):
			o, v = c.quickAck(cmd, l.pending > 0)
		}
		switch v {
		case slow:
			return data, ops, promote
		case settleFirst:
			return data, ops, wait
		case commit:
			l.await(len(o.reply))
			o.session, o.lane, o.began = c, ln, now
			ops = append(ops, o)
		case answeredNow:
			ln.look(l)
		}
		data = rest
	}
}

var carriageReturn = []byte{'\r'}

// quickSet makes an op of a set or eset whose body is there; rest is what follows it.
func (ln *lane) quickSet(cmd *memcached.Command, data []byte) (o *op, rest []byte, v verdict) {
	c := ln.c
	n := cmd.Bytes
	form := replyStatus
	if !cmd.Is("set") {
		form = replyID
	}
	if form == replyID && !cmd.Is("eset") || n > quickBody || n > c.srv.local.opt.MaxMessage || c.key.parse(cmd.Key, optionsOfSet) != nil {
		return nil, nil, slow
	}
	q := c.lookup(c.key.name)
	if q == nil || q.b.held.Load() > 0 {
		return nil, nil, slow
	}
	c.countSet()
	switch {
	case len(data) < n+1:
		return nil, nil, incomplete
	case data[n] == '\n':
		rest = data[n+1:]
	case data[n] != '\r':
		return nil, nil, slow
	case len(data) == n+1:
		return nil, nil, incomplete
	case data[n+1] != '\n':
		return nil, nil, slow
	default:
		rest = data[n+2:]
	}
	m := Message{Body: append(make([]byte, 0, n), data[:n]...), Flags: cmd.Flags, Delay: c.key.delay, Key: string(c.key.dedupe)}
	if c.key.envelope && openEnvelope(&m, c.srv.local.opt.MaxMessage) != nil {
		return nil, nil, slow // which says why
	}
	if cmd.Exptime != 0 && !c.srv.opt.IgnoreExptime {
		var over bool
		if m.TTL, over = timeToLive(cmd.Exptime, time.Now()); over {
			m.TTL = time.Nanosecond
		}
	}
	c.counted = false
	return setOp(q, &m, finishOf(form, c.key.envelope, cmd.NoReply)), rest, commit
}
