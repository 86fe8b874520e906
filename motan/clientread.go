package motan

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// One at a time has the reading of a connection: it takes frames off it and gives
// the answers to the calls that wait. A call that comes while nobody has it reads
// for itself, which spares waking one goroutine by another. If others wait when it
// has its answer, the connection's own goroutine goes on, until none does. When no
// calls come, that goroutine reads too, for the server may leave: two to four
// milliseconds after the last answer.

// readFor reads until k is done. It waits between frames only, where it can be
// interrupted: a frame that comes in pieces is the goroutine's.
func (c *clientConn) readFor(k *call) {
	for len(k.done) == 0 {
		err := c.next()
		if err == errInterrupted {
			continue
		}
		if err == nil && !whole(c.r) {
			break
		}
		if err == nil {
			_, err = c.readOne()
		}
		if err != nil {
			c.fail(err)
			return
		}
	}
	c.leave()
}

// mayLead gives a call the reading, if nobody has it.
func (c *clientConn) mayLead(id uint64) bool { return !c.taken.Load() && c.lead(id) }

func (c *clientConn) lead(id uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil || c.taken.Load() {
		return false
	}
	c.taken.Store(true)
	c.leader = id
	return true
}

// leave gives the reading up, to the goroutine if there is more to read.
func (c *clientConn) leave() {
	if c.rest() {
		return
	}
	c.mu.Lock()
	c.leader = 0
	c.mu.Unlock()
	c.wake()
}

// rest gives the reading up unless there is more to read.
func (c *clientConn) rest() bool {
	c.mu.Lock()
	more := c.waiting > 0 || c.r.Buffered() > 0 || c.err != nil
	if !more {
		c.leader = 0
		c.taken.Store(false)
	}
	c.mu.Unlock()
	if !more {
		c.sweep.wakeup() // it sees to it that somebody reads
	}
	return !more
}

// haveRead makes the goroutine read, if nobody does.
func (c *clientConn) haveRead() {
	if c.taken.Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil && !c.taken.Load() {
		c.taken.Store(true)
		c.wake()
	}
}

func (c *clientConn) wake() {
	select {
	case c.turn <- struct{}{}:
	default:
	}
}

// read is the goroutine.
func (c *clientConn) read() {
	defer close(c.gone)
	for range c.turn {
		for rest := false; !rest; {
			err := c.failure()
			if err == nil {
				err = c.next()
			}
			answered := false
			if err == nil {
				answered, err = c.readOne()
			}
			if err != nil && err != errInterrupted {
				c.fail(err)
				return
			}
			rest = answered && c.rest()
		}
	}
}

// tend is called by the sweeper. It has the goroutine read if since the last time
// nobody has, and interrupts a call that reads though it has been ended.
func (c *clientConn) tend() {
	c.mu.Lock()
	ended := c.leader != 0 && !c.waitsLocked(c.leader)
	unread := c.tended == c.lastSeq
	c.tended = c.lastSeq
	c.mu.Unlock()
	if unread {
		c.haveRead()
	}
	if ended {
		c.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// next waits for a frame.
func (c *clientConn) next() error {
	c.in.within = false
	_, err := c.r.Peek(1)
	if err == io.EOF {
		err = errors.New("closed by the server")
	}
	return err
}

// readOne reads a frame and gives it to the call that waits for it, if one does.
func (c *clientConn) readOne() (answered bool, err error) {
	c.in.within = true
	f := &c.frame
	if err := f.read(c.r, c.limit); err != nil {
		return false, err
	}
	if !f.response() {
		return false, fmt.Errorf("%w: a request came from the server", errBadMagic)
	}
	c.frames.Add(1)
	c.in.took()
	if f.heartbeat() {
		if metaValue(f.meta, keyGoaway) != nil {
			c.leaving.Store(true)
		}
	} else if k := c.claim(f.id); k != nil {
		// Others have given up, or are a foreign server's answers to one-way requests.
		f.moveTo(&k.frame)
		k.arrived = c.in.at
		k.done <- struct{}{}
		answered = true
	}
	if c.leaving.Load() {
		c.failIf(func() bool { return c.waiting == 0 }, errServerLeaves)
	}
	return answered, nil
}

// whole reports whether r has buffered the next frame to its end.
func whole(r *bufio.Reader) bool {
	b, _ := r.Peek(r.Buffered()) // that many are there
	n := uint64(headLen + 4)
	for range 2 { // the metadata, and behind its length the body
		if uint64(len(b)) < n {
			return false
		}
		n += uint64(binary.BigEndian.Uint32(b[n-4:])) + 4
	}
	return uint64(len(b)) >= n-4
}
