package motan

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	writeTimeout = 10 * time.Second
	// writeLimit bounds the bytes that wait to be written to one connection;
	// one more frame of any size is taken while less does.
	writeLimit = 1 << 20
	// tightLimit is that while a server has no room for more.
	tightLimit = countOver
	// writeChunk is how much a peer has to take for it to count as reading.
	writeChunk = 256 << 10
	// maxSpare is the largest buffer that is kept for the next round.
	maxSpare = 2 << 20
)

var errCongested = errors.New("motan: the peer reads too slowly")

// writer combines the frames of many goroutines: a system call carries what has
// gathered. Whoever comes first does the writing itself, as far as that needs no
// waiting; the rest is left to a goroutine.
type writer struct {
	conn   net.Conn
	memory *memory     // what the buffers count in; nil: they are not counted
	failed func(error) // called once, if a write fails

	stuck atomic.Int64 // since when the goroutine has waited for the peer, in ticks; 0: it does not wait

	// The one that writes has these to itself.
	out    []byte
	whole  []byte // the buffer that out is the rest of
	direct direct

	wake chan struct{} // capacity 1: the goroutine is to look
	done chan struct{} // closed when the goroutine has ended

	mu      sync.Mutex
	buf     []byte
	spare   []byte
	taken   int // the capacity of whole
	room    reservation
	writing bool          // someone writes, or is about to
	handed  bool          // that one is the goroutine
	emptied chan struct{} // if someone waits for that: closed when buf has been taken
	err     error
	ended   bool // close was called
}

func newWriter(conn net.Conn, memory *memory, failed func(error)) *writer {
	w := &writer{conn: conn, memory: memory, room: reservation{of: memory}, failed: failed, wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.direct.init(conn)
	go w.run()
	return w
}

// send sends p, which it does not keep. While too much waits it blocks, until
// the time or a value on stop comes; zero and nil are no bound. With gather set
// it lets other goroutines add theirs before it writes.
func (w *writer) send(p []byte, gather bool, until time.Time, stop <-chan struct{}) error {
	w.mu.Lock()
	if err := w.addLocked(p, until, stop); err != nil {
		w.mu.Unlock()
		return err
	}
	lead := !w.writing
	w.writing = true
	w.mu.Unlock()
	if lead {
		if gather {
			runtime.Gosched()
		}
		w.lead()
	}
	return nil
}

// stage adds p to what flush or the next send will write, and returns how much
// that is. It blocks like send. If the connection has failed, p is dropped.
func (w *writer) stage(p []byte) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addLocked(p, time.Time{}, nil) // it fails only with the connection
	return len(w.buf)
}

// flush writes what is staged, unless someone else is at it.
func (w *writer) flush() {
	w.mu.Lock()
	lead := !w.writing && len(w.buf) > 0 && w.err == nil
	if lead {
		w.writing = true
	}
	w.mu.Unlock()
	if lead {
		w.lead()
	}
}

// addLocked appends p. It releases the mutex while it waits for room.
func (w *writer) addLocked(p []byte, until time.Time, stop <-chan struct{}) error {
	if w.fullLocked() && w.err == nil {
		if err := w.waitLocked(until, stop); err != nil {
			return err
		}
	}
	if w.err != nil {
		return w.err
	}
	had := cap(w.buf)
	w.buf = append(w.buf, p...)
	if cap(w.buf) != had {
		w.countLocked()
	}
	return nil
}

// fullLocked reports that nothing more is to be added for now.
func (w *writer) fullLocked() bool {
	return len(w.buf) > writeLimit || len(w.buf) > tightLimit && !w.memory.fits(0)
}

// blocks reports that somebody waits for the peer to take what is written.
func (w *writer) blocks() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.emptied != nil
}

// countLocked counts the buffers. What must be sent is taken even if there is no
// room: the answers in it have had room by themselves.
func (w *writer) countLocked() {
	w.room.hold(counted(cap(w.buf) + cap(w.spare) + w.taken))
}

func (w *writer) waitLocked(until time.Time, stop <-chan struct{}) error {
	var expired <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(time.Until(until))
		defer t.Stop()
		expired = t.C
	}
	for w.fullLocked() && w.err == nil {
		if !w.writing { // staged only: nobody else is going to make room
			w.writing, w.handed = true, true
			w.signal()
		}
		if w.emptied == nil {
			w.emptied = make(chan struct{})
		}
		emptied := w.emptied
		w.mu.Unlock()
		var err error
		select {
		case <-emptied:
		case <-expired:
			err = errCongested
		case <-stop:
			err = errCongested
		}
		w.mu.Lock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// takeLocked takes what has gathered.
func (w *writer) takeLocked() []byte {
	out := w.buf
	w.buf, w.spare, w.taken = w.spare[:0], nil, cap(out)
	if w.emptied != nil {
		close(w.emptied)
		w.emptied = nil
	}
	return out
}

// keepLocked keeps the buffer that has been written for the next round.
func (w *writer) keepLocked() {
	if cap(w.whole) <= maxSpare && w.spare == nil && (cap(w.whole) <= countOver || w.memory.keeps()) {
		w.spare = w.whole[:0]
	}
	w.out, w.whole, w.taken = nil, nil, 0
	w.countLocked()
}

// lead writes once without waiting, and gives to the goroutine what that leaves.
func (w *writer) lead() {
	w.mu.Lock()
	if w.direct.possible() {
		w.out = w.takeLocked()
		w.mu.Unlock()
		w.whole = w.out
		// An error, be it that the socket is full, comes again to the goroutine.
		w.out = w.out[w.direct.attempt(w.out):]
		w.mu.Lock()
		if len(w.out) == 0 {
			w.keepLocked()
			if len(w.buf) == 0 && !w.ended {
				w.writing = false
				w.mu.Unlock()
				return
			}
		}
	}
	w.handed = true
	w.mu.Unlock()
	w.signal()
}

// close writes what waits, then makes further sends fail with ErrClosed. It does
// not close the connection. It returns the error that ended writing, if any.
func (w *writer) close() error {
	w.mu.Lock()
	w.ended = true
	if !w.writing {
		w.writing, w.handed = true, true
	}
	w.mu.Unlock()
	w.signal()
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == ErrClosed {
		return nil
	}
	return w.err
}

// run is the goroutine.
func (w *writer) run() {
	defer close(w.done)
	for range w.wake {
		w.mu.Lock()
		mine := w.handed
		w.mu.Unlock()
		if !mine { // whoever writes will say when it is our turn
			continue
		}
		runtime.Gosched() // those who are about to send get to do so
		for {
			w.mu.Lock()
			if len(w.out) == 0 && len(w.buf) > 0 {
				w.out = w.takeLocked()
				w.whole = w.out
			}
			if len(w.out) == 0 {
				w.writing, w.handed = false, false
				if w.ended {
					w.endLocked(ErrClosed)
					w.mu.Unlock()
					return
				}
				w.mu.Unlock()
				break
			}
			w.mu.Unlock()
			if err := w.write(); err != nil {
				w.mu.Lock()
				w.endLocked(err)
				w.mu.Unlock()
				w.failed(err)
				return
			}
			w.mu.Lock()
			w.keepLocked()
			w.mu.Unlock()
		}
	}
}

func (w *writer) write() error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	defer w.stuck.Store(0)
	for rest := w.out; len(rest) > 0; {
		n := min(len(rest), writeChunk)
		w.stuck.Store(ticks())
		if _, err := w.conn.Write(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	// A deadline that has passed would fail attempts.
	return w.conn.SetWriteDeadline(time.Time{})
}

func (w *writer) endLocked(err error) {
	w.out, w.whole = nil, nil
	w.dropLocked(err)
}

// dropLocked makes further sends fail and gives up what has not been taken yet.
func (w *writer) dropLocked(err error) {
	w.err = err
	w.buf, w.spare, w.taken = nil, nil, 0
	w.countLocked()
	if w.emptied != nil {
		close(w.emptied)
		w.emptied = nil
	}
}

// abandon makes further sends fail with err, and returns the bytes that are not
// counted any more; ok is false if the writer has failed already. Whoever calls it
// closes the connection, which ends the write that is under way.
func (w *writer) abandon(err error) (freed int64, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, false
	}
	freed = w.room.n
	w.dropLocked(err)
	return freed, true
}
