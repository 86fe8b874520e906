package ssdcache

import (
	"sync"
	"sync/atomic"
	"time"
)

// segment is a fixed part of the file. Segments are used in a circle, and each
// use has a stamp, one more than the use before: stamp s is of segment s mod
// their number. The segment that comes up is the oldest, and all that is in it
// goes.
//
// When one comes up, its items that may stay are copied to its new buffer and
// moved there one by one. Until that is done there are two kinds of slots: those
// with the buffer's turn have their record in the buffer, the others in the
// file, which is overwritten only after the last of them has gone.
type segment struct {
	stamp atomic.Uint64          // of the records in the file; 0: none
	buf   atomic.Pointer[buffer] // the next records while they are in memory
	kept  atomic.Uint32          // end of the items in buf that stayed, in units
}

// buffer is a segment in memory. It goes round: prepared for the next segment
// (ready), filled by Set (active), waiting for the disk (sealed), written.
type buffer struct {
	mu      sync.RWMutex   // read-held while a record is read, held to detach
	writers sync.WaitGroup // Sets that copy into their part of data

	no    int // of its journal
	data  []byte
	seg   int
	turn  uint32
	stamp uint64
	seed  uint32

	// Guarded by Cache.wmu while active.
	pos     int
	entries []logEntry
	kept    int // how many of them, the first, are of items that stayed

	journal journal
}

// maxEntries bounds the records and tombstones of a segment by what its journal
// holds. All records that fit are fewer, for with their entries they are larger.
func maxEntries(segmentSize int) int { return segmentSize/unit - 1 }

// marksShare is the part of a segment that records leave to tombstones: they are
// still taken while sets wait for the disk.
const marksShare = 256

// fits reports whether a record of n bytes, or for n = 0 a tombstone, and its
// entry fit.
func (b *buffer) fits(n int) bool {
	size, count := len(b.data), maxEntries(len(b.data))
	if n > 0 {
		size -= size / marksShare
		count -= size / marksShare / entrySize
	}
	return b.pos+n+footerSize(len(b.entries)+1) <= size && len(b.entries) < count
}

// add takes n bytes for a record.
func (b *buffer) add(hash uint64, n int) (off int) {
	off = b.pos
	b.pos += n
	b.entries = append(b.entries, newRecordEntry(hash, off, n))
	return off
}

// empty reports whether there is nothing to write.
func (b *buffer) empty() bool { return len(b.entries) == 0 }

// reserve takes n bytes of the active buffer at off, and entry at. The caller
// fills them and then calls writers.Done. n = 0
// makes a tombstone, which full does not apply to: it waits until there is room.
func (c *Cache) reserve(hash uint64, n int, full Full) (b *buffer, at, off int, err error) {
	var expiry <-chan time.Time
	c.wmu.Lock()
	for {
		if c.closing {
			c.wmu.Unlock()
			return nil, 0, 0, ErrClosed
		}
		b = c.active
		if b.fits(n) {
			at = len(b.entries)
			off = b.add(hash, n)
			b.writers.Add(1)
			c.wmu.Unlock()
			return b, at, off, nil
		}
		if len(c.ready) > 0 {
			c.active = c.ready[0]
			c.ready = append(c.ready[:0], c.ready[1:]...)
			c.sealed <- b // has room for all buffers
			continue
		}
		turned := c.turned
		c.wmu.Unlock()
		switch {
		case n == 0:
		case full == Drop:
			return nil, 0, 0, errDropped
		case full == Fail:
			return nil, 0, 0, ErrBusy
		case expiry == nil:
			c.blocked.Add(1)
			timer := time.NewTimer(c.opts.Wait)
			defer timer.Stop()
			expiry = timer.C
		}
		select {
		case <-turned:
		case <-c.life.Done():
			return nil, 0, 0, ErrClosed
		case <-expiry:
			return nil, 0, 0, ErrBusy
		}
		c.wmu.Lock()
	}
}

// cancel takes back an entry of a buffer that the caller has a part of.
func (c *Cache) cancel(b *buffer, at int) {
	c.wmu.Lock()
	b.entries[at] = void
	c.wmu.Unlock()
}
