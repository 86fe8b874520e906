package mcq

import (
	"slices"
	"sync"
	"time"
)

// outlet is where the replies of a session go. The methods are those of
// flush.Writer, which is the outlet of a session that has goroutines of its own.
type outlet interface {
	Write(p []byte) (int, error)
	Append(add func([]byte) []byte) error
	Push(p []byte)
	Room()
	Close() error
}

// lane is a connection while a loop serves it: reading, parsing and carrying out
// the commands that need not wait takes no goroutine, and all connections that
// have something to say are served before what they want is committed in one
// group and answered. Any other command has the session continue on goroutines
// of its own until it is done.
//
// It is the session's outlet meanwhile.
type lane struct {
	c    *session
	loop *loop

	// The loop's own:
	in       []byte // of a command that has not come whole
	readable bool   // there may be more
	lastRead bool   // the loop drains: what has come is served, and no more
	last     bool   // the client has sent all it will: no event tells that its end has been reached
	ended    bool   // the client sends nothing any more
	inBody   bool   // in lacks a part of a body
	heard    time.Time

	listed bool // the committer's own: to be flushed after the group

	// Guarded by the session's mu:
	fd      int // -1 once closed
	unsent  []byte
	blocked bool // the client does not read
	since   time.Time
	broken  bool
	held    bool // the loop waits until nothing is pending and all is sent
}

const maxUnsent = 64 << 10 // larger buffers are not kept

func (ln *lane) Push(p []byte) {
	ln.c.mu.Lock()
	if !ln.broken {
		ln.unsent = append(ln.unsent, p...)
	}
	ln.c.mu.Unlock()
}

func (ln *lane) Write(p []byte) (int, error) {
	ln.Push(p)
	return len(p), nil
}

func (ln *lane) Append(add func([]byte) []byte) error {
	ln.Push(add(nil))
	return nil
}

func (ln *lane) Room() {}

func (ln *lane) Close() error { return nil }

// load is what a connection waits for, as the loop knows it: it counts what it
// adds, and looks again when there seems to be no room, for others only take away.
type load struct {
	pending, bytes, unsent int
	added, addedBytes      int // not counted in the session yet
}

// look counts what was added and finds out how much there is now.
func (ln *lane) look(l *load) {
	c := ln.c
	c.mu.Lock()
	c.pending += l.added
	c.pendingBytes += l.addedBytes
	*l = load{pending: c.pending, bytes: c.pendingBytes, unsent: len(ln.unsent)}
	c.mu.Unlock()
}

// room reports whether one more command may wait for the disk.
func (l *load) room() bool {
	return l.pending < maxPending && (l.pending == 0 || l.bytes <= maxPendingBytes) && l.unsent <= writeLimit
}

// await counts a command that waits for the disk, and n bytes of reply.
func (l *load) await(n int) {
	l.pending++
	l.bytes += n
	l.added++
	l.addedBytes += n
}

// answer sends what a command has to say that waited for the disk, if anything,
// for which n bytes were reserved.
func (ln *lane) answer(reply []byte, n int) {
	c := ln.c
	c.mu.Lock()
	if !ln.broken {
		ln.unsent = append(ln.unsent, reply...)
	}
	c.answeredLocked(n)
	c.mu.Unlock()
}

// settle sends what there is, and reports whether nothing is left to be
// committed or sent. Otherwise the loop gets the lane once nothing is.
func (ln *lane) settle() bool {
	ln.c.mu.Lock()
	defer ln.c.mu.Unlock()
	ln.flushLocked()
	if ln.c.pending == 0 && !ln.blocked && !ln.broken {
		return true
	}
	ln.held = true
	return false
}

// replied sends what the group that was committed has to say to the client, and
// wakes the loop if it waits for that.
func (ln *lane) replied() {
	ln.c.mu.Lock()
	ln.flushLocked()
	tell := ln.tellLocked()
	ln.c.mu.Unlock()
	if tell {
		ln.loop.resume(ln)
	}
}

func (ln *lane) tellLocked() bool {
	if !ln.held || ln.c.pending > 0 || ln.blocked && !ln.broken {
		return false
	}
	ln.held = false
	return true
}

// loops are the loops that serve a broker, which hears of a write that waits for
// space: nobody else should have to wait for it.
type loops struct {
	mu   sync.Mutex
	list []*loop
}

func (s *loops) add(l *loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, l)
}

func (s *loops) remove(l *loop) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(other *loop) bool { return other == l })
}

// relieve has the loops go on that are held up by a commit.
func (s *loops) relieve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.list {
		l.relieve()
	}
}
