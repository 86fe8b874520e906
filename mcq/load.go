package mcq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// load has Pebble catch up with the journal, and finds the queues and where each
// one stands.
func (b *Broker) load() error {
	format, err := b.loadFormat()
	if err != nil {
		return err
	}
	if format == storeFormat {
		err = b.replay()
	} else {
		err = b.beginJournal()
	}
	if err == nil {
		err = b.loadQueues()
	}
	if err == nil {
		err = b.loadRemoved()
	}
	if err != nil {
		return err
	}
	return b.countOpen()
}

// loadFormat returns the store's format, 0 if it is new.
func (b *Broker) loadFormat() (format byte, err error) {
	v, closer, err := b.reader.Get([]byte{prefixFormat})
	switch {
	case errors.Is(err, pebble.ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	defer closer.Close()
	if len(v) != 1 || v[0] != storeFormat && v[0] != pebbleLogs {
		return 0, fmt.Errorf("store format %x, this version knows up to %d", v, storeFormat)
	}
	return v[0], nil
}

func (b *Broker) loadQueues() error {
	it, err := b.reader.NewIter(&pebble.IterOptions{LowerBound: []byte{prefixName}, UpperBound: []byte{prefixName + 1}})
	if err != nil {
		return err
	}
	defer it.Close()
	ids := make(map[uint32]string)
	for ok := it.First(); ok; ok = it.Next() {
		name, v := string(it.Key()[1:]), it.Value()
		q, err := b.loadQueue(name, v)
		if err != nil {
			return fmt.Errorf("queue %q: %w", name, err)
		}
		if other, ok := ids[q.id]; ok {
			return fmt.Errorf("queues %q and %q have the same id %d", other, name, q.id)
		}
		ids[q.id] = name
		b.queues[name] = q
		b.lastID = max(b.lastID, q.id)
	}
	if err := it.Error(); err != nil {
		return err
	}
	closed, err := b.wasClosed()
	if err != nil {
		return err
	}
	for name, q := range b.queues {
		if q.parent == nil {
			if err := q.log.load(b.reader, closed); err != nil {
				return fmt.Errorf("queue %q: %w", name, err)
			}
		}
	}
	return nil
}

// loadQueue makes a queue of its entry in the store. Queues come before their
// subscribers.
func (b *Broker) loadQueue(name string, v []byte) (*Queue, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	var parent *Queue
	start := uint64(1)
	owner, _, isSub := strings.Cut(name, "+")
	switch {
	case isSub && len(v) == 12:
		if parent = b.queues[owner]; parent == nil {
			return nil, errors.New("its queue is missing")
		}
		if start = binary.BigEndian.Uint64(v[4:]); start == 0 || start > maxSeq {
			return nil, fmt.Errorf("first message %d", start)
		}
	case isSub || len(v) != 4:
		return nil, fmt.Errorf("entry of %d bytes", len(v))
	}
	q := newQueue(b, name, binary.BigEndian.Uint32(v), parent)
	q.named, q.start = true, start
	if parent != nil {
		q.log.readers = append(q.log.readers, q)
	}
	return q, q.load()
}
