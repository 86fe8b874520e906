package feed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// pebbleDatabase is the store of record in Pebble.
//
//	u uid id   → status        the timeline, ids ascending
//	s id       → uid digest    where to find a status by its id, and the digest of its idempotency key
//	a id       → id            an id that was answered to a retry → the status that exists
//
// All integers are 8 bytes, big-endian. A status without a key has no digest.
type pebbleDatabase struct {
	db *pebble.DB

	// mu makes looking for an idempotency key and writing it one step.
	mu   sync.Mutex
	keys *recentKeys
}

// openPebble opens or creates the database in dir.
func openPebble(dir string) (*pebbleDatabase, error) {
	opts := &pebble.Options{
		MemTableSize:                32 << 20,
		MemTableStopWritesThreshold: 4,
		L0CompactionThreshold:       4,
		FormatMajorVersion:          pebble.FormatNewest,
		Logger:                      quietLogger{},
	}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("feed: database %s: %w", dir, err)
	}
	d := &pebbleDatabase{db: db, keys: newRecentKeys(keyGeneration)}
	if err := d.loadKeys(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

// loadKeys remembers the idempotency keys of the newest statuses: ids rise with
// the time.
func (d *pebbleDatabase) loadKeys() error {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{'s'}, UpperBound: []byte{'s' + 1}})
	if err != nil {
		return fmt.Errorf("feed: database: idempotency keys: %w", err)
	}
	ok := it.Last()
	for n := 1; ok && n < 2*d.keys.generation; n++ {
		ok = it.Prev()
	}
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		id, v := it.Key()[1:], it.Value()
		if len(id) != 8 || len(v) != 8 && len(v) != 8+16 {
			return errors.Join(fmt.Errorf("feed: database: key %x holds %d bytes, want 8 or 24", it.Key(), len(v)), it.Close())
		}
		if len(v) == 8+16 {
			d.keys.add([16]byte(v[8:]), int64(binary.BigEndian.Uint64(id)))
		}
	}
	return it.Close()
}

// Close implements Database: it waits for writes under way.
func (d *pebbleDatabase) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.db.Close()
}

// Add implements Database.
func (d *pebbleDatabase) Add(_ context.Context, statuses []Status) (added int, err error) {
	b := d.db.NewBatch()
	defer b.Close()
	var key, val []byte

	d.mu.Lock()
	defer d.mu.Unlock()
	fresh := make(map[[16]byte]int64, len(statuses)) // keys first seen in this very batch
	for i := range statuses {
		s := &statuses[i]
		val = binary.BigEndian.AppendUint64(val[:0], uint64(s.UID))
		if s.Key != "" {
			digest := keyDigest(s.UID, s.Key)
			first, known := fresh[digest]
			if !known {
				first, known = d.keys.first(digest)
			}
			if known {
				if first != s.ID {
					val = binary.BigEndian.AppendUint64(val[:0], uint64(first))
					if err := b.Set(numberKey(key[:0], 'a', s.ID), val, nil); err != nil {
						return 0, err
					}
				}
				continue
			}
			fresh[digest] = s.ID
			val = append(val, digest[:]...)
		}
		if err := b.Set(numberKey(key[:0], 's', s.ID), val, nil); err != nil {
			return 0, err
		}
		if val, err = s.AppendBinary(val[:0]); err != nil {
			return 0, err
		}
		if err := b.Set(timelineKey(key[:0], s.UID, s.ID), val, nil); err != nil {
			return 0, err
		}
		added++
	}
	if err := b.Commit(pebble.Sync); err != nil {
		return 0, fmt.Errorf("feed: database: commit of %d statuses: %w", len(statuses), err)
	}
	for digest, id := range fresh {
		d.keys.add(digest, id)
	}
	return added, nil
}

// Show implements Database.
func (d *pebbleDatabase) Show(_ context.Context, id int64) (Status, bool, error) {
	var key [17]byte
	uid, ok, err := d.int64At(numberKey(key[:0], 's', id))
	if err == nil && !ok {
		var first int64
		if first, ok, err = d.int64At(numberKey(key[:0], 'a', id)); ok {
			id = first
			uid, ok, err = d.int64At(numberKey(key[:0], 's', id))
		}
	}
	if err != nil || !ok {
		return Status{}, false, err
	}
	var s Status
	v, closer, err := d.db.Get(timelineKey(key[:0], uid, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return Status{}, false, nil
	}
	if err != nil {
		return Status{}, false, fmt.Errorf("feed: database: status %d: %w", id, err)
	}
	defer closer.Close()
	return s, true, s.UnmarshalBinary(v)
}

// Timeline implements Database.
func (d *pebbleDatabase) Timeline(_ context.Context, uid, maxID int64, count int) ([]Status, error) {
	var upper []byte
	if maxID == 0 || maxID == 1<<63-1 {
		upper = numberKey(nil, 'u', uid+1)
	} else {
		upper = timelineKey(nil, uid, maxID+1)
	}
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: numberKey(nil, 'u', uid), UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("feed: database: timeline of %d: %w", uid, err)
	}
	list := make([]Status, 0, min(count, 32))
	for ok := it.Last(); ok && len(list) < count; ok = it.Prev() {
		var s Status
		if err := s.UnmarshalBinary(it.Value()); err != nil {
			return nil, errors.Join(fmt.Errorf("feed: database: timeline of %d, key %x: %w", uid, it.Key(), err), it.Close())
		}
		list = append(list, s)
	}
	return list, it.Close()
}

// int64At returns the number that a row begins with.
func (d *pebbleDatabase) int64At(key []byte) (int64, bool, error) {
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("feed: database: key %x: %w", key, err)
	}
	defer closer.Close()
	if len(v) < 8 {
		return 0, false, fmt.Errorf("feed: database: key %x holds %d bytes, want at least 8", key, len(v))
	}
	return int64(binary.BigEndian.Uint64(v)), true, nil
}

func numberKey(b []byte, table byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, table), uint64(n))
}

func timelineKey(b []byte, uid, id int64) []byte {
	return binary.BigEndian.AppendUint64(numberKey(b, 'u', uid), uint64(id))
}

// quietLogger keeps Pebble's progress out of the program's output; its fatal
// errors still end the process, because a store that cannot write must not go on.
type quietLogger struct{}

func (quietLogger) Infof(string, ...any)  {}
func (quietLogger) Errorf(string, ...any) {}
func (quietLogger) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("feed: database: "+format, args...))
}
