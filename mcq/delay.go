package mcq

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// later is a message that is handed out at a time.
type later struct {
	ms   int64 // Unix milliseconds
	seq  uint64
	size int
}

func dueMs(m *Message) int64 { return m.Enqueued.UnixMilli() + int64(inMs(m.Delay)) }

// postponeLocked keeps a message back until its time.
func (q *Queue) postponeLocked(l later) {
	q.delayed[l.seq] = struct{}{}
	q.laters.push(l)
	q.due.Store(q.dueLocked())
}

// ripenLocked gives way to the messages whose time has come, and returns them
// for their index entries to be removed.
func (q *Queue) ripenLocked(now time.Time) (ripe []later) {
	for ms := now.UnixMilli(); q.laters.len() > 0 && q.laters.top().ms <= ms; {
		l := q.laters.pop()
		if _, ok := q.delayed[l.seq]; !ok {
			continue // purged or dropped
		}
		delete(q.delayed, l.seq)
		if l.seq >= q.head {
			q.jumped[l.seq] = struct{}{}
		}
		q.returned[l.seq] = lease{size: l.size}
		q.again.push(l.seq)
		ripe = append(ripe, l)
	}
	return ripe
}

// loadDelayed finds the messages that were waiting for their time.
func (l *messageLog) loadDelayed(db pebble.Reader, records *pebble.Iterator) error {
	it, err := db.NewIter(indexBounds(prefixDelay, l.id))
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		ms, seq, err := parseIndexKey(it.Key())
		if err != nil {
			return err
		}
		for _, q := range l.readers {
			if seq >= q.start && seq < l.next && !q.acked.has(seq) {
				size, err := q.sizeIn(records, seq)
				if err != nil {
					return err
				}
				q.postponeLocked(later{ms, seq, size})
			}
		}
	}
	return it.Error()
}

// expired reports whether m is not worth handing out any more.
func (q *Queue) expired(m *Message, now time.Time) bool {
	ttl := m.TTL
	if age := q.opt.MaxAge; age > 0 && (ttl == 0 || age < ttl) {
		ttl = age
	}
	return ttl > 0 && now.Sub(m.Enqueued) >= ttl
}

// expire gives back what was leased for too long, and hands over what was
// delayed.
func (q *Queue) expire(now time.Time) {
	ns := now.UnixNano()
	if q.due.Load() > ns {
		return
	}
	var dying []uint64
	q.mu.Lock()
	if q.closed != nil {
		q.mu.Unlock()
		return
	}
	for q.expiries.len() > 0 && q.expiries.top().until <= ns {
		e := q.expiries.pop()
		q.expiring -= e.ids.to - e.ids.from
		for id := e.ids.from; id < e.ids.to; id++ {
			if l, ok := q.leases[id]; ok && l.until <= ns {
				if q.giveBackLocked(id, l) {
					dying = append(dying, id)
				}
			}
		}
	}
	ripe := q.ripenLocked(now)
	q.due.Store(q.dueLocked())
	q.wakeLocked()
	q.mu.Unlock()
	if len(ripe) > 0 {
		o := takeOp(q)
		o.ripe = ripe
		q.b.submitAside(o)
	}
	if len(dying) > 0 {
		if err := q.bury(dying, "the last lease ran out"); err != nil {
			q.b.opt.Logger.Error("mcq: dead letters not moved, they come again", "queue", q.name, "error", err)
		}
	}
}
