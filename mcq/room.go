package mcq

import (
	"fmt"
	"time"
)

// makeRoom sees to it that no reader's limits are broken by msgs. Those that were
// there before need no room.
func (l *messageLog) makeRoom(msgs []Message, ms int64) error {
	count, size := -1, int64(0) // counted once somebody has limits
	for _, q := range l.readers {
		o := &q.opt
		if o.MaxLength == 0 && o.MaxBytes == 0 || o.FanOut && q.parent == nil {
			continue
		}
		if count < 0 {
			count, size = l.unseen(msgs, ms)
		}
		if count == 0 {
			return nil
		}
		var n int
		var bytes int64
		if o.MaxLength > 0 {
			n = int(l.next-1-q.acked.done()) + count - o.MaxLength
		}
		if o.MaxBytes > 0 {
			q.mu.Lock()
			bytes = q.size
			q.mu.Unlock()
			bytes += q.freshBytes + size - o.MaxBytes
		}
		fits := (o.MaxLength == 0 || count <= o.MaxLength) && (o.MaxBytes == 0 || size <= o.MaxBytes)
		if !fits || !q.makeRoom(n, bytes) {
			return fmt.Errorf("%w: %s: limit %d messages, %d bytes", ErrFull, q.name, o.MaxLength, o.MaxBytes)
		}
	}
	return nil
}

// unseen returns how many of msgs will be stored, and the bytes of their bodies.
func (l *messageLog) unseen(msgs []Message, ms int64) (n int, size int64) {
	window := l.readers[0].opt.DedupeWindow.Milliseconds()
	var here map[string]bool // keys that come twice in msgs
	for i := range msgs {
		m := &msgs[i]
		if m.Key != "" && window > 0 {
			if here[m.Key] || l.seen.find(m.Key, ms, window) != 0 {
				continue
			}
			if len(msgs) > 1 {
				if here == nil {
					here = map[string]bool{}
				}
				here[m.Key] = true
			}
		}
		n++
		size += int64(len(m.Body))
	}
	return n, size
}

// makeRoom drops the oldest messages, or only those that have expired, until
// there are n messages and so many bytes less.
func (q *Queue) makeRoom(n int, bytes int64) bool {
	now := time.Now()
	for n > 0 || bytes > 0 {
		id, size, ok := q.dropOldest(now)
		if !ok {
			return false
		}
		q.acked.add(id, id+1)
		q.ackedChanged, q.tallied = true, true
		q.log.untrimmed += size
		q.b.touch(q)
		n--
		bytes -= int64(size)
	}
	return true
}

// dropOldest takes out one message that is not handed out. It must have expired
// unless the queue drops its oldest.
func (q *Queue) dropOldest(now time.Time) (id uint64, size int, ok bool) {
	for {
		id, size, ok, missing := q.dropCommitted(now)
		if ok {
			return id, size, true
		}
		if !missing {
			break
		}
		if q.fill() != nil {
			return 0, 0, false
		}
	}
	if !q.opt.DropOldest {
		return 0, 0, false
	}
	// All the others are handed out, or delayed: the first of this group goes.
	// tail is written by this goroutine only.
	first := max(q.tail, q.dropTo)
	if first >= q.log.next {
		return 0, 0, false
	}
	m := &q.log.fresh[first-q.log.fresh[0].ID]
	q.dropTo = first + 1
	q.freshBytes -= int64(len(m.Body))
	q.tally.discarded++
	return first, len(m.Body), true
}

func (q *Queue) dropCommitted(now time.Time) (id uint64, size int, ok, missing bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.skipAcknowledgedLocked()
	if q.opt.DropOldest && q.again.len() > 0 {
		id = q.again.pop()
		l := q.returned[id]
		delete(q.returned, id)
		q.goneLocked(id, l.size)
		q.tally.discarded++
		return id, l.size, true, false
	}
	for q.head < q.tail {
		m := q.inMemoryLocked(q.head)
		if m == nil {
			return 0, 0, false, true
		}
		if q.passLocked(m) {
			continue
		}
		switch {
		case q.expired(m, now):
			q.tally.expired++
		case q.opt.DropOldest:
			q.tally.discarded++
		default:
			return 0, 0, false, false
		}
		id, size = m.ID, len(m.Body)
		q.goneLocked(id, size)
		q.head++
		q.recent.dropBelow(q.head)
		q.ahead.dropBelow(q.head)
		return id, size, true, false
	}
	return 0, 0, false, false
}
