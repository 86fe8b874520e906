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
		if c.life.Err() != nil {
			continue
		}
		c.prepare(b)
		c.wmu.Lock()
		c.ready = append(c.ready, b)
		close(c.turned)
		c.turned = make(chan struct{})
		c.wmu.Unlock()
	}
}

// flush writes a sealed buffer to its segment and lets readers go to the file.
func (c *Cache) flush(b *buffer) {
	b.writers.Wait()
	c.tidy(b)
	putFooter(b.data, b.entries, b.seed, b.stamp)
	begin := time.Now()
	err := c.writeSegment(b)
	c.writeOp.Observe(noContext, time.Since(begin), err)
	if err == nil {
		c.detach(b, b.stamp)
		return
	}
	// What the file holds there is unknown now: its items go.
	c.writeErrors.Add(1)
	c.opts.Logger.LogAttrs(noContext, slog.LevelError, "ssdcache: segment lost",
		slog.String("path", c.path), slog.Int("segment", b.seg), slog.Any("err", err))
	for _, e := range b.entries {
		c.drop(e.hash, b.seg)
	}
	c.detach(b, 0)
}

// tidy takes out the entries that do not count: fills that came too late, and
// items that stayed but were replaced or deleted since. The latter may have been
// by a record in an older segment, one that was active when they moved; if their
// entries stayed, a start after a crash would take them for the newer ones.
func (c *Cache) tidy(b *buffer) {
	good := b.entries[:0]
	for i, e := range b.entries {
		if e == void || i < b.kept && !c.points(e, b) {
			continue
		}
		good = append(good, e)
	}
	b.entries = good
}

// points reports whether the index has an entry's record in b.
func (c *Cache) points(e logEntry, b *buffer) bool {
	shardNo, tag := place(e.hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.findLocked(tag)
	return i >= 0 && sh.slots[i].same(c.geometry.newSlot(tag, b.stamp, e.off(), e.units()))
}

// writeSegment writes the records and the footer, leaving out a gap between
// them that is worth a seek. The footer is last: it says that all is there.
func (c *Cache) writeSegment(b *buffer) error {
	recordsEnd := (b.pos + pageSize - 1) &^ (pageSize - 1)
	footer := (len(b.data) - footerSize(len(b.entries))) &^ (pageSize - 1)
	if footer-recordsEnd < writeSize {
		return c.pwrite(b.data, c.offset(b.seg))
	}
	if err := c.pwrite(b.data[:recordsEnd], c.offset(b.seg)); err != nil {
		return err
	}
	return c.pwrite(b.data[footer:], c.offset(b.seg)+int64(footer))
}

// detach sends the readers of a buffer to the file, which has records of the
// use stamp.
func (c *Cache) detach(b *buffer, stamp uint64) {
	seg := &c.segs[b.seg]
	seg.stamp.Store(stamp)
	seg.buf.Store(nil)
	// Wait for those who found it before.
	b.mu.Lock()
	defer b.mu.Unlock()
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
	c.stamp++
	c.assign(b, c.stamp)
	// Before anything of the segment goes: now a start after a crash knows it
	// for one whose items may have been replaced without a note.
	c.beginJournal(b)
	seg := &c.segs[b.seg]
	var kept []keptItem
	if seg.stamp.Load() != 0 {
		kept = c.evict(b)
	}
	b.kept = len(b.entries)
	seg.kept.Store(uint32(b.pos / unit))
	seg.buf.Store(b)
	for _, k := range kept {
		c.move(k, b)
	}
}

// assign makes b the buffer of a segment's use.
func (c *Cache) assign(b *buffer, stamp uint64) {
	b.stamp, b.seed = stamp, seed(c.secret, stamp)
	b.seg, b.turn = c.geometry.use(stamp)
	b.pos, b.entries, b.kept = 0, b.entries[:0], 0
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
	entries, err := c.readFooter(b.seg)
	if err != nil {
		if errors.Is(err, errDamaged) {
			c.corrupt.Add(1)
		} else {
			c.readErrors.Add(1)
		}
		for i := range c.shards {
			c.evicted.Add(uint64(c.shards[i].removeIf(func(s slot) bool { return s.seg() == b.seg })))
		}
		return nil
	}
	rooms := c.rooms(b.seg, entries, int(c.opts.Keep*float64(len(b.data))))
	for _, e := range entries {
		shardNo, tag := place(e.hash)
		sh := &c.shards[shardNo]
		sh.mu.Lock()
		if i := sh.findEntryLocked(tag, b.seg, e); i >= 0 {
			s := sh.slots[i]
			if room, n := &rooms[s.hits()], s.units()*unit; !s.dead() && n <= *room {
				*room -= n
				kept = append(kept, keptItem{hash: e.hash, from: s})
			} else {
				sh.removeLocked(i)
				c.evicted.Add(1)
				if c.door != nil {
					c.door.admit(e.hash, n) // it may come back at once
				}
			}
		}
		sh.mu.Unlock()
	}
	return c.salvage(b, kept)
}

// rooms shares out what may be kept of a segment, in bytes for each count of
// hits: those with most come first, and those with one get no more than two
// fifths, for they are seldom read again.
func (c *Cache) rooms(seg int, entries []logEntry, room int) (rooms [hitsMask + 1]int) {
	if room == 0 || c.spent() {
		return rooms
	}
	for _, e := range entries {
		shardNo, tag := place(e.hash)
		sh := &c.shards[shardNo]
		sh.mu.Lock()
		if i := sh.findEntryLocked(tag, seg, e); i >= 0 {
			rooms[sh.slots[i].hits()] += e.units() * unit
		}
		sh.mu.Unlock()
	}
	left := room
	for hits := hitsMask; hits > 1; hits-- {
		rooms[hits] = min(rooms[hits], left)
		left -= rooms[hits]
	}
	rooms[1] = min(rooms[1], max(left-room*3/5, 0))
	rooms[0] = 0
	return rooms
}

// salvage copies the records of kept items to b, reading the segment once from
// front to back, and returns those that were whole.
func (c *Cache) salvage(b *buffer, kept []keptItem) []keptItem {
	old := seed(c.secret, c.segs[b.seg].stamp.Load())
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
			if err := c.preadAlone(window, c.offset(b.seg)+int64(off)); err != nil {
				c.readErrors.Add(1)
				window = window[:0]
			}
		}
		if off+n <= windowOff+len(window) {
			rec := window[off-windowOff:][:n]
			_, _, _, expires, ok := parseRecord(rec, old)
			if !ok {
				c.corrupt.Add(1)
			}
			if ok && (expires == 0 || expires > time.Now().UnixMilli()) {
				k.off = b.add(k.hash, n)
				copy(b.data[k.off:], rec)
				reseed(b.data[k.off:k.off+n], b.seed)
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
	if sh.slots[i].dead() {
		sh.removeLocked(i)
		c.evicted.Add(1)
		return
	}
	sh.slots[i] = c.geometry.newSlot(tag, b.stamp, k.off/unit, k.from.units())
	c.kept.Add(1)
}

// readFooter returns the entries of what was written to a segment, until the
// next call.
func (c *Cache) readFooter(seg int) ([]logEntry, error) {
	stamp := c.segs[seg].stamp.Load()
	if c.tail == nil {
		c.tail = make([]byte, min(64<<10, c.geometry.segmentSize))
	}
	tail := c.tail
	for {
		off := c.offset(seg) + int64(c.geometry.segmentSize-len(tail))
		if err := c.preadAlone(tail, off); err != nil {
			return nil, err
		}
		entries, need, ok := parseFooter(c.scratch[:0], tail, c.geometry.segmentSize, seed(c.secret, stamp), stamp)
		c.scratch = entries
		if ok {
			return entries, nil
		}
		if need <= len(tail) || need > c.geometry.segmentSize {
			return nil, errDamaged
		}
		tail = make([]byte, need)
		c.tail = tail
	}
}

// stop writes everything and gives the file free.
func (c *Cache) stop() error {
	close(c.sealed)
	<-c.idle
	c.closed.Store(true) // from here on nobody reads buffers
	rest := append([]*buffer{c.active}, c.ready...)
	// The last prepared ones that got no items are next again.
	for i := len(rest) - 1; i >= 0 && rest[i].empty(); i-- {
		c.stamp--
		c.detach(rest[i], 0)
		rest = rest[:i]
	}
	for _, b := range rest {
		c.flush(b)
	}
	err := c.file.Sync()
	if err == nil && c.opts.Restart != Cold {
		err = c.saveIndex()
	}
	return errors.Join(err, c.closeDirect(), c.file.Close(), c.lock.Unlock())
}
