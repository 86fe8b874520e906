package ssdcache

import "sync/atomic"

// counters are the atomic ones behind Stats.
type counters struct {
	bufferHits, deviceHits                atomic.Uint64
	expired, corrupt, otherKeys, raced    atomic.Uint64
	readErrors, writeErrors               atomic.Uint64
	sets, refused, blocked, deleted       atomic.Uint64
	rejected                              atomic.Uint64
	evicted, kept, userBytes, deviceBytes atomic.Uint64
}

// Stats is a snapshot of a Cache. Counters begin at zero with Open.
type Stats struct {
	Items       int64 // items in the index now, some of them expired or damaged
	IndexBytes  int64 // memory of the index in bytes
	IndexMax    int64 // its bound: the file full of the smallest items
	AdmitBytes  int64 // memory of RejectFirst in bytes
	BufferBytes int64 // bound of the write buffers' memory in bytes; fixed
	FileBytes   int64 // size of the file in bytes; fixed
	MaxItem     int   // largest record in bytes: 24, the key and the value
	Found       int64 // items that Open found in the file

	BufferHits uint64 // gets answered from memory; only grows
	DeviceHits uint64 // gets answered from the file; only grows
	Absent     uint64 // misses: not in the index; only grows
	Expired    uint64 // misses: past the expiry; only grows
	OtherKeys  uint64 // misses: the slot was another key's; only grows
	Raced      uint64 // misses: the record moved each time it was read; only grows
	Corrupt    uint64 // misses and evictions: bytes that were not what was written; only grows
	ReadErrors uint64 // misses and evictions: failed reads; only grows

	Sets        uint64 // items written to a buffer, Kept ones not counted; only grows
	Rejected    uint64 // sets not done because of Admission or WriteBudget; only grows
	Refused     uint64 // sets dropped or failed because sets outran the disk; only grows
	Blocked     uint64 // sets that waited for the disk; only grows
	Deleted     uint64 // items deleted; only grows
	Evicted     uint64 // items whose segment was reused; only grows
	Kept        uint64 // items that were written again instead; only grows
	WriteErrors uint64 // segments and journals lost because a write failed; only grows
	UserBytes   uint64 // keys and values of Sets in bytes; only grows
	DeviceBytes uint64 // bytes written to the file; over UserBytes it is the write amplification; only grows
}

// Stats returns the cache's counters. It locks each of 256 index shards once.
func (c *Cache) Stats() Stats {
	s := Stats{
		// Nine tenths full at most and an eighth more right after growing.
		IndexMax: c.geometry.items() * 16,
		// The records and, for the smallest ones, a quarter for their entries.
		BufferBytes: int64(c.opts.Buffers) * int64(c.geometry.segmentSize) * 5 / 4,
		FileBytes:   c.size,
		MaxItem:     c.maxItem,
		Found:       c.found,

		BufferHits: c.bufferHits.Load(),
		DeviceHits: c.deviceHits.Load(),
		Expired:    c.expired.Load(),
		OtherKeys:  c.otherKeys.Load(),
		Raced:      c.raced.Load(),
		Corrupt:    c.corrupt.Load(),
		ReadErrors: c.readErrors.Load(),

		Sets:        c.sets.Load(),
		Rejected:    c.rejected.Load(),
		Refused:     c.refused.Load(),
		Blocked:     c.blocked.Load(),
		Deleted:     c.deleted.Load(),
		Evicted:     c.evicted.Load(),
		Kept:        c.kept.Load(),
		WriteErrors: c.writeErrors.Load(),
		UserBytes:   c.userBytes.Load(),
		DeviceBytes: c.deviceBytes.Load(),
	}
	if c.door != nil {
		s.AdmitBytes = c.door.memory()
	}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		s.Items += int64(sh.count)
		s.IndexBytes += int64(cap(sh.slots)) * 12
		s.Absent += sh.misses
		sh.mu.Unlock()
	}
	return s
}

// tieredCounters are the atomic ones behind TieredStats.
type tieredCounters struct {
	memoryHits, diskHits, absentHits    atomic.Uint64
	pinHits                             atomic.Uint64
	loads, joined, loadErrors, notFound atomic.Uint64
	unfilled, undecoded, invalidated    atomic.Uint64
	tierHits, tierErrors                atomic.Uint64
	stale, refreshes, filtered          atomic.Uint64
}

// TieredStats is a snapshot of a Tiered.
type TieredStats struct {
	MemoryHits  uint64 // gets answered from memory; only grows
	AbsentHits  uint64 // gets answered ErrNotFound from memory; only grows
	PinHits     uint64 // of the two above those that only a pin had; only grows
	TierHits    uint64 // gets answered from the shared tier; only grows
	TierErrors  uint64 // calls of the shared tier that failed; only grows
	DiskHits    uint64 // gets answered from the cache on disk; only grows
	Filtered    uint64 // gets of keys that Keys knows not to exist; only grows
	Stale       uint64 // gets answered with a value past its TTL; only grows
	Loads       uint64 // calls of the loader, one for many keys counts one; only grows
	Refreshes   uint64 // of them those that nobody waited for; only grows
	Joined      uint64 // gets that waited for another's load; only grows
	NotFound    uint64 // loads that said ErrNotFound; only grows
	LoadErrors  uint64 // loads that failed; only grows
	Unfilled    uint64 // loaded values not put on disk: invalidated meanwhile, too large, the disk behind; only grows
	Undecoded   uint64 // values on disk that the codec refused; only grows
	Invalidated uint64 // calls of Invalidate; only grows
	MemoryBytes int64  // weight of the first tier in bytes now
	MemoryItems int64  // entries in the first tier now, some of them expired
	HotKeys     int    // keys pinned in the first tier now; see Tiered.HotKeys
	PinnedBytes int64  // weight of what is pinned in bytes now, most of it in MemoryBytes too
}

// Stats returns the counters since NewTiered.
func (t *Tiered[V]) Stats() TieredStats {
	s := TieredStats{
		MemoryHits:  t.memoryHits.Load(),
		AbsentHits:  t.absentHits.Load(),
		PinHits:     t.pinHits.Load(),
		TierHits:    t.tierHits.Load(),
		TierErrors:  t.tierErrors.Load(),
		DiskHits:    t.diskHits.Load(),
		Filtered:    t.filtered.Load(),
		Stale:       t.stale.Load(),
		Refreshes:   t.refreshes.Load(),
		Loads:       t.loads.Load(),
		Joined:      t.joined.Load(),
		NotFound:    t.notFound.Load(),
		LoadErrors:  t.loadErrors.Load(),
		Unfilled:    t.unfilled.Load(),
		Undecoded:   t.undecoded.Load(),
		Invalidated: t.invalidated.Load(),
	}
	if t.memory != nil {
		s.MemoryBytes = int64(t.memory.cache.WeightedSize())
		s.MemoryItems = int64(t.memory.cache.EstimatedSize())
		s.HotKeys, s.PinnedBytes = t.memory.pinned()
	}
	return s
}
