package mcq

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/internal/flush"
	"github.com/heddle-go/heddle/internal/memcached"
)

const (
	// version is numeric with a first part of at least 1, as libmemcached wants.
	version = "1.0.0"

	readBuffer   = 64 << 10
	bodyTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	writeLimit   = 4 << 20
	// maxPending bounds the sets of one connection that wait for the disk.
	maxPending = 1024
)

// session is one connection. Its goroutine reads commands and carries them out
// one after the other, except that those that write, set first of all, are only
// handed to the committer: the next command is read meanwhile, and the committer
// answers them in their order. Every other command waits until they are answered.
type session struct {
	srv   *Server
	conn  net.Conn // nil while a loop serves it; written under srv.mu
	in    *bufio.Reader
	out   outlet
	cmd   memcached.Command
	key   keyOptions
	found *Queue // of the last command, if there was one
	body  bool   // a body is being read: the deadline is short, and draining waits for it

	counted bool // the set that is under way is in the server's counters

	mu      sync.Mutex
	changed sync.Cond
	pending int  // commands that wait for the disk to be answered
	idle    bool // waiting for a command
	unwatch bool // watch is to end

	pendingBytes int // of their replies

	opens  map[string][]uint64 // by queue, the messages that are open, the oldest first
	passed bool                // credentials were right, or none are wanted
	head   []byte              // room for what goes in front of a body
	ids    []uint64            // room for ids
	room   [1]Message          // room for what a get hands out

	lane *lane  // if a loop serves the connection now and then
	left []byte // what the loop has read and not used
}

func newSession(s *Server, conn net.Conn) *session {
	c := &session{srv: s, conn: conn, passed: len(s.opt.Users) == 0}
	c.changed.L = &c.mu
	return c
}

// sessionSource reads from the connection with the deadline that fits.
type sessionSource struct{ c *session }

func (s sessionSource) Read(p []byte) (int, error) {
	c := s.c
	if len(c.left) > 0 {
		n := copy(p, c.left)
		c.left = c.left[n:]
		return n, nil
	}
	if err := c.beforeRead(); err != nil {
		return 0, err
	}
	n, err := c.conn.Read(p)
	c.srv.stats.bytesRead.Add(uint64(n))
	c.mu.Lock()
	c.idle = false
	c.mu.Unlock()
	return n, err
}

func (c *session) beforeRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.body {
		return c.conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	}
	if c.unwatch {
		return os.ErrDeadlineExceeded
	}
	if c.srv.ctx.Err() != nil {
		return io.EOF
	}
	var until time.Time
	if idle := c.srv.opt.IdleTimeout; idle > 0 {
		until = time.Now().Add(idle)
	}
	c.idle = true
	return c.conn.SetReadDeadline(until)
}

// stopReading ends the session as soon as it has no command under way; the
// server's ctx must have ended.
func (c *session) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle {
		c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// watch returns a context that ends when the client goes away, for a command
// that waits: nobody should get a message for a client that is not there. The
// session must call stop before it reads again.
func (c *session) watch() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(c.srv.ctx)
	if c.in.Buffered() > 0 { // the next command has come already
		return ctx, cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := c.in.Peek(1); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			cancel()
		}
	}()
	return ctx, func() {
		c.mu.Lock()
		c.unwatch = true
		c.conn.SetReadDeadline(time.Unix(1, 0))
		c.mu.Unlock()
		<-done
		c.mu.Lock()
		c.unwatch = false
		c.mu.Unlock()
		cancel()
	}
}

var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, readBuffer) }}

// run serves the connection until it ends, or until the loop that it came from
// has it back.
func (c *session) run() (back bool) {
	conn := c.conn
	c.in = readers.Get().(*bufio.Reader)
	c.in.Reset(sessionSource{c})
	out := flush.NewWriter(countedConn{conn, &c.srv.stats.bytesWritten}, writeLimit, writeTimeout, func(error) { conn.Close() })
	c.out = out
	goesOn := true
	for goesOn && !(c.lane != nil && c.quiet()) {
		goesOn = c.command()
	}
	c.settle()
	if !goesOn {
		c.abortAll()
	}
	err := out.Close()
	c.in.Reset(nil)
	readers.Put(c.in)
	c.in = nil
	if goesOn && err == nil {
		return c.handBack()
	}
	conn.Close()
	return false
}

// quiet reports whether there is nothing that a loop could not do.
func (c *session) quiet() bool {
	return c.passed && len(c.left) == 0 && c.in.Buffered() == 0 && c.srv.ctx.Err() == nil
}

// countedConn counts what is written.
type countedConn struct {
	net.Conn
	written *atomic.Uint64
}

func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(uint64(n))
	return n, err
}

// settle waits until every command before is answered.
func (c *session) settle() {
	c.mu.Lock()
	for c.pending > 0 {
		c.changed.Wait()
	}
	c.mu.Unlock()
}

// find returns the queue of that name; without create it is nil if there is none.
func (c *session) find(name []byte, create bool) (BackendQueue, error) {
	if b := c.srv.local; b != nil {
		if q := b.lookup(string(name)); q != nil { // without a copy of the name
			return localQueue{q}, nil
		}
	}
	return c.srv.b.FindQueue(context.Background(), string(name), create)
}

func (c *session) say(reply string) { c.out.Write([]byte(reply)) }

func (c *session) complain(reply string) {
	c.srv.stats.errors.Add(1)
	c.settle()
	c.say(reply)
}

const (
	replyError     = "ERROR\r\n"
	replyBadFormat = "CLIENT_ERROR bad command line format\r\n"
	replyTooLarge  = "SERVER_ERROR object too large for cache\r\n"
	replyNoMemory  = "SERVER_ERROR out of memory storing object\r\n"
	replyBadChunk  = "CLIENT_ERROR bad data chunk\r\n"
	replyNoQueue   = "SERVER_ERROR not supported by a queue\r\n"
	replyNoSpace   = "SERVER_ERROR out of disk space\r\n"
	replyStored    = "STORED\r\n"
	replyNotStored = "NOT_STORED\r\n"
	replyEnd       = "END\r\n"
	replyDeleted   = "DELETED\r\n"
	replyNotFound  = "NOT_FOUND\r\n"
)

// command reads one command and carries it out; it reports whether the
// connection goes on.
func (c *session) command() bool {
	c.body = false
	first, err := c.in.Peek(1)
	if err != nil {
		return false
	}
	if first[0] == binaryRequest {
		c.refuseBinary()
		return false
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil || len(line) > memcached.MaxLine {
		if len(line) >= memcached.MaxLine {
			c.complain("CLIENT_ERROR line too long\r\n")
		}
		return false
	}
	line = bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'})
	if bytes.HasSuffix(line, []byte(" HTTP/1.1")) || bytes.HasSuffix(line, []byte(" HTTP/1.0")) {
		// A page in somebody's browser could have commands in the body.
		c.srv.opt.Logger.Warn("mcq: connection closed: HTTP is not spoken here", "peer", c.conn.RemoteAddr().String())
		return false
	}
	cmd := &c.cmd
	if err := cmd.Parse(line); err != nil {
		// Nobody knows where the body ends, and its bytes must not be taken for
		// commands.
		c.complain(replyBadFormat)
		return false
	}
	if !c.passed {
		return c.authenticate(cmd)
	}
	if cmd.Storage {
		return c.storage(cmd)
	}
	isGet := cmd.Is("get") || cmd.Is("gets")
	if isGet && c.pipelined(cmd, (*session).quickGet) || cmd.Is("delete") && c.pipelined(cmd, (*session).quickAck) {
		return true
	}
	c.settle()
	switch {
	case isGet:
		return c.get(cmd)
	case cmd.Is("eget"):
		return c.get(cmd)
	case cmd.Is("delete"):
		c.delete(cmd)
	case cmd.Is("ack"):
		c.ack(cmd)
	case cmd.Is("mn"):
		c.say("MN\r\n")
	case cmd.Is("mg"):
		c.metaGet(cmd)
	case cmd.Is("md"):
		c.metaDelete(cmd)
	case cmd.Is("monitor"):
		c.monitor(cmd)
	case cmd.Is("confirm"):
		c.confirm(cmd)
	case cmd.Is("flush"):
		c.purge(cmd)
	case cmd.Is("touch"):
		c.touch(cmd)
	case cmd.Is("stats"):
		c.stats(cmd)
	case cmd.Is("version"):
		c.say("VERSION " + version + "\r\n")
	case cmd.Is("verbosity"):
		switch {
		case len(cmd.Args) == 0:
			c.complain(replyError)
		case string(cmd.Args[len(cmd.Args)-1]) != "noreply":
			c.say("OK\r\n")
		}
	case cmd.Is("flush_all"):
		c.flushAll(cmd)
	case cmd.Is("quit"):
		return false
	case cmd.Is("incr"), cmd.Is("decr"):
		c.complain(replyNoQueue)
	default:
		if n, ok := cmd.Announced(); ok {
			return c.swallow(n, cmd.NoReply)
		}
		c.complain(replyError)
	}
	return true
}

// swallow reads past the body of a storage command that nobody knows.
func (c *session) swallow(n int, noreply bool) bool {
	c.body = true
	if n > 2*c.srv.b.MaxMessage() {
		c.complain(replyError)
		return false
	}
	if _, err := c.in.Discard(n); err != nil {
		return false
	}
	if end, err := c.in.ReadSlice('\n'); err != nil || len(end) > 2 || len(end) == 2 && end[0] != '\r' {
		c.complain(replyError)
		return false
	}
	c.srv.stats.errors.Add(1)
	if !noreply {
		c.say(replyError)
	}
	return true
}
