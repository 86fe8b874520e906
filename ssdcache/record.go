package ssdcache

import (
	"encoding/binary"
	"hash/crc32"
	"time"
)

// A record is a header, the key and the value, padded to units. All numbers
// are little-endian.
//
//	0   4  CRC-32C of what follows, up to the end of the value
//	4   2  length of the key
//	6   2  0
//	8   4  length of the value
//	12  4  0
//	16  8  stamp of the segment when it was written
//	24  8  expiry in Unix milliseconds, 0: none
//
// The stamp is different each time a segment is used, so bytes that were left
// from an earlier use, by a lost write for example, do not pass for the record
// that should be there.
const (
	headerSize = 32

	// MaxKeySize is the longest key in bytes, the prefix of a Tiered included.
	MaxKeySize = 4096

	maxUnits = 1<<16 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSize is the padded size of a record in bytes.
func recordSize(key, value int) int { return (headerSize + key + value + unit - 1) &^ (unit - 1) }

// putRecord writes a record that fills dst.
func putRecord(dst, key, value []byte, stamp uint64, expires int64) {
	le := binary.LittleEndian
	le.PutUint16(dst[4:], uint16(len(key)))
	le.PutUint16(dst[6:], 0)
	le.PutUint32(dst[8:], uint32(len(value)))
	le.PutUint32(dst[12:], 0)
	le.PutUint64(dst[16:], stamp)
	le.PutUint64(dst[24:], uint64(expires))
	n := headerSize + copy(dst[headerSize:], key)
	n += copy(dst[n:], value)
	clear(dst[n:])
	le.PutUint32(dst, crc32.Checksum(dst[4:n], castagnoli))
}

// restamp makes a checked record one of another segment use.
func restamp(rec []byte, stamp uint64) {
	le := binary.LittleEndian
	le.PutUint64(rec[16:], stamp)
	n := headerSize + int(le.Uint16(rec[4:])) + int(le.Uint32(rec[8:]))
	le.PutUint32(rec, crc32.Checksum(rec[4:n], castagnoli))
}

type verdict uint8

const (
	whole    verdict = iota // the record asked for
	corrupt                 // not a record, or a damaged one
	stale                   // a record of an earlier use of the segment
	otherKey                // a whole record of another key
	expired                 // the record asked for, past its expiry
)

// parseRecord finds the key and value in rec, which may have any content. The
// CRC is compared before anything is believed.
func parseRecord(rec []byte, stamp uint64) (key, value []byte, expires int64, v verdict) {
	if len(rec) < headerSize {
		return nil, nil, 0, corrupt
	}
	le := binary.LittleEndian
	keyLen, valueLen := int(le.Uint16(rec[4:])), int(le.Uint32(rec[8:]))
	end := headerSize + keyLen + valueLen
	if valueLen > maxUnits*unit || end > len(rec) || crc32.Checksum(rec[4:end], castagnoli) != le.Uint32(rec) {
		return nil, nil, 0, corrupt
	}
	if le.Uint64(rec[16:]) != stamp {
		return nil, nil, 0, stale
	}
	key = rec[headerSize : headerSize+keyLen]
	return key, rec[headerSize+keyLen : end], int64(le.Uint64(rec[24:])), whole
}

// match is parseRecord for the record of key, also looking at the clock.
func match(rec, key []byte, stamp uint64) (value []byte, expires int64, v verdict) {
	k, value, expires, v := parseRecord(rec, stamp)
	switch {
	case v != whole:
	case string(k) != string(key):
		v = otherKey
	case expires != 0 && expires <= time.Now().UnixMilli():
		v = expired
	}
	return value, expires, v
}

// A segment ends with the hashes of its records' keys and a trailer, so that
// eviction finds its index entries without reading the records.
//
//	0   8  stamp
//	8   4  number of hashes
//	12  4  CRC-32C of the hashes and the two fields above
//	16  16 0
const trailerSize = 32

// footerSize is the size of the hashes and the trailer together.
func footerSize(records int) int { return records*8 + trailerSize }

// putFooter writes a footer into the end of seg.
func putFooter(seg []byte, hashes []uint64, stamp uint64) {
	le := binary.LittleEndian
	foot := seg[len(seg)-footerSize(len(hashes)):]
	for i, h := range hashes {
		le.PutUint64(foot[i*8:], h)
	}
	trailer := foot[len(hashes)*8:]
	clear(trailer)
	le.PutUint64(trailer, stamp)
	le.PutUint32(trailer[8:], uint32(len(hashes)))
	le.PutUint32(trailer[12:], crc32.Checksum(foot[:len(hashes)*8+12], castagnoli))
}

// parseFooter appends the hashes of a footer that ends tail, the last bytes of
// a segment. If the footer is longer than tail, need is its size.
func parseFooter(dst []uint64, tail []byte, stamp uint64) (hashes []uint64, need int, ok bool) {
	if len(tail) < trailerSize {
		return dst, 0, false
	}
	le := binary.LittleEndian
	trailer := tail[len(tail)-trailerSize:]
	count := int(le.Uint32(trailer[8:]))
	if le.Uint64(trailer) != stamp || count > maxSegment/unit {
		return dst, 0, false
	}
	if need = footerSize(count); need > len(tail) {
		return dst, need, false
	}
	foot := tail[len(tail)-need:]
	if crc32.Checksum(foot[:count*8+12], castagnoli) != le.Uint32(trailer[12:]) {
		return dst, 0, false
	}
	for i := range count {
		dst = append(dst, le.Uint64(foot[i*8:]))
	}
	return dst, 0, true
}
