package mcq

import (
	"slices"
	"sync/atomic"
	"unsafe"
)

// memory is what the windows of all queues take together. A queue counts its
// own when a group has been published or a chunk was read, which is once for
// many messages; what is handed out meanwhile is found out by the sweeper, and
// only when it matters. So held is never less than what the windows take.
type memory struct {
	held  atomic.Int64
	share atomic.Int64 // what each queue may keep; Options.Memory unless there are too many
}

// messageOverhead is what a message takes beside its body.
const messageOverhead = int(unsafe.Sizeof(Message{}))

// held is what the window takes, room for messages to come included.
func (w *window) held() int {
	return w.bytes + (len(w.ring)-w.n)*messageOverhead
}

// fit gives back the room for messages to come.
func (w *window) fit() {
	w.resize(w.n)
}

// countMemoryLocked tells the broker what the queue's windows take, and returns it.
func (q *Queue) countMemoryLocked() int64 {
	if q.forgotten {
		q.recent, q.ahead = window{base: q.recent.end()}, window{}
	}
	n := int64(q.recent.held() + q.ahead.held())
	if n != q.counted {
		q.b.memory.held.Add(n - q.counted)
		q.counted = n
	}
	return n
}

// keepLocked is called when messages have been added to recent: what is more than
// the queue's share, or than all queues may keep, is read from the store later.
func (q *Queue) keepLocked() {
	b := q.b
	q.recent.shrink(int(b.memory.share.Load()))
	q.countMemoryLocked()
	if over := b.memory.held.Load() - b.opt.TotalMemory; over > 0 {
		q.recent.shrink(max(q.recent.bytes-int(over), 0))
		q.recent.fit()
		q.countMemoryLocked()
	}
}

// yield makes do with so many bytes.
func (q *Queue) yield(most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	// What was read ahead is wanted first.
	if q.recent.shrink(max(most-q.ahead.bytes, 0)); q.ahead.bytes > most {
		q.ahead = window{}
	}
	q.recent.fit()
	q.ahead.fit()
	q.countMemoryLocked()
}

// forgetMemory gives back everything for good: the queue has been dropped.
func (q *Queue) forgetMemory() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.forgotten = true
	q.countMemoryLocked()
}

const (
	readMessages = 4096
	readBytes    = 1 << 20
	readLeast    = 16 << 10
)

// chunk is how many bytes may be read ahead for one queue.
func (b *Broker) chunk() int {
	if b.memory.held.Load() >= b.opt.TotalMemory {
		return readLeast
	}
	return int(max(min(b.memory.share.Load(), readBytes), readLeast))
}

// shareMemory sees to it that those queues that keep most make room when all
// together keep nearly too much, and lets them keep more when there is room.
func (b *Broker) shareMemory(grow bool) {
	total, share := b.opt.TotalMemory, b.memory.share.Load()
	if b.memory.held.Load() <= total-total/4 {
		if most := int64(b.opt.Memory); grow && share < most && b.memory.held.Load() <= total/2 {
			b.memory.share.Store(min(2*share+1, most))
		}
		return
	}
	b.mu.RLock()
	queues := make([]*Queue, 0, len(b.queues))
	for _, q := range b.queues {
		queues = append(queues, q)
	}
	b.mu.RUnlock()
	sizes := make([]int64, len(queues))
	for i, q := range queues {
		q.mu.Lock()
		sizes[i] = q.countMemoryLocked()
		q.mu.Unlock()
	}
	if b.memory.held.Load() <= total-total/4 {
		return // much was handed out
	}
	level := levelOf(sizes, total/2)
	b.memory.share.Store(min(level, int64(b.opt.Memory)))
	for i, q := range queues {
		if sizes[i] > level {
			q.yield(int(level))
		}
	}
}

// levelOf is the most that one of sizes may be so that they sum up to no more
// than total if those that are larger are cut.
func levelOf(sizes []int64, total int64) int64 {
	sizes = slices.Sorted(slices.Values(sizes))
	for i, size := range sizes {
		level := total / int64(len(sizes)-i)
		if size > level {
			return level
		}
		total -= size
	}
	return total
}
