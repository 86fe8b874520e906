package objstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// buffer is bytes for one encoding.
type buffer struct{ b []byte }

var bufferPool = sync.Pool{New: func() any { return new(buffer) }}

func takeBuffer() *buffer {
	b := bufferPool.Get().(*buffer)
	b.b = b.b[:0]
	return b
}

// release keeps a buffer for the next unless it has become very large.
func (b *buffer) release() {
	if cap(b.b) <= 64<<10 {
		bufferPool.Put(b)
	}
}

// checkMeta is the check of metadata that is to be stored.
func (k *kind) checkMeta(m *Meta) error {
	if err := m.check(); err != nil {
		return err
	}
	for _, name := range k.required {
		if !required[name](m) {
			return fmt.Errorf("%w: no %s, which type %s requires", ErrInvalid, name, k.name)
		}
	}
	return nil
}

// create stores the first version of an object. m is r.meta.
func (l *Library) create(ctx context.Context, k *kind, m *Meta, r *record) error {
	if m.ID.IsZero() {
		id, err := l.ids.NewID(k.number)
		if err != nil {
			return err
		}
		m.ID = id
	}
	if err := k.checkID(m.ID); err != nil {
		return err
	}
	now := l.now()
	m.Created = now
	if m.Expires.IsZero() && k.lifetime > 0 {
		m.Expires = now.Add(k.lifetime)
	}
	err := l.replace(ctx, k, nil, m, r, now)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	// Something is there. What has expired is gone for everybody but the sweep,
	// so the new object takes its place and goes on with its versions.
	old, err := l.load(ctx, m.ID)
	if err != nil {
		return err
	}
	if old != nil && (old.meta.State == Deleted || l.visible(&old.meta)) {
		l.counters.conflicts.Add(1)
		return ErrExists
	}
	if err = l.replace(ctx, k, old, m, r, now); errors.Is(err, ErrConflict) {
		l.counters.conflicts.Add(1)
		return ErrExists // somebody else's Create was faster
	}
	return err
}

// update stores the next version of an object. m is r.meta.
func (l *Library) update(ctx context.Context, k *kind, m *Meta, r *record) error {
	if err := k.checkID(m.ID); err != nil {
		return err
	}
	old, err := l.load(ctx, m.ID)
	if err != nil {
		return err
	}
	if old == nil || !l.visible(&old.meta) {
		return ErrNotFound
	}
	if old.version != m.Version {
		l.counters.conflicts.Add(1)
		return fmt.Errorf("%w: it has version %d, not %d", ErrConflict, old.version, m.Version)
	}
	m.Created = old.meta.Created
	if err = l.replace(ctx, k, old, m, r, l.now()); errors.Is(err, ErrConflict) {
		l.counters.conflicts.Add(1)
	}
	return err
}

// replace puts a new record in the place of old, which is nil if there is to be
// none. It returns ErrConflict if something else is there.
func (l *Library) replace(ctx context.Context, k *kind, old *stored, m *Meta, r *record, now time.Time) error {
	m.Type, m.State, m.Updated, m.Version = k.name, Active, now, 1
	if old != nil {
		m.Version = old.version + 1
	}
	if !m.Expires.IsZero() {
		m.Expires = time.UnixMicro(m.Expires.UnixMicro())
	}
	m.Contents = slices.Clone(m.Contents)
	claimed, err := l.claim(m, old, now)
	if err == nil {
		err = k.checkMeta(m)
	}
	if err != nil {
		release(claimed)
		return err
	}
	if len(claimed) > 0 {
		// What sweeps rely on: a commit with uploads is over long before the
		// intents of these are old enough to be looked at.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.opts.Grace/4)
		defer cancel()
	}
	buf := takeBuffer()
	defer buf.release()
	buf.b = r.append(buf.b)
	if size := len(buf.b) - len(r.payload); size > maxMetaSize {
		release(claimed)
		return fmt.Errorf("%w: metadata of %d bytes, at most %d allowed", ErrInvalid, size, maxMetaSize)
	}
	change := Change{Row: Row{Key: recordKey(m.ID), Version: m.Version, Value: buf.b}}
	if old != nil {
		change.Expect = old.version
	}
	for _, u := range claimed {
		change.Put = append(change.Put, Row{Key: useKey(u.key, m.ID)})
		change.Delete = append(change.Delete, timeKey(prefixIntent, u.intent, u.key))
	}
	l.follow(&change, old, m, now)
	if err := l.commit(ctx, &change); err != nil {
		if errors.Is(err, ErrConflict) {
			release(claimed) // nothing was stored; they can be used again
		}
		return err
	}
	l.counters.writes.Add(1)
	for i := range m.Contents {
		m.Contents[i].upload = nil
	}
	return nil
}

// follow adds what follows from the step from old to m, either of which may be
// nil: when to look at the object again, and contents that it no longer has.
func (l *Library) follow(c *Change, old *stored, m *Meta, now time.Time) {
	var was, is int64
	if old != nil {
		was = l.end(&old.meta)
		for i := range old.meta.Contents {
			key := old.meta.Contents[i].Key
			if m == nil || !m.refersTo(key) {
				c.Put = append(c.Put, Row{Key: timeKey(prefixGarbage, now.UnixMicro(), key)})
			}
		}
	}
	if m != nil {
		is = l.end(m)
	}
	if was == is {
		return
	}
	if is != 0 {
		c.Put = append(c.Put, Row{Key: endKey(is, m.ID)})
	}
	if was != 0 {
		c.Delete = append(c.Delete, endKey(was, old.meta.ID))
	}
}

// end is when a sweep is to look at an object, in microseconds; 0 is never.
func (l *Library) end(m *Meta) int64 {
	switch {
	case m.State == Deleted:
		return m.Updated.Add(l.opts.Retention).UnixMicro()
	case !m.Expires.IsZero():
		return m.Expires.UnixMicro()
	}
	return 0
}

func (m *Meta) refersTo(key string) bool {
	for i := range m.Contents {
		if m.Contents[i].Key == key {
			return true
		}
	}
	return false
}

// commit applies one change.
func (l *Library) commit(ctx context.Context, c *Change) error {
	changes := []Change{*c}
	if err := l.store.Commit(ctx, changes); err != nil {
		return err
	}
	return changes[0].Err
}

// maxTries bounds how often a step that depends on nothing but the object's
// state is tried again when others change the object at the same time.
const maxTries = 100

// retry calls step until it does not fail with ErrConflict.
func retry(ctx context.Context, step func() error) error {
	for range maxTries {
		if err := step(); !errors.Is(err, ErrConflict) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %d times in a row", ErrConflict, maxTries)
}

func (l *Library) delete(ctx context.Context, k *kind, id ID) error {
	return l.setState(ctx, k, id, Deleted, func(m *Meta) bool { return l.visible(m) })
}

func (l *Library) undelete(ctx context.Context, k *kind, id ID) error {
	return l.setState(ctx, k, id, Active, func(m *Meta) bool { return m.State == Deleted })
}

// setState moves an object that is as from wants it to a state.
func (l *Library) setState(ctx context.Context, k *kind, id ID, to State, from func(*Meta) bool) error {
	if err := k.checkID(id); err != nil {
		return err
	}
	return retry(ctx, func() error {
		old, err := l.load(ctx, id)
		if err != nil {
			return err
		}
		if old == nil || !from(&old.meta) {
			return ErrNotFound
		}
		m, r, now := old.meta, old.rec, l.now()
		m.State, m.Updated, m.Version = to, now, old.version+1
		r.meta = &m
		change := Change{Row: Row{Key: recordKey(id), Version: m.Version, Value: r.append(nil)}, Expect: old.version}
		l.follow(&change, old, &m, now)
		if err := l.commit(ctx, &change); err != nil {
			return err
		}
		l.counters.writes.Add(1)
		return nil
	})
}

func (l *Library) purge(ctx context.Context, k *kind, id ID) error {
	if err := k.checkID(id); err != nil {
		return err
	}
	return retry(ctx, func() error {
		old, err := l.load(ctx, id)
		if err != nil {
			return err
		}
		if old == nil {
			return ErrNotFound
		}
		return l.remove(ctx, old)
	})
}

// remove takes an object out of the store, if it is still the version of old.
func (l *Library) remove(ctx context.Context, old *stored) error {
	change := Change{Row: Row{Key: recordKey(old.meta.ID)}, Expect: old.version}
	l.follow(&change, old, nil, l.now())
	if err := l.commit(ctx, &change); err != nil {
		return err
	}
	l.counters.purged.Add(1)
	return nil
}
