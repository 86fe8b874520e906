package motan

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/heddle-go/heddle/internal/flush"
)

// call is one request on its way; it is pooled.
type call struct {
	done chan struct{} // capacity 1: the answer, or err, is there
	frame
	err error
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func (c *call) release() {
	c.err = nil
	if cap(c.buf) > keepBuf {
		c.buf = nil
	}
	calls.Put(c)
}

const (
	readBuffer   = 64 << 10
	writeTimeout = 10 * time.Second
	// writeLimit bounds the bytes that wait for one connection's writer.
	writeLimit = 4 << 20
)

// clientConn is one connection that many calls share: requests go out combined,
// answers come back in any order and are matched by request id.
type clientConn struct {
	conn  net.Conn
	out   *flush.Writer
	limit int

	mu      sync.Mutex
	pending map[uint64]*call // nil once the connection has failed
	lastID  uint64
	err     error

	gone chan struct{} // closed when the reader has ended
}

func newClientConn(conn net.Conn, limit int) *clientConn {
	c := &clientConn{conn: conn, limit: limit, pending: make(map[uint64]*call), gone: make(chan struct{})}
	c.out = flush.NewWriter(conn, writeLimit, writeTimeout, c.fail)
	go c.read()
	return c
}

// start registers a new call and returns its id.
func (c *clientConn) start(k *call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending == nil {
		return 0, c.err
	}
	c.lastID++
	c.pending[c.lastID] = k
	return c.lastID, nil
}

// cancel forgets a call. It reports false if the answer has been claimed
// already: then k.done is about to be signalled.
func (c *clientConn) cancel(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.pending[id]
	delete(c.pending, id)
	return ok
}

// failure is why the connection is unusable, nil while it is not.
func (c *clientConn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection: every call that waits gets the error at once.
func (c *clientConn) fail(err error) {
	c.mu.Lock()
	pending := c.pending
	if pending == nil {
		c.mu.Unlock()
		return
	}
	c.pending, c.err = nil, err
	c.mu.Unlock()
	c.conn.Close()
	for _, k := range pending {
		k.err = err
		k.done <- struct{}{}
	}
}

// close ends the connection and waits for its goroutines.
func (c *clientConn) close(err error) {
	c.fail(err)
	c.out.Close()
	<-c.gone
}

func (c *clientConn) read() {
	defer close(c.gone)
	in := &frameSource{Conn: c.conn}
	r := bufio.NewReaderSize(in, readBuffer)
	var spare frame
	for {
		if err := c.readOne(in, r, &spare); err != nil {
			if err == io.EOF {
				err = errors.New("closed by the server")
			}
			c.fail(err)
			return
		}
	}
}

// readOne reads one frame into the call that waits for it.
func (c *clientConn) readOne(in *frameSource, r *bufio.Reader, spare *frame) error {
	in.within = false
	head, err := r.Peek(headLen)
	if err != nil {
		return err
	}
	in.within = true
	h, err := parseHeader(head)
	if err != nil {
		return err
	}
	if !h.response() {
		return fmt.Errorf("%w: a request came from the server", errBadMagic)
	}
	c.mu.Lock()
	k := c.pending[h.id]
	delete(c.pending, h.id)
	c.mu.Unlock()
	if k == nil {
		// A call that gave up, or a foreign server's answer to a one-way request.
		return spare.read(r, c.limit)
	}
	if err = k.frame.read(r, c.limit); err != nil {
		k.err = err
	}
	k.done <- struct{}{}
	return err
}
