package ssdcache

import (
	"sync"
	"sync/atomic"
	"time"
)

// segment is a fixed part of the file. Segments are used in a circle: the one
// that comes up is the oldest, and all that is in it goes.
//
// When one comes up, its items that may stay are copied to its new buffer and
// moved there one by one. Until that is done there are two kinds of slots: those
// with the buffer's turn have their record in the buffer, the others in the
// file, which is overwritten only after the last of them has gone.
type segment struct {
	stamp atomic.Uint64          // of the records in the file; 0: none
	buf   atomic.Pointer[buffer] // the next records while they are in memory
	turn  uint32                 // of the last use; the flusher's
}

// buffer is a segment in memory. It goes round: prepared for the next segment
// (ready), filled by Set (active), waiting for the disk (sealed), written.
type buffer struct {
	mu      sync.RWMutex   // read-held while a record is read, held to detach
	writers sync.WaitGroup // Sets that copy into their part of data

	data   []byte
	seg    int
	turn   uint32
	stamp  uint64
	pos    int      // guarded by Cache.wmu while active
	hashes []uint64 // of the records' keys; guarded by Cache.wmu while active
}

// fits reports whether a record of n bytes and its part of the footer fit.
func (b *buffer) fits(n int) bool {
	return b.pos+n+footerSize(len(b.hashes)+1) <= len(b.data)
}

// add takes n bytes for a record.
func (b *buffer) add(hash uint64, n int) (off int) {
	off = b.pos
	b.pos += n
	b.hashes = append(b.hashes, hash)
	return off
}

// reserve takes n bytes of the active buffer. The caller fills them and then
// calls writers.Done.
func (c *Cache) reserve(hash uint64, n int, full Full) (b *buffer, off int, err error) {
	var expiry <-chan time.Time
	c.wmu.Lock()
	for {
		if c.closing {
			c.wmu.Unlock()
			return nil, 0, ErrClosed
		}
		if b = c.active; b != nil {
			if b.fits(n) {
				off = b.add(hash, n)
				b.writers.Add(1)
				c.wmu.Unlock()
				return b, off, nil
			}
			c.active = nil
			c.sealed <- b // has room for all buffers
		}
		select {
		case c.active = <-c.ready:
			continue
		default:
		}
		c.wmu.Unlock()
		switch full {
		case Drop:
			return nil, 0, errDropped
		case Fail:
			return nil, 0, ErrBusy
		}
		if expiry == nil {
			c.blocked.Add(1)
			timer := time.NewTimer(c.opts.Wait)
			defer timer.Stop()
			expiry = timer.C
		}
		select {
		case b = <-c.ready:
		case <-c.life.Done():
			return nil, 0, ErrClosed
		case <-expiry:
			return nil, 0, ErrBusy
		}
		c.wmu.Lock()
		if c.active == nil && !c.closing {
			c.active = b
		} else {
			c.ready <- b // has room for all buffers
		}
	}
}
