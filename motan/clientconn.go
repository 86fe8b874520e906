package motan

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// call is one request on its way; it is pooled.
type call struct {
	done chan struct{} // capacity 1: the answer, or err, is there
	frame
	arrived  time.Time // about
	err      error
	ctx      context.Context
	deadline time.Time
}

var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

func (c *call) release() {
	c.err, c.ctx, c.meta, c.body = nil, nil, nil, nil
	if cap(c.buf) > keepBuf {
		c.buf = nil
	}
	calls.Put(c)
}

const (
	readBuffer = 64 << 10

	// A request id is a sequence number and, in its low bits, the place of the
	// call in clientConn.places.
	placeBits = 16
	placeMask = 1<<placeBits - 1
)

var errServerLeaves = errors.New("the server is shutting down")

// clientConn is one connection that many calls share: requests go out combined,
// answers come back in any order and are matched by request id.
type clientConn struct {
	conn  net.Conn
	out   *writer
	limit int
	sweep *sweeper

	leaving atomic.Bool  // the server shuts down: no new calls
	frames  atomic.Int64 // received; tells a silent peer from a slow one

	// These belong to whoever has the reading.
	in    frameSource
	r     *bufio.Reader
	frame frame

	taken atomic.Bool   // somebody has the reading; changed under mu
	turn  chan struct{} // capacity 1: the goroutine is to read, or to end
	gone  chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	places  []place
	free    []uint32 // indexes of places without a call
	waiting int      // calls that wait for an answer
	lastSeq uint64
	tended  uint64 // lastSeq when tend looked
	leader  uint64 // the call that has the reading, 0: none has
	err     error  // why the connection is unusable, nil while it is not
}

type place struct {
	id uint64 // 0: no call
	k  *call
}

func newClientConn(conn net.Conn, limit int, sweep *sweeper) *clientConn {
	c := &clientConn{conn: conn, limit: limit, sweep: sweep, turn: make(chan struct{}, 1), gone: make(chan struct{})}
	c.in = frameSource{Conn: conn, shared: true}
	c.in.direct.init(conn)
	c.r = bufio.NewReaderSize(&c.in, readBuffer)
	c.frame.src = &c.in
	c.out = newWriter(conn, nil, c.fail)
	sweep.add(c)
	c.haveRead()
	go c.read()
	return c
}

// start registers a call and returns its id. alone says that no other waits.
func (c *clientConn) start(k *call) (id uint64, alone bool, err error) {
	c.mu.Lock()
	if c.err != nil {
		err = c.err
		c.mu.Unlock()
		return 0, false, err
	}
	var at uint32
	if n := len(c.free); n > 0 {
		at = c.free[n-1]
		c.free = c.free[:n-1]
	} else if len(c.places) < placeMask { // the last one is for unanswered
		at = uint32(len(c.places))
		c.places = append(c.places, place{})
	} else {
		c.mu.Unlock()
		return 0, false, fmt.Errorf("%d calls wait on one connection", placeMask)
	}
	c.lastSeq++
	id = c.lastSeq<<placeBits | uint64(at)
	c.places[at] = place{id, k}
	c.waiting++
	alone = c.waiting == 1
	c.mu.Unlock()
	c.sweep.wakeup()
	return id, alone, nil
}

// unanswered returns an id that no answer will be matched with.
func (c *clientConn) unanswered() (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastSeq++
	return c.lastSeq<<placeBits | placeMask, c.err
}

// waitsLocked reports whether a call waits for its answer.
func (c *clientConn) waitsLocked(id uint64) bool {
	at := id & placeMask
	return id != 0 && at < uint64(len(c.places)) && c.places[at].id == id
}

// claim takes a call out: whoever gets it must signal it. nil means that it was
// claimed already, or never was.
func (c *clientConn) claim(id uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.waitsLocked(id) {
		return nil
	}
	at := id & placeMask
	k := c.places[at].k
	c.places[at] = place{}
	c.free = append(c.free, uint32(at))
	c.waiting--
	return k
}

// finish ends a call without an answer, if there is none yet.
func (c *clientConn) finish(id uint64, err error) {
	if k := c.claim(id); k != nil {
		k.err = err
		k.done <- struct{}{}
	}
}

func (c *clientConn) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waiting == 0
}

// failure is why the connection is unusable, nil while it is not.
func (c *clientConn) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// fail ends the connection: every call that waits gets the error at once.
func (c *clientConn) fail(err error) { c.failIf(func() bool { return true }, err) }

// failIf fails the connection if a condition, seen under the mutex, holds.
func (c *clientConn) failIf(holds func() bool, err error) {
	c.mu.Lock()
	if c.err != nil || !holds() {
		c.mu.Unlock()
		return
	}
	places := c.places
	c.err, c.places, c.free, c.waiting = err, nil, nil, 0
	c.mu.Unlock()
	c.sweep.remove(c)
	c.conn.Close()
	c.wake()
	for _, p := range places {
		if p.k != nil {
			p.k.err = err
			p.k.done <- struct{}{}
		}
	}
}

// close ends the connection and waits for its goroutines.
func (c *clientConn) close(err error) {
	c.fail(err)
	c.out.close()
	<-c.gone
}
