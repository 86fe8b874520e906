package mcq

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// tally is what became of messages that nobody acknowledged, or that were not
// stored. It is written with what it counts, so that no restart sets it back.
type tally struct {
	expired    uint64
	discarded  uint64
	buried     uint64
	duplicates uint64
}

func (t *tally) add(expired, buried int) bool {
	t.expired += uint64(expired)
	t.buried += uint64(buried)
	return expired+buried > 0
}

func tallyKey(id uint32) []byte { return binary.BigEndian.AppendUint32([]byte{prefixTally}, id) }

// append writes t as uvarints in the order of its fields.
func (t *tally) append(b []byte) []byte {
	for _, v := range []uint64{t.expired, t.discarded, t.buried, t.duplicates} {
		b = binary.AppendUvarint(b, v)
	}
	return b
}

func parseTally(b []byte) (t tally, err error) {
	all := b
	for _, v := range []*uint64{&t.expired, &t.discarded, &t.buried, &t.duplicates} {
		n := 0
		if *v, n = binary.Uvarint(b); n <= 0 {
			return tally{}, fmt.Errorf("mcq: malformed tally %x", all)
		}
		b = b[n:]
	}
	if len(b) > 0 {
		return tally{}, fmt.Errorf("mcq: malformed tally %x", all)
	}
	return t, nil
}

// writeTally puts what has been counted into the batch.
func (q *Queue) writeTally(batch *pebble.Batch) error {
	if !q.tallied {
		return nil
	}
	q.scratch = q.tally.append(q.scratch[:0])
	return batch.Set(tallyKey(q.id), q.scratch, nil)
}

// tellTally lets Stats see it, once it is written.
func (q *Queue) tellTally() {
	if q.tallied {
		q.tallied = false
		t := q.tally
		q.told.Store(&t)
	}
}

func (q *Queue) loadTally() error {
	v, closer, err := q.b.reader.Get(tallyKey(q.id))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	q.tally, err = parseTally(v)
	q.tallied = true
	q.tellTally()
	return errors.Join(err, closer.Close())
}
