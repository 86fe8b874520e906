package ssdcache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/heddle-go/heddle/internal/disk"
	"github.com/heddle-go/heddle/watchman"
)

// Cache is a bounded cache in one file. It is safe for concurrent use.
//
// Locks, in the order they may nest: a shard's mu, then a buffer's mu for
// reading. wmu stands alone. None is held during I/O.
type Cache struct {
	opts     Options
	path     string
	file     blockFile
	direct   *direct // nil unless Options.Direct
	size     int64
	lock     *disk.Lock
	geometry geometry
	super    superblock
	secret   uint64 // from the superblock's id, see hash
	maxItem  int    // largest record in bytes

	shards [shardCount]shard
	segs   []segment

	wmu     sync.Mutex // guards the six below and the active buffer's fill
	active  *buffer
	ready   []*buffer     // prepared, the next ones to fill
	turned  chan struct{} // closed when ready gets one, then another
	closing bool
	names   map[string]bool // of the Tiereds on this cache
	loads   sync.WaitGroup  // their loads under way; Add under wmu before closing

	sealed chan *buffer    // full, to be written
	life   context.Context // ends when Close begins
	end    context.CancelFunc
	idle   chan struct{} // closed when the flusher has ended
	done   chan struct{} // closed when Close is through
	closed atomic.Bool
	err    error // of Close, set before done

	// These belong to the flusher, and to Open and Close around its life.
	stamp   uint64 // the last one given
	scratch []logEntry
	tail    []byte

	journaled  atomic.Bool // Set and Delete leave notes
	distrusted atomic.Bool // the file says that they do not
	found      int64       // items after Open

	door   *doorkeeper // nil unless RejectFirst
	budget budget

	reads   reads
	readOp  *watchman.Operation
	writeOp *watchman.Operation
	counters
}

// Open opens the cache in the named file of size bytes, making it if there is
// none, and takes the file for this process. Options.Restart says which contents
// come back. A file that holds something else is left alone: ErrNotCache. After
// a crash it reads 16 bytes for each item in the file.
func Open(path string, size int64, opts *Options) (*Cache, error) {
	o, err := opts.withDefaults(size)
	if err != nil {
		return nil, err
	}
	c := &Cache{
		opts: o, path: path,
		size: size, geometry: geometry{segmentSize: o.SegmentSize, buffers: o.Buffers},
		maxItem: min(o.SegmentSize/4, maxUnits*unit) &^ (unit - 1),
		names:   map[string]bool{},
		sealed:  make(chan *buffer, o.Buffers), turned: make(chan struct{}),
		idle: make(chan struct{}), done: make(chan struct{}),
		readOp:  o.Watchman.Operation(watchman.Internal, "ssdcache.read"),
		writeOp: o.Watchman.Operation(watchman.Internal, "ssdcache.write"),
	}
	c.geometry.segments = int((size - c.offset(0)) / int64(o.SegmentSize))
	if o.Admission == RejectFirst {
		c.door = &doorkeeper{size: int64(c.geometry.segments) * int64(o.SegmentSize)}
	}
	c.budget = budget{o.WriteBudget, time.Now()}
	c.life, c.end = context.WithCancel(context.Background())
	c.segs = make([]segment, c.geometry.segments)
	if c.lock, err = disk.TryLock(path); err == nil {
		err = c.start()
	}
	if err != nil {
		if c.file != nil {
			_ = c.file.Close()
		}
		_ = c.closeDirect()
		_ = c.lock.Unlock()
		return nil, fmt.Errorf("ssdcache: open %s: %w", path, err)
	}
	return c, nil
}

func (c *Cache) start() error {
	f, err := os.OpenFile(c.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	c.file = newFile(f)
	if c.opts.wrap != nil {
		c.file = c.opts.wrap(c.file)
	}
	if c.opts.Direct {
		if err := c.openDirect(); err != nil {
			return err
		}
	}
	c.openReads()
	if err := c.adopt(f, c.size); err != nil {
		return err
	}
	for i := range c.shards {
		c.found += int64(c.shards[i].count)
	}
	for i := range c.opts.Buffers {
		b := &buffer{no: i, data: disk.Aligned(c.geometry.segmentSize)}
		b.journal.turn.L = &b.journal.mu
		c.prepare(b)
		c.ready = append(c.ready, b)
	}
	c.active, c.ready = c.ready[0], c.ready[1:]
	go c.flusher()
	return nil
}

// blockFile is what the cache does with its file.
type blockFile interface {
	io.ReaderAt
	io.WriterAt
	ReadCached(p []byte, off int64) error // see file
	Sync() error
	Close() error
}

// Get appends the value of key to dst and returns it. A miss is ErrNotFound,
// and so is a record that cannot be read or is damaged: Stats tells them apart.
// It costs one read of the disk at most, none if the item is still in a buffer, and
// allocates nothing if dst has room for the record: the key, the value and up to
// 88 bytes more.
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
	// The item can move while it is read, when its segment comes up for reuse.
	// Then the index has a new place, or none.
	for range 4 {
		at, b, stamp, ok := c.find(hash)
		if !ok {
			return dst, 0, ErrNotFound
		}
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
		if !c.blame(hash, at, v, err) {
			return dst, 0, ErrNotFound
		}
	}
	c.raced.Add(1)
	return dst, 0, ErrNotFound
}

// find returns the slot of an item and, if it is in memory, its buffer, pinned;
// else the stamp of what is in the file. It counts a hit or a miss.
func (c *Cache) find(hash uint64) (at slot, b *buffer, stamp uint64, ok bool) {
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	i := sh.findLocked(tag)
	if i < 0 || sh.slots[i].dead() {
		sh.misses++
		sh.mu.Unlock()
		return at, nil, 0, false
	}
	s := &sh.slots[i]
	if s.ext>>hitsShift&hitsMask != hitsMask {
		s.ext += 1 << hitsShift
	}
	at = *s
	// With the shard locked the item cannot move, so its segment stays as it
	// is too; the pin then keeps the buffer from being written to again.
	seg := &c.segs[at.seg()]
	if b = seg.buf.Load(); b != nil {
		b.mu.RLock()
		if seg.buf.Load() != b || b.turn != at.turn() {
			b.mu.RUnlock()
			b = nil
		}
	}
	stamp = seg.stamp.Load()
	sh.mu.Unlock()
	return at, b, stamp, true
}

// blame ends the reading of a record that failed. moved says that it was
// somewhere else by then; otherwise it counts the miss.
func (c *Cache) blame(hash uint64, at slot, v verdict, err error) (moved bool) {
	shardNo, _ := place(hash)
	// A record of another key is no fault: both have the same tag.
	if c.shards[shardNo].settle(at, v != otherKey) {
		return true
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
	return false
}

// fromBuffer reads a record from a pinned buffer and gives the pin back.
func (c *Cache) fromBuffer(dst, key []byte, b *buffer, at slot) ([]byte, int64, verdict) {
	defer b.mu.RUnlock()
	value, raw, expires, v := match(b.data[at.off()*unit:][:at.units()*unit], key, b.seed)
	if v != whole {
		return dst, expires, v
	}
	c.bufferHits.Add(1)
	if raw == 0 {
		return append(dst, value...), expires, whole
	}
	dst, err := decompress(dst, value, raw)
	if err != nil {
		v = corrupt
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
	value, raw, expires, v := match(rec, key, seed(c.secret, stamp))
	if v != whole {
		return dst, expires, v, nil
	}
	c.deviceHits.Add(1)
	if raw == 0 {
		return dst[:len(dst)+copy(rec, value)], expires, whole, nil
	}
	// It lies where it is going to.
	short := pressed.Get().(*[]byte)
	defer keepPressed(short)
	*short = append((*short)[:0], value...)
	dst, err := decompress(dst, *short, raw)
	if err != nil {
		v = corrupt
	}
	return dst, expires, v, nil
}

// Set stores value under key until ttl is over or its turn of eviction comes;
// a ttl of 0 or less means no expiry. It copies both into memory and returns;
// the disk follows. When it fails, or drops the item, or Admission or
// WriteBudget keep it out, the key is not cached any more, except after ErrClosed. Errors: ErrTooLarge, ErrBusy as Options.Full
// says, ErrClosed, and under Warm one of the disk if what it replaces may come
// back after a crash.
func (c *Cache) Set(key, value []byte, ttl time.Duration) error {
	hash := c.hash(key)
	err := c.set(key, value, hash, expiry(ttl), c.opts.Full, nil, 0)
	if err == nil {
		return nil
	}
	// The value before must not outlive this one.
	if _, rerr := c.remove(hash); rerr != nil || errors.Is(err, errDropped) || errors.Is(err, errRejected) {
		return rerr
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
	size, raw := len(key)+len(value), 0
	if c.opts.Compress && len(value) >= minCompress {
		room := pressed.Get().(*[]byte)
		defer keepPressed(room)
		if short, ok := compress(room, value); ok {
			raw, value = len(value), short
		}
	}
	n := recordSize(len(key), len(value))
	if !c.admit(hash, n) {
		c.rejected.Add(1)
		return errRejected
	}
	b, i, off, err := c.reserve(hash, n, full)
	if err != nil {
		if err != ErrClosed {
			c.refused.Add(1)
		}
		return err
	}
	defer b.writers.Done()
	putRecord(b.data[off:off+n], key, value, raw, b.seed, expires)
	shardNo, tag := place(hash)
	at := c.geometry.newSlot(tag, b.stamp, off/unit, n/unit)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	if epoch != nil && epoch.Load() != token {
		sh.mu.Unlock()
		c.cancel(b, i)
		return errRaced
	}
	old := c.putLocked(sh, at, b.stamp)
	sh.mu.Unlock()
	if old.ext != 0 && !old.in(b) {
		if err := c.note(b, hash); err != nil {
			return err
		}
	}
	c.sets.Add(1)
	c.userBytes.Add(uint64(size))
	return nil
}

// admit reports whether an item may be written. One that replaces another is
// not asked whether it is wanted.
func (c *Cache) admit(hash uint64, record int) bool {
	if c.spent() {
		return false
	}
	return c.door == nil || c.has(hash) || c.door.admit(hash, record)
}

// has reports whether there is an item with this place in the index.
func (c *Cache) has(hash uint64) bool {
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.findLocked(tag) >= 0
}

// putLocked sets the slot of a record in the use stamp and returns the one that
// was there. Sets of one key at the same time take effect in the order in which
// they got their places, for that is what a start after a crash goes by.
func (c *Cache) putLocked(sh *shard, at slot, stamp uint64) (old slot) {
	if i := sh.findLocked(at.tag()); i >= 0 {
		// An item that stayed has a late place too, but an old record.
		if s := sh.slots[i]; c.geometry.later(s, stamp, at.off()) && s.off() >= int(c.segs[s.seg()].kept.Load()) {
			return slot{}
		}
	}
	return sh.putLocked(at)
}

// Delete removes key. It is not an error if it is not there. A deletion has its
// place in the log, so while sets outrun the disk it may wait too; it does not
// fail then. Errors: ErrClosed, and under Warm one of the disk: then the key may
// come back with Open.
func (c *Cache) Delete(key []byte) error {
	if c.closed.Load() {
		return ErrClosed
	}
	found, err := c.remove(c.hash(key))
	if found {
		c.deleted.Add(1)
	}
	return err
}

// remove takes an item out of the index and writes a tombstone for it.
func (c *Cache) remove(hash uint64) (found bool, err error) {
	shardNo, tag := place(hash)
	sh := &c.shards[shardNo]
	sh.mu.Lock()
	i := sh.findLocked(tag)
	if i < 0 {
		sh.mu.Unlock()
		return false, nil
	}
	old := sh.slots[i]
	sh.removeLocked(i)
	sh.mu.Unlock()
	b, _, _, err := c.reserve(hash, 0, Block)
	if err != nil {
		return true, err
	}
	defer b.writers.Done()
	if !old.in(b) {
		err = c.note(b, hash)
	}
	return true, err
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
func (c *Cache) offset(seg int) int64 { return c.geometry.offset(seg) }

// geometry is how the file is divided: a page for the superblock, a journal for
// each buffer, the segments.
type geometry struct {
	segmentSize int
	segments    int
	buffers     int
}

func (g geometry) offset(seg int) int64 {
	return g.journalOffset(g.buffers) + int64(seg)*int64(g.segmentSize)
}

// items bounds how many records fit.
func (g geometry) items() int64 {
	return int64(g.segments) * int64(g.segmentSize/unit)
}
