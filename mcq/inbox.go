package mcq

import (
	"runtime"
	"sync"
)

// The most that waits for the committer; who brings more waits.
const (
	inboxOps   = 8192
	inboxBytes = 64 << 20
)

// inbox is where ops wait for the committer, in the order in which they came.
type inbox struct {
	mu     sync.Mutex
	filled sync.Cond // there is something to take, or the inbox was closed
	room   sync.Cond // what was there has been taken, or the inbox was closed
	ops    []*op
	bytes  int
	busy   bool // somebody commits: until done, ops gather
	closed bool
}

func newInbox() *inbox {
	in := &inbox{}
	in.filled.L, in.room.L = &in.mu, &in.mu
	return in
}

// put adds o. It waits while the inbox is full and fails once it is closed.
func (in *inbox) put(o *op) error {
	in.mu.Lock()
	for (len(in.ops) >= inboxOps || in.bytes >= inboxBytes) && !in.closed {
		in.room.Wait()
	}
	if in.closed {
		in.mu.Unlock()
		return ErrClosed
	}
	in.ops = append(in.ops, o)
	in.bytes += o.size()
	first := len(in.ops) == 1 && !in.busy
	in.mu.Unlock()
	if first {
		in.filled.Signal()
	}
	return nil
}

// putAll adds ops in their order, waiting like put.
func (in *inbox) putAll(ops []*op) error {
	in.mu.Lock()
	for (len(in.ops) >= inboxOps || in.bytes >= inboxBytes) && !in.closed {
		in.room.Wait()
	}
	if in.closed {
		in.mu.Unlock()
		return ErrClosed
	}
	first := len(in.ops) == 0 && !in.busy
	in.ops = append(in.ops, ops...)
	for _, o := range ops {
		in.bytes += o.size()
	}
	in.mu.Unlock()
	if first {
		in.filled.Signal()
	}
	return nil
}

// take waits for ops and returns all of them, for the caller to commit before it
// calls done; into, which must be empty, holds those that come next. Nothing is
// returned once the inbox is closed and empty.
func (in *inbox) take(into []*op) []*op {
	in.mu.Lock()
	for in.busy || len(in.ops) == 0 && !in.closed {
		in.filled.Wait()
	}
	in.busy = true
	if !in.closed {
		// Those who are about to put something in get to do so first: a
		// larger group costs hardly more than a small one.
		in.mu.Unlock()
		runtime.Gosched()
		in.mu.Lock()
	}
	ops := in.ops
	in.ops, in.bytes = into, 0
	in.mu.Unlock()
	in.room.Broadcast()
	return ops
}

// claim reports whether the caller may commit ops of its own, because nobody
// commits and nothing waits. It must call done then.
func (in *inbox) claim() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.busy || in.closed || len(in.ops) > 0 {
		return false
	}
	in.busy = true
	return true
}

// done lets the next ops be taken or claimed.
func (in *inbox) done() {
	in.mu.Lock()
	in.busy = false
	next := len(in.ops) > 0 || in.closed
	in.mu.Unlock()
	if next {
		in.filled.Signal()
	}
}

// close lets no more ops in. Those that are there can still be taken.
func (in *inbox) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.filled.Signal()
	in.room.Broadcast()
}
