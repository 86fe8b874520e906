package ssdcache

import (
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// memory is the tier in this process. Expiry is looked at on reading; the
// policy, W-TinyLFU, sees to it that what nobody reads goes.
type memory[V any] struct {
	cache *otter.Cache[string, *entry[V]]
}

// entryOverhead is what an entry costs besides its key and value, about.
const entryOverhead = 128

func newMemory[V any](limit int64) (*memory[V], error) {
	c, err := otter.New(&otter.Options[string, *entry[V]]{
		MaximumWeight: uint64(limit),
		Weigher: func(key string, e *entry[V]) uint32 {
			return uint32(min(len(key)+e.size+entryOverhead, 1<<31))
		},
	})
	if err != nil {
		return nil, err
	}
	return &memory[V]{c}, nil
}

// get returns key's entry if it has not expired.
func (m *memory[V]) get(key string, now time.Time) *entry[V] {
	e, ok := m.cache.GetIfPresent(key)
	if !ok || e.expires != 0 && e.expires <= now.UnixMilli() {
		return nil
	}
	return e
}

// put sets key's entry if its epoch is still token. The check and the write are
// one step for remove.
func (m *memory[V]) put(key string, e *entry[V], epoch *atomic.Uint64, token uint64) {
	m.cache.Compute(key, func(*entry[V], bool) (*entry[V], otter.ComputeOp) {
		if epoch.Load() != token {
			return nil, otter.CancelOp
		}
		return e, otter.WriteOp
	})
}

func (m *memory[V]) remove(key string) { m.cache.Invalidate(key) }
