package objstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Collection is the objects of one type. It is safe for concurrent use, lives
// as long as its Library and needs no Close of its own.
type Collection[T any] struct {
	lib    *Library
	kind   *kind
	values values[T]

	getters   sync.Pool // of *getter[T]
	indexes   []Index[T]
	check     func(*Object[T]) error
	committed func(*Object[T])
}

// NewCollection declares a type of objects to a library. It does no I/O. The
// same type can be declared any number of times, also with another T that its
// codecs can decode into; another type with the same number is an error.
func NewCollection[T any](lib *Library, t Type[T]) (*Collection[T], error) {
	k, err := t.kind()
	if err != nil {
		return nil, err
	}
	if err := lib.register(k); err != nil {
		return nil, err
	}
	c := &Collection[T]{
		lib: lib, kind: k, values: newValues(&t, k),
		indexes: slices.Clone(t.Indexes), check: t.Check, committed: t.Committed,
	}
	c.getters.New = func() any { return newGetter(c) }
	return c, nil
}

// Library is what the collection is part of.
func (c *Collection[T]) Library() *Library { return c.lib }

// Create stores a new object. If obj.ID is zero, the library's Generator makes
// one; otherwise the object is stored only if there is none of that id, also no
// deleted one, and the error wraps ErrExists if there is. On success what the
// library sets of obj's metadata is set, otherwise obj is as it was. Further
// errors: ErrInvalid, also for a nil object or value, ErrUpload, ErrNoIDs,
// ErrClosed, ctx's, or the engine's; after the last two the object may have been
// stored.
//
// It costs one commit of the metadata engine, and returns when that is durable.
func (c *Collection[T]) Create(ctx context.Context, obj *Object[T]) error {
	return c.write(ctx, obj, c.lib.create)
}

// Update stores obj over the object of its id, if that still has obj.Version:
// otherwise the error wraps ErrConflict. Contents that obj no longer has are
// collected after Options.Grace. ErrNotFound if there is no such object; all
// else is as with Create.
//
// It costs a read of the old object and one commit.
func (c *Collection[T]) Update(ctx context.Context, obj *Object[T]) error {
	return c.write(ctx, obj, c.lib.update)
}

func (c *Collection[T]) write(ctx context.Context, obj *Object[T], store func(context.Context, *kind, *draft) error) (err error) {
	if !c.lib.gate.enter() {
		return ErrClosed
	}
	defer c.lib.gate.leave()
	ctx, span := c.lib.ops.write.Start(ctx)
	defer func() { span.End(failure(err)) }()
	buf := takeBuffer()
	defer buf.release()
	if obj == nil {
		return c.failed(ID{}, errNilObject)
	}
	next, d := *obj, new(draft)
	if err := c.draft(&next, d, buf); err != nil {
		return c.failed(obj.ID, err)
	}
	if err := store(ctx, c.kind, d); err != nil {
		return c.failed(next.ID, err)
	}
	*obj = next
	if c.committed != nil {
		c.committed(obj)
	}
	return nil
}

var errNilObject = fmt.Errorf("%w: nil object", ErrInvalid)

// draft checks and encodes an object. Its value is in buf, which must stay as
// it is until the draft is done with.
func (c *Collection[T]) draft(obj *Object[T], d *draft, buf *buffer) (err error) {
	if err := c.values.present(&obj.Value); err != nil {
		return err
	}
	if c.check != nil {
		if err := c.check(obj); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	start := len(buf.b)
	if buf.b, err = c.values.append(buf.b, &obj.Value); err != nil {
		return err
	}
	d.meta = &obj.Meta
	d.rec = record{meta: &obj.Meta, codec: c.kind.codec.Number(), schema: c.kind.schema, payload: buf.b[start:len(buf.b):len(buf.b)]}
	d.rec.entries, err = entriesOf(c.indexes, obj)
	return err
}

// MultiPut stores many objects in one commit: those with Version 0 as Create
// does, the others as Update does. It returns an error for each, nil for those
// that were stored; objects of the same call do not see each other.
func (c *Collection[T]) MultiPut(ctx context.Context, objs []*Object[T]) []error {
	errs := make([]error, len(objs))
	if !c.lib.gate.enter() {
		for i := range errs {
			errs[i] = ErrClosed
		}
		return errs
	}
	defer c.lib.gate.leave()
	ctx, span := c.lib.ops.write.Start(ctx)
	var failed error
	defer func() { span.End(failed) }()

	next, drafts := make([]Object[T], len(objs)), make([]*draft, len(objs))
	for i, obj := range objs {
		if drafts[i] = new(draft); obj == nil {
			errs[i] = errNilObject
			continue
		}
		next[i] = *obj
		errs[i] = c.draft(&next[i], drafts[i], new(buffer))
	}
	c.lib.putAll(ctx, c.kind, drafts, errs)
	for i, obj := range objs {
		if errs[i] != nil {
			errs[i] = c.failed(next[i].ID, errs[i])
			if failed == nil {
				failed = failure(errs[i])
			}
			continue
		}
		*obj = next[i]
		if c.committed != nil {
			c.committed(obj)
		}
	}
	return errs
}

// failed says which object an error is about.
func (c *Collection[T]) failed(id ID, err error) error {
	switch {
	case errors.Is(err, ErrClosed):
		return err
	case id.IsZero():
		return fmt.Errorf("%w: new %s", err, c.kind.name)
	}
	return fmt.Errorf("%w: %s %v", err, c.kind.name, id)
}

// Get returns the object of an id; the error wraps ErrNotFound if there is none
// that is active. The object is the caller's.
func (c *Collection[T]) Get(ctx context.Context, id ID) (*Object[T], error) {
	g := c.getters.Get().(*getter[T])
	obj, err := g.get(ctx, id)
	c.getters.Put(g)
	if err != nil {
		return nil, c.failed(id, err)
	}
	return obj, nil
}

// MultiGet returns the objects of many ids in their order: nil where Get would
// say ErrNotFound. It reads them in one call of the metadata engine. They are
// the caller's, and share memory: one that is kept keeps the others.
func (c *Collection[T]) MultiGet(ctx context.Context, ids []ID) ([]*Object[T], error) {
	return c.multiGet(ctx, ids, nil)
}

// multiGet is MultiGet that leaves out objects without the index entry that led
// to them, unless that is empty.
func (c *Collection[T]) multiGet(ctx context.Context, ids []ID, entries []string) ([]*Object[T], error) {
	objs, all := make([]*Object[T], len(ids)), make([]Object[T], len(ids))
	var r record
	err := c.lib.multiGet(ctx, c.kind, ids, func(i int, version uint64, value []byte) error {
		obj := &all[i]
		r.meta = &obj.Meta
		ok, err := c.lib.decodeVisible(c.kind, ids[i], version, value, &r)
		if err == nil && ok && (entries == nil || entries[i] == "" || confirms(value, entries[i])) {
			objs[i] = obj
			err = c.values.decode(&r, &obj.Value)
		}
		if err != nil {
			return c.failed(ids[i], err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return objs, nil
}

// Modify reads an object, lets change change it, and stores it; when somebody
// else was faster it begins again, so change must be repeatable. It returns the
// object as stored. An error of change ends it and is returned as it is.
func (c *Collection[T]) Modify(ctx context.Context, id ID, change func(obj *Object[T]) error) (*Object[T], error) {
	for {
		obj, err := c.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := change(obj); err != nil {
			return nil, err
		}
		switch err := c.Update(ctx, obj); {
		case err == nil:
			return obj, nil
		case !errors.Is(err, ErrConflict):
			return nil, err
		}
	}
}

// Delete makes an object invisible to everything but Undelete and Purge. A
// sweep purges it Options.Retention later. ErrNotFound if there is none.
func (c *Collection[T]) Delete(ctx context.Context, id ID) error {
	return c.transition(ctx, id, c.lib.delete)
}

// Undelete makes a deleted object visible again. ErrNotFound if there is no
// deleted object of that id.
func (c *Collection[T]) Undelete(ctx context.Context, id ID) error {
	return c.transition(ctx, id, c.lib.undelete)
}

// Purge removes an object for good, deleted before or not; its contents are
// collected after Options.Grace. ErrNotFound if there is none.
func (c *Collection[T]) Purge(ctx context.Context, id ID) error {
	return c.transition(ctx, id, c.lib.purge)
}

func (c *Collection[T]) transition(ctx context.Context, id ID, step func(context.Context, *kind, ID) error) (err error) {
	if !c.lib.gate.enter() {
		return ErrClosed
	}
	defer c.lib.gate.leave()
	ctx, span := c.lib.ops.write.Start(ctx)
	defer func() { span.End(failure(err)) }()
	if err := step(ctx, c.kind, id); err != nil {
		return c.failed(id, err)
	}
	return nil
}
