package ssdcache

import (
	"sync"
	"sync/atomic"
	"time"
)

// Admission says which new items Set writes.
type Admission uint8

const (
	// AdmitAll writes every item.
	AdmitAll Admission = iota

	// RejectFirst writes a key that is not cached only when it is set for the
	// second time within about as many different keys as the cache has room for.
	// Most keys are wanted once; this saves their writes, half to three quarters
	// of all, and leaves the room to the others. Use it behind a memory tier. It
	// takes 3 bytes of memory for each item that there is room for.
	RejectFirst
)

// doorkeeper remembers the keys that were set lately: those of the generation
// that fills and those of the one before, each in a Bloom filter.
type doorkeeper struct {
	size int64 // of the file

	seen, bytes atomic.Int64 // offered so far, and the size of their records

	mu       sync.Mutex // held to begin a generation
	now, old atomic.Pointer[generation]
}

type generation struct {
	filter *KeyFilter
	keys   atomic.Int64
	room   int64
}

// admit reports whether a key that is not cached was offered lately.
func (d *doorkeeper) admit(hash uint64, record int) bool {
	d.seen.Add(1)
	d.bytes.Add(int64(record))
	g := d.now.Load()
	if g == nil || g.keys.Load() >= g.room {
		g = d.begin(g)
	}
	if g.filter.mayContain(hash) {
		return true
	}
	g.filter.add(hash)
	g.keys.Add(1)
	old := d.old.Load()
	return old != nil && old.filter.mayContain(hash)
}

// begin makes a generation with room for as many keys as fit into the file,
// going by the records so far.
func (d *doorkeeper) begin(full *generation) *generation {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g := d.now.Load(); g != full {
		return g
	}
	record := max(d.bytes.Load()/d.seen.Load(), unit)
	// Two generations of seven eighths each remember one and a third times what
	// fits, on average.
	g := &generation{room: max(d.size*7/8/(record+entrySize), 64)}
	g.filter = NewKeyFilter(int(g.room))
	d.old.Store(full)
	d.now.Store(g)
	return g
}

// memory returns the size of the filters in bytes.
func (d *doorkeeper) memory() (n int64) {
	for _, g := range []*generation{d.now.Load(), d.old.Load()} {
		if g != nil {
			n += g.filter.Bytes()
		}
	}
	return n
}

// budget is how much may be written: so much a day, and an hour's worth at once.
type budget struct {
	perDay int64
	begin  time.Time
}

// left returns what may be written now, after written bytes since the begin.
func (b *budget) left(now time.Time, written uint64) int64 {
	const day = 24 * time.Hour
	elapsed := now.Sub(b.begin)
	days := int64(elapsed / day)
	grown := b.perDay/24 + days*b.perDay + int64(float64(b.perDay)*float64(elapsed%day)/float64(day))
	return grown - int64(written)
}

// spent reports whether the write budget is.
func (c *Cache) spent() bool {
	return c.budget.perDay > 0 && c.budget.left(time.Now(), c.deviceBytes.Load()) < 0
}
