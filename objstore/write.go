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

// draft is an object on its way into the store.
type draft struct {
	meta    *Meta   // what it is to be; what the library sets is set on the way
	rec     record  // its meta is meta
	old     *stored // what is there; nil: nothing
	claimed []*upload
	change  Change
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

// beginCreate prepares the first version of an object.
func (l *Library) beginCreate(k *kind, d *draft) error {
	m := d.meta
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
	m.Created = l.now()
	if m.Expires.IsZero() && k.lifetime > 0 {
		m.Expires = m.Created.Add(k.lifetime)
	}
	return nil
}

// create stores the first version of an object.
func (l *Library) create(ctx context.Context, k *kind, d *draft) error {
	if err := l.beginCreate(k, d); err != nil {
		return err
	}
	err := l.replace(ctx, k, d)
	if !errors.Is(err, ErrConflict) {
		return err
	}
	// Something is there. What has expired is gone for everybody but the sweep,
	// so the new object takes its place and goes on with its versions.
	if d.old, err = l.load(ctx, d.meta.ID); err != nil {
		return err
	}
	if d.old != nil && (d.old.meta.State == Deleted || l.visible(&d.old.meta)) {
		l.counters.conflicts.Add(1)
		return ErrExists
	}
	if err = l.replace(ctx, k, d); errors.Is(err, ErrConflict) {
		l.counters.conflicts.Add(1)
		return ErrExists // somebody else's Create was faster
	}
	return err
}

// beginUpdate prepares the next version of an object, of which old is there.
func (l *Library) beginUpdate(d *draft, old *stored) error {
	if old == nil || !l.visible(&old.meta) {
		return ErrNotFound
	}
	if old.version != d.meta.Version {
		l.counters.conflicts.Add(1)
		return fmt.Errorf("%w: it has version %d, not %d", ErrConflict, old.version, d.meta.Version)
	}
	d.old = old
	d.meta.Created = old.meta.Created
	return nil
}

// update stores the next version of an object.
func (l *Library) update(ctx context.Context, k *kind, d *draft) error {
	if err := k.checkID(d.meta.ID); err != nil {
		return err
	}
	old, err := l.load(ctx, d.meta.ID)
	if err == nil {
		err = l.beginUpdate(d, old)
	}
	if err != nil {
		return err
	}
	if err = l.replace(ctx, k, d); errors.Is(err, ErrConflict) {
		l.counters.conflicts.Add(1)
	}
	return err
}

// replace stores a draft. It returns ErrConflict if something else than d.old
// is there.
func (l *Library) replace(ctx context.Context, k *kind, d *draft) error {
	buf := takeBuffer()
	defer buf.release()
	if err := l.prepare(ctx, k, d, buf); err != nil {
		return err
	}
	ctx, cancel := l.timeLimit(ctx, d)
	defer cancel()
	err := l.commitOne(ctx, &d.change)
	l.finish(d, err)
	return err
}

// timeLimit bounds a commit with uploads. Sweeps rely on it: it is over long
// before the intents of these are old enough to be looked at.
func (l *Library) timeLimit(ctx context.Context, drafts ...*draft) (context.Context, context.CancelFunc) {
	for _, d := range drafts {
		if len(d.claimed) > 0 {
			return context.WithTimeout(ctx, l.opts.Grace/4)
		}
	}
	return ctx, func() {}
}

// prepare makes a draft's change. The record is in buf, which must stay as it
// is until the change is committed. After an error nothing is claimed.
func (l *Library) prepare(ctx context.Context, k *kind, d *draft, buf *buffer) (err error) {
	m, now := d.meta, l.now()
	m.Type, m.State, m.Updated, m.Version = k.name, Active, now, 1
	if d.old != nil {
		m.Version = d.old.version + 1
	}
	if !m.Expires.IsZero() {
		m.Expires = time.UnixMicro(m.Expires.UnixMicro())
	}
	m.Contents = slices.Clone(m.Contents)
	defer func() {
		if err != nil {
			d.release()
		}
	}()
	if d.claimed, err = l.claim(m, d.old, now); err != nil {
		return err
	}
	if err := k.checkMeta(m); err != nil {
		return err
	}
	start := len(buf.b)
	buf.b = d.rec.append(buf.b)
	value := buf.b[start:len(buf.b):len(buf.b)]
	if size := len(value) - len(d.rec.payload); size > maxMetaSize {
		return fmt.Errorf("%w: metadata of %d bytes, at most %d allowed", ErrInvalid, size, maxMetaSize)
	}
	d.change = Change{Row: Row{Key: recordKey(m.ID), Version: m.Version, Value: value}}
	if d.old != nil {
		d.change.Expect = d.old.version
	}
	for _, u := range d.claimed {
		l.use(&d.change, u, m.ID)
	}
	return l.follow(ctx, &d.change, d.old, m, d.rec.entries, k.history, now)
}

// finish settles a draft after its commit.
func (l *Library) finish(d *draft, err error) {
	if err != nil {
		if errors.Is(err, ErrConflict) {
			d.release() // nothing was stored; the uploads can be used again
		}
		return
	}
	l.counters.writes.Add(1)
	for i := range d.meta.Contents {
		d.meta.Contents[i].upload = nil
	}
}

// follow adds to c what follows from the step from old to m, either of which may
// be nil: index entries, versions to keep and to drop, when to look at the
// object again, and contents that it no longer has.
func (l *Library) follow(ctx context.Context, c *Change, old *stored, m *Meta, entries []string, history int, now time.Time) error {
	var was, is int64
	var before []string
	if old != nil {
		was = l.end(&old.meta)
		if old.meta.State == Active {
			before = old.rec.entries
		}
		for i := range old.meta.Contents {
			key := old.meta.Contents[i].Key
			if history == 0 && (m == nil || !m.refersTo(key)) {
				c.Put = append(c.Put, Row{Key: timeKey(prefixGarbage, now.UnixMicro(), key)})
			}
		}
	}
	if m != nil {
		is = l.end(m)
		if m.State == Deleted {
			entries = nil // nothing leads to it while it is deleted
		}
	}
	for _, e := range entries {
		if !slices.Contains(before, e) {
			c.Put = append(c.Put, Row{Key: indexKey(e, m.ID)})
		}
	}
	for _, e := range before {
		if !slices.Contains(entries, e) {
			c.Delete = append(c.Delete, indexKey(e, old.meta.ID))
		}
	}
	if was != is && is != 0 {
		c.Put = append(c.Put, Row{Key: endKey(is, m.ID)})
	}
	if was != is && was != 0 {
		c.Delete = append(c.Delete, endKey(was, old.meta.ID))
	}
	if old != nil && history > 0 {
		return l.keep(ctx, c, old, history, now.UnixMicro())
	}
	return nil
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

// commit applies changes.
func (l *Library) commit(ctx context.Context, changes []Change) error {
	if l.feed == nil {
		return l.store.Commit(ctx, changes)
	}
	ticket, err := l.feed.enter(changes, l.now())
	if err != nil {
		return err
	}
	defer l.feed.leave(ticket)
	return l.store.Commit(ctx, changes)
}

// commitOne applies one change and returns ErrConflict if it did not take place.
func (l *Library) commitOne(ctx context.Context, c *Change) error {
	changes := []Change{*c}
	if err := l.commit(ctx, changes); err != nil {
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
		if err := l.follow(ctx, &change, old, &m, r.entries, k.history, now); err != nil {
			return err
		}
		if err := l.commitOne(ctx, &change); err != nil {
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

// remove takes an object and its history out of the store, if it is still the
// version of old.
func (l *Library) remove(ctx context.Context, old *stored) error {
	change, now := Change{Row: Row{Key: recordKey(old.meta.ID)}, Expect: old.version}, l.now()
	err := l.follow(ctx, &change, old, nil, nil, 0, now)
	if err == nil {
		err = l.drop(ctx, &change, old.meta.ID, old.version, now.UnixMicro())
	}
	if err == nil {
		err = l.commitOne(ctx, &change)
	}
	if err == nil {
		l.counters.purged.Add(1)
	}
	return err
}
