package ssdcache

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/heddle-go/heddle/internal/disk"
)

// The saved index lies beside the cache, with .index after its name:
//
//	8   magic
//	4   format version
//	16  id and
//	8   epoch of the superblock it goes with
//	4   size of a segment
//	4   number of segments
//	4   number of buffers
//	8   the last stamp
//	8   stamp, for each segment
//	4   number of slots and
//	12  slot, in their order, for each shard
//	4   CRC-32C of all before
var indexMagic = [8]byte{'h', 'e', 'd', 'd', 'l', 'I', 'D', 'X'}

const slotSize = 12

const indexHeader = 8 + 4 + 16 + 8 + 4 + 4 + 4 + 8

func (c *Cache) indexPath() string { return c.path + ".index" }

func newCRC() hash.Hash32 { return crc32.New(castagnoli) }

// indexWriter remembers the first error and the checksum of what it wrote.
type indexWriter struct {
	w   *bufio.Writer
	crc hash.Hash32
}

func (w *indexWriter) bytes(b []byte) {
	_, _ = w.crc.Write(b)
	_, _ = w.w.Write(b) // Flush returns the error
}

// saveIndex writes the index at the end of Close.
func (c *Cache) saveIndex() error {
	name := c.indexPath()
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := &indexWriter{w: bufio.NewWriterSize(f, 256<<10), crc: newCRC()}
	c.writeIndex(w)
	err = w.w.Flush()
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("save index: %w", err)
	}
	return disk.SyncDir(filepath.Dir(name))
}

func (c *Cache) writeIndex(w *indexWriter) {
	le := binary.LittleEndian
	b := make([]byte, 0, indexHeader)
	b = append(b, indexMagic[:]...)
	b = le.AppendUint32(b, formatVersion)
	b = append(b, c.super.id[:]...)
	b = le.AppendUint64(b, c.super.epoch)
	b = le.AppendUint32(b, uint32(c.geometry.segmentSize))
	b = le.AppendUint32(b, uint32(c.geometry.segments))
	b = le.AppendUint32(b, uint32(c.geometry.buffers))
	b = le.AppendUint64(b, c.stamp)
	w.bytes(b)
	for i := range c.segs {
		w.bytes(le.AppendUint64(b[:0], c.segs[i].stamp.Load()))
	}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.mu.Lock()
		b = le.AppendUint32(b[:0], uint32(sh.count))
		for _, s := range sh.slots {
			if s.ext != 0 {
				b = le.AppendUint32(b, s.hi)
				b = le.AppendUint32(b, s.lo)
				b = le.AppendUint32(b, s.ext)
			}
		}
		sh.mu.Unlock()
		w.bytes(b)
	}
	w.bytes(le.AppendUint32(b[:0], w.crc.Sum32()))
}

// loadIndex takes over the saved index if it goes with the superblock. When it
// fails the cache has an undefined index: forget it.
func (c *Cache) loadIndex() error {
	f, err := os.Open(c.indexPath())
	if errors.Is(err, os.ErrNotExist) {
		return errNotClosed
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := c.readIndex(bufio.NewReaderSize(f, 256<<10)); err != nil {
		return fmt.Errorf("saved index: %w", err)
	}
	return nil
}

// indexReader reads numbers and keeps their checksum and the first error.
type indexReader struct {
	r   io.Reader
	crc hash.Hash32
	err error

	room [2048 * slotSize]byte
}

// fill reads into b; after an error it has zeros.
func (r *indexReader) fill(b []byte) {
	if r.err == nil {
		_, r.err = io.ReadFull(r.r, b)
	}
	if r.err != nil {
		clear(b)
	}
	_, _ = r.crc.Write(b)
}

func (r *indexReader) bytes(n int) []byte {
	r.fill(r.room[:n])
	return r.room[:n]
}

func (r *indexReader) u32() uint32 { return binary.LittleEndian.Uint32(r.bytes(4)) }
func (r *indexReader) u64() uint64 { return binary.LittleEndian.Uint64(r.bytes(8)) }

// readIndex fills the cache's index from in, which may have any content: every
// place is checked to be inside the file, and memory grows only as fast as in
// is read. The records themselves are checked when they are read.
func (c *Cache) readIndex(in io.Reader) error {
	r := &indexReader{r: in, crc: newCRC()}
	if [8]byte(r.bytes(8)) != indexMagic || r.u32() != formatVersion {
		return errDamaged
	}
	if [16]byte(r.bytes(16)) != c.super.id || r.u64() != c.super.epoch {
		return fmt.Errorf("%w since it was saved", errNotClosed)
	}
	if (geometry{segmentSize: int(r.u32()), segments: int(r.u32()), buffers: int(r.u32())}) != c.geometry {
		return errDamaged
	}
	// Each segment was used last with one of the last stamps, or has nothing.
	n := uint64(c.geometry.segments)
	if c.stamp = r.u64(); c.stamp < n-1 || c.stamp > 1<<62 {
		return errDamaged
	}
	for i := range c.segs {
		s := r.u64()
		if s != 0 && (s > c.stamp || s+n <= c.stamp || s%n != uint64(i)) {
			return errDamaged
		}
		c.segs[i].stamp.Store(s)
	}
	for n := range c.shards {
		if err := c.readShard(r, uint32(n)); err != nil {
			return err
		}
	}
	sum := r.crc.Sum32()
	if got := r.u32(); r.err == nil && got != sum {
		return errDamaged
	}
	return r.err
}

func (c *Cache) readShard(r *indexReader, n uint32) error {
	count := r.u32()
	if int64(count) > c.geometry.items() {
		return errDamaged
	}
	units := c.geometry.segmentSize / unit
	le := binary.LittleEndian
	last := -1
	var slots []slot
	for left := int(count); left > 0; {
		now := min(left, len(r.room)/slotSize)
		p := r.room[:now*slotSize]
		if r.fill(p); r.err != nil {
			return r.err
		}
		slots = slices.Grow(slots, now)
		for ; len(p) > 0; p = p[slotSize:] {
			s := slot{le.Uint32(p), le.Uint32(p[4:]), le.Uint32(p[8:])}
			if s.units() == 0 || s.seg() >= c.geometry.segments || s.off()+s.units() > units || int(s.tag()) <= last {
				return errDamaged
			}
			last = int(s.tag())
			if _, turn := c.geometry.use(c.segs[s.seg()].stamp.Load()); s.turn() != turn {
				return errDamaged
			}
			slots = append(slots, s)
		}
		left -= now
	}
	c.shards[n].fill(slots)
	return r.err
}
