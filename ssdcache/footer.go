package ssdcache

import (
	"encoding/binary"
	"hash/crc32"
)

// A segment ends with an entry for each record and a trailer, so that neither
// eviction nor a start after a crash reads the records.
//
//	8   hash of the key and
//	8   place in the segment, for each entry in the order of writing
//	8   stamp
//	4   number of entries
//	4   CRC-32C of all above, begun with the segment's seed
//
// An entry without a length is a tombstone: what was written before with the
// same place in the index is deleted.
const (
	entrySize   = 16
	trailerSize = 16
)

// logEntry is the footer's memory of one record or deletion.
type logEntry struct {
	hash  uint64
	place uint64 // offset, and from bit 20 the length, in units
}

func newRecordEntry(hash uint64, off, n int) logEntry {
	return logEntry{hash, uint64(off/unit) | uint64(n/unit)<<offBits}
}

// void is an entry that does not count and is not written.
var void = logEntry{place: 1<<64 - 1}

func (e logEntry) off() int   { return int(e.place & (1<<offBits - 1)) }
func (e logEntry) units() int { return int(e.place >> offBits) }

// footerSize is the size of the entries and the trailer together.
func footerSize(entries int) int { return entries*entrySize + trailerSize }

// putFooter writes a footer into the end of seg.
func putFooter(seg []byte, entries []logEntry, seed uint32, stamp uint64) {
	le := binary.LittleEndian
	foot := seg[len(seg)-footerSize(len(entries)):]
	p := foot
	for _, e := range entries {
		le.PutUint64(p, e.hash)
		le.PutUint64(p[8:], e.place)
		p = p[entrySize:]
	}
	le.PutUint64(p, stamp)
	le.PutUint32(p[8:], uint32(len(entries)))
	le.PutUint32(p[12:], crc32.Update(seed, castagnoli, foot[:len(foot)-4]))
}

// parseFooter appends the entries of the footer that ends tail, the last bytes
// of a segment of the given size. If the footer is longer than tail, need is
// its size.
func parseFooter(dst []logEntry, tail []byte, size int, seed uint32, stamp uint64) (entries []logEntry, need int, ok bool) {
	if len(tail) < trailerSize {
		return dst, 0, false
	}
	le := binary.LittleEndian
	trailer := tail[len(tail)-trailerSize:]
	count := int(le.Uint32(trailer[8:]))
	if le.Uint64(trailer) != stamp || count > maxEntries(size) {
		return dst, 0, false
	}
	if need = footerSize(count); need > len(tail) {
		return dst, need, false
	}
	foot := tail[len(tail)-need:]
	if crc32.Update(seed, castagnoli, foot[:need-4]) != le.Uint32(trailer[12:]) {
		return dst, 0, false
	}
	begin := len(dst)
	for p := foot; len(p) > trailerSize; p = p[entrySize:] {
		e := logEntry{le.Uint64(p), le.Uint64(p[8:])}
		if e.units() > maxUnits || (e.off()+e.units())*unit > size {
			return dst[:begin], 0, false
		}
		dst = append(dst, e)
	}
	return dst, 0, true
}
