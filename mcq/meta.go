package mcq

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"strconv"

	"github.com/heddle-go/heddle/internal/memcached"
)

// The small part of memcached's meta commands that makes sense for a queue:
//
//	mn                        → MN
//	ms q LEN F<flags> T<ttl>  → HD, NS if the queue is full
//	mg q v f c k t q E<lease> → VA LEN flags…, EN if there is none; removes, or with
//	                            E leases for so many seconds, and c is the id
//	md q C<id>                → HD, NF: acknowledges; without C drops the queue
//
// O<opaque> and k are sent back, q leaves out the reply that says nothing new
// (HD, EN, NF), b says that the key is in base64. Flags come back in their order.

var replyBadFlag = []byte("CLIENT_ERROR invalid flag\r\n")

// metaFlags checks that all flags of m are among known.
func metaFlags(m *memcached.Meta, known string) bool {
	for _, f := range m.Flags {
		if bytes.IndexByte([]byte(known), f[0]) < 0 {
			return false
		}
	}
	return true
}

// appendEchoed appends what a reply repeats of the command, and the line end.
func appendEchoed(b []byte, m *memcached.Meta) []byte {
	for _, f := range m.Flags {
		switch f[0] {
		case 'O':
			b = append(append(b, ' '), f...)
		case 'k':
			b = append(append(b, " k"...), m.Key...)
		case 'b':
			if m.Has('k') {
				b = append(b, " b"...)
			}
		}
	}
	return append(b, "\r\n"...)
}

// metaKey takes the key of a meta command apart.
func (c *session) metaKey(m *memcached.Meta, allowed option) error {
	key := m.Key
	if m.Has('b') {
		plain, err := base64.StdEncoding.AppendDecode(nil, key)
		if err != nil {
			return err
		}
		if err := memcached.CheckKey(plain); err != nil {
			return err
		}
		key = plain
	}
	return c.key.parse(key, allowed)
}

// metaStored answers ms.
func (c *session) metaStored(m *memcached.Meta, id uint64, err error) []byte {
	switch {
	case errors.Is(err, ErrFull) && !c.srv.opt.FullIsError:
		return appendEchoed([]byte("NS"), m)
	case err != nil:
		return []byte(errorReply(err))
	case m.Has('q'):
		return nil
	case m.Has('c'):
		return appendEchoed(strconv.AppendUint([]byte("HD c"), id, 10), m)
	}
	return appendEchoed([]byte("HD"), m)
}

func (c *session) metaGet(cmd *memcached.Command) {
	m := &cmd.Meta
	if err := m.Parse(cmd.Args); err != nil || c.metaKey(m, optionsOfMetaGet) != nil {
		c.complain(replyBadFormat)
		return
	}
	if !metaFlags(m, "vfckOqtsEb") {
		c.complain(string(replyBadFlag))
		return
	}
	if lease := m.Value('E'); lease != nil {
		seconds, err := number(lease, 12*3600)
		if err != nil || seconds == 0 {
			c.complain(replyBadFormat)
			return
		}
		c.key.setLease(seconds)
	}
	c.srv.stats.getCmds.Add(1)
	msgs, err := c.fetch(&c.key)
	if err != nil {
		c.complain(errorReply(err))
		return
	}
	if len(msgs) == 0 {
		if !m.Has('q') {
			c.say("EN\r\n")
		}
		return
	}
	c.srv.stats.getHits.Add(1)
	c.out.Append(func(b []byte) []byte {
		msg := &msgs[0]
		if m.Has('v') {
			b = strconv.AppendInt(append(b, "VA "...), int64(len(msg.Body)), 10)
		} else {
			b = append(b, "HD"...)
		}
		for _, f := range m.Flags {
			switch f[0] {
			case 'f':
				b = strconv.AppendUint(append(b, " f"...), uint64(msg.Flags), 10)
			case 'c':
				b = strconv.AppendUint(append(b, " c"...), c.key.number(msg), 10)
			case 's':
				b = strconv.AppendInt(append(b, " s"...), int64(len(msg.Body)), 10)
			case 't':
				b = append(b, " t-1"...)
			}
		}
		b = appendEchoed(b, m)
		if m.Has('v') {
			b = append(append(b, msg.Body...), "\r\n"...)
		}
		return b
	})
}

func (c *session) metaDelete(cmd *memcached.Command) {
	m := &cmd.Meta
	if err := m.Parse(cmd.Args); err != nil || c.metaKey(m, optionsOfNone) != nil {
		c.complain(replyBadFormat)
		return
	}
	if !metaFlags(m, "COqkb") {
		c.complain(string(replyBadFlag))
		return
	}
	var reply string
	switch id := m.Value('C'); {
	case id != nil:
		reply = c.acknowledge(c.key.name, id)
	case c.srv.opt.RefuseDrop:
		reply = "SERVER_ERROR delete of a queue is not allowed here\r\n"
	default:
		there, err := c.srv.b.DropQueue(context.Background(), string(c.key.name))
		if reply = replyStored; err != nil {
			reply = errorReply(err)
		} else if !there {
			reply = replyNotFound
		}
	}
	switch reply {
	case replyStored:
		reply = "HD"
	case replyNotFound:
		reply = "NF"
	default:
		c.complain(reply)
		return
	}
	if !m.Has('q') {
		c.say(string(appendEchoed([]byte(reply), m)))
	}
}
