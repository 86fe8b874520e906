package ssdcache

import "sync"

// The index maps the hash of a key to the place of its record: 12 bytes an item
// without pointers, so the garbage collector never looks inside.
//
// A key's hash picks one of 256 shards and a 28-bit tag. A shard is a table in
// the order of the tags: an item stands at its home, tag*n/2^28, or right after
// the items before it. So a search begins at the home and ends at the first
// larger tag, the table may be nine tenths full, and it can have any size, which
// lets it grow by an eighth at a time. Two keys with the same shard and tag
// (36 bits) take one slot: the later one evicts the earlier, and reading the
// earlier finds another key's record and misses.
const (
	shardCount = 256
	tagBits    = 28
	unit       = 64 // records begin at multiples of it in bytes
	offBits    = 20
	hitsShift  = 16
	hitsMask   = 3
	turnShift  = 18
	deadBit    = 1 << 19
)

// slot is an item of the index. hi has the tag and the segment's upper 4 bits,
// lo its lower 12 bits and the offset in units, ext the length in units, a
// counter of hits, the turn, one bit that flips with each use of the segment,
// and the dead bit: what is there has expired or is damaged, but still has to be
// replaced, so that it does not come back after a crash. A length of 0 marks an
// empty slot.
type slot struct{ hi, lo, ext uint32 }

// newSlot is the slot of a record in the use stamp of a segment; off and n are
// in units.
func (g geometry) newSlot(tag uint32, stamp uint64, off, n int) slot {
	seg, turn := g.use(stamp)
	return slot{
		hi:  tag<<4 | uint32(seg)>>12,
		lo:  uint32(seg)<<offBits | uint32(off),
		ext: uint32(n) | turn<<turnShift,
	}
}

// use says which segment a stamp is of, and the turn of its slots.
func (g geometry) use(stamp uint64) (seg int, turn uint32) {
	n := uint64(g.segments)
	return int(stamp % n), uint32(stamp/n) & 1
}

// later reports whether a slot's place was reserved after the one at off, in
// units, of the use stamp, which is still in memory. Only the few uses after
// that can be later.
func (g geometry) later(s slot, stamp uint64, off int) bool {
	d := (s.seg() - int(stamp%uint64(g.segments)) + g.segments) % g.segments
	if d >= g.buffers {
		return false
	}
	_, turn := g.use(stamp + uint64(d))
	return s.turn() == turn && (d > 0 || s.off() > off)
}

func (s slot) tag() uint32 { return s.hi >> 4 }
func (s slot) seg() int    { return int(s.hi&15<<12 | s.lo>>offBits) }
func (s slot) off() int    { return int(s.lo & (1<<offBits - 1)) }
func (s slot) units() int  { return int(s.ext & 0xffff) }
func (s slot) hits() int   { return int(s.ext >> hitsShift & hitsMask) }
func (s slot) dead() bool  { return s.ext&deadBit != 0 }

// in reports whether a slot's record is in b, which the caller has a part of.
func (s slot) in(b *buffer) bool { return s.seg() == b.seg && s.turn() == b.turn }

func (s slot) turn() uint32 { return s.ext >> turnShift & 1 }

// same reports whether both point to the same record.
func (s slot) same(o slot) bool {
	const ignore = hitsMask<<hitsShift | deadBit
	return s.hi == o.hi && s.lo == o.lo && s.ext&^ignore == o.ext&^ignore
}

// place splits a hash into its shard and tag.
func place(hash uint64) (shard, tag uint32) {
	return uint32(hash >> 56), uint32(hash>>tagBits) & (1<<tagBits - 1)
}

// shard is one part of the index. No other lock is taken while mu is held,
// except a buffer's read lock.
type shard struct {
	mu    sync.Mutex
	slots []slot // n homes and some room for the last ones' overflow
	n     uint64 // homes
	count int

	misses uint64 // of keys that are not in the index
}

func (s *shard) home(tag uint32) int { return int(uint64(tag) * s.n >> tagBits) }

// findLocked returns the slot of tag and its position; -1 if there is none.
func (s *shard) findLocked(tag uint32) int {
	for i := s.home(tag); i < len(s.slots) && s.slots[i].ext != 0; i++ {
		if t := s.slots[i].tag(); t >= tag {
			if t == tag {
				return i
			}
			break
		}
	}
	return -1
}

// findEntryLocked returns the slot of tag if its record is a segment's entry; -1
// if not.
func (s *shard) findEntryLocked(tag uint32, seg int, e logEntry) int {
	i := s.findLocked(tag)
	if i >= 0 && s.slots[i].seg() == seg && s.slots[i].off() == e.off() {
		return i
	}
	return -1
}

// putLocked sets the slot of v's tag and returns the one that was there.
func (s *shard) putLocked(v slot) (old slot) {
	for {
		i := s.home(v.tag())
		for i < len(s.slots) && s.slots[i].ext != 0 && s.slots[i].tag() < v.tag() {
			i++
		}
		if i < len(s.slots) && s.slots[i].ext != 0 && s.slots[i].tag() == v.tag() {
			old, s.slots[i] = s.slots[i], v
			return old
		}
		free := i
		for free < len(s.slots) && s.slots[free].ext != 0 {
			free++
		}
		if free == len(s.slots) && s.n > 2*uint64(s.count)+64 {
			free-- // see growLocked; the largest tag makes room
			s.count--
			if i > free {
				i = free
			}
		} else if free == len(s.slots) || uint64(s.count+1)*10 > s.n*9 {
			s.growLocked()
			continue
		}
		copy(s.slots[i+1:free+1], s.slots[i:free])
		s.slots[i] = v
		s.count++
		return slot{}
	}
}

// removeLocked empties slot i and moves those after it back towards their homes.
func (s *shard) removeLocked(i int) {
	for i+1 < len(s.slots) && s.slots[i+1].ext != 0 && s.home(s.slots[i+1].tag()) <= i {
		s.slots[i] = s.slots[i+1]
		i++
	}
	s.slots[i] = slot{}
	s.count--
}

// fill makes the table of slots in the order of their tags.
func (s *shard) fill(sorted []slot) {
	s.count = len(sorted)
	for n := uint64(len(sorted))*10/9 + 8; !s.layOut(sorted, n); {
		n += n/8 + 8
	}
}

// layOut makes the table with n homes; it may not fit behind the last one.
func (s *shard) layOut(sorted []slot, n uint64) bool {
	slots := make([]slot, n+n/64+8)
	next, count := 0, 0
	for _, v := range sorted {
		if v.ext == 0 {
			continue
		}
		if next = max(next, int(uint64(v.tag())*n>>tagBits)); next == len(slots) {
			break
		}
		slots[next] = v
		next++
		count++
	}
	if count < s.count && n <= 2*uint64(s.count)+64 {
		return false
	}
	s.n, s.slots, s.count = n, slots, count
	return true
}

// growLocked makes the table an eighth larger, more if a run of items would not
// fit behind the last home. Tags so uneven that half of the table would stay
// empty do not come from keys; then the run's last items are evicted.
func (s *shard) growLocked() {
	for n := s.n + s.n/8 + 8; !s.layOut(s.slots, n); {
		n += n/8 + 8
	}
}

// settle ends the reading of v's record that failed: if v still is in the
// index, the record is bad and, with bury set, dead. Otherwise it has moved.
func (s *shard) settle(v slot, bury bool) (moved bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.findLocked(v.tag())
	if i < 0 || !s.slots[i].same(v) {
		return true
	}
	if bury {
		s.slots[i].ext |= deadBit
	}
	return false
}

// restore sets the slot of v's tag if there is none.
func (s *shard) restore(v slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.findLocked(v.tag()) < 0 {
		s.putLocked(v)
	}
}

// removeIf removes the slots that bad says.
func (s *shard) removeIf(bad func(slot) bool) (removed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 0; i < len(s.slots); {
		if s.slots[i].ext != 0 && bad(s.slots[i]) {
			s.removeLocked(i) // another one may have moved to i
			removed++
			continue
		}
		i++
	}
	return removed
}
