package ssdcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// LoadError is what Get returns when the loader failed and there is no older
// value that may be served.
type LoadError struct {
	Key string
	Err error // the loader's; context.DeadlineExceeded after LoadTimeout
}

func (e *LoadError) Error() string { return fmt.Sprintf("ssdcache: load %.80q: %v", e.Key, e.Err) }

// Unwrap returns the loader's error.
func (e *LoadError) Unwrap() error { return e.Err }

// fromFlight joins the flight of key under way or begins one, and waits for it.
func (t *Tiered[V]) fromFlight(ctx context.Context, key string) (V, error) {
	f, first, err := t.flights.join(key)
	if err != nil {
		var zero V
		return zero, err
	}
	if first {
		t.begin(ctx, key, f, false)
	} else {
		t.joined.Add(1)
	}
	return t.wait(ctx, key, f)
}

// refresh begins a load of key that nobody waits for, unless one is under way.
func (t *Tiered[V]) refresh(ctx context.Context, key string) {
	f, first, err := t.flights.join(key)
	if err != nil {
		return
	}
	if !first {
		t.flights.leave(key, f)
		return
	}
	t.refreshes.Add(1)
	t.begin(ctx, key, f, true)
}

// wait returns a flight's result, or an error when ctx ends or the flight has
// not come back in time, which a loader that does not look at its ctx can do.
func (t *Tiered[V]) wait(ctx context.Context, key string, f *flight[V]) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	default:
	}
	var zero V
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		t.flights.leave(key, f)
		return zero, context.Cause(ctx)
	case <-f.late:
	}
	t.flights.leave(key, f)
	if t.cache.life.Err() != nil {
		return zero, ErrClosed
	}
	return zero, &LoadError{key, context.DeadlineExceeded}
}

// begin runs a flight that this caller was the first to join.
func (t *Tiered[V]) begin(ctx context.Context, key string, f *flight[V], anew bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.opts.LoadTimeout)
	f.setCancel(cancel)
	go func() {
		defer cancel()
		onTime := context.AfterFunc(ctx, func() { t.flights.overdue(key, f) })
		defer context.AfterFunc(t.cache.life, cancel)()
		again := false
		// If the loader ends the goroutine, this is what those who wait get.
		f.err = &LoadError{key, errors.New("the loader ended its goroutine")}
		defer func() {
			t.flights.finish(key, f)
			onTime()
			if again {
				t.refresh(ctx, key)
			}
		}()
		f.value, again, f.err = t.fly(ctx, key, anew)
	}()
}

// fill is where a loaded value goes, and what must not have happened since.
type fill struct {
	key   []byte // with the prefix
	hash  uint64
	token uint64 // of the epoch
	lease string // of the shared tier
}

// fly is one flight. Unless the value is to be loaded anew, it looks into the
// tiers once more, for an earlier flight may have ended just before this one
// began. again asks for a flight that loads anew.
func (t *Tiered[V]) fly(ctx context.Context, key string, anew bool) (v V, again bool, err error) {
	s := scratchPool.Get().(*scratch)
	defer s.release()
	s.key = append(append(s.key[:0], t.prefix...), key...)
	w := fill{key: s.key, hash: t.cache.hash(s.key)}
	w.token = t.epoch(w.hash).Load()
	var e *entry[V]
	if anew && t.opts.Tier != nil { // for the token
		t.fromTier(ctx, key, &w)
	}
	if !anew {
		if e = t.look(ctx, key, &w); e != nil {
			serve, refresh := t.judge(key, e, time.Now())
			if serve {
				v, err = e.answer()
				return v, refresh, err
			}
		}
	}
	begin := time.Now()
	v, err = t.call(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		t.fillAbsent(key, w)
		return v, false, err
	case err != nil:
		if e != nil && t.opts.Tier != nil { // without one the callers have it
			t.stale.Add(1)
			return e.value, false, nil
		}
		return v, false, &LoadError{key, err}
	}
	if err = t.fill(ctx, key, v, time.Since(begin), w, s); err != nil {
		var zero V
		return zero, false, err
	}
	return v, false, nil
}

// look finds key's entry in memory, the shared tier and on disk.
func (t *Tiered[V]) look(ctx context.Context, key string, w *fill) *entry[V] {
	now := time.Now()
	if t.memory != nil {
		if e, _ := t.memory.get(key, now); e != nil && (e.fresh == 0 || e.fresh > now.UnixMilli()) {
			return e
		}
	}
	var e *entry[V]
	if t.opts.Tier != nil {
		if e = t.fromTier(ctx, key, w); e != nil {
			return e
		}
	}
	if e = t.fromDisk(ctx, key, now); e != nil && w.lease != "" {
		if data, err := appendEntry(nil, t.opts.Codec, e); err == nil {
			t.fillTier(ctx, key, data, e.expires, *w)
		}
	}
	return e
}

// call is the loader under a span, with its panics turned into errors: a
// flight's goroutine is not one that the application could guard.
func (t *Tiered[V]) call(ctx context.Context, key string) (v V, err error) {
	t.loads.Add(1)
	ctx, span := t.loadOp.Start(ctx)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the loader panicked: %v", p)
		}
		switch {
		case errors.Is(err, ErrNotFound):
			t.notFound.Add(1)
			span.End(nil)
		case err != nil:
			t.loadErrors.Add(1)
			span.End(err)
		default:
			span.End(nil)
		}
	}()
	return t.load(ctx, key)
}

// fill puts a loaded value into the tiers unless key was invalidated meanwhile.
func (t *Tiered[V]) fill(ctx context.Context, key string, v V, cost time.Duration, w fill, s *scratch) error {
	e := &entry[V]{value: v, cost: cost, fresh: t.freshUntil(time.Now())}
	e.expires = t.keptUntil(e.fresh)
	var err error
	if s.data, err = appendEntry(s.data[:0], t.opts.Codec, e); err != nil {
		return fmt.Errorf("ssdcache: encode %T: %w", v, err)
	}
	e.size = len(s.data)
	epoch := t.epoch(w.hash)
	// A fill never waits for the disk: the value can be loaded again.
	err = t.cache.set(w.key, s.data, w.hash, e.expires, Drop, epoch, w.token)
	if err != nil {
		t.unfilled.Add(1)
		if errors.Is(err, ErrTooLarge) {
			_, _ = t.cache.remove(w.hash) // an older value must not outlive this one
		}
	}
	if t.memory != nil {
		t.memory.put(key, e, epoch, w.token)
	}
	t.fillTier(ctx, key, s.data, e.expires, w)
	return nil
}

// fillAbsent remembers that there is no such thing.
func (t *Tiered[V]) fillAbsent(key string, w fill) {
	_, _ = t.cache.remove(w.hash) // a stale one
	switch {
	case t.memory == nil:
	case t.opts.NegativeTTL < 0:
		t.memory.remove(key)
	default:
		e := &entry[V]{absent: true, expires: time.Now().Add(t.opts.NegativeTTL).UnixMilli()}
		t.memory.put(key, e, t.epoch(w.hash), w.token)
	}
}

// freshUntil returns until when a value loaded now is fresh, jittered, in Unix
// milliseconds; 0 for ever.
func (t *Tiered[V]) freshUntil(now time.Time) int64 {
	ttl := t.opts.TTL
	if ttl < 0 {
		return 0
	}
	if share := t.opts.Jitter * rand.Float64(); share > 0 {
		ttl -= time.Duration(share * float64(ttl))
	}
	return now.Add(ttl).UnixMilli()
}

// keptUntil returns until when a value may be served at all.
func (t *Tiered[V]) keptUntil(fresh int64) int64 {
	if fresh == 0 {
		return 0
	}
	return fresh + max(t.opts.Stale, t.opts.StaleIfError).Milliseconds()
}
