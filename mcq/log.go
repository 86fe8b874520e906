package mcq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// messageLog is the messages of a queue and its subscribers, each of which
// reads them at its own pace. It is the committer's own.
type messageLog struct {
	id      uint32   // of the records; the queue's
	next    uint64   // number of the next message
	trimmed uint64   // records below have been removed
	readers []*Queue // the queue itself, then its subscribers
	seen    seenKeys
	gone    bool

	fresh     []Message // put by the group under way
	touched   bool
	untrimmed int // bytes of bodies acknowledged since trimmed moved
	uncut     int // bytes put since the tables were cut
}

const (
	// trimEvery consumed messages, or trimBytes of them, are removed from the
	// store by one range deletion; the ranges are disjoint.
	trimEvery = 4096
	trimBytes = 4 << 20
)

// trim puts into the batch the removal of what everybody has consumed, now and then
// or all of it.
func (l *messageLog) trim(batch *pebble.Batch, all bool) error {
	least := l.readers[0].acked.cursor
	for _, q := range l.readers[1:] {
		least = min(least, q.acked.cursor)
	}
	if least <= l.trimmed || !all && least-l.trimmed < uint64(l.readers[0].b.opt.trim) && l.untrimmed < trimBytes {
		return nil
	}
	from, to := recordKey(l.id, l.trimmed), recordKey(l.id, least)
	l.readers[0].b.removes(l.id, from, to, l.untrimmed)
	l.trimmed, l.untrimmed = least, 0
	errs := []error{batch.DeleteRange(from, to, nil)}
	for _, q := range l.readers {
		errs = append(errs, q.forgetHanded(batch))
	}
	return errors.Join(errs...)
}

// load finds out where the log ends and what it remembers; readers are loaded.
func (l *messageLog) load(db pebble.Reader, closed bool) error {
	l.trimmed = 1<<64 - 1
	for _, q := range l.readers {
		l.next = max(l.next, q.acked.end())
		l.trimmed = min(l.trimmed, q.acked.cursor)
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: recordKey(l.id, 0), UpperBound: recordKey(l.id, 1<<64-1)})
	if err != nil {
		return err
	}
	defer it.Close()
	if it.Last() {
		last, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		l.next = max(l.next, last+1)
	}
	if it.First() {
		first, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		l.trimmed = min(l.trimmed, first) // removed with the next trim
	}
	if err := it.Error(); err != nil {
		return err
	}
	for _, q := range l.readers {
		if err := errors.Join(q.begin(it), q.loadHanded(db, it, closed)); err != nil {
			return err
		}
	}
	if err := l.loadDelayed(db, it); err != nil {
		return err
	}
	return l.seen.load(db, l.id)
}

// maxSeq is a number that no queue reaches: a million messages a second are
// eight years.
const maxSeq = 1<<receiptShift - 1

// seqOf is the number in the key of a record.
func seqOf(key []byte) (uint64, error) {
	if len(key) != recordKeyLen {
		return 0, fmt.Errorf("key %x of a record has %d bytes", key, len(key))
	}
	seq := binary.BigEndian.Uint64(key[recordKeyLen-8:])
	if seq == 0 || seq > maxSeq {
		return 0, fmt.Errorf("message number %d", seq)
	}
	return seq, nil
}

// An index key belongs to a message and sorts by a time: prefix, log's id 4, ms
// 8, number of the message 8.
const indexKeyLen = 1 + 4 + 8 + 8

func indexKey(prefix byte, id uint32, ms int64, seq uint64) []byte {
	b := make([]byte, 0, indexKeyLen)
	b = binary.BigEndian.AppendUint32(append(b, prefix), id)
	b = binary.BigEndian.AppendUint64(b, uint64(ms))
	return binary.BigEndian.AppendUint64(b, seq)
}

// indexBounds are the bounds of all index keys of a log.
func indexBounds(prefix byte, id uint32) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: indexKey(prefix, id, 0, 0), UpperBound: binary.BigEndian.AppendUint32([]byte{prefix}, id+1)}
}

func parseIndexKey(key []byte) (ms int64, seq uint64, err error) {
	if len(key) != indexKeyLen {
		return 0, 0, fmt.Errorf("index key %x has %d bytes", key, len(key))
	}
	ms = int64(binary.BigEndian.Uint64(key[5:]))
	seq = binary.BigEndian.Uint64(key[13:])
	if ms < 0 || ms > maxSeq || seq == 0 || seq > maxSeq {
		return 0, 0, fmt.Errorf("index key %x is out of range", key)
	}
	return ms, seq, nil
}

// seenKeys are the keys of the messages put last.
type seenKeys struct {
	ids   map[string]uint64 // which message had the key
	order []seenKey         // oldest first, from first on
	first int
	cut   []byte // index keys below have been removed
}

type seenKey struct {
	ms  int64
	seq uint64
	key string
}

const (
	maxSeen  = 1 << 20
	cutEvery = 1024
)

// find returns the message that had the key in the last window ms, or 0.
func (s *seenKeys) find(key string, now, window int64) uint64 {
	for s.first < len(s.order) && (now-s.order[s.first].ms >= window || len(s.order)-s.first > maxSeen) {
		old := s.order[s.first]
		if s.ids[old.key] == old.seq {
			delete(s.ids, old.key)
		}
		s.order[s.first].key = ""
		s.first++
	}
	return s.ids[key]
}

// add remembers a key, in the store too.
func (s *seenKeys) add(batch *pebble.Batch, id uint32, ms int64, seq uint64, key string) error {
	if s.first >= cutEvery {
		from := s.cut
		if from == nil {
			from = indexKey(prefixSeen, id, 0, 0)
		}
		s.order = slices.Delete(s.order, 0, s.first)
		s.first = 0
		s.cut = indexKey(prefixSeen, id, ms, seq)
		if len(s.order) > 0 {
			s.cut = indexKey(prefixSeen, id, s.order[0].ms, s.order[0].seq)
		}
		if err := batch.DeleteRange(from, s.cut, nil); err != nil {
			return err
		}
	}
	if s.ids == nil {
		s.ids = make(map[string]uint64)
	}
	s.ids[key] = seq
	s.order = append(s.order, seenKey{ms, seq, key})
	return batch.Set(indexKey(prefixSeen, id, ms, seq), []byte(key), nil)
}

func (s *seenKeys) load(db pebble.Reader, id uint32) error {
	it, err := db.NewIter(indexBounds(prefixSeen, id))
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		ms, seq, err := parseIndexKey(it.Key())
		if err == nil && len(it.Value()) > maxKeyBytes {
			err = errors.New("key of a message is too long")
		}
		if err != nil {
			return err
		}
		if s.ids == nil {
			s.ids = make(map[string]uint64)
		}
		key := string(it.Value())
		s.ids[key] = seq
		s.order = append(s.order, seenKey{ms, seq, key})
	}
	return it.Error()
}
