// Package flush combines the writes of many goroutines on one connection.
//
// Senders append to a shared buffer and go on; one goroutine writes what has
// gathered, so that under load one system call carries many messages. Under
// no load a message is on its way as soon as that goroutine is scheduled.
package flush

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"time"
)

// ErrClosed is returned once the writer was closed.
var ErrClosed = errors.New("flush: connection closed")

// Writer is the sending side of one connection. It is safe for concurrent use.
type Writer struct {
	conn    net.Conn
	timeout time.Duration
	limit   int

	wake chan struct{} // capacity 1: there is something to write
	done chan struct{} // closed when the goroutine has ended

	mu    sync.Mutex
	room  sync.Cond // the buffer has been taken, or err is set
	buf   []byte
	spare []byte
	err   error
	ended bool // Close was called
}

// NewWriter starts a writer for conn. timeout bounds each write; a peer that
// takes longer has its connection closed. limit bounds the bytes that wait:
// senders block while more are there. failed, if not nil, is called once from
// the writer's goroutine after a write has failed.
func NewWriter(conn net.Conn, limit int, timeout time.Duration, failed func(error)) *Writer {
	w := &Writer{conn: conn, timeout: timeout, limit: limit, wake: make(chan struct{}, 1), done: make(chan struct{})}
	w.room.L = &w.mu
	go w.run(failed)
	return w
}

// Append calls add with the shared buffer to append one message to; add runs
// under the writer's lock and must only append. Append blocks while too much
// waits, and fails once the connection has: then nothing of the message is sent.
func (w *Writer) Append(add func([]byte) []byte) error {
	w.mu.Lock()
	for len(w.buf) > w.limit && w.err == nil {
		w.room.Wait()
	}
	if w.err != nil {
		err := w.err
		w.mu.Unlock()
		return err
	}
	first := len(w.buf) == 0
	w.buf = add(w.buf)
	w.mu.Unlock()
	if first {
		w.signal()
	}
	return nil
}

// Write appends p as one message.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	for len(w.buf) > w.limit && w.err == nil {
		w.room.Wait()
	}
	if w.err != nil {
		err := w.err
		w.mu.Unlock()
		return 0, err
	}
	first := len(w.buf) == 0
	w.buf = append(w.buf, p...)
	w.mu.Unlock()
	if first {
		w.signal()
	}
	return len(p), nil
}

// Push appends p like Write but never blocks. It is for goroutines that serve
// many connections and whose callers bound what they push in another way.
func (w *Writer) Push(p []byte) {
	w.mu.Lock()
	first := len(w.buf) == 0 && w.err == nil
	if w.err == nil {
		w.buf = append(w.buf, p...)
	}
	w.mu.Unlock()
	if first {
		w.signal()
	}
}

// Room waits until less than the limit waits to be written, or the connection
// has failed. Who Pushes for a peer can so be held up where it may be.
func (w *Writer) Room() {
	w.mu.Lock()
	for len(w.buf) > w.limit && w.err == nil {
		w.room.Wait()
	}
	w.mu.Unlock()
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Close writes what waits, then makes further Appends fail with ErrClosed. It
// does not close the connection. It returns the error that ended writing, if any.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.ended = true
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

// maxSpare is the largest buffer that is kept for the next round.
const maxSpare = 1 << 20

func (w *Writer) run(failed func(error)) {
	defer close(w.done)
	for range w.wake {
		// Those who are about to send get to do so before the system call.
		runtime.Gosched()
		w.mu.Lock()
		out := w.buf
		w.buf = w.spare[:0]
		w.spare = nil
		ended := w.ended
		w.room.Broadcast()
		w.mu.Unlock()
		if len(out) > 0 {
			if err := w.write(out); err != nil {
				w.fail(err)
				if failed != nil {
					failed(err)
				}
				return
			}
		}
		w.mu.Lock()
		if cap(out) <= maxSpare {
			w.spare = out[:0]
		}
		if ended && len(w.buf) == 0 {
			w.err = ErrClosed
			w.room.Broadcast()
			w.mu.Unlock()
			return
		}
		again := len(w.buf) > 0
		w.mu.Unlock()
		if again {
			w.signal()
		}
	}
}

func (w *Writer) write(p []byte) error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	_, err := w.conn.Write(p)
	return err
}

func (w *Writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
	w.buf, w.spare = nil, nil
	w.room.Broadcast()
}
