package ssdcache

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// memory is the tier in this process. Expiry is looked at on reading; the
// policy, W-TinyLFU, sees to it that what nobody reads goes.
type memory[V any] struct {
	cache *otter.Cache[string, *entry[V]]
	limit int64

	// The entries of hot keys, which no policy evicts. The map is replaced, never
	// changed. What is in a pin is written only while the key is computed in the
	// cache, so a pin and the cache never disagree about what was removed.
	pins atomic.Pointer[map[string]*pin[V]]
}

// pin holds the entry of a hot key.
type pin[V any] struct {
	entry     atomic.Pointer[entry[V]]
	refreshed atomic.Int64 // when it was last asked to be, in Unix milliseconds
}

// At most maxPins keys are pinned, of entries up to the memory's pinShare-th
// part, so together they take no more than a quarter.
const (
	maxPins  = 64
	pinShare = 256
)

// entryOverhead is what an entry costs besides its key and value, about.
const entryOverhead = 128

func newMemory[V any](limit int64) (*memory[V], error) {
	c, err := otter.New(&otter.Options[string, *entry[V]]{
		MaximumWeight: uint64(limit),
		Weigher:       weight[V],
	})
	if err != nil {
		return nil, err
	}
	return &memory[V]{cache: c, limit: limit}, nil
}

func weight[V any](key string, e *entry[V]) uint32 {
	return uint32(min(len(key)+e.size+entryOverhead, math.MaxInt32))
}

// get returns key's entry if it has not expired, and whether only its pin had it.
func (m *memory[V]) get(key string, now time.Time) (e *entry[V], pinned bool) {
	e, ok := m.cache.GetIfPresent(key)
	if !ok {
		if p := m.pin(key); p != nil {
			e, pinned = p.entry.Load(), true
		}
	}
	if e == nil || e.expires != 0 && e.expires <= now.UnixMilli() {
		return nil, false
	}
	return e, pinned
}

// put sets key's entry if its epoch is still token. The check and the write are
// one step for remove.
func (m *memory[V]) put(key string, e *entry[V], epoch *atomic.Uint64, token uint64) {
	m.cache.Compute(key, func(*entry[V], bool) (*entry[V], otter.ComputeOp) {
		if epoch.Load() != token {
			return nil, otter.CancelOp
		}
		m.setPin(key, e)
		return e, otter.WriteOp
	})
}

func (m *memory[V]) remove(key string) {
	m.cache.Compute(key, func(*entry[V], bool) (*entry[V], otter.ComputeOp) {
		m.setPin(key, nil)
		return nil, otter.InvalidateOp
	})
}

// pin returns the pin of a key, nil if it is not hot.
func (m *memory[V]) pin(key string) *pin[V] {
	if pins := m.pins.Load(); pins != nil {
		return (*pins)[key]
	}
	return nil
}

// setPin changes what the pin of a key holds, if there is one. The key is being
// computed in the cache.
func (m *memory[V]) setPin(key string, e *entry[V]) {
	p := m.pin(key)
	if p == nil {
		return
	}
	if e != nil && int64(weight(key, e)) > m.limit/pinShare {
		e = nil
	}
	p.entry.Store(e)
}

// repin pins the hot keys, the hottest first, instead of those before.
func (m *memory[V]) repin(hot []HotKey) {
	before := m.pins.Load()
	pins := make(map[string]*pin[V], min(len(hot), maxPins))
	for _, h := range hot[:min(len(hot), maxPins)] {
		var p *pin[V]
		if before != nil {
			p = (*before)[h.Key]
		}
		if p == nil {
			p = &pin[V]{}
		}
		pins[h.Key] = p
	}
	m.pins.Store(&pins)
	// Only now: who removes a key from here on finds its pin.
	for key := range pins {
		m.cache.Compute(key, func(e *entry[V], found bool) (*entry[V], otter.ComputeOp) {
			if found {
				m.setPin(key, e)
			}
			return nil, otter.CancelOp
		})
	}
}

// pinned returns how many keys are pinned and the weight of what is.
func (m *memory[V]) pinned() (keys int, bytes int64) {
	pins := m.pins.Load()
	if pins == nil {
		return 0, 0
	}
	for key, p := range *pins {
		if e := p.entry.Load(); e != nil {
			bytes += int64(weight(key, e))
		}
	}
	return len(*pins), bytes
}
