package ssdcache

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	mathrand "math/rand/v2"
	"os"

	"github.com/heddle-go/heddle/internal/disk"
)

// The file begins with one page, of which these bytes are used:
//
//	0   8   magic
//	8   4   format version
//	12  4   size of a segment
//	16  4   number of segments
//	20  16  id of this cache, random
//	36  8   epoch: counts the opens
//	44  4   CRC-32C of the bytes before
//
// The segments follow. The index is saved beside the file when the cache is
// closed and names id and epoch; opening moves the epoch on before anything is
// written. So a saved index is believed only if nothing was written after it.
const (
	pageSize      = 4096
	superSize     = 48
	formatVersion = 1
)

var magic = [8]byte{'h', 'e', 'd', 'd', 'l', 'S', 'S', 'D'}

type superblock struct {
	geometry
	id    [16]byte
	epoch uint64
}

func (s *superblock) append(b []byte) []byte {
	le := binary.LittleEndian
	begin := len(b)
	b = append(b, magic[:]...)
	b = le.AppendUint32(b, formatVersion)
	b = le.AppendUint32(b, uint32(s.segmentSize))
	b = le.AppendUint32(b, uint32(s.segments))
	b = append(b, s.id[:]...)
	b = le.AppendUint64(b, s.epoch)
	return le.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli))
}

// errDamaged means that a superblock or saved index is this package's but not whole.
var errDamaged = errors.New("damaged")

// parseSuperblock reads the first bytes of a file. ErrNotCache: not a cache, or
// one of a later version; errDamaged: a cache whose contents are lost.
func parseSuperblock(b []byte) (s superblock, err error) {
	le := binary.LittleEndian
	if len(b) < 12 || [8]byte(b) != magic {
		return s, ErrNotCache
	}
	if v := le.Uint32(b[8:]); len(b) >= superSize && crc32.Checksum(b[:superSize-4], castagnoli) == le.Uint32(b[superSize-4:]) && v != formatVersion {
		return s, fmt.Errorf("%w of this version: format %d, want %d", ErrNotCache, v, formatVersion)
	}
	if len(b) < superSize || crc32.Checksum(b[:superSize-4], castagnoli) != le.Uint32(b[superSize-4:]) {
		return s, errDamaged
	}
	s.segmentSize = int(le.Uint32(b[12:]))
	s.segments = int(le.Uint32(b[16:]))
	copy(s.id[:], b[20:])
	s.epoch = le.Uint64(b[36:])
	return s, nil
}

// adopt reads the file's superblock, takes over the saved index if it belongs
// to it, and begins a new epoch.
func (c *Cache) adopt(size int64) error {
	head := make([]byte, superSize)
	n, err := c.file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return err
	}
	fresh := len(bytes.Trim(head[:n], "\x00")) == 0 // also a crash while it was made
	if !fresh {
		if c.super, err = parseSuperblock(head[:n]); err != nil && err != errDamaged {
			return err
		}
		if err == nil && c.super.geometry == c.geometry {
			err = c.loadIndex()
		} else if err == nil {
			err = errors.New("the size is another one")
		}
		if err != nil {
			c.opts.Logger.LogAttrs(noContext, slog.LevelInfo, "ssdcache: starting empty",
				slog.String("path", c.path), slog.Any("reason", err))
		}
	}
	if fresh || err != nil {
		c.forget()
	}
	if err := os.Remove(c.indexPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	c.secret = binary.LittleEndian.Uint64(c.super.id[:])
	c.super.epoch++
	if _, err := c.file.WriteAt(c.super.append(nil), 0); err != nil {
		return err
	}
	if err := disk.Allocate(c.file, size); err != nil {
		return fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	return c.file.Sync()
}

// forget makes the cache an empty one with an id and stamps of its own.
func (c *Cache) forget() {
	c.super = superblock{geometry: c.geometry}
	_, _ = rand.Read(c.super.id[:]) // never fails
	c.stamp = mathrand.Uint64() >> 1
	c.next = 0
	for i := range c.segs {
		c.segs[i].stamp.Store(0)
	}
	for i := range c.shards {
		sh := &c.shards[i]
		sh.slots, sh.n, sh.count = nil, 0, 0
	}
}
