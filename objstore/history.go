package objstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// maxHistory is the most versions that a type can keep.
const maxHistory = 1000

var errStop = errors.New("stop")

// GetVersion returns an object as it was at a version, deleted ones included:
// their State says so. ErrNotFound if the version is not kept, see
// Type.History, or the object was purged.
func (c *Collection[T]) GetVersion(ctx context.Context, id ID, version uint64) (*Object[T], error) {
	if !c.lib.gate.enter() {
		return nil, ErrClosed
	}
	defer c.lib.gate.leave()
	if err := c.kind.checkID(id); err != nil {
		return nil, c.failed(id, err)
	}
	var obj *Object[T]
	there := false
	// The present version is found under the object, those before under the
	// history; one that moves from here to there meanwhile is found there. What
	// is left there of an object that is gone means nothing, see Store.
	for _, key := range [][]byte{recordKey(id), historyKey(id, version)} {
		err := c.lib.store.Get(ctx, [][]byte{key}, func(_ int, row Row) (err error) {
			there = true
			if key[0] == prefixHistory || row.Version == version {
				obj, err = c.decodeVersion(id, version, row.Value)
			}
			return err
		})
		if err != nil {
			return nil, c.failed(id, err)
		}
		if obj != nil {
			return obj, nil
		}
		if !there {
			break
		}
	}
	return nil, c.failed(id, fmt.Errorf("%w: version %d", ErrNotFound, version))
}

// Versions returns the present version of an object and those kept before, the
// newest first, deleted ones included. ErrNotFound if there is none.
func (c *Collection[T]) Versions(ctx context.Context, id ID) ([]*Object[T], error) {
	if !c.lib.gate.enter() {
		return nil, ErrClosed
	}
	defer c.lib.gate.leave()
	if err := c.kind.checkID(id); err != nil {
		return nil, c.failed(id, err)
	}
	var objs []*Object[T]
	err := c.lib.store.Get(ctx, [][]byte{recordKey(id)}, func(_ int, row Row) error {
		obj, err := c.decodeVersion(id, row.Version, row.Value)
		objs = append(objs, obj)
		return err
	})
	if err == nil && len(objs) == 0 {
		err = ErrNotFound
	}
	if err == nil {
		err = c.lib.eachVersion(ctx, id, 0, objs[0].Version-1, func(version uint64, row Row) error {
			obj, err := c.decodeVersion(id, version, row.Value)
			objs = append(objs, obj)
			return err
		})
	}
	if err != nil {
		return nil, c.failed(id, err)
	}
	return objs, nil
}

func (c *Collection[T]) decodeVersion(id ID, version uint64, value []byte) (*Object[T], error) {
	obj := new(Object[T])
	r := record{meta: &obj.Meta}
	if err := r.decode(value); err != nil {
		return nil, err
	}
	obj.ID, obj.Type, obj.Version = id, c.kind.name, version
	return obj, c.values.decode(&r, &obj.Value)
}

// eachVersion calls each with the versions kept of an object, from first to last,
// the newest first.
func (l *Library) eachVersion(ctx context.Context, id ID, first, last uint64, each func(version uint64, row Row) error) error {
	r := Range{From: historyKey(id, first), To: append(historyKey(id, last), 0), Reverse: true}
	return l.store.Scan(ctx, r, func(row Row) error {
		return each(binary.BigEndian.Uint64(row.Key[len(row.Key)-8:]), row)
	})
}

// keep adds to c that old goes into the history, and that those go that are now
// more than a type keeps.
func (l *Library) keep(ctx context.Context, c *Change, old *stored, history int, now int64) error {
	if history > 0 {
		c.Put = append(c.Put, Row{Key: historyKey(old.meta.ID, old.version), Value: old.raw})
	}
	if old.version <= uint64(history) {
		return nil
	}
	last := old.version - uint64(history)
	if history == 0 {
		last-- // there is none of old itself
	}
	return l.drop(ctx, c, old.meta.ID, last, now)
}

// drop adds to c that the versions up to last go, and their contents become
// garbage. There are few: a version goes with each that comes.
func (l *Library) drop(ctx context.Context, c *Change, id ID, last uint64, now int64) error {
	return l.eachVersion(ctx, id, 0, last, func(_ uint64, row Row) error {
		var meta Meta
		r := record{meta: &meta}
		if err := r.decode(row.Value); err != nil {
			return err
		}
		for i := range meta.Contents {
			c.Put = append(c.Put, Row{Key: timeKey(prefixGarbage, now, meta.Contents[i].Key)})
		}
		c.Delete = append(c.Delete, append([]byte(nil), row.Key...))
		return nil
	})
}

// has tells whether an object, or a version kept of it, has a content.
func (l *Library) has(ctx context.Context, id ID, key string) (bool, error) {
	s, err := l.load(ctx, id)
	if err != nil || s == nil {
		return false, err
	}
	if s.meta.refersTo(key) {
		return true, nil
	}
	err = l.eachVersion(ctx, id, 0, s.version, func(_ uint64, row Row) error {
		var meta Meta
		r := record{meta: &meta}
		if err := r.decode(row.Value); err != nil {
			return err
		}
		if meta.refersTo(key) {
			return errStop
		}
		return nil
	})
	if err == errStop {
		return true, nil
	}
	return false, err
}
