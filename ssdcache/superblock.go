package ssdcache

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"

	"github.com/heddle-go/heddle/internal/disk"
)

// The file begins with one page, of which these bytes are used:
//
//	0   8   magic
//	8   4   format version
//	12  4   size of a segment
//	16  4   number of segments
//	20  4   number of buffers
//	24  16  id of this cache, random
//	40  8   epoch: counts the opens
//	48  1   1 if the journals are kept
//	49  3   0
//	52  16  id of the operating system's run
//	68  4   CRC-32C of the bytes before
//
// The journals of the buffers follow, then the segments.
//
// The index is saved beside the file when the cache is closed and names id and
// epoch; opening moves the epoch on before anything is written. So a saved index
// is believed only if nothing was written after it.
//
// Without one, journals and footers tell what is there, if the system has been
// running since: only then the file has all that was written to it, in the
// page cache if not on the disk.
const (
	pageSize      = 4096
	superSize     = 72
	formatVersion = 2
)

var magic = [8]byte{'h', 'e', 'd', 'd', 'l', 'S', 'S', 'D'}

type superblock struct {
	geometry
	id        [16]byte
	epoch     uint64
	journaled bool
	boot      [16]byte
}

func (s *superblock) append(b []byte) []byte {
	le := binary.LittleEndian
	begin := len(b)
	b = append(b, magic[:]...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, uint32(s.segmentSize))
	b = le.AppendUint32(b, uint32(s.segments))
	b = le.AppendUint32(b, uint32(s.buffers))
	b = append(b, s.id[:]...)
	b = le.AppendUint64(b, s.epoch)
	var journaled [4]byte
	if s.journaled {
		journaled[0] = 1
	}
	b = append(b, journaled[:]...)
	b = append(b, s.boot[:]...)
	return le.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
}

// errNotClosed means that the process ended without Close.
var errNotClosed = errors.New("it was not closed")

// errDamaged means that a superblock or saved index is this package's but not whole.
var errDamaged = errors.New("damaged")

// parseSuperblock reads the first bytes of a file. ErrNotCache: not a cache, or
// one of a later version; errDamaged: a cache whose contents are lost.
func parseSuperblock(b []byte) (s superblock, err error) {
	le := binary.LittleEndian
	if len(b) < 12 || [8]byte(b) != magic {
		return s, ErrNotCache
	}
	if v := le.Uint32(b[8:]); v != formatVersion {
		return s, fmt.Errorf("%w of this version: format %d, want %d", ErrNotCache, v, formatVersion)
	}
	if len(b) < superSize || crc32.Checksum(b[:superSize-4], castagnoli) != le.Uint32(b[superSize-4:]) {
		return s, errDamaged
	}
	s.segmentSize = int(le.Uint32(b[12:]))
	s.segments = int(le.Uint32(b[16:]))
	s.buffers = int(le.Uint32(b[20:]))
	copy(s.id[:], b[24:])
	s.epoch = le.Uint64(b[40:])
	s.journaled = b[48] == 1
	copy(s.boot[:], b[52:])
	return s, nil
}

// adopt reads the file's superblock, takes over what is there as far as it can
// be believed, and begins a new epoch.
func (c *Cache) adopt(f *os.File, size int64) error {
	head := make([]byte, superSize)
	n, err := c.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	fresh := len(bytes.Trim(head[:n], "\x00")) == 0 // also a crash while it was made
	var reason error                                // to start empty
	if !fresh {
		if c.super, reason = parseSuperblock(head[:n]); errors.Is(reason, ErrNotCache) {
			return reason
		}
	}
	if err := disk.Allocate(f, size); err != nil {
		return fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	if !fresh && reason == nil {
		c.secret = c.super.secret()
		reason = c.takeOver()
	}
	if fresh || reason != nil {
		c.forget()
	}
	if reason != nil {
		c.opts.Logger.LogAttrs(noContext, slog.LevelInfo, "ssdcache: starting empty",
			slog.String("path", c.path), slog.Any("reason", reason))
	}
	if err := os.Remove(c.indexPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c.super.epoch++
	c.super.boot = bootID()
	c.super.journaled = c.opts.Restart == Warm && c.super.boot != [16]byte{}
	c.journaled.Store(c.super.journaled)
	c.distrusted.Store(!c.super.journaled)
	if _, err := c.file.WriteAt(c.super.append(nil), 0); err != nil {
		return err
	}
	return c.file.Sync()
}

// takeOver makes the index what it was. When it fails the index is undefined:
// forget it.
func (c *Cache) takeOver() error {
	switch {
	case c.super.geometry != c.geometry:
		return errors.New("the size is another one")
	case c.opts.Restart == Cold:
		return errors.New("Options.Restart is Cold")
	}
	err := c.loadIndex()
	if err == nil {
		return nil
	}
	switch {
	case c.opts.Restart != Warm || !c.super.journaled:
		return fmt.Errorf("%w, and has no journal", err)
	case c.super.boot != bootID():
		return fmt.Errorf("%w, and the system has stopped since", err)
	}
	c.clear() // of what was loaded
	return c.recover()
}

// forget makes the cache an empty one with an id of its own.
func (c *Cache) forget() {
	c.super = superblock{geometry: c.geometry}
	_, _ = rand.Read(c.super.id[:]) // never fails
	c.secret = c.super.secret()
	c.clear()
}

// clear empties the index.
func (c *Cache) clear() {
	c.stamp = uint64(c.geometry.segments) - 1
	for i := range c.segs {
		c.segs[i].stamp.Store(0)
	}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.slots, sh.n, sh.count = nil, 0, 0
	}
}

// secret is mixed into hashes and checksums.
func (s *superblock) secret() uint64 { return binary.LittleEndian.Uint64(s.id[:]) }

// bootID names the run of the operating system, all zero where it has no name.
func bootID() (id [16]byte) {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		text = bytes.ReplaceAll(bytes.TrimSpace(text), []byte("-"), nil)
		if n, err := hex.Decode(id[:], text[:min(len(text), 32)]); err != nil || n != len(id) {
			return [16]byte{}
		}
	}
	return id
}
