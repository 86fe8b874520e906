package mcq

import (
	"fmt"
	"time"
)

// makeRoom sees to it that no reader's limits are broken by msgs.
func (l *messageLog) makeRoom(msgs []Message) error {
	for _, q := range l.readers {
		o := &q.opt
		if o.MaxLength == 0 && o.MaxBytes == 0 || o.FanOut && q.parent == nil {
			continue
		}
		size := int64(0)
		for i := range msgs {
			size += int64(len(msgs[i].Body))
		}
		var n int
		var bytes int64
		if o.MaxLength > 0 {
			n = int(l.next-1-q.acked.done()) + len(msgs) - o.MaxLength
		}
		if o.MaxBytes > 0 {
			q.mu.Lock()
			bytes = q.size
			q.mu.Unlock()
			bytes += q.freshBytes + size - o.MaxBytes
		}
		fits := (o.MaxLength == 0 || len(msgs) <= o.MaxLength) && (o.MaxBytes == 0 || size <= o.MaxBytes)
		if !fits || !q.makeRoom(n, bytes) {
			return fmt.Errorf("%w: %s: limit %d messages, %d bytes", ErrFull, q.name, o.MaxLength, o.MaxBytes)
		}
	}
	return nil
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
		q.ackedChanged = true
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
	q.discarded.Add(1)
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
		q.size -= int64(l.size)
		q.discarded.Add(1)
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
			q.expiredN++
		case q.opt.DropOldest:
			q.discarded.Add(1)
		default:
			return 0, 0, false, false
		}
		id, size = m.ID, len(m.Body)
		q.size -= int64(size)
		q.head++
		q.recent.dropBelow(q.head)
		q.ahead.dropBelow(q.head)
		return id, size, true, false
	}
	return 0, 0, false, false
}
