package ssdcache

import (
	"cmp"
	"slices"
	"sync"
)

// Items that lie closer together than mergeGap in the file are read with one
// pread, as far as that is no longer than mergeMax: what was set together and is
// wanted together costs one read. A few pages more cost less than another read.
const (
	mergeGap = 16 << 10
	mergeMax = 256 << 10
)

// Batch is the room for the values of one GetMany. It can be used again, by one
// goroutine at a time; the zero value is ready to use.
type Batch struct {
	room   []byte
	items  []batchItem
	order  []int // of those in the file, by their place
	late   []run // of those, not in the page cache
	hashes []uint64
}

type batchItem struct {
	hash   uint64
	at     slot
	stamp  uint64
	lo, hi int // the value in room; lo = -1: there is none
}

// Value returns the value of keys[i] of the last GetMany. It belongs to the
// Batch and is good until the next one.
func (b *Batch) Value(i int) (value []byte, found bool) {
	it := &b.items[i]
	if it.lo < 0 {
		return nil, false
	}
	return b.room[it.lo:it.hi:it.hi], true
}

// Bytes returns the memory that b keeps for values.
func (b *Batch) Bytes() int { return cap(b.room) }

// Len returns the number of keys of the last GetMany.
func (b *Batch) Len() int { return len(b.items) }

// GetMany is Get for several keys. It reads them in the order in which they lie
// in the file, neighbours with one pread, and on Linux and with Options.Direct
// the disk reads the others at the same time. It allocates nothing once b has
// grown; a b that has become very large is the caller's to let go. Errors:
// ErrClosed.
func (c *Cache) GetMany(b *Batch, keys [][]byte) error {
	b.hashes = b.hashes[:0]
	for _, key := range keys {
		b.hashes = append(b.hashes, c.hash(key))
	}
	return c.getMany(b, keys, b.hashes)
}

func (c *Cache) getMany(b *Batch, keys [][]byte, hashes []uint64) error {
	b.room, b.items, b.order = b.room[:0], b.items[:0], b.order[:0]
	if c.closed.Load() {
		return ErrClosed
	}
	for i, key := range keys {
		it := batchItem{hash: hashes[i], lo: -1}
		at, buf, stamp, ok := c.find(it.hash)
		switch {
		case !ok:
		case buf != nil:
			lo := len(b.room)
			room, _, v := c.fromBuffer(b.room, key, buf, at)
			if b.room = room; v == whole {
				it.lo, it.hi = lo, len(room)
			} else if c.blame(it.hash, at, v, nil) {
				b.room = room[:lo]
				it.read(c, b, key)
			}
		default:
			it.at, it.stamp = at, stamp
			b.order = append(b.order, i)
		}
		b.items = append(b.items, it)
	}
	slices.SortFunc(b.order, func(i, j int) int {
		x, y := b.items[i].at, b.items[j].at
		return cmp.Or(cmp.Compare(x.seg(), y.seg()), cmp.Compare(x.off(), y.off()))
	})
	c.readBatch(b, keys)
	if c.closed.Load() {
		return ErrClosed
	}
	return nil
}

// read is Get for one item of a batch.
func (it *batchItem) read(c *Cache, b *Batch, key []byte) {
	lo := len(b.room)
	room, _, err := c.get(b.room, key, it.hash)
	if b.room = room; err == nil {
		it.lo, it.hi = lo, len(room)
	}
}

// run is the items order[from:to], which are read together into room[lo:].
type run struct{ from, to, lo, size int }

// readBatch reads the items in the file.
func (c *Cache) readBatch(b *Batch, keys [][]byte) {
	lo, size := len(b.room), 0
	for r := b.nextRun(0, lo); r.from < r.to; r = b.nextRun(r.to, r.lo+r.size) {
		size += r.size
	}
	b.room = slices.Grow(b.room, size)[:lo+size]
	if c.direct != nil {
		c.readRuns(b, keys, lo)
	} else {
		// The disk reads the late ones together.
		b.late = b.late[:0]
		for r := b.nextRun(0, lo); r.from < r.to; r = b.nextRun(r.to, r.lo+r.size) {
			if !c.readRun(b, keys, r, c.preadCached) {
				b.late = append(b.late, r)
			}
		}
		for _, r := range b.late {
			c.readRun(b, keys, r, c.pread)
		}
	}
	// What was not as expected has moved, is compressed or is gone: Get knows.
	for _, i := range b.order {
		if it := &b.items[i]; it.lo < 0 {
			it.read(c, b, keys[i])
		}
	}
}

// readRuns reads all runs at the same time: each waits for the disk.
func (c *Cache) readRuns(b *Batch, keys [][]byte, lo int) {
	var wg sync.WaitGroup
	for r := b.nextRun(0, lo); r.from < r.to; r = b.nextRun(r.to, r.lo+r.size) {
		if r.to == len(b.order) {
			c.readRun(b, keys, r, c.pread)
		} else {
			wg.Go(func() { c.readRun(b, keys, r, c.pread) })
		}
	}
	wg.Wait()
}

// nextRun returns the run that begins with order[from]; an empty one at the end.
func (b *Batch) nextRun(from, lo int) run {
	r := run{from, from, lo, 0}
	if from == len(b.order) {
		return r
	}
	first := b.items[b.order[from]].at
	for _, i := range b.order[from:] {
		at := b.items[i].at
		end := (at.off() + at.units() - first.off()) * unit
		if r.to > from && (at.seg() != first.seg() || (at.off()-first.off())*unit > r.size+mergeGap || end > mergeMax) {
			break
		}
		r.to++
		r.size = max(r.size, end)
	}
	return r
}

// readRun reads a run and finds its values in it; false: it could not be read.
func (c *Cache) readRun(b *Batch, keys [][]byte, r run, read func(p []byte, off int64) error) bool {
	first := b.items[b.order[r.from]].at
	data := b.room[r.lo : r.lo+r.size]
	if read(data, c.offset(first.seg())+int64(first.off()*unit)) != nil {
		return false
	}
	for _, i := range b.order[r.from:r.to] {
		it := &b.items[i]
		off := (it.at.off() - first.off()) * unit
		value, raw, _, v := match(data[off:off+it.at.units()*unit], keys[i], seed(c.secret, it.stamp))
		if v != whole || raw != 0 {
			continue
		}
		c.deviceHits.Add(1)
		it.lo = r.lo + off + headerSize + len(keys[i])
		it.hi = it.lo + len(value)
	}
	return true
}
