package mcq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// How often a message has been handed out is kept in memory, and written when
// the store is closed. But a message may be what ends the process, and then
// nothing is closed: whatever is found in a store that was not closed is suspect,
// and that it is handed out is recorded before it is. So is handing anything out
// again. What nobody suspects costs nothing.

// handed is how often a message has been handed out.
type handed struct {
	id uint64
	n  int
}

// suspect reports whether it is to be recorded that m is handed out.
func (q *Queue) suspect(m *Message) bool { return m.Attempts > 1 || m.ID < q.suspects }

// record adds to o what has to be durable before msgs, which are leased, may be
// handed out, and reports whether there is anything.
func (q *Queue) record(o *op, msgs []Message) bool {
	if q.b.held.Load() > 0 {
		return false // the disk is full: handing out goes on
	}
	for i := range msgs {
		if m := &msgs[i]; q.suspect(m) {
			o.handed = append(o.handed, handed{m.ID, m.Attempts})
		}
	}
	return len(o.handed) > 0
}

// recorded waits until msgs, which are leased, may be handed out.
func (q *Queue) recorded(msgs []Message) error {
	for i := range msgs {
		if !q.suspect(&msgs[i]) {
			continue
		}
		o := takeOp(q)
		if !q.record(o, msgs[i:]) {
			o.release()
			return nil
		}
		return q.b.commit(o)
	}
	return nil
}

func handedKey(id uint32, seq uint64) []byte {
	b := make([]byte, 0, recordKeyLen)
	b = binary.BigEndian.AppendUint32(append(b, prefixHanded), id)
	return binary.BigEndian.AppendUint64(b, seq)
}

// writeHanded puts them into the batch.
func (q *Queue) writeHanded(batch *pebble.Batch, list []handed) error {
	for _, h := range list {
		if q.acked.has(h.id) {
			continue
		}
		q.noteHanded(h.id)
		if err := batch.Set(handedKey(q.id, h.id), binary.AppendUvarint(nil, uint64(h.n)), nil); err != nil {
			return err
		}
	}
	return nil
}

// noteHanded remembers that there is something to forget.
func (q *Queue) noteHanded(id uint64) {
	if q.noted.from >= q.noted.to {
		q.noted = interval{id, id + 1}
		return
	}
	q.noted = interval{min(q.noted.from, id), max(q.noted.to, id+1)}
}

// forgetHanded puts into the batch the removal of what is recorded of messages
// that are acknowledged.
func (q *Queue) forgetHanded(batch *pebble.Batch) error {
	from, to := q.noted.from, min(q.noted.to, q.acked.cursor)
	if from >= to {
		return nil
	}
	q.noted.from = to
	return batch.DeleteRange(handedKey(q.id, from), handedKey(q.id, to), nil)
}

// loadHanded reads how often messages were handed out before. If the store was
// not closed those come alone, so that if one is to blame the others are not.
func (q *Queue) loadHanded(db pebble.Reader, records *pebble.Iterator, closed bool) error {
	if !closed {
		q.suspects = q.log.next
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: handedKey(q.id, 0), UpperBound: handedKey(q.id, 1<<64-1)})
	if err != nil {
		return err
	}
	defer it.Close()
	now := time.Now().UnixNano()
	for ok := it.First(); ok; ok = it.Next() {
		seq, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		n, k := binary.Uvarint(it.Value())
		if k != len(it.Value()) || n == 0 || n > 1<<31 {
			return fmt.Errorf("message %d: handed out %x times", seq, it.Value())
		}
		if q.noteHanded(seq); seq < q.start || seq >= q.log.next || q.acked.has(seq) {
			continue
		}
		if most := q.opt.MaxAttempts; most > 0 && n >= uint64(most) {
			size, err := q.sizeIn(records, seq)
			if err != nil {
				return err
			}
			q.jumped[seq] = struct{}{}
			q.leases[seq] = lease{until: now, size: size, attempts: int(n)} // which is over, and the last one
			q.expireLaterLocked(now, interval{seq, seq + 1})
			continue
		}
		if q.earlier == nil {
			q.earlier = make(map[uint64]int)
		}
		q.earlier[seq] = int(n)
	}
	return it.Error()
}

// saveHanded writes how often what is in the queue has been handed out; nothing
// is under way any more.
func (q *Queue) saveHanded(batch *pebble.Batch) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	var list []handed
	for _, leases := range []map[uint64]lease{q.leases, q.returned} { // what is in earlier is recorded
		for _, id := range slices.Sorted(maps.Keys(leases)) {
			if n := leases[id].attempts; n > 0 {
				list = append(list, handed{id, n})
			}
		}
	}
	return q.writeHanded(batch, list)
}

// saveHanded does so for all queues, and notes that the store was closed.
func (b *Broker) saveHanded() error {
	batch := b.db.NewBatch()
	defer batch.Close()
	for _, q := range b.queues {
		if err := q.saveHanded(batch); err != nil {
			return err
		}
		if batch.Len() > groupBytes {
			if err := b.write(batch); err != nil {
				return err
			}
			batch.Reset()
		}
	}
	if err := batch.Set([]byte{prefixClosed}, nil, nil); err != nil {
		return err
	}
	return b.write(batch)
}

// wasClosed reports whether the store was closed when it was used last.
func (b *Broker) wasClosed() (bool, error) {
	_, closer, err := b.reader.Get([]byte{prefixClosed})
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	return true, closer.Close()
}
