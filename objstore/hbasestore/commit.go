package hbasestore

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

// Commit implements objstore.Store. Entries that a Change both puts and deletes
// are deleted.
func (s *Store) Commit(ctx context.Context, changes []objstore.Change) error {
	done, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	for i := range changes {
		if err := checkKeys(&changes[i]); err != nil {
			return err
		}
	}
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	for len(changes) > 0 {
		n := independent(changes)
		if err := s.commit(ctx, changes[:n]); err != nil {
			return err
		}
		changes = changes[n:]
	}
	return nil
}

// checkKeys refuses keys that no Store takes.
func checkKeys(c *objstore.Change) error {
	var bad error
	eachKey(c, func(key []byte) {
		if len(key) == 0 || len(key) > objstore.MaxKey {
			bad = fmt.Errorf("hbasestore: commit: key of %d bytes, want 1 to %d", len(key), objstore.MaxKey)
		}
	})
	return bad
}

func eachKey(c *objstore.Change, f func(key []byte)) {
	if c.Row.Key != nil {
		f(c.Row.Key)
	}
	for i := range c.Put {
		f(c.Put[i].Key)
	}
	for _, key := range c.Delete {
		f(key)
	}
}

// independent is how many changes from the first on have no key in common, and
// so no order.
func independent(changes []objstore.Change) int {
	if len(changes) == 1 {
		return 1
	}
	seen := make(map[string]int)
	for i := range changes {
		clash := false
		eachKey(&changes[i], func(key []byte) {
			if at, ok := seen[string(key)]; ok && at != i {
				clash = true
			}
			seen[string(key)] = i
		})
		if clash {
			return i
		}
	}
	return len(changes)
}

// commit applies changes that have no order: it writes their entries, then each
// row under its condition, and removes the entries of those that took place, as
// they were at the beginning. What somebody writes between is newer and stays:
// another change may have given an object back what this one takes from it.
func (s *Store) commit(ctx context.Context, changes []objstore.Change) error {
	before, err := s.stamps(ctx, changes)
	if err == nil {
		err = s.put(ctx, changes)
	}
	if err == nil {
		err = s.swapAll(ctx, changes)
	}
	if err == nil {
		err = s.remove(ctx, changes, before)
	}
	return err
}

// stamps reads when the entries that changes remove were written. Those that
// are not there have none.
func (s *Store) stamps(ctx context.Context, changes []objstore.Change) (map[string]int64, error) {
	var keys [][]byte
	for i := range changes {
		keys = append(keys, changes[i].Delete...)
	}
	at := make(map[string]int64, len(keys))
	for len(keys) > 0 {
		some := keys[:min(len(keys), 1024)]
		results, err := s.read(ctx, some, versionCell)
		if err != nil {
			return nil, err
		}
		for i, r := range results {
			for _, cell := range r.GetColumnValues() {
				at[string(some[i])] = cell.GetTimestamp()
			}
		}
		keys = keys[len(some):]
	}
	return at, nil
}

// maxBatch bounds one request of writes, in bytes, unless one is larger alone.
const maxBatch = 2 << 20

func (s *Store) put(ctx context.Context, changes []objstore.Change) error {
	var puts []*thrift2.TPut
	size := 0
	flush := func() error {
		if len(puts) == 0 {
			return nil
		}
		_, err := s.pool.call(ctx, "write", func(c *thrift2.THBaseServiceClient) error {
			return c.PutMultiple(ctx, s.table, puts)
		})
		puts, size = nil, 0
		return err
	}
	for i := range changes {
		deleted := make(map[string]bool, len(changes[i].Delete))
		for _, key := range changes[i].Delete {
			deleted[string(key)] = true
		}
		for _, row := range changes[i].Put {
			if deleted[string(row.Key)] {
				continue
			}
			if size += len(row.Key) + len(row.Value) + 100; size > maxBatch {
				if err := flush(); err != nil {
					return err
				}
			}
			puts = append(puts, newPut(appendRow(nil, row.Key, s.opts.Salts), 0, row.Value))
		}
	}
	return flush()
}

var durable = thrift2.TDurability_FSYNC_WAL

func newPut(row []byte, version uint64, value []byte) *thrift2.TPut {
	return &thrift2.TPut{Row: row, Durability: &durable, ColumnValues: []*thrift2.TColumnValue{
		{Family: family, Qualifier: versionCell, Value: formatVersion(version)},
		{Family: family, Qualifier: valueCell, Value: value},
	}}
}

// swapAll changes the rows under their conditions, some at a time.
func (s *Store) swapAll(ctx context.Context, changes []objstore.Change) error {
	var rows []*objstore.Change
	for i := range changes {
		changes[i].Err = nil
		if changes[i].Row.Key != nil {
			rows = append(rows, &changes[i])
		}
	}
	if len(rows) == 1 {
		return s.swap(ctx, rows[0])
	}
	var mu sync.Mutex
	var first error
	next := func() *objstore.Change {
		mu.Lock()
		defer mu.Unlock()
		if len(rows) == 0 || first != nil {
			return nil
		}
		c := rows[0]
		rows = rows[1:]
		return c
	}
	var wg sync.WaitGroup
	for range min(len(rows), s.opts.Conns) {
		wg.Go(func() {
			for c := next(); c != nil; c = next() {
				if err := s.swap(ctx, c); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}

// swap changes one row under its condition, and sets c.Err if that does not hold.
func (s *Store) swap(ctx context.Context, c *objstore.Change) error {
	row := appendRow(nil, c.Row.Key, s.opts.Salts)
	writer := binary.BigEndian.AppendUint64(nil, rand.Uint64())
	mutation := &thrift2.TMutation{}
	if c.Row.Value == nil {
		mutation.DeleteSingle = &thrift2.TDelete{Row: row, Durability: &durable}
	} else {
		mutation.Put = newPut(row, c.Row.Version, c.Row.Value)
		mutation.Put.ColumnValues = append(mutation.Put.ColumnValues,
			&thrift2.TColumnValue{Family: family, Qualifier: writerCell, Value: writer})
	}
	mutations := &thrift2.TRowMutations{Row: row, Mutations: []*thrift2.TMutation{mutation}}
	swapped := false
	tries, err := s.pool.call(ctx, "change", func(client *thrift2.THBaseServiceClient) (err error) {
		swapped, err = client.CheckAndMutate(ctx, s.table, row, family, versionCell,
			thrift2.TCompareOperator_EQUAL, formatVersion(c.Expect), mutations)
		return err
	})
	if err != nil || swapped {
		return err
	}
	// The condition did not hold, or it did at an earlier try, of this client or
	// of the gateway, whose answer was lost.
	return s.settle(ctx, c, writer, tries)
}

// settle finds out what became of a change that was refused.
func (s *Store) settle(ctx context.Context, c *objstore.Change, writer []byte, tries int) error {
	results, err := s.read(ctx, [][]byte{c.Row.Key}, versionCell, writerCell)
	if err != nil {
		return err
	}
	var version uint64
	found, ours := false, false
	for _, cell := range results[0].GetColumnValues() {
		switch string(cell.Qualifier) {
		case "n":
			found = true
			if version, err = parseVersion(cell.Value); err != nil {
				return fmt.Errorf("%w: hbasestore: row %.64x: %w", objstore.ErrCorrupt, c.Row.Key, err)
			}
		case "w":
			ours = string(cell.Value) == string(writer)
		}
	}
	switch {
	case ours:
		return nil
	case tries > 1 && c.Row.Value == nil && !found:
		return nil // it is gone, as was wanted
	case tries > 1 && c.Row.Value != nil && (!found || version > c.Row.Version):
		return fmt.Errorf("hbasestore: change: the answer was lost, and row %.64x has changed since", c.Row.Key)
	}
	c.Err = objstore.ErrConflict
	return nil
}

// remove removes the entries of changes that took place.
func (s *Store) remove(ctx context.Context, changes []objstore.Change, before map[string]int64) error {
	var deletes []*thrift2.TDelete
	for i := range changes {
		if changes[i].Err != nil {
			continue
		}
		for _, key := range changes[i].Delete {
			if at, ok := before[string(key)]; ok {
				deletes = append(deletes, &thrift2.TDelete{Row: appendRow(nil, key, s.opts.Salts), Timestamp: &at, Durability: &durable})
			}
		}
	}
	for len(deletes) > 0 {
		some := deletes[:min(len(deletes), 1024)]
		_, err := s.pool.call(ctx, "remove", func(c *thrift2.THBaseServiceClient) error {
			_, err := c.DeleteMultiple(ctx, s.table, some)
			return err
		})
		if err != nil {
			return err
		}
		deletes = deletes[len(some):]
	}
	return nil
}
