package ssdcache

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
)

// Replacing or deleting an item takes effect in the file when the buffer with
// the new record or the tombstone is written. If the process is killed before,
// the old record, in a segment written earlier, must still not come back. So
// before Set and Delete return they note the hash in the journal, a part of the
// file for each buffer. The page cache keeps it when the process dies; after a
// power cut nothing of the file is believed, see superblock.
//
// A journal begins with a header and has an entry for each note, both of 16
// bytes:
//
//	0   8   hash; in the header the stamp
//	8   4   low half of the stamp
//	12  4   CRC-32C of the above, begun with the seed of the stamp
//
// What follows the last entry is of an earlier use, that is, of another stamp.
type journal struct {
	mu      sync.Mutex
	turn    sync.Cond // a write has ended
	noted   int       // entries asked for
	written int       // entries in the file
	writing bool
	err     error  // of a write that could not be made up for
	pending []byte // those asked for and not being written
	spare   []byte
}

// journalSize is the size of a buffer's journal in the file.
func journalSize(segmentSize int) int64 {
	return (int64(maxEntries(segmentSize)+1)*entrySize + pageSize - 1) &^ (pageSize - 1)
}

// journalOffset is where the journal of buffer n begins in the file.
func (g geometry) journalOffset(n int) int64 {
	return pageSize + int64(n)*journalSize(g.segmentSize)
}

func appendJournal(dst []byte, hash uint64, stamp uint64, seed uint32) []byte {
	le := binary.LittleEndian
	begin := len(dst)
	dst = le.AppendUint64(dst, hash)
	dst = le.AppendUint32(dst, uint32(stamp))
	return le.AppendUint32(dst, crc32.Update(seed, castagnoli, dst[begin:]))
}

// parseJournal reads a journal with any content. hashes are those noted under
// the header's stamp; not ok means that some may be missing.
func parseJournal(data []byte, secret uint64) (stamp uint64, hashes []uint64, ok bool) {
	if len(data) < entrySize {
		return 0, nil, false
	}
	le := binary.LittleEndian
	stamp = le.Uint64(data)
	s := seed(secret, stamp)
	ours := func(e []byte) (byStamp, byCRC bool) {
		var want [12]byte // with the stamp as it should be
		copy(want[:8], e)
		le.PutUint32(want[8:], uint32(stamp))
		return le.Uint32(e[8:]) == uint32(stamp), le.Uint32(e[12:]) == crc32.Update(s, castagnoli, want[:])
	}
	if byStamp, byCRC := ours(data); !byStamp || !byCRC {
		return 0, nil, false
	}
	ended := false
	for data = data[entrySize:]; len(data) >= entrySize; data = data[entrySize:] {
		byStamp, byCRC := ours(data)
		switch {
		case !byStamp && !byCRC:
			ended = true
		case byStamp && byCRC && !ended:
			hashes = append(hashes, le.Uint64(data))
		default: // damaged, or one before it is
			return stamp, hashes, false
		}
	}
	return stamp, hashes, true
}

// begin empties the journal for a buffer's next use.
func (c *Cache) beginJournal(b *buffer) {
	j := &b.journal
	j.noted, j.written, j.err = 0, 0, nil
	if c.journaled.Load() {
		_ = c.journalWrite(b, 0, appendJournal(make([]byte, 0, entrySize), b.stamp, b.stamp, b.seed))
	}
}

// note returns when the hash is in the journal of a buffer that the caller has
// a part of. Those who come while another's note is being written have theirs
// written together. An error means that what it is about may come back after a
// crash.
func (c *Cache) note(b *buffer, hash uint64) error {
	if !c.journaled.Load() {
		return c.distrust(nil)
	}
	j := &b.journal
	j.mu.Lock()
	j.pending = appendJournal(j.pending, hash, b.stamp, b.seed)
	j.noted++
	mine := j.noted
	for j.written < mine {
		if j.writing {
			j.turn.Wait()
			continue
		}
		j.writing = true
		data, first, last := j.pending, j.written, j.noted
		j.pending = j.spare[:0]
		j.mu.Unlock()
		err := c.journalWrite(b, int64(first+1)*entrySize, data)
		j.mu.Lock()
		if err != nil {
			j.err = err
		}
		j.spare = data
		j.written = last
		j.writing = false
		j.turn.Broadcast()
	}
	err := j.err
	j.mu.Unlock()
	return err
}

func (c *Cache) journalWrite(b *buffer, off int64, data []byte) error {
	n, err := c.file.WriteAt(data, c.geometry.journalOffset(b.no)+off)
	c.deviceBytes.Add(uint64(n))
	if err != nil {
		return c.distrust(err)
	}
	return nil
}

// distrust makes the next Open after a crash start empty, because the journals
// miss something; a Close still saves everything. It fails if the file cannot be
// marked so.
func (c *Cache) distrust(cause error) error {
	if cause != nil {
		c.writeErrors.Add(1)
		if c.journaled.Swap(false) {
			c.opts.Logger.LogAttrs(noContext, slog.LevelError, "ssdcache: journal lost, a crash would lose the contents",
				slog.String("path", c.path), slog.Any("err", cause))
		}
	}
	if c.distrusted.Load() {
		return nil
	}
	s := c.super // by several at once: they write the same
	s.journaled = false
	if _, err := c.file.WriteAt(s.append(nil), 0); err != nil {
		return fmt.Errorf("ssdcache: mark the journal as lost: %w", err)
	}
	c.distrusted.Store(true)
	return nil
}
