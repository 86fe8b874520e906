package objstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// checkID refuses an id of another type.
func (k *kind) checkID(id ID) error {
	if id.Type != k.number || !id.valid() {
		return fmt.Errorf("%w: %v is no id of type %d", ErrBadID, id, k.number)
	}
	return nil
}

// getter is what one Get needs: made once, it is used again and again.
type getter[T any] struct {
	c    *Collection[T]
	id   ID
	obj  *Object[T] // nil until it is found
	rec  record
	key  [1 + objectSize]byte
	keys [1][]byte
	row  func(i int, row Row) error // g.decode, bound once
}

func newGetter[T any](c *Collection[T]) *getter[T] {
	g := &getter[T]{c: c}
	g.row = g.decode
	return g
}

func (g *getter[T]) decode(_ int, row Row) error {
	obj := new(Object[T])
	g.rec.meta = &obj.Meta
	ok, err := g.c.lib.decodeVisible(g.c.kind, g.id, row.Version, row.Value, &g.rec)
	if err == nil && ok {
		g.obj = obj
		err = g.c.values.decode(&g.rec, &obj.Value)
	}
	g.rec.meta, g.rec.payload = nil, nil
	return err
}

// get reads a visible object.
func (g *getter[T]) get(ctx context.Context, id ID) (obj *Object[T], err error) {
	l := g.c.lib
	if !l.gate.enter() {
		return nil, ErrClosed
	}
	defer l.gate.leave()
	if l.ops.get != nil {
		defer observe(ctx, l.ops.get, time.Now(), &err)
	}
	if err := g.c.kind.checkID(id); err != nil {
		return nil, err
	}
	g.id, g.obj = id, nil
	g.keys[0] = appendObject(append(g.key[:0], prefixRecord), id)
	err = l.getRows(ctx, g.keys[:], g.row)
	obj, g.obj = g.obj, nil
	l.counters.gets.Add(1)
	if err != nil {
		return nil, err
	}
	if obj == nil {
		l.counters.misses.Add(1)
		return nil, ErrNotFound
	}
	return obj, nil
}

// slowRead is how long a read takes to be worth a span of its own; shorter ones
// are only counted.
const slowRead = time.Millisecond

// observe tells watchman of a read that began at start.
func observe(ctx context.Context, op *watchman.Operation, start time.Time, err *error) {
	took := time.Since(start)
	if took < slowRead {
		op.Observe(ctx, took, failure(*err))
		return
	}
	_, span := op.StartAt(ctx, start)
	span.End(failure(*err))
}

// failure is err unless it is an answer: nothing has failed when an object is
// not there, is there already, or has moved on.
func failure(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrExists) || errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// multiGet calls each with the rows that are there.
func (l *Library) multiGet(ctx context.Context, k *kind, ids []ID, each func(i int, version uint64, value []byte) error) (err error) {
	if !l.gate.enter() {
		return ErrClosed
	}
	defer l.gate.leave()
	if l.ops.get != nil {
		defer observe(ctx, l.ops.get, time.Now(), &err)
	}
	keys := make([][]byte, len(ids))
	all := make([]byte, 0, len(ids)*(1+objectSize))
	for i, id := range ids {
		if err := k.checkID(id); err != nil {
			return err
		}
		start := len(all)
		all = appendObject(append(all, prefixRecord), id)
		keys[i] = all[start:len(all):len(all)]
	}
	l.counters.gets.Add(uint64(len(ids)))
	return l.getRows(ctx, keys, func(i int, row Row) error { return each(i, row.Version, row.Value) })
}

// getRows reads records through the cache if there is one.
func (l *Library) getRows(ctx context.Context, keys [][]byte, each func(i int, row Row) error) error {
	if l.cached == nil {
		return l.store.Get(ctx, keys, each)
	}
	hits, err := l.cached.getCached(ctx, keys, each)
	l.counters.cacheHits.Add(uint64(hits))
	return err
}

// decodeVisible decodes a record and tells whether Get shows it.
func (l *Library) decodeVisible(k *kind, id ID, version uint64, value []byte, r *record) (bool, error) {
	if err := r.decode(value); err != nil {
		return false, err
	}
	r.meta.ID, r.meta.Type, r.meta.Version = id, k.name, version
	return l.visible(r.meta), nil
}

// visible tells an object that is there from one that was.
func (l *Library) visible(m *Meta) bool {
	return m.State == Active && (m.Expires.IsZero() || m.Expires.After(l.opts.now()))
}

// stored is an object as it is in the store.
type stored struct {
	meta    Meta
	rec     record
	raw     []byte // of which rec's payload is a part
	version uint64
}

// load reads an object in whatever state, with its index entries and a copy of
// its payload; nil if there is none.
func (l *Library) load(ctx context.Context, id ID) (s *stored, err error) {
	err = l.store.Get(ctx, [][]byte{recordKey(id)}, func(_ int, row Row) error {
		s, err = decodeStored(id, row)
		return err
	})
	return s, err
}

func decodeStored(id ID, row Row) (*stored, error) {
	s := &stored{version: row.Version, raw: bytes.Clone(row.Value)}
	s.rec.meta = &s.meta
	if err := s.rec.decode(s.raw); err != nil {
		return nil, err
	}
	s.meta.ID, s.meta.Version = id, row.Version
	return s, s.rec.decodeEntries(s.raw)
}
