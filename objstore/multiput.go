package objstore

import (
	"context"
	"errors"
)

// putAll stores drafts in one commit. errs has the errors of those that could
// not be made, and gets those of the others.
func (l *Library) putAll(ctx context.Context, k *kind, drafts []*draft, errs []error) {
	olds, err := l.loadAll(ctx, k, drafts, errs)
	if err != nil {
		for i := range errs {
			if errs[i] == nil {
				errs[i] = err
			}
		}
		return
	}
	buf := new(buffer)
	var ready []*draft
	var index []int
	for i, d := range drafts {
		if errs[i] != nil {
			continue
		}
		if d.meta.Version == 0 {
			errs[i] = l.beginCreate(k, d)
		} else {
			errs[i] = l.beginUpdate(d, olds[i])
		}
		if errs[i] == nil {
			errs[i] = l.prepare(ctx, k, d, buf)
		}
		if errs[i] == nil {
			ready, index = append(ready, d), append(index, i)
		}
	}
	if len(ready) == 0 {
		return
	}
	ctx, cancel := l.timeLimit(ctx, ready...)
	defer cancel()
	changes := make([]Change, len(ready))
	for i, d := range ready {
		changes[i] = d.change
	}
	err = l.commit(ctx, changes)
	for i, d := range ready {
		derr := err
		if err == nil {
			derr = changes[i].Err
		}
		l.finish(d, derr)
		if errors.Is(derr, ErrConflict) {
			derr = l.conflict(ctx, k, d)
		}
		errs[index[i]] = derr
	}
}

// conflict is what becomes of a draft in whose place something else was: a new
// object may still take the place of an expired one.
func (l *Library) conflict(ctx context.Context, k *kind, d *draft) error {
	if d.old != nil {
		l.counters.conflicts.Add(1)
		return ErrConflict
	}
	return l.create(ctx, k, d)
}

// loadAll reads what is there of the objects that are to be updated.
func (l *Library) loadAll(ctx context.Context, k *kind, drafts []*draft, errs []error) ([]*stored, error) {
	olds := make([]*stored, len(drafts))
	var keys [][]byte
	var index []int
	for i, d := range drafts {
		if errs[i] != nil || d.meta.Version == 0 {
			continue
		}
		if errs[i] = k.checkID(d.meta.ID); errs[i] == nil {
			keys, index = append(keys, recordKey(d.meta.ID)), append(index, i)
		}
	}
	if len(keys) == 0 {
		return olds, nil
	}
	err := l.store.Get(ctx, keys, func(i int, row Row) (err error) {
		at := index[i]
		olds[at], err = decodeStored(drafts[at].meta.ID, row)
		return err
	})
	return olds, err
}
