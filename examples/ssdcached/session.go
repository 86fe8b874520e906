package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"time"

	"github.com/heddle-go/heddle/internal/memcached"
	"github.com/heddle-go/heddle/ssdcache"
)

// version is numeric with a first part of at least 1, as libmemcached wants.
const version = "1.6.0"

// maxGet is the largest line of a retrieval command, in bytes: clients put all
// the keys they want into one. Others have memcached.MaxLine.
const maxGet = 64 << 10

const (
	bodyTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
)

// session is one connection.
type session struct {
	srv  *server
	conn net.Conn
	in   *bufio.Reader
	out  *bufio.Writer
	cmd  memcached.Command
	meta metaCommand

	inBody bool // the deadline is short

	key   []byte         // of a storage command
	value []byte         // of a storage command: room for the envelope, and the body
	room  []byte         // for an item read
	batch ssdcache.Batch // for several
	num   [24]byte
}

func newSession(s *server, conn net.Conn) *session {
	c := &session{srv: s, conn: conn}
	c.in = bufio.NewReaderSize(patient{c}, maxGet)
	c.out = bufio.NewWriterSize(hasty{conn}, 64<<10)
	return c
}

// patient reads with the deadline of an idle connection, and answers before it
// waits.
type patient struct{ c *session }

func (p patient) Read(b []byte) (int, error) {
	if err := p.c.out.Flush(); err != nil {
		return 0, err
	}
	var until time.Time
	if wait := p.c.srv.idle; p.c.inBody {
		until = time.Now().Add(bodyTimeout)
	} else if wait > 0 {
		until = time.Now().Add(wait)
	}
	_ = p.c.conn.SetReadDeadline(until)
	if p.c.srv.stopping.Load() && !p.c.inBody { // it may have been before the deadline was set
		return 0, io.EOF
	}
	return p.c.conn.Read(b)
}

// hasty writes with a deadline.
type hasty struct{ net.Conn }

func (h hasty) Write(b []byte) (int, error) {
	_ = h.SetWriteDeadline(time.Now().Add(writeTimeout))
	return h.Conn.Write(b)
}

func (c *session) run() {
	defer c.conn.Close()
	for c.command() {
	}
	_ = c.out.Flush()
}

func (c *session) say(s string) { _, _ = c.out.WriteString(s) } // Flush returns the error

const (
	replyError     = "ERROR\r\n"
	replyBadFormat = "CLIENT_ERROR bad command line format\r\n"
	replyBadChunk  = "CLIENT_ERROR bad data chunk\r\n"
	replyTooLarge  = "SERVER_ERROR object too large for cache\r\n"
	replyBusy      = "SERVER_ERROR out of memory storing object\r\n" // which clients know
)

// command reads one command and carries it out; it reports whether the
// connection goes on.
func (c *session) command() bool {
	line, err := c.in.ReadSlice('\n')
	long := len(line) > memcached.MaxLine && !bytes.HasPrefix(line, []byte("get")) && !bytes.HasPrefix(line, []byte("gat"))
	if err != nil || long {
		if errors.Is(err, bufio.ErrBufferFull) || long {
			c.fail("CLIENT_ERROR line too long\r\n")
		}
		return false
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	if len(line) >= 2 && line[0] == 'm' && (len(line) == 2 || line[2] == ' ') {
		return c.metaCommand(line)
	}
	cmd := &c.cmd
	if cap(cmd.Args) > 1<<12 {
		cmd.Args = nil // not for ever what one long line took
	}
	if err := cmd.Parse(line); err != nil {
		// Nobody knows where the body ends, and its bytes must not be taken for
		// commands.
		c.fail(replyBadFormat)
		return !cmd.Storage
	}
	if cmd.Storage {
		return c.storage(cmd)
	}
	switch {
	case cmd.Is("get"):
		c.get(cmd.Args, false)
	case cmd.Is("gets"):
		c.get(cmd.Args, true)
	case cmd.Is("gat"), cmd.Is("gats"):
		c.getAndTouch(cmd)
	case cmd.Is("touch"):
		c.touch(cmd)
	case cmd.Is("delete"):
		c.delete(cmd)
	case cmd.Is("incr"), cmd.Is("decr"):
		c.count(cmd)
	case cmd.Is("flush_all"):
		c.flushAll(cmd)
	case cmd.Is("stats"):
		c.stats(cmd)
	case cmd.Is("version"):
		c.say("VERSION " + version + "\r\n")
	case cmd.Is("verbosity"):
		if !noreply(cmd.Args) {
			c.say("OK\r\n")
		}
	case cmd.Is("quit"):
		return false
	default:
		c.fail(replyError)
	}
	return true
}

func (c *session) fail(reply string) {
	c.srv.counters.errors.Add(1)
	c.say(reply)
}

func noreply(args [][]byte) bool {
	return len(args) > 0 && string(args[len(args)-1]) == "noreply"
}

// body reads n bytes and a line end behind room for the envelope. If they are
// more than any item has, they are read and thrown away: large is true. It
// reports whether the connection goes on.
func (c *session) body(n int) (large, ok bool) {
	c.inBody = true
	defer func() { c.inBody = false }()
	if n > c.srv.store.maxItem {
		_, err := io.CopyN(io.Discard, c.in, int64(n)+2)
		return true, err == nil
	}
	if cap(c.value) < envelope+n+2 || cap(c.value) > 1<<20 && n < 1<<16 {
		c.value = make([]byte, envelope+n+2)
	}
	c.value = c.value[:envelope+n+2]
	if _, err := io.ReadFull(c.in, c.value[envelope:]); err != nil {
		return false, false
	}
	end := c.value[envelope+n:]
	c.value = c.value[:envelope+n]
	if end[0] != '\r' || end[1] != '\n' {
		// The stream is out of step.
		c.fail(replyBadChunk)
		return false, false
	}
	return false, true
}

// trouble is what an error of the cache is to a client.
func trouble(err error) string {
	switch {
	case errors.Is(err, ssdcache.ErrTooLarge):
		return replyTooLarge
	case errors.Is(err, ssdcache.ErrBusy):
		return replyBusy
	}
	return "SERVER_ERROR " + oneLine(err.Error()) + "\r\n"
}

func oneLine(s string) string {
	b := []byte(s)
	for i := range b {
		if b[i] < ' ' {
			b[i] = ' '
		}
	}
	return string(b)
}
