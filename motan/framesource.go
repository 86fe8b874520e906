package motan

import (
	"errors"
	"net"
	"os"
	"runtime"
	"time"
)

// frameTimeout bounds how long a peer may pause inside a frame.
const frameTimeout = 10 * time.Second

const (
	// The runtime looks for what has arrived only when a processor has nothing else
	// to run, or every 10 ms. Where many goroutines take turns, a reader that waits is
	// woken milliseconds late, and all calls of its connection with it. So it looks
	// itself, once for each round of the others, as long as a round takes longRound or
	// more, which it does not when a processor is about to be idle. Each frame pays
	// for looksPerFrame looks, so that those of a connection with few cost little.
	longRound     = 10 * time.Microsecond
	looksPerFrame = 4
	mostLooks     = 64 // that are saved up
)

// frameSource is a connection whose reads have a deadline while a frame is
// under way and, if idle is set, between frames.
type frameSource struct {
	net.Conn
	within bool          // a frame has begun
	idle   time.Duration // bounds the wait for the next frame; 0: no bound
	until  time.Time     // the deadline that is set
	before func()        // if not nil, called before each read
	shared bool          // others set a deadline that has passed to interrupt a read
	at     time.Time     // of the last read, unless idle is set
	looks  int           // that are paid for
	direct direct
}

// errInterrupted is returned between frames only.
var errInterrupted = errors.New("motan: reading was interrupted")

func (s *frameSource) Read(p []byte) (int, error) {
	for {
		n, err := s.read(p)
		if !s.shared || n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || s.within && !now().Before(s.until) {
			return n, err
		}
		s.until = time.Unix(1, 0) // whatever comes, it is to be set
		if !s.within {
			return 0, errInterrupted
		}
	}
}

func (s *frameSource) read(p []byte) (n int, err error) {
	if s.before != nil {
		s.before()
	}
	var until time.Time
	switch {
	case s.within:
		until = now().Add(frameTimeout)
	case s.idle > 0:
		// Setting a deadline costs as much as a small read: one that was set a
		// moment ago will do.
		if until = now().Add(s.idle); until.Sub(s.until) < s.idle/8 && !s.until.After(until) {
			until = s.until
		}
	}
	if !until.Equal(s.until) {
		if err := s.Conn.SetReadDeadline(until); err != nil {
			return 0, err
		}
		s.until = until
	}
	if n, err = s.look(p); n == 0 && err == nil {
		n, err = s.Conn.Read(p)
	}
	if s.idle == 0 { // a client's
		s.at = now()
	}
	return n, err
}

// took says that a frame has been taken.
func (s *frameSource) took() { s.looks = min(s.looks+looksPerFrame, mostLooks) }

// look lets others run, at least once, and returns what has arrived meanwhile,
// which may be nothing.
func (s *frameSource) look(p []byte) (n int, err error) {
	for {
		began := now()
		// Whoever is about to run may make the peer send something. Then it is there
		// when we read, more at once, and nobody has to wake us for it.
		runtime.Gosched()
		if s.looks == 0 || !s.direct.possible() || now().Sub(began) < longRound {
			return 0, nil
		}
		s.looks--
		if n, err = s.direct.look(p); n > 0 || err != nil {
			return n, err
		}
	}
}
