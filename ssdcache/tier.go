package ssdcache

import (
	"context"
	"errors"
	"time"
)

// ErrLeased is returned by a Tier's Get while somebody else fills the key.
var ErrLeased = errors.New("ssdcache: another one is filling this key")

// Tier is a cache that several processes share, between their memory and their
// disks: ssdcache/memcachedtier, ssdcache/redistier. Its leases make one of the
// processes load what all of them miss, and keep a value out that was loaded
// before another process invalidated it. An implementation keeps these rules:
//
//  1. It is safe for concurrent use, and each call returns in a time of its own
//     bounding even if the server does not answer.
//  2. Get returns the value and a token. If there is no value it returns a token
//     and nil, and the caller has the lease to fill the key for that long; or
//     ErrLeased, if somebody else has it.
//  3. Fill stores the value if the token still stands: since Get gave it, the
//     key was neither filled nor deleted and its lease has not run out. Whether
//     it did is not an error.
//  4. Delete removes the value and ends the lease.
//  5. Keys are of any bytes and length. Values are not kept or changed.
//
// After an error of Get the Tiered goes on without the tier.
type Tier interface {
	Get(ctx context.Context, key string, lease time.Duration) (value []byte, token string, err error)
	Fill(ctx context.Context, key string, value []byte, ttl time.Duration, token string) error
	Delete(ctx context.Context, key string) error
}

func (t *Tiered[V]) tierKey(key string) string { return t.opts.Name + ":" + key }

// fromTier reads key's entry from the shared tier, or gets the lease to fill it,
// or waits for the one who has it as long as ctx lasts. What is on disk here is
// good enough meanwhile.
func (t *Tiered[V]) fromTier(ctx context.Context, key string, w *fill) *entry[V] {
	begin := time.Now()
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		data, token, err := t.opts.Tier.Get(ctx, t.tierKey(key), t.opts.LoadTimeout)
		switch {
		case errors.Is(err, ErrLeased):
			if e := t.fromDisk(ctx, key, begin); e != nil {
				if serve, _ := t.judge(key, e, begin); serve {
					return e
				}
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
				continue
			case <-ctx.Done():
				timer.Stop()
				return nil
			}
		case err != nil:
			t.tierErrors.Add(1)
			t.tierOp.Observe(ctx, time.Since(begin), err)
			return nil
		}
		t.tierOp.Observe(ctx, time.Since(begin), nil)
		w.lease = token
		if data == nil {
			return nil
		}
		e := t.decode(data)
		if e == nil {
			return nil
		}
		t.tierHits.Add(1)
		if t.memory != nil {
			t.memory.put(key, e, t.epoch(w.hash), w.token)
		}
		return e
	}
}

// fillTier puts an encoded entry into the shared tier if the lease still stands.
func (t *Tiered[V]) fillTier(ctx context.Context, key string, data []byte, expires int64, w fill) {
	if t.opts.Tier == nil || w.lease == "" {
		return
	}
	var ttl time.Duration
	if expires != 0 {
		if ttl = time.Until(time.UnixMilli(expires)); ttl <= 0 {
			return
		}
	}
	if err := t.opts.Tier.Fill(ctx, t.tierKey(key), data, ttl, w.lease); err != nil {
		t.tierErrors.Add(1)
	}
}
