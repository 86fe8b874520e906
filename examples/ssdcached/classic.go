package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
	"github.com/heddle-go/heddle/ssdcache"
)

// get answers with each of the keys that is there.
func (c *session) get(keys [][]byte, cas bool) {
	if len(keys) == 0 {
		c.fail(replyError)
		return
	}
	for _, key := range keys {
		if memcached.CheckKey(key) != nil {
			c.fail(replyBadFormat)
			return
		}
	}
	if len(keys) == 1 {
		if it, found := c.read(keys[0]); found {
			c.sayItem(keys[0], it, cas)
		}
	} else {
		c.readMany(keys, cas)
	}
	c.say("END\r\n")
}

// most keys of a request are read at once, so many that their values of common
// sizes stay few megabytes.
const most = 128

// readMany answers with those of several keys that are there.
func (c *session) readMany(keys [][]byte, cas bool) {
	for len(keys) > 0 {
		some := keys[:min(len(keys), most)]
		keys = keys[len(some):]
		n := &c.srv.counters
		n.get.Add(uint64(len(some)))
		if c.srv.store.cache.GetMany(&c.batch, some) != nil {
			return // it is being closed: these are misses
		}
		for i, key := range some {
			value, found := c.batch.Value(i)
			if !found {
				continue
			}
			if it, found := c.srv.store.open(value); found {
				n.hits.Add(1)
				c.sayItem(key, it, cas)
			}
		}
	}
	if c.batch.Bytes() > 1<<20 {
		c.batch = ssdcache.Batch{} // not for ever what large items took
	}
}

func (c *session) read(key []byte) (it item, found bool) {
	if cap(c.room) > 1<<20 {
		c.room = nil // not for ever what one large item took
	}
	c.srv.counters.get.Add(1)
	if it, c.room, found = c.srv.store.get(c.room, key); found {
		c.srv.counters.hits.Add(1)
	}
	return it, found
}

func (c *session) sayItem(key []byte, it item, cas bool) {
	c.say("VALUE ")
	_, _ = c.out.Write(key)
	c.sayNumber(' ', uint64(it.flags))
	c.sayNumber(' ', uint64(len(it.data)))
	if cas {
		c.sayNumber(' ', it.cas)
	}
	c.say("\r\n")
	_, _ = c.out.Write(it.data)
	c.say("\r\n")
}

func (c *session) sayNumber(before byte, n uint64) {
	_, _ = c.out.Write(strconv.AppendUint(append(c.num[:0], before), n, 10))
}

// storage reads the body of set, add, replace, append, prepend or cas and does it.
func (c *session) storage(cmd *memcached.Command) bool {
	// The line is gone when the body is read.
	verb, ok := storageVerb(cmd)
	if !ok {
		c.fail(replyError)
		return false // its body is none of ours, and must not be taken for commands
	}
	c.key = append(c.key[:0], cmd.Key...)
	key := c.key
	var unique uint64
	if verb == "cas" {
		var err error
		if unique, err = strconv.ParseUint(string(cmd.Args[4]), 10, 64); err != nil {
			c.fail(replyBadFormat)
			return false
		}
	}
	large, ok := c.body(cmd.Bytes)
	if !ok {
		return false
	}
	c.srv.counters.set.Add(1)
	reply := replyTooLarge
	if large {
		l := c.srv.store.lock(key)
		_ = c.srv.store.cache.Delete(key) // the value before must not outlive this one
		l.Unlock()
	} else {
		reply = c.write(verb, key, cmd.Flags, expiry(cmd.Exptime), unique)
	}
	if !cmd.NoReply {
		c.say(reply)
	}
	return true
}

// storageVerb is the verb without a copy; not ok is one that other servers know.
func storageVerb(cmd *memcached.Command) (verb string, ok bool) {
	for _, v := range []string{"set", "add", "replace", "append", "prepend", "cas"} {
		if cmd.Is(v) {
			return v, true
		}
	}
	return "", false
}

// write carries out a storage command with the body in c.value.
func (c *session) write(verb string, key []byte, flags uint32, expires int64, unique uint64) (reply string) {
	st := c.srv.store
	defer st.lock(key).Unlock()
	if verb != "set" {
		var old item
		var found bool
		old, c.room, found = st.get(c.room, key)
		switch {
		case verb == "add" && found, (verb == "replace" || verb == "append" || verb == "prepend") && !found:
			return "NOT_STORED\r\n"
		case verb == "cas" && !found:
			return "NOT_FOUND\r\n"
		case verb == "cas" && old.cas != unique:
			return "EXISTS\r\n"
		case verb == "append":
			c.value = append(append(make([]byte, envelope), old.data...), c.value[envelope:]...)
			flags, expires = old.flags, old.expires
		case verb == "prepend":
			c.value = append(c.value, old.data...)
			flags, expires = old.flags, old.expires
		}
	}
	if _, err := st.put(key, c.value, flags, expires, 0); err != nil {
		return trouble(err)
	}
	return "STORED\r\n"
}

func (c *session) delete(cmd *memcached.Command) {
	args := cmd.Args
	quiet := noreply(args)
	if quiet {
		args = args[:len(args)-1]
	}
	// An old form has a time behind the key, which must be 0.
	if len(args) == 0 || len(args) > 2 || len(args) == 2 && string(args[1]) != "0" || memcached.CheckKey(args[0]) != nil {
		c.fail(replyBadFormat)
		return
	}
	reply := c.drop(args[0], 0, "DELETED\r\n", "NOT_FOUND\r\n", "EXISTS\r\n")
	if !quiet {
		c.say(reply)
	}
}

// drop deletes a key, if unique is not 0 only with that cas.
func (c *session) drop(key []byte, unique uint64, done, absent, other string) string {
	st := c.srv.store
	defer st.lock(key).Unlock()
	c.srv.counters.deletes.Add(1)
	var old item
	var found bool
	old, c.room, found = st.get(c.room, key)
	if !found {
		return absent
	}
	if unique != 0 && old.cas != unique {
		return other
	}
	if err := st.cache.Delete(key); err != nil {
		return trouble(err)
	}
	return done
}

// touched gives an item another time to live and returns it.
func (c *session) touched(key []byte, expires int64) (it item, found bool, err error) {
	st := c.srv.store
	defer st.lock(key).Unlock()
	c.srv.counters.touch.Add(1)
	if it, found = c.read(key); !found {
		return it, false, nil
	}
	// The item lies in c.room behind its envelope.
	_, err = st.put(key, c.room, it.flags, expires, it.cas)
	it.expires = expires
	return it, true, err
}

func (c *session) touch(cmd *memcached.Command) {
	args := cmd.Args
	quiet := noreply(args)
	if quiet {
		args = args[:len(args)-1]
	}
	if len(args) != 2 || memcached.CheckKey(args[0]) != nil {
		c.fail(replyBadFormat)
		return
	}
	exptime, err := strconv.ParseInt(string(args[1]), 10, 64)
	if err != nil {
		c.fail("CLIENT_ERROR invalid exptime argument\r\n")
		return
	}
	_, found, err := c.touched(args[0], expiry(exptime))
	reply := "TOUCHED\r\n"
	if err != nil {
		reply = trouble(err)
	} else if !found {
		reply = "NOT_FOUND\r\n"
	}
	if !quiet {
		c.say(reply)
	}
}

func (c *session) getAndTouch(cmd *memcached.Command) {
	if len(cmd.Args) < 2 {
		c.fail(replyError)
		return
	}
	exptime, err := strconv.ParseInt(string(cmd.Args[0]), 10, 64)
	if err != nil {
		c.fail("CLIENT_ERROR invalid exptime argument\r\n")
		return
	}
	for _, key := range cmd.Args[1:] {
		if memcached.CheckKey(key) != nil {
			c.fail(replyBadFormat)
			return
		}
	}
	for _, key := range cmd.Args[1:] {
		it, found, err := c.touched(key, expiry(exptime))
		if err != nil {
			c.fail(trouble(err))
			return
		}
		if found {
			c.sayItem(key, it, cmd.Is("gats"))
		}
	}
	c.say("END\r\n")
}

func (c *session) count(cmd *memcached.Command) {
	args := cmd.Args
	quiet := noreply(args)
	if quiet {
		args = args[:len(args)-1]
	}
	if len(args) != 2 || memcached.CheckKey(args[0]) != nil {
		c.fail(replyBadFormat)
		return
	}
	delta, err := strconv.ParseUint(string(args[1]), 10, 64)
	if err != nil {
		c.fail("CLIENT_ERROR invalid numeric delta argument\r\n")
		return
	}
	it, reply := c.add(args[0], delta, cmd.Is("decr"), 0)
	if reply == "" {
		reply = string(it.data) + "\r\n"
	}
	if !quiet {
		c.say(reply)
	}
}

// add adds to a number, or subtracts down to 0; the number wraps at 2^64. If
// unique is not 0 its cas must be that. reply is not empty if it was not done.
func (c *session) add(key []byte, delta uint64, down bool, unique uint64) (it item, reply string) {
	st := c.srv.store
	defer st.lock(key).Unlock()
	it, found := c.read(key)
	if !found {
		return it, "NOT_FOUND\r\n"
	}
	if unique != 0 && it.cas != unique {
		return it, "EXISTS\r\n"
	}
	n, err := strconv.ParseUint(string(bytes.TrimRight(it.data, " ")), 10, 64)
	if err != nil {
		return it, "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"
	}
	switch {
	case !down:
		n += delta
	case n < delta:
		n = 0
	default:
		n -= delta
	}
	value := strconv.AppendUint(make([]byte, envelope, envelope+20), n, 10)
	if it.cas, err = st.put(key, value, it.flags, it.expires, 0); err != nil {
		return it, trouble(err)
	}
	it.data = value[envelope:]
	return it, ""
}

func (c *session) flushAll(cmd *memcached.Command) {
	args := cmd.Args
	quiet := noreply(args)
	if quiet {
		args = args[:len(args)-1]
	}
	delay := int64(0)
	if len(args) > 0 {
		var err error
		if delay, err = strconv.ParseInt(string(args[0]), 10, 64); err != nil || len(args) > 1 || delay > 1<<31 {
			c.fail(replyBadFormat)
			return
		}
		if delay > month {
			delay -= time.Now().Unix()
		}
	}
	reply := "OK\r\n"
	if err := c.srv.store.flush(time.Duration(max(delay, 0)) * time.Second); err != nil {
		reply = trouble(err)
	}
	if !quiet {
		c.say(reply)
	}
}

func (c *session) stats(cmd *memcached.Command) {
	if len(cmd.Args) > 0 {
		c.say("END\r\n") // no groups of figures
		return
	}
	n, s := &c.srv.counters, c.srv.store.cache.Stats()
	hits := n.hits.Load()
	get := n.get.Load() // after hits, so that it has all of them
	for _, f := range []struct {
		name  string
		value any
	}{
		{"pid", os.Getpid()},
		{"uptime", int64(time.Since(c.srv.began).Seconds())},
		{"time", time.Now().Unix()},
		{"version", version},
		{"curr_connections", c.srv.connections()},
		{"total_connections", n.total.Load()},
		{"rejected_connections", n.refused.Load()},
		{"cmd_get", get},
		{"cmd_set", n.set.Load()},
		{"cmd_touch", n.touch.Load()},
		{"cmd_delete", n.deletes.Load()},
		{"get_hits", hits},
		{"get_misses", get - hits},
		{"curr_items", s.Items},
		{"limit_maxbytes", s.FileBytes},
		{"evictions", s.Evicted},
		{"ssd_index_bytes", s.IndexBytes},
		{"ssd_buffer_hits", s.BufferHits},
		{"ssd_device_hits", s.DeviceHits},
		{"ssd_kept", s.Kept},
		{"ssd_rejected", s.Rejected},
		{"ssd_refused", s.Refused},
		{"ssd_corrupt", s.Corrupt},
		{"ssd_read_errors", s.ReadErrors},
		{"ssd_write_errors", s.WriteErrors},
		{"ssd_user_bytes", s.UserBytes},
		{"ssd_device_bytes", s.DeviceBytes},
	} {
		fmt.Fprintf(c.out, "STAT %s %v\r\n", f.name, f.value)
	}
	c.say("END\r\n")
}
