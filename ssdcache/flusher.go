package ssdcache

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// writeSize is the largest single write.
const writeSize = 1 << 20

var noContext = context.Background()

// flusher writes sealed buffers and makes each ready for the next segment.
func (c *Cache) flusher() {
	defer close(c.idle)
	for b := range c.sealed {
		c.flush(b)
		if c.life.Err() == nil {
			c.prepare(b)
			c.ready <- b
		}
	}
}

// flush writes a sealed buffer to its segment and lets readers go to the file.
func (c *Cache) flush(b *buffer) {
	b.writers.Wait()
	putFooter(b.data, b.hashes, b.stamp)
	begin := time.Now()
	err := c.writeSegment(b)
	c.writeOp.Observe(noContext, time.Since(begin), err)
	if err != nil {
		// What the file holds there is unknown now: its items go.
		c.writeErrors.Add(1)
		c.opts.Logger.LogAttrs(noContext, slog.LevelError, "ssdcache: segment lost",
			slog.String("path", c.path), slog.Int("segment", b.seg), slog.Any("err", err))
		for _, h := range b.hashes {
			c.drop(h, b.seg)
		}
	}
	c.detach(b)
}

// writeSegment writes the records and the footer, leaving out a gap between
// them that is worth a seek.
func (c *Cache) writeSegment(b *buffer) error {
	recordsEnd := (b.pos + pageSize - 1) &^ (pageSize - 1)
	footer := (len(b.data) - footerSize(len(b.hashes))) &^ (pageSize - 1)
	if footer-recordsEnd < writeSize {
		return c.pwrite(b.data, c.offset(b.seg))
	}
	return errors.Join(
		c.pwrite(b.data[:recordsEnd], c.offset(b.seg)),
		c.pwrite(b.data[footer:], c.offset(b.seg)+int64(footer)))
}

func (c *Cache) pwrite(data []byte, off int64) error {
	for len(data) > 0 {
		n, err := c.file.WriteAt(data[:min(len(data), writeSize)], off)
		c.deviceBytes.Add(uint64(n))
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

// detach sends the readers of a buffer to the file.
func (c *Cache) detach(b *buffer) {
	seg := &c.segs[b.seg]
	seg.stamp.Store(b.stamp)
	seg.buf.Store(nil)
	b.mu.Lock() // waits for those who found it before
	b.mu.Unlock()
}

// drop removes the item of a hash if it is in segment seg.
func (c *Cache) drop(hash uint64, seg int) bool {
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.findLocked(tag)
	if i < 0 || sh.slots[i].seg() != seg {
		return false
	}
	sh.removeLocked(i)
	return true
}

// prepare empties the oldest segment and makes b its buffer. Items of it that
// were read may stay: their records go into b.
func (c *Cache) prepare(b *buffer) {
	b.seg, b.pos, b.hashes = c.next, 0, b.hashes[:0]
	c.next = (c.next + 1) % c.geometry.segments
	c.stamp++
	b.stamp = c.stamp
	seg := &c.segs[b.seg]
	seg.turn ^= 1
	b.turn = seg.turn
	var kept []keptItem
	if seg.stamp.Load() != 0 {
		kept = c.evict(b)
	}
	seg.buf.Store(b)
	for _, k := range kept {
		c.move(k, b)
	}
}

// keptItem is an item that stays in the cache when its segment is reused.
type keptItem struct {
	hash uint64
	from slot
	off  int // in the new buffer
}

// evict removes the items of b's segment from the index, except those that are
// kept: their records are copied to b. Their slots still have the old place.
func (c *Cache) evict(b *buffer) (kept []keptItem) {
	hashes, ok := c.readFooter(b.seg)
	if !ok {
		c.evictAll(b.seg)
		return nil
	}
	room := int(c.opts.Keep * float64(len(b.data)))
	for _, h := range hashes {
		shardNo, tag := place(h)
		sh := &c.shards[shardNo]
		sh.mu.Lock()
		if i := sh.findLocked(tag); i >= 0 && sh.slots[i].seg() == b.seg {
			s := sh.slots[i]
			if n := s.units() * unit; s.hit() && n <= room {
				room -= n
				kept = append(kept, keptItem{hash: h, from: s})
			} else {
				sh.removeLocked(i)
				c.evicted.Add(1)
			}
		}
		sh.mu.Unlock()
	}
	return c.salvage(b, kept)
}

// salvage copies the records of kept items to b, reading the segment once from
// front to back, and returns those that were whole.
func (c *Cache) salvage(b *buffer, kept []keptItem) []keptItem {
	old := c.segs[b.seg].stamp.Load()
	var window []byte // the bytes of the segment from windowOff on
	windowOff := 0
	good := kept[:0]
	for _, k := range kept {
		off, n := k.from.off()*unit, k.from.units()*unit
		if off < windowOff || off+n > windowOff+len(window) {
			size := min(max(n, writeSize), len(b.data)-off)
			if cap(window) < size {
				window = make([]byte, max(size, min(writeSize, len(b.data))))
			}
			window, windowOff = window[:size], off
			if err := c.pread(window, c.offset(b.seg)+int64(off)); err != nil {
				c.readErrors.Add(1)
				window = window[:0]
			}
		}
		if off+n <= windowOff+len(window) {
			rec := window[off-windowOff:][:n]
			_, _, expires, v := parseRecord(rec, old)
			if v == whole && (expires == 0 || expires > time.Now().UnixMilli()) {
				k.off = b.add(k.hash, n)
				copy(b.data[k.off:], rec)
				restamp(b.data[k.off:k.off+n], b.stamp)
				good = append(good, k)
				continue
			}
		}
		if c.drop(k.hash, b.seg) {
			c.evicted.Add(1)
		}
	}
	return good
}

// move points the index to a kept item's new place, unless the item was
// deleted or set meanwhile.
func (c *Cache) move(k keptItem, b *buffer) {
	shardNo, tag := place(k.hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.findLocked(tag)
	if i < 0 || !sh.slots[i].same(k.from) {
		return
	}
	sh.slots[i] = newSlot(tag, b, k.off, k.from.units()*unit)
	c.kept.Add(1)
}

// readFooter returns the hashes of what was written to a segment.
func (c *Cache) readFooter(seg int) ([]uint64, bool) {
	stamp := c.segs[seg].stamp.Load()
	tail := make([]byte, min(64<<10, c.geometry.segmentSize))
	for {
		off := c.offset(seg) + int64(c.geometry.segmentSize-len(tail))
		if err := c.pread(tail, off); err != nil {
			c.readErrors.Add(1)
			return nil, false
		}
		hashes, need, ok := parseFooter(c.scratch[:0], tail, stamp)
		c.scratch = hashes
		if ok {
			return hashes, true
		}
		if need <= len(tail) || need > c.geometry.segmentSize {
			c.corrupt.Add(1)
			return nil, false
		}
		tail = make([]byte, need)
	}
}

// evictAll is eviction without a footer: it looks at the whole index.
func (c *Cache) evictAll(seg int) {
	for n := range c.shards {
		sh := &c.shards[n]
		sh.mu.Lock()
		for i := 0; i < len(sh.slots); {
			if sh.slots[i].ext != 0 && sh.slots[i].seg() == seg {
				sh.removeLocked(i) // another one may have moved to i
				c.evicted.Add(1)
				continue
			}
			i++
		}
		sh.mu.Unlock()
	}
}

// stop writes everything and gives the file free.
func (c *Cache) stop() error {
	c.wmu.Lock()
	if c.active != nil {
		c.sealed <- c.active
		c.active = nil
	}
	c.wmu.Unlock()
	close(c.sealed)
	<-c.idle
	c.closed.Store(true) // from here on nobody reads buffers
	var rest []*buffer
	for len(c.ready) > 0 {
		rest = append(rest, <-c.ready)
	}
	// The last prepared ones that got no items are next again.
	for i := len(rest) - 1; i >= 0 && rest[i].pos == 0; i-- {
		c.next = rest[i].seg
		c.detach(rest[i])
		c.segs[c.next].stamp.Store(0)
		rest = rest[:i]
	}
	for _, b := range rest {
		c.flush(b)
	}
	err := c.file.Sync()
	if err == nil {
		err = c.saveIndex()
	}
	return errors.Join(err, c.file.Close(), c.lock.Unlock())
}
