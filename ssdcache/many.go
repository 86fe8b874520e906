package ssdcache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// GetMany returns the values of those keys that there are; what is in no tier is
// loaded by one call of load. load returns a map of what it found; a key that is
// not in it does not exist. A key whose load is under way already is waited for
// instead. If some keys could not be had, GetMany returns the others along with
// an error, which joins a *LoadError for each. A nil load calls the Tiered's own
// for each key, all at once.
func (t *Tiered[V]) GetMany(ctx context.Context, keys []string, load func(ctx context.Context, keys []string) (map[string]V, error)) (map[string]V, error) {
	if t.cache.closed.Load() {
		return nil, ErrClosed
	}
	now := time.Now()
	found := make(map[string]V, len(keys))
	type waiting struct {
		f     *flight[V]
		stale *entry[V]
	}
	var waits map[string]waiting
	var mine []string
	var flights []*flight[V]
	var failed error
	m := manyPool.Get().(*many)
	defer m.release()
	var room [32]*entry[V]
	entries := room[:] // of memory, then of the disk
	if len(keys) > len(room) {
		entries = make([]*entry[V], len(keys))
	}
	entries = entries[:len(keys)]
	for i, key := range keys {
		if t.opts.Keys != nil && !t.opts.Keys.MayContain(key) {
			continue
		}
		if entries[i] = t.fromMemory(ctx, key, now); entries[i] == nil && t.opts.Tier == nil {
			m.add(t.prefix, key, i)
		}
	}
	t.manyFromDisk(ctx, m, keys, entries, now)
	for i, key := range keys {
		if _, ok := found[key]; ok {
			continue
		}
		if _, ok := waits[key]; ok {
			continue
		}
		if t.opts.Keys != nil && !t.opts.Keys.MayContain(key) {
			t.filtered.Add(1)
			continue
		}
		e := entries[i]
		if e != nil {
			serve, refresh := t.judge(key, e, now)
			if refresh {
				t.refresh(ctx, key)
			}
			if serve {
				if !e.absent {
					found[key] = e.value
				}
				continue
			}
		}
		f, first, err := t.flights.join(key)
		if err != nil {
			failed = err
			break
		}
		if waits == nil {
			waits = make(map[string]waiting)
		}
		waits[key] = waiting{f, e}
		switch {
		case !first:
			t.joined.Add(1)
		case load == nil:
			t.begin(ctx, key, f, false)
		default:
			mine, flights = append(mine, key), append(flights, f)
		}
	}
	if len(mine) > 0 {
		t.beginMany(ctx, mine, flights, load)
	}
	for key, w := range waits {
		v, err := t.wait(ctx, key, w.f)
		switch {
		case err == nil:
			found[key] = v
		case errors.Is(err, ErrNotFound):
		case w.stale != nil && staleHelps(err):
			t.stale.Add(1)
			found[key] = w.stale.value
		default:
			failed = errors.Join(failed, err)
		}
	}
	return found, failed
}

// many is the room of a GetMany for what it reads from the disk.
type many struct {
	names  []byte   // with their prefix, one after the other
	ends   []int    // of each in names
	keys   [][]byte // the same as slices
	at     []int    // which of the keys asked for
	hashes []uint64
	tokens []uint64
	batch  Batch
}

var manyPool = sync.Pool{New: func() any { return new(many) }}

// release keeps the room for the next unless it has become very large.
func (m *many) release() {
	if cap(m.batch.room) <= 1<<20 && cap(m.names) <= 64<<10 {
		m.names, m.ends, m.keys, m.at = m.names[:0], m.ends[:0], m.keys[:0], m.at[:0]
		m.hashes, m.tokens = m.hashes[:0], m.tokens[:0]
		manyPool.Put(m)
	}
}

func (m *many) add(prefix, key string, at int) {
	m.names = append(append(m.names, prefix...), key...)
	m.ends, m.at = append(m.ends, len(m.names)), append(m.at, at)
}

// manyFromDisk is fromDisk for the keys in m.
func (t *Tiered[V]) manyFromDisk(ctx context.Context, m *many, keys []string, entries []*entry[V], now time.Time) {
	if len(m.at) == 0 {
		return
	}
	begin := 0
	for _, end := range m.ends {
		name := m.names[begin:end]
		hash := t.cache.hash(name)
		m.keys, m.hashes = append(m.keys, name), append(m.hashes, hash)
		m.tokens = append(m.tokens, t.epoch(hash).Load())
		begin = end
	}
	if t.cache.getMany(&m.batch, m.keys, m.hashes) != nil {
		return
	}
	for n, at := range m.at {
		data, found := m.batch.Value(n)
		if !found {
			continue
		}
		e := t.decode(data)
		if e == nil {
			_, _ = t.cache.remove(m.hashes[n])
			continue
		}
		if t.diskOp != nil {
			t.diskOp.Observe(ctx, time.Since(now), nil)
		}
		t.diskHits.Add(1)
		if t.memory != nil {
			t.memory.put(keys[at], e, t.epoch(m.hashes[n]), m.tokens[n])
		}
		entries[at] = e
	}
}

// beginMany runs one load for several flights that this caller was the first to
// join.
func (t *Tiered[V]) beginMany(ctx context.Context, keys []string, flights []*flight[V], load func(ctx context.Context, keys []string) (map[string]V, error)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.LoadTimeout)
	// A flight that all have left does not end the others.
	go func() {
		defer cancel()
		onTime := context.AfterFunc(ctx, func() {
			for i, key := range keys {
				t.flights.overdue(key, flights[i])
			}
		})
		defer context.AfterFunc(t.cache.life, cancel)()
		for i, key := range keys {
			flights[i].err = &LoadError{key, errors.New("the loader ended its goroutine")}
		}
		defer func() {
			for i, key := range keys {
				t.flights.finish(key, flights[i])
			}
			onTime()
		}()
		t.flyMany(ctx, keys, flights, load)
	}()
}

// flyMany looks into the tiers once more for each key, as fly does, and loads
// the rest.
func (t *Tiered[V]) flyMany(ctx context.Context, keys []string, flights []*flight[V], load func(ctx context.Context, keys []string) (map[string]V, error)) {
	fills := make([]fill, len(keys))
	stale := make([]*entry[V], len(keys))
	var missing []string
	var at []int
	for i, key := range keys {
		w := &fills[i]
		w.key = append([]byte(t.prefix), key...)
		w.hash = t.cache.hash(w.key)
		w.token = t.epoch(w.hash).Load()
		if e := t.look(ctx, key, w); e != nil {
			if serve, _ := t.judge(key, e, time.Now()); serve {
				flights[i].value, flights[i].err = e.answer()
				continue
			}
			stale[i] = e
		}
		missing, at = append(missing, key), append(at, i)
	}
	if len(missing) == 0 {
		return
	}
	begin := time.Now()
	values, err := t.callMany(ctx, missing, load)
	cost := time.Since(begin) / time.Duration(len(missing))
	s := scratchPool.Get().(*scratch)
	defer s.release()
	for n, key := range missing {
		i := at[n]
		f := flights[i]
		v, ok := values[key]
		switch {
		case err != nil && stale[i] != nil && t.opts.Tier != nil:
			t.stale.Add(1)
			f.value, f.err = stale[i].value, nil
		case err != nil:
			f.err = &LoadError{key, err}
		case !ok:
			t.notFound.Add(1)
			t.fillAbsent(key, fills[i])
			f.err = ErrNotFound
		default:
			if f.err = t.fill(ctx, key, v, cost, fills[i], s); f.err == nil {
				f.value = v
			}
		}
	}
}

// callMany is call for several keys.
func (t *Tiered[V]) callMany(ctx context.Context, keys []string, load func(ctx context.Context, keys []string) (map[string]V, error)) (values map[string]V, err error) {
	t.loads.Add(1)
	ctx, span := t.loadOp.Start(ctx)
	span.SetAttr("keys", strconv.Itoa(len(keys)))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the loader panicked: %v", p)
		}
		if err != nil {
			t.loadErrors.Add(1)
		}
		span.End(err)
	}()
	return load(ctx, keys)
}
