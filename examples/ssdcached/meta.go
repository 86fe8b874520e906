package main

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
)

// The meta commands are a verb, a key and flags of one letter, some with a
// token; see protocol.txt of memcached. A flag that is not known is refused, so
// that nobody takes for done what was not: here those are E, I, R, S, h, l, x.

// metaCommand is one meta command line.
type metaCommand struct {
	verb  string
	key   []byte // decoded
	given []byte // as it came
	size  int    // of ms

	flags   []byte // in their order, those that ask for something in the answer
	opaque  []byte
	quiet   bool
	cas     uint64 // C
	client  uint32 // F
	expires int64  // T
	touch   bool
	mode    byte   // M
	delta   uint64 // D
	initial []byte // J
	create  int64  // N
	vivify  bool
	b64     bool
}

// flagsOf are those that a verb takes.
var flagsOf = map[string]string{
	"mg": "bcfkOqstvTN",
	"ms": "bcCFkOqsTM",
	"md": "bCkOq",
	"ma": "bcCDJkMNOqtv",
	"me": "b",
}

const replyBadFlag = "CLIENT_ERROR invalid flag\r\n"

// metaCommand carries out a line; it reports whether the connection goes on.
func (c *session) metaCommand(line []byte) bool {
	// Only spaces part words: keys may have what Unicode takes for one.
	words := bytes.FieldsFunc(line, func(r rune) bool { return r == ' ' })
	verb := string(words[0])
	if verb == "mn" {
		c.say("MN\r\n")
		return true
	}
	known, ok := flagsOf[verb]
	if !ok {
		c.fail(replyError)
		return true
	}
	m := &c.meta
	*m = metaCommand{verb: verb, flags: m.flags[:0], opaque: m.opaque[:0], given: m.given[:0]}
	words = words[1:]
	if len(words) == 0 {
		c.fail(replyBadFormat)
		return verb != "ms"
	}
	m.given = append(m.given, words[0]...)
	words = words[1:]
	if verb == "ms" {
		size, err := uint64(0), error(nil)
		if len(words) > 0 {
			size, err = strconv.ParseUint(string(words[0]), 10, 31)
		}
		if len(words) == 0 || err != nil {
			c.fail("CLIENT_ERROR bad data chunk\r\n")
			return false // nobody knows how long the body is
		}
		m.size = int(size)
		words = words[1:]
	}
	problem := m.parse(words, known)
	if verb != "ms" {
		if problem != "" {
			c.fail(problem)
			return true
		}
	} else {
		large, ok := c.body(m.size)
		if !ok {
			return false
		}
		if large && problem == "" {
			problem = replyTooLarge
			if code := c.drop(m.key, 0, "", "", ""); code != "" {
				problem = code
			}
		}
		if problem != "" {
			c.fail(problem)
			return true
		}
	}
	switch verb {
	case "mg":
		c.metaGet(m)
	case "ms":
		c.metaSet(m)
	case "md":
		unique := m.cas
		c.metaDone(m, c.drop(m.key, unique, "HD", "NF", "EX"))
	case "ma":
		c.metaArithmetic(m)
	case "me":
		c.metaDebug(m)
	}
	return true
}

// parse reads flags and then the key; it returns what to answer if they are wrong.
func (m *metaCommand) parse(words [][]byte, known string) (problem string) {
	m.mode = 'S'
	m.delta = 1
	for _, w := range words {
		f, token := w[0], w[1:]
		if !bytes.Contains([]byte(known), w[:1]) {
			return replyBadFlag
		}
		var err error
		number := func() (n uint64) {
			n, err = strconv.ParseUint(string(token), 10, 64)
			return n
		}
		switch f {
		case 'b':
			m.b64 = true
		case 'q':
			m.quiet = true
		case 'O':
			if len(token) == 0 || len(token) > 32 {
				return "CLIENT_ERROR opaque token too long\r\n"
			}
			m.opaque = append(m.opaque[:0], token...)
			m.flags = append(m.flags, f)
		case 'C':
			m.cas = number()
		case 'F':
			var n uint64
			n, err = strconv.ParseUint(string(token), 10, 32)
			m.client = uint32(n)
		case 'D':
			m.delta = number()
		case 'J':
			number()
			m.initial = append([]byte(nil), token...)
		case 'T', 'N':
			var n int64
			n, err = strconv.ParseInt(string(token), 10, 64)
			if f == 'T' {
				m.expires, m.touch = expiry(n), true
			} else {
				m.create, m.vivify = expiry(n), true
			}
		case 'M':
			if len(token) != 1 {
				return "CLIENT_ERROR incorrect length for M token\r\n"
			}
			m.mode = token[0] &^ 0x20
		default:
			m.flags = append(m.flags, f)
		}
		if err != nil {
			return "CLIENT_ERROR bad token in command line format\r\n"
		}
	}
	m.key = m.given
	if m.b64 {
		key, err := base64.StdEncoding.DecodeString(string(m.given))
		if err != nil || len(key) == 0 || len(key) > memcached.MaxKey {
			return "CLIENT_ERROR error decoding key\r\n"
		}
		m.key = key
	} else if memcached.CheckKey(m.key) != nil {
		return replyBadFormat
	}
	return ""
}

// metaDone answers with a code of two letters and what the flags ask for, or
// with the text of a failure. Quietly it leaves out what the client expects.
func (c *session) metaDone(m *metaCommand, code string) {
	if len(code) != 2 {
		c.fail(code)
		return
	}
	if m.quiet && (code == "HD" || code == "EN" || code == "NF" && m.verb != "ms") {
		return
	}
	c.say(code)
	c.sayFlags(m, item{})
	c.say("\r\n")
}

// sayFlags answers the flags that ask for something, in their order.
func (c *session) sayFlags(m *metaCommand, it item) {
	for _, f := range m.flags {
		switch f {
		case 'O':
			c.say(" O")
			_, _ = c.out.Write(m.opaque)
		case 'k':
			c.say(" k")
			_, _ = c.out.Write(m.given)
		}
		if it.cas == 0 {
			continue
		}
		switch f {
		case 'c':
			c.say(" c")
			_, _ = c.out.Write(strconv.AppendUint(c.num[:0], it.cas, 10))
		case 'f':
			c.say(" f")
			_, _ = c.out.Write(strconv.AppendUint(c.num[:0], uint64(it.flags), 10))
		case 's':
			c.say(" s")
			_, _ = c.out.Write(strconv.AppendInt(c.num[:0], int64(len(it.data)), 10))
		case 't':
			left := int64(-1)
			if it.expires != 0 {
				left = max((it.expires-time.Now().UnixMilli()+999)/1000, 0)
			}
			c.say(" t")
			_, _ = c.out.Write(strconv.AppendInt(c.num[:0], left, 10))
		}
	}
	if m.b64 && m.wants('k') {
		c.say(" b")
	}
}

func (m *metaCommand) wants(flag byte) bool { return bytes.IndexByte(m.flags, flag) >= 0 }

// sayValue answers with the item, HD or VA.
func (c *session) sayValue(m *metaCommand, it item, more string) {
	value := m.wants('v')
	if value {
		c.say("VA")
		c.sayNumber(' ', uint64(len(it.data)))
	} else {
		c.say("HD")
	}
	c.sayFlags(m, it)
	c.say(more)
	c.say("\r\n")
	if value {
		_, _ = c.out.Write(it.data)
		c.say("\r\n")
	}
}

func (c *session) metaGet(m *metaCommand) {
	var it item
	var found bool
	var err error
	if m.touch {
		it, found, err = c.touched(m.key, m.expires)
	} else {
		it, found = c.read(m.key)
	}
	if err == nil && !found && m.vivify {
		// Whoever makes the item wins and is to fill it.
		if it, found, err = c.vivify(m); err == nil && !found {
			c.sayValue(m, it, " W")
			return
		}
	}
	switch {
	case err != nil:
		c.fail(trouble(err))
	case !found:
		c.metaDone(m, "EN")
	default:
		c.sayValue(m, it, "")
	}
}

// vivify makes an empty item unless there is one by now.
func (c *session) vivify(m *metaCommand) (it item, found bool, err error) {
	st := c.srv.store
	defer st.lock(m.key).Unlock()
	if it, c.room, found = st.get(c.room, m.key); found {
		return it, true, nil
	}
	it.expires = m.create
	it.cas, err = st.put(m.key, make([]byte, envelope), 0, m.create, 0)
	return it, false, err
}

func (c *session) metaSet(m *metaCommand) {
	verb, ok := map[byte]string{'S': "set", 'E': "add", 'A': "append", 'P': "prepend", 'R': "replace"}[m.mode]
	if !ok {
		c.fail("CLIENT_ERROR invalid mode for ms M token\r\n")
		return
	}
	c.srv.counters.set.Add(1)
	st := c.srv.store
	code := "HD"
	var it item
	func() {
		defer st.lock(m.key).Unlock()
		old, room, found := st.get(c.room, m.key)
		c.room = room
		flags, expires := m.client, m.expires
		switch {
		case m.cas != 0 && !found:
			code = "NF"
			return
		case m.cas != 0 && old.cas != m.cas:
			code = "EX"
			return
		case verb == "add" && found, verb != "set" && verb != "add" && !found:
			code = "NS"
			return
		case verb == "append":
			c.value = append(append(make([]byte, envelope), old.data...), c.value[envelope:]...)
			flags, expires = old.flags, old.expires
		case verb == "prepend":
			c.value = append(c.value, old.data...)
			flags, expires = old.flags, old.expires
		}
		cas, err := st.put(m.key, c.value, flags, expires, 0)
		if err != nil {
			code = trouble(err)
			return
		}
		it = item{cas: cas, flags: flags, expires: expires, data: c.value[envelope:]}
	}()
	if code != "HD" {
		c.metaDone(m, code)
		return
	}
	if !m.quiet {
		c.say("HD")
		c.sayFlags(m, it)
		c.say("\r\n")
	}
}

func (c *session) metaArithmetic(m *metaCommand) {
	down := false
	switch m.mode {
	case 'S', 'I':
	case 'D':
		down = true
	default:
		c.fail("CLIENT_ERROR invalid mode for ma M token\r\n")
		return
	}
	it, reply := c.add(m.key, m.delta, down, m.cas)
	if reply == "NOT_FOUND\r\n" && m.vivify {
		initial := m.initial
		if initial == nil {
			initial = []byte("0")
		}
		var made bool
		if it, made, reply = c.create(m, initial); !made && reply == "" { // somebody else did
			it, reply = c.add(m.key, m.delta, down, m.cas)
		}
	}
	switch reply {
	case "":
		if !m.quiet || m.wants('v') {
			c.sayValue(m, it, "")
		}
	case "NOT_FOUND\r\n":
		c.metaDone(m, "NF")
	case "EXISTS\r\n":
		c.metaDone(m, "EX")
	default:
		c.fail(reply)
	}
}

// create makes a number unless the key is there by now.
func (c *session) create(m *metaCommand, initial []byte) (it item, made bool, reply string) {
	st := c.srv.store
	defer st.lock(m.key).Unlock()
	var found bool
	if it, c.room, found = st.get(c.room, m.key); found {
		return it, false, ""
	}
	value := append(make([]byte, envelope), initial...)
	cas, err := st.put(m.key, value, 0, m.create, 0)
	if err != nil {
		return it, false, trouble(err)
	}
	return item{cas: cas, expires: m.create, data: value[envelope:]}, true, ""
}

func (c *session) metaDebug(m *metaCommand) {
	it, found := c.read(m.key)
	if !found {
		c.say("EN\r\n")
		return
	}
	c.say("ME ")
	_, _ = c.out.Write(m.given)
	left := int64(-1)
	if it.expires != 0 {
		left = max((it.expires-time.Now().UnixMilli()+999)/1000, 0)
	}
	c.say(" exp=")
	_, _ = c.out.Write(strconv.AppendInt(c.num[:0], left, 10))
	c.say(" cas=")
	_, _ = c.out.Write(strconv.AppendUint(c.num[:0], it.cas, 10))
	c.say(" size=")
	_, _ = c.out.Write(strconv.AppendInt(c.num[:0], int64(len(it.data)), 10))
	c.say("\r\n")
}
