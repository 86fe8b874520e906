package ssdcache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// epochStripes is how many counters the keys of a Tiered share.
const epochStripes = 4096

// Tiered reads through memory, a shared tier if there is one, the cache on disk
// and a loader, in this order, and leaves what it finds in the tiers it passed.
// It is safe for concurrent use. It lives as long as its Cache and needs no
// Close of its own.
type Tiered[V any] struct {
	cache  *Cache
	load   func(ctx context.Context, key string) (V, error)
	opts   TieredOptions
	prefix string

	memory  *memory[V] // nil without
	hot     *hotKeys   // nil without
	flights flights[V]

	// A fill notes its key's epoch before it looks for the value and takes
	// place only if that is still the epoch; Invalidate moves the epoch on first.
	epochs [epochStripes]atomic.Uint64

	serveStale                       *watchman.Switch
	memoryOp, tierOp, diskOp, loadOp *watchman.Operation
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
		if o.HotShare > 0 {
			t.hot = newHotKeys(o.HotShare)
		}
	}
	suffix := ""
	if o.Name != "" {
		suffix = " " + o.Name
	}
	t.serveStale = o.Watchman.Switch("ssdcache.stale"+suffix, false)
	t.memoryOp = o.Watchman.Operation(watchman.Internal, "ssdcache.memory"+suffix)
	t.tierOp = o.Watchman.Operation(watchman.Client, "ssdcache.tier"+suffix)
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
// the last has left. A value past its TTL is returned as far as Stale,
// StaleIfError and the switch allow. Errors: ErrNotFound if there is no such
// thing, a *LoadError with the loader's own, ctx's, ErrClosed.
func (t *Tiered[V]) Get(ctx context.Context, key string) (V, error) {
	now := time.Now()
	var zero V
	if t.cache.closed.Load() {
		return zero, ErrClosed
	}
	if t.opts.Keys != nil && !t.opts.Keys.MayContain(key) {
		t.filtered.Add(1)
		return zero, ErrNotFound
	}
	e := t.fromMemory(ctx, key, now)
	if e == nil && t.opts.Tier == nil {
		e = t.fromDisk(ctx, key, now)
	}
	if e != nil {
		serve, refresh := t.judge(key, e, now)
		if refresh {
			t.refresh(ctx, key)
		}
		if serve {
			return e.answer()
		}
	}
	v, err := t.fromFlight(ctx, key)
	if e != nil && staleHelps(err) {
		t.stale.Add(1)
		return e.value, nil
	}
	return v, err
}

// staleHelps reports whether an older value is a better answer than err.
func staleHelps(err error) bool {
	return err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrClosed)
}

// judge says whether an entry may be served now, and whether to load its key
// anew without making anybody wait.
func (t *Tiered[V]) judge(key string, e *entry[V], now time.Time) (serve, refresh bool) {
	if e.fresh == 0 || e.absent {
		return true, false
	}
	left := time.UnixMilli(e.fresh).Sub(now)
	if left > 0 {
		return true, t.early(left, e.cost) || t.hot != nil && t.dueHot(key, left, now)
	}
	if t.serveStale.On() {
		t.stale.Add(1)
		return true, false
	}
	if t.opts.Stale > -left {
		t.stale.Add(1)
		return true, true
	}
	return false, false
}

// early decides to refresh before the time, the likelier the closer it is and
// the longer a load takes, so that for a key that many want one of them is early
// enough. It is XFetch of Vattani, Chierichetti and Lowenstein, "Optimal
// Probabilistic Cache Stampede Prevention", VLDB 2015.
func (t *Tiered[V]) early(left, cost time.Duration) bool {
	cost = time.Duration(float64(cost) * t.opts.Early)
	if left > 32*cost { // less likely than 1 in 10^13
		return false
	}
	return time.Duration(float64(cost)*-math.Log(1-rand.Float64())) >= left
}

// hotLead is the part of its TTL that is left when a hot key is loaded anew at
// the latest, so that several tries fit before it is over.
const hotLead = 10

// dueHot decides to refresh a hot key: in the last tenth of its TTL, and if that
// fails, a few times more.
func (t *Tiered[V]) dueHot(key string, left time.Duration, now time.Time) bool {
	lead := t.opts.TTL / hotLead
	if left > lead || t.opts.Early == 0 {
		return false
	}
	p := t.memory.pin(key)
	if p == nil {
		return false
	}
	last := p.refreshed.Load()
	return now.UnixMilli()-last >= (lead/hotLead).Milliseconds() && p.refreshed.CompareAndSwap(last, now.UnixMilli())
}

// HotKeys returns the keys that had at least TieredOptions.HotShare of the gets
// lately, the hottest first: at most 1/HotShare of them, of which the first 64
// are pinned. Keys can be secrets, session tokens for example: Stats has only
// numbers, and who shows keys decides to.
func (t *Tiered[V]) HotKeys() []HotKey {
	if t.hot == nil {
		return nil
	}
	return t.hot.hottest()
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

// fromMemory returns key's entry, fresh or stale, or nil.
func (t *Tiered[V]) fromMemory(ctx context.Context, key string, now time.Time) *entry[V] {
	if t.memory == nil {
		return nil
	}
	if t.hot != nil && t.hot.sampled() {
		if hot, chosen := t.hot.note(key); chosen {
			t.memory.repin(hot)
		}
	}
	e, pinned := t.memory.get(key, now)
	if e == nil {
		return nil
	}
	if pinned {
		t.pinHits.Add(1)
	}
	if t.memoryOp != nil {
		t.memoryOp.Observe(ctx, time.Since(now), nil)
	}
	if e.absent {
		t.absentHits.Add(1)
	} else {
		t.memoryHits.Add(1)
	}
	return e
}

// fromDisk reads key's entry from the cache and takes it into memory.
func (t *Tiered[V]) fromDisk(ctx context.Context, key string, now time.Time) *entry[V] {
	s := scratchPool.Get().(*scratch)
	defer s.release()
	s.key = append(append(s.key[:0], t.prefix...), key...)
	hash := t.cache.hash(s.key)
	epoch := t.epoch(hash)
	token := epoch.Load()
	var err error
	if s.data, _, err = t.cache.get(s.data[:0], s.key, hash); err != nil {
		return nil
	}
	e := t.decode(s.data)
	if e == nil {
		_, _ = t.cache.remove(hash)
		return nil
	}
	if t.diskOp != nil {
		t.diskOp.Observe(ctx, time.Since(now), nil)
	}
	t.diskHits.Add(1)
	if t.memory != nil {
		t.memory.put(key, e, epoch, token)
	}
	return e
}

// decode reads an entry from a tier; nil if it is not one.
func (t *Tiered[V]) decode(data []byte) *entry[V] {
	e, err := decodeEntry[V](t.opts.Codec, data)
	if err != nil {
		t.undecoded.Add(1)
		return nil
	}
	e.expires = t.keptUntil(e.fresh)
	return e
}

// Invalidate makes every Get that begins after it load key anew: call it after
// the value has changed in the database. A load that began earlier still
// answers those who wait for it and leaves nothing behind. In other processes it
// reaches the shared tier only. Errors: ErrClosed, and the shared tier's or the
// disk's if the old value may come back.
func (t *Tiered[V]) Invalidate(ctx context.Context, key string) error {
	if t.cache.closed.Load() {
		return ErrClosed
	}
	s := scratchPool.Get().(*scratch)
	defer s.release()
	s.key = append(append(s.key[:0], t.prefix...), key...)
	hash := t.cache.hash(s.key)
	// Fills that began before this come too late from here on …
	epoch := t.epoch(hash)
	epoch.Add(1)
	t.invalidated.Add(1)
	_, err := t.cache.remove(hash)
	if t.opts.Tier != nil {
		if terr := t.opts.Tier.Delete(ctx, t.tierKey(key)); terr != nil {
			t.tierErrors.Add(1)
			err = errors.Join(err, fmt.Errorf("ssdcache: invalidate %q: %w", key, terr))
		}
	}
	// … and so do those that have since found the value in a tier below before it
	// was gone there. What they have put into memory goes, nobody joins them.
	epoch.Add(1)
	if t.memory != nil {
		t.memory.remove(key)
	}
	t.flights.forget(key)
	return err
}
