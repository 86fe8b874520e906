package mcq

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/heddle-go/heddle/internal/flush"
)

// clientConn is one connection to a server: commands go out combined, replies
// come back in the order of the commands.
type clientConn struct {
	conn net.Conn
	out  *flush.Writer
	in   *bufio.Reader
	max  int // largest body

	mu      sync.Mutex
	waiting []*exchange // in the order of their commands
	first   int
	err     error

	gone  chan struct{}     // closed when the reader has ended
	ended func(*clientConn) // told that
}

// exchange is a run of commands and what came back.
type exchange struct {
	replies int                            // lines or lists still to come
	values  int                            // VALUEs that may still come
	line    func(line []byte) error        // told each reply that is one line
	value   func(key, head, body []byte)   // told each VALUE, if the reply is a list
	stat    func(name, value []byte) error // told each STAT, if line is the end of a list of these
	done    chan struct{}                  // capacity 1: it has ended; nil if then is not
	ended   bool                           // do has seen that: nothing is told to the others any more
	then    func()                         // told that by the reader: must not block
	err     error
}

// end tells whoever waits for x.
func (x *exchange) end() {
	if x.then != nil {
		x.then()
		return
	}
	x.done <- struct{}{}
}

func newClientConn(conn net.Conn, maxBody int, ended func(*clientConn)) *clientConn {
	c := &clientConn{conn: conn, max: maxBody, gone: make(chan struct{}), ended: ended}
	c.in = bufio.NewReaderSize(conn, readBuffer)
	c.out = flush.NewWriter(conn, writeLimit, writeTimeout, c.fail)
	go c.read()
	return c
}

// do sends the commands that add appends and waits for x's replies. When they
// are not there after timeout the connection is given up; ctx ends only this
// exchange.
func (c *clientConn) do(ctx context.Context, timeout time.Duration, x *exchange, add func([]byte) []byte) error {
	x.done = make(chan struct{}, 1)
	if err := c.start(x, add); err != nil {
		return lost(err)
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var err error
	select {
	case <-x.done:
		x.ended = true
		return x.err
	case <-timer.C:
		err = c.late(timeout)
	case <-ctx.Done():
		err = ctx.Err()
	}
	return lost(err)
}

// late gives the connection up: replies come in order, so one that is late for one is
// late for all.
func (c *clientConn) late(timeout time.Duration) error {
	err := fmt.Errorf("no answer in %v", timeout)
	c.fail(err)
	return err
}

// start sends the commands that add appends. Unless it fails, x ends.
func (c *clientConn) start(x *exchange, add func([]byte) []byte) error {
	var refused error
	err := c.out.Append(func(b []byte) []byte {
		// Under the writer's lock, so that exchanges queue up in the order in
		// which their commands are sent.
		c.mu.Lock()
		defer c.mu.Unlock()
		if refused = c.err; refused != nil {
			return b
		}
		c.waiting = append(c.waiting, x)
		return add(b)
	})
	if refused == nil && err != nil {
		return cmp.Or(c.failure(), err)
	}
	return refused
}

// lost words why an exchange got no answer.
func lost(err error) error {
	if err == ErrClosed {
		return err
	}
	return fmt.Errorf("%w: %w", ErrConnection, err)
}

func (c *clientConn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection. The reader, whose exchange nobody else may touch, then
// comes to its end and tells everybody who waits.
func (c *clientConn) fail(err error) {
	c.mu.Lock()
	failed := c.err != nil
	if !failed {
		c.err = err
	}
	c.mu.Unlock()
	if !failed {
		c.conn.Close()
	}
}

// giveUp tells everybody who waits why the connection has ended.
func (c *clientConn) giveUp() {
	c.mu.Lock()
	err, waiting := c.err, c.waiting[c.first:]
	c.waiting, c.first = nil, 0
	c.mu.Unlock()
	for _, x := range waiting {
		x.err = lost(err)
		x.end()
	}
}

// close ends the connection and waits for its goroutines.
func (c *clientConn) close(err error) {
	c.fail(err)
	<-c.gone
}

// next returns the exchange whose reply comes next.
func (c *clientConn) next() *exchange {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.first == len(c.waiting) {
		return nil
	}
	return c.waiting[c.first]
}

// finish takes the first exchange, which is x, off the list and tells its owner.
func (c *clientConn) finish(x *exchange) {
	c.mu.Lock()
	c.waiting[c.first] = nil
	c.first++
	if c.first == len(c.waiting) {
		c.waiting, c.first = c.waiting[:0], 0
	} else if c.first > 1024 {
		c.waiting = append(c.waiting[:0], c.waiting[c.first:]...)
		c.first = 0
	}
	c.mu.Unlock()
	x.end()
}

func (c *clientConn) read() {
	defer close(c.gone)
	defer c.ended(c)
	defer c.out.Close()
	for {
		if err := c.readReply(); err != nil {
			if err == io.EOF {
				err = errors.New("closed by the server")
			}
			c.fail(err)
			c.giveUp()
			return
		}
	}
}

var (
	valueWord  = []byte("VALUE ")
	statWord   = []byte("STAT ")
	endLine    = []byte("END")
	spaceBytes = []byte{' '}
)

// readReply reads one line and, if it starts a VALUE, its body.
func (c *clientConn) readReply() error {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return err
	}
	x := c.next()
	if x == nil {
		return fmt.Errorf("reply to nothing: %.40q", line)
	}
	line = bytes.TrimRight(line, "\r\n")
	if rest, ok := bytes.CutPrefix(line, statWord); ok && x.stat != nil {
		return x.readStat(rest)
	}
	if x.value == nil {
		if err := x.line(line); err != nil && x.err == nil {
			x.err = err
		}
		if x.replies--; x.replies == 0 {
			c.finish(x)
		}
		return nil
	}
	head, ok := bytes.CutPrefix(line, valueWord)
	if !ok {
		if !bytes.Equal(line, endLine) {
			x.err = errorOf(line)
		}
		c.finish(x)
		return nil
	}
	fields := bytes.Split(head, spaceBytes)
	if len(fields) < 3 {
		return fmt.Errorf("malformed VALUE line %.80q", line)
	}
	n, err := strconv.ParseUint(string(fields[2]), 10, 31)
	if err != nil || int(n) > c.max+64<<10 {
		return fmt.Errorf("VALUE of %.20q bytes, limit %d", fields[2], c.max)
	}
	key, rest := bytes.Clone(fields[0]), bytes.Clone(bytes.Join(fields[1:], spaceBytes))
	body := make([]byte, n+2)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return err
	}
	if body[n] != '\r' || body[n+1] != '\n' {
		return fmt.Errorf("VALUE without its line end")
	}
	if x.values--; x.values < 0 {
		return errors.New("more VALUEs than asked for")
	}
	x.value(key, rest, body[:n:n])
	return nil
}

// readStat takes the name and the value of a STAT.
func (x *exchange) readStat(stat []byte) error {
	at := bytes.LastIndexByte(stat, ' ')
	if at < 0 {
		return fmt.Errorf("malformed STAT %.80q", stat)
	}
	if x.values--; x.values < 0 {
		return errors.New("more STATs than there can be")
	}
	if err := x.stat(stat[:at], stat[at+1:]); err != nil && x.err == nil {
		x.err = err
	}
	return nil
}

// errorOf makes an error of a reply that is not what was asked for.
func errorOf(line []byte) error {
	switch string(line) + "\r\n" {
	case replyNotFound:
		return ErrNotLeased
	case replyNotStored:
		return ErrFull
	case replyNoSpace:
		return ErrNoSpace
	case replyTooLarge:
		return fmt.Errorf("%w: %w", ErrServer, ErrTooLarge)
	}
	// What a server of ours says begins with its error's text.
	if whose, text, _ := bytes.Cut(line, []byte{' '}); string(whose) == "SERVER_ERROR" || string(whose) == "CLIENT_ERROR" {
		for _, known := range []error{ErrFull, ErrName, ErrMessage, ErrTooMany, ErrNoSpace, ErrFailed} {
			if bytes.HasPrefix(text, []byte(known.Error())) {
				return fmt.Errorf("%w: %.200s", answered{known}, text)
			}
		}
	}
	return fmt.Errorf("%w: %.200s", ErrServer, line)
}

// answered is an error of the server's, which stands in the text behind it.
type answered struct{ cause error }

func (answered) Error() string { return ErrServer.Error() }

func (e answered) Unwrap() []error { return []error{ErrServer, e.cause} }
