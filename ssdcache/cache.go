package ssdcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/heddle-go/heddle/internal/disk"
	"github.com/heddle-go/heddle/watchman"
)

// readers bounds the preads at a time. Each holds an operating system thread,
// and beyond about sixteen a disk answers later but not more.
const readers = 32

// Cache is a bounded cache in one file. It is safe for concurrent use.
//
// Locks, in the order they may nest: a shard's mu, then a buffer's mu for
// reading. wmu stands alone. None is held during I/O.
type Cache struct {
	opts     Options
	path     string
	file     *os.File
	lock     *disk.Lock
	geometry geometry
	super    superblock
	secret   uint64 // from the superblock's id, see hash
	maxItem  int    // largest record in bytes

	shards [shardCount]shard
	segs   []segment

	wmu     sync.Mutex // guards the four below and the active buffer's fill
	active  *buffer
	closing bool
	names   map[string]bool // of the Tiereds on this cache
	loads   sync.WaitGroup  // their loads under way; Add under wmu before closing

	ready  chan *buffer    // prepared, the next one to fill
	sealed chan *buffer    // full, to be written
	life   context.Context // ends when Close begins
	end    context.CancelFunc
	idle   chan struct{} // closed when the flusher has ended
	done   chan struct{} // closed when Close is through
	closed atomic.Bool
	err    error // of Close, set before done

	// These belong to the flusher, and to Open and Close around its life.
	next    int    // the segment to use next
	stamp   uint64 // the last one given
	scratch []uint64

	permits chan struct{} // one a pread under way
	readOp  *watchman.Operation
	writeOp *watchman.Operation
	counters
}

// Open opens the cache in the named file of size bytes, making it if there is
// none, and takes the file for this process. Contents come back only from a
// cache that was closed; after a crash, or with another size, it starts empty.
// A file that holds something else is left alone: ErrNotCache.
func Open(path string, size int64, opts *Options) (*Cache, error) {
	o, err := opts.withDefaults(size)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		opts: o, path: path,
		geometry: geometry{segmentSize: o.SegmentSize, segments: int((size - pageSize) / int64(o.SegmentSize))},
		maxItem:  min(o.SegmentSize/4, maxUnits*unit) &^ (unit - 1),
		names:    map[string]bool{},
		ready:    make(chan *buffer, o.Buffers), sealed: make(chan *buffer, o.Buffers),
		idle: make(chan struct{}), done: make(chan struct{}),
		permits: make(chan struct{}, readers),
		readOp:  o.Watchman.Operation(watchman.Internal, "ssdcache.read"),
		writeOp: o.Watchman.Operation(watchman.Internal, "ssdcache.write"),
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.segs = make([]segment, c.geometry.segments)
	if c.lock, err = disk.TryLock(path); err == nil {
		err = c.start(size)
	}
	if err != nil {
		if c.file != nil {
			_ = c.file.Close()
		}
		_ = c.lock.Unlock()
		return nil, fmt.Errorf("ssdcache: open %s: %w", path, err)
	}
	return c, nil
}

func (c *Cache) start(size int64) (err error) {
	if c.file, err = os.OpenFile(c.path, os.O_RDWR, 0); err != nil {
		return err
	}
	if err := c.adopt(size); err != nil {
		return err
	}
	for range c.opts.Buffers {
		b := &buffer{data: make([]byte, c.geometry.segmentSize)}
		c.prepare(b)
		c.ready <- b
	}
	go c.flusher()
	return nil
}

// Get appends the value of key to dst and returns it. A miss is ErrNotFound,
// and so is a record that cannot be read or is damaged: Stats tells them apart.
// It costs one pread at most, none if the item is still in a buffer, and
// allocates nothing if dst has room for the record: the key, the value and up to
// 96 bytes more.
func (c *Cache) Get(dst, key []byte) ([]byte, error) {
	dst, _, err := c.get(dst, key, c.hash(key))
	return dst, err
}

// hash mixes a secret of this cache into the hash of a key, so that nobody can
// choose keys that crowd one part of the index.
func (c *Cache) hash(key []byte) uint64 {
	h := xxhash.Sum64(key) ^ c.secret
	h = (h ^ h>>33) * 0xff51afd7ed558ccd // MurmurHash3's finalizer
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func (c *Cache) get(dst, key []byte, hash uint64) (out []byte, expires int64, err error) {
	if c.closed.Load() {
		return dst, 0, ErrClosed
	}
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	// The item can move while it is read, when its segment comes up for reuse.
	// Then the index has a new place, or none.
	for range 4 {
		sh.mu.Lock()
		i := sh.findLocked(tag)
		if i < 0 {
			sh.misses++
			sh.mu.Unlock()
			return dst, 0, ErrNotFound
		}
		s := &sh.slots[i]
		if s.ext>>hitsShift&hitsMask != hitsMask {
			s.ext += 1 << hitsShift
		}
		at := *s
		// With the shard locked the item cannot move, so its segment stays as it
		// is too; the pin then keeps the buffer from being written to again.
		seg := &c.segs[at.seg()]
		b := seg.buf.Load()
		if b != nil {
			b.mu.RLock()
			if seg.buf.Load() != b || b.turn != at.turn() {
				b.mu.RUnlock()
				b = nil
			}
		}
		stamp := seg.stamp.Load()
		sh.mu.Unlock()

		var v verdict
		var err error
		if b != nil {
			dst, expires, v = c.fromBuffer(dst, key, b, at)
		} else {
			dst, expires, v, err = c.fromFile(dst, key, at, stamp)
		}
		if v == whole && err == nil {
			return dst, expires, nil
		}
		if c.closed.Load() {
			return dst, 0, ErrClosed
		}
		// A record of another key is no fault: both have the same tag.
		if sh.settle(at, v != otherKey) {
			continue
		}
		switch {
		case err != nil:
			c.readErrors.Add(1)
		case v == expired:
			c.expired.Add(1)
		case v == otherKey:
			c.otherKeys.Add(1)
		default:
			c.corrupt.Add(1)
		}
		return dst, 0, ErrNotFound
	}
	c.raced.Add(1)
	return dst, 0, ErrNotFound
}

// fromBuffer reads a record from a pinned buffer and gives the pin back.
func (c *Cache) fromBuffer(dst, key []byte, b *buffer, at slot) ([]byte, int64, verdict) {
	defer b.mu.RUnlock()
	value, expires, v := match(b.data[at.off()*unit:][:at.units()*unit], key, b.stamp)
	if v == whole {
		c.bufferHits.Add(1)
		dst = append(dst, value...)
	}
	return dst, expires, v
}

// fromFile reads a record with one pread into dst's room.
func (c *Cache) fromFile(dst, key []byte, at slot, stamp uint64) ([]byte, int64, verdict, error) {
	n := at.units() * unit
	dst = slices.Grow(dst, n)
	rec := dst[len(dst) : len(dst)+n]
	if err := c.pread(rec, c.offset(at.seg())+int64(at.off()*unit)); err != nil {
		return dst, 0, corrupt, err
	}
	value, expires, v := match(rec, key, stamp)
	if v == whole {
		c.deviceHits.Add(1)
		dst = dst[:len(dst)+copy(rec, value)]
	}
	return dst, expires, v, nil
}

// pread fills rec from the file.
func (c *Cache) pread(rec []byte, off int64) error {
	c.permits <- struct{}{}
	var err error
	if c.readOp == nil {
		_, err = c.file.ReadAt(rec, off)
	} else {
		begin := time.Now()
		_, err = c.file.ReadAt(rec, off)
		c.readOp.Observe(noContext, time.Since(begin), err)
	}
	<-c.permits
	return err
}

// Set stores value under key until ttl is over or its turn of eviction comes;
// a ttl of 0 or less means no expiry. It copies both into memory and returns;
// the disk follows. When it fails, or drops the item, the key is not cached
// any more. Errors: ErrTooLarge, ErrBusy as Options.Full says, ErrClosed.
func (c *Cache) Set(key, value []byte, ttl time.Duration) error {
	hash := c.hash(key)
	err := c.set(key, value, hash, expiry(ttl), c.opts.Full, nil, 0)
	if err == nil {
		return nil
	}
	c.remove(hash) // the value before must not outlive this one
	if errors.Is(err, errDropped) {
		return nil
	}
	return err
}

func expiry(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return time.Now().Add(ttl).UnixMilli()
}

// set appends a record and puts it into the index, the latter only if epoch,
// unless nil, still has the value token.
func (c *Cache) set(key, value []byte, hash uint64, expires int64, full Full, epoch *atomic.Uint64, token uint64) error {
	if len(key) > MaxKeySize {
		return fmt.Errorf("%w: a key of %d bytes, want at most %d", ErrTooLarge, len(key), MaxKeySize)
	}
	if len(value) > c.maxItem || recordSize(len(key), len(value)) > c.maxItem {
		return fmt.Errorf("%w: a value of %d bytes, want at most %d with this key", ErrTooLarge, len(value), c.maxItem-headerSize-len(key))
	}
	n := recordSize(len(key), len(value))
	b, off, err := c.reserve(hash, n, full)
	if err != nil {
		if err != ErrClosed {
			c.refused.Add(1)
		}
		return err
	}
	putRecord(b.data[off:off+n], key, value, b.stamp, expires)
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	if epoch == nil || epoch.Load() == token {
		sh.putLocked(newSlot(tag, b, off, n))
	} else {
		err = errRaced
	}
	sh.mu.Unlock()
	b.writers.Done()
	c.sets.Add(1)
	c.userBytes.Add(uint64(len(key) + len(value)))
	return err
}

// Delete removes key. It is not an error if it is not there.
func (c *Cache) Delete(key []byte) error {
	if c.closed.Load() {
		return ErrClosed
	}
	if c.remove(c.hash(key)) {
		c.deleted.Add(1)
	}
	return nil
}

func (c *Cache) remove(hash uint64) bool {
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i := sh.findLocked(tag)
	if i >= 0 {
		sh.removeLocked(i)
	}
	return i >= 0
}

// Close cancels loads, writes what is in memory and then the index, so that the
// next Open finds everything, and gives the file free. It returns when all
// goroutines have ended; a second Close waits for the first and returns the same.
func (c *Cache) Close() error {
	c.wmu.Lock()
	first := !c.closing
	c.closing = true
	c.wmu.Unlock()
	if !first {
		<-c.done
		return c.err
	}
	c.end()
	c.loads.Wait()
	c.err = c.stop()
	close(c.done)
	return c.err
}

// offset is where a segment begins in the file.
func (c *Cache) offset(seg int) int64 {
	return pageSize + int64(seg)*int64(c.geometry.segmentSize)
}

// geometry is how the file is divided.
type geometry struct {
	segmentSize int
	segments    int
}

// items bounds how many records fit.
func (g geometry) items() int64 {
	return int64(g.segments) * int64(g.segmentSize/unit)
}
