package ssdcache

import (
	"math/bits"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// KeyFilter remembers which keys exist, so that a Tiered answers for others
// without asking anybody: a storm of made-up keys does not reach the database.
// Add every key there is before its use as TieredOptions.Keys and each new key
// before it is written. It is a Bloom filter with blocks of one cache line: it
// takes 12 bits a key, never misses one that was added, and lets through about 1
// in 150 of the others. Keys cannot be taken out; make a new filter when too many
// are gone. It is safe for concurrent use.
type KeyFilter struct {
	blocks []keyBlock
	added  atomic.Int64
}

type keyBlock [8]atomic.Uint64

// NewKeyFilter makes a filter for about keys keys. With more it lets more of the
// others through.
func NewKeyFilter(keys int) *KeyFilter {
	return &KeyFilter{blocks: make([]keyBlock, max(keys, 1)*12/512+1)}
}

// Add says that key exists.
func (f *KeyFilter) Add(key string) { f.add(xxhash.Sum64String(key)) }

func (f *KeyFilter) add(h uint64) {
	b := f.block(h)
	for range keyProbes {
		h = h*0x9e3779b97f4a7c15 + 1
		b[h>>61].Or(1 << (h >> 55 & 63))
	}
	f.added.Add(1)
}

// MayContain reports whether key was added; sometimes it is wrong and says yes.
func (f *KeyFilter) MayContain(key string) bool { return f.mayContain(xxhash.Sum64String(key)) }

func (f *KeyFilter) mayContain(h uint64) bool {
	b := f.block(h)
	for range keyProbes {
		h = h*0x9e3779b97f4a7c15 + 1
		if b[h>>61].Load()&(1<<(h>>55&63)) == 0 {
			return false
		}
	}
	return true
}

const keyProbes = 7

// block uses the upper half of a product, so each has the same chance.
func (f *KeyFilter) block(h uint64) *keyBlock {
	i, _ := bits.Mul64(h, uint64(len(f.blocks)))
	return &f.blocks[i]
}

// Len returns how many keys were added, counting one each time.
func (f *KeyFilter) Len() int64 { return f.added.Load() }

// Bytes returns the memory of the filter.
func (f *KeyFilter) Bytes() int64 { return int64(len(f.blocks)) * 64 }
