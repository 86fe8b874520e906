package ssdcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// epochStripes is how many counters the keys of a Tiered share.
const epochStripes = 1024

// Tiered reads through memory, the cache on disk and a loader, in this order,
// and leaves what it finds in the tiers it passed. It is safe for concurrent
// use. It lives as long as its Cache and needs no Close of its own.
type Tiered[V any] struct {
	cache  *Cache
	load   func(ctx context.Context, key string) (V, error)
	opts   TieredOptions
	prefix string

	memory  *memory[V] // nil without
	flights flights[V]

	// A fill notes its key's epoch before it looks for the value and takes
	// place only if that is still the epoch; Invalidate moves the epoch on first.
	epochs [epochStripes]atomic.Uint64

	memoryOp, diskOp, loadOp *watchman.Operation
	tieredCounters
}

// NewTiered puts the tiers together. load returns the value of a key, or
// ErrNotFound if there is none; it is called once at a time for a key, with a
// context that carries the values of one caller's and has LoadTimeout left.
func NewTiered[V any](cache *Cache, load func(ctx context.Context, key string) (V, error), opts *TieredOptions) (*Tiered[V], error) {
	o, err := opts.withDefaults()
	if cache == nil || load == nil {
		err = errors.Join(err, errors.New("ssdcache: NewTiered wants a cache and a loader"))
	}
	if err != nil {
		return nil, err
	}
	t := &Tiered[V]{cache: cache, load: load, opts: o, prefix: o.Name + "\x00"}
	t.flights.begin = cache.beginLoad
	t.flights.end = cache.loads.Done
	if o.Memory > 0 {
		if t.memory, err = newMemory[V](o.Memory); err != nil {
			return nil, err
		}
	}
	suffix := ""
	if o.Name != "" {
		suffix = " " + o.Name
	}
	t.memoryOp = o.Watchman.Operation(watchman.Internal, "ssdcache.memory"+suffix)
	t.diskOp = o.Watchman.Operation(watchman.Internal, "ssdcache.disk"+suffix)
	t.loadOp = o.Watchman.Operation(watchman.Internal, "ssdcache.load"+suffix)

	cache.wmu.Lock()
	defer cache.wmu.Unlock()
	if cache.names[o.Name] {
		return nil, fmt.Errorf("ssdcache: TieredOptions.Name %q is taken on this cache", o.Name)
	}
	cache.names[o.Name] = true
	return t, nil
}

// beginLoad counts a load that Close will wait for.
func (c *Cache) beginLoad() error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.closing {
		return ErrClosed
	}
	c.loads.Add(1)
	return nil
}

// Get returns the value of key. Values in memory are shared: treat what a
// value refers to as read-only. All callers that miss at the same time wait for
// one load; a caller whose ctx ends leaves alone, and the load is cancelled when
// the last has left. Errors: ErrNotFound if there is no such thing, the loader's
// own error, ctx's, ErrClosed.
func (t *Tiered[V]) Get(ctx context.Context, key string) (V, error) {
	now := time.Now()
	if t.cache.closed.Load() {
		var zero V
		return zero, ErrClosed
	}
	if t.memory != nil {
		if e := t.memory.get(key, now); e != nil {
			t.memoryOp.Observe(ctx, time.Since(now), nil)
			if e.absent {
				t.absentHits.Add(1)
				return e.value, ErrNotFound
			}
			t.memoryHits.Add(1)
			return e.value, nil
		}
	}
	if v, ok := t.fromDisk(key); ok {
		t.diskOp.Observe(ctx, time.Since(now), nil)
		t.diskHits.Add(1)
		return v, nil
	}
	return t.fromLoader(ctx, key)
}

// scratch holds the bytes of one read or fill.
type scratch struct{ key, data []byte }

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// release keeps a scratch for the next unless it has become very large.
func (s *scratch) release() {
	if cap(s.data) <= 256<<10 {
		scratchPool.Put(s)
	}
}

func (t *Tiered[V]) epoch(hash uint64) *atomic.Uint64 { return &t.epochs[hash%epochStripes] }

// fromDisk reads key's value from the cache and takes it into memory.
func (t *Tiered[V]) fromDisk(key string) (v V, ok bool) {
	s := scratchPool.Get().(*scratch)
	defer s.release()
	s.key = append(append(s.key[:0], t.prefix...), key...)
	hash := t.cache.hash(s.key)
	epoch := t.epoch(hash)
	token := epoch.Load()
	var expires int64
	var err error
	if s.data, expires, err = t.cache.get(s.data[:0], s.key, hash); err != nil {
		return v, false
	}
	if err := t.opts.Codec.Decode(s.data, &v); err != nil {
		t.undecoded.Add(1)
		t.cache.remove(hash)
		var zero V
		return zero, false
	}
	if t.memory != nil {
		t.memory.put(key, &entry[V]{value: v, expires: expires, size: len(s.data)}, epoch, token)
	}
	return v, true
}

// fromLoader joins the load of key under way or begins one.
func (t *Tiered[V]) fromLoader(ctx context.Context, key string) (V, error) {
	f, first, err := t.flights.join(key)
	if err != nil {
		var zero V
		return zero, err
	}
	if first {
		load, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.LoadTimeout)
		f.setCancel(cancel)
		go func() {
			defer cancel()
			defer context.AfterFunc(t.cache.life, cancel)()
			f.value, f.err = t.loadAndFill(load, key)
			t.flights.finish(key, f)
		}()
	} else {
		t.joined.Add(1)
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		t.flights.leave(key, f)
		var zero V
		return zero, context.Cause(ctx)
	}
}

// loadAndFill calls the loader and fills the tiers unless key was invalidated
// since before the call.
func (t *Tiered[V]) loadAndFill(ctx context.Context, key string) (v V, err error) {
	s := scratchPool.Get().(*scratch)
	defer s.release()
	s.key = append(append(s.key[:0], t.prefix...), key...)
	hash := t.cache.hash(s.key)
	epoch := t.epoch(hash)
	token := epoch.Load()

	t.loads.Add(1)
	spanCtx, span := t.loadOp.Start(ctx)
	v, err = t.call(spanCtx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		span.End(nil)
		t.notFound.Add(1)
		if t.memory != nil && t.opts.NegativeTTL > 0 {
			t.memory.put(key, &entry[V]{absent: true, expires: t.expiry(t.opts.NegativeTTL)}, epoch, token)
		}
		return v, err
	case err != nil:
		span.End(err)
		t.loadErrors.Add(1)
		return v, err
	}
	span.End(nil)

	if s.data, err = t.opts.Codec.Append(s.data[:0], &v); err != nil {
		var zero V
		return zero, fmt.Errorf("ssdcache: encode %T: %w", v, err)
	}
	expires := t.expiry(t.opts.TTL)
	// A fill never waits for the disk: the value can be loaded again.
	if err := t.cache.set(s.key, s.data, hash, expires, Drop, epoch, token); err != nil {
		t.unfilled.Add(1)
	}
	if t.memory != nil {
		t.memory.put(key, &entry[V]{value: v, expires: expires, size: len(s.data)}, epoch, token)
	}
	return v, nil
}

// call is the loader with its panics turned into errors: a flight's goroutine
// is not one that the application could guard.
func (t *Tiered[V]) call(ctx context.Context, key string) (v V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("ssdcache: the loader panicked: %v", p)
		}
	}()
	return t.load(ctx, key)
}

// expiry is ttl from now, jittered, in Unix milliseconds; 0 for none.
func (t *Tiered[V]) expiry(ttl time.Duration) int64 {
	if ttl < 0 {
		return 0
	}
	if share := t.opts.Jitter * rand.Float64(); share > 0 {
		ttl -= time.Duration(share * float64(ttl))
	}
	return time.Now().Add(ttl).UnixMilli()
}

// Invalidate makes every Get that begins after it load key anew: call it after
// the value has changed in the database. A load that began earlier still
// answers those who wait for it and leaves nothing behind.
func (t *Tiered[V]) Invalidate(_ context.Context, key string) error {
	if t.cache.closed.Load() {
		return ErrClosed
	}
	s := scratchPool.Get().(*scratch)
	defer s.release()
	s.key = append(append(s.key[:0], t.prefix...), key...)
	hash := t.cache.hash(s.key)
	t.epoch(hash).Add(1)
	t.flights.forget(key)
	t.cache.remove(hash)
	if t.memory != nil {
		t.memory.remove(key)
	}
	t.invalidated.Add(1)
	return nil
}
