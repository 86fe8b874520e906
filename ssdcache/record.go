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
//	12  4  length of the value before it was compressed, 0: it is not
//	16  8  expiry in Unix milliseconds, 0: none
//
// The CRC starts from a seed of the cache and the segment's stamp instead of 0.
// For the same bytes each seed gives another CRC, so what was left from an
// earlier use of the segment, by a lost write for example, never passes for the
// record that should be there.
const (
	headerSize = 24

	// MaxKeySize is the longest key in bytes, the prefix of a Tiered included.
	MaxKeySize = 4096

	maxUnits = 1<<16 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seed is where the CRCs of a segment's use begin.
func seed(secret, stamp uint64) uint32 { return uint32(secret>>32) + uint32(stamp) }

// recordSize is the padded size of a record in bytes.
func recordSize(key, value int) int { return (headerSize + key + value + unit - 1) &^ (unit - 1) }

// putRecord writes a record that fills dst; raw is the length of a compressed
// value before that, else 0.
func putRecord(dst, key, value []byte, raw int, seed uint32, expires int64) {
	le := binary.LittleEndian
	le.PutUint16(dst[4:], uint16(len(key)))
	le.PutUint16(dst[6:], 0)
	le.PutUint32(dst[8:], uint32(len(value)))
	le.PutUint32(dst[12:], uint32(raw))
	le.PutUint64(dst[16:], uint64(expires))
	n := headerSize + copy(dst[headerSize:], key)
	n += copy(dst[n:], value)
	clear(dst[n:])
	le.PutUint32(dst, crc32.Update(seed, castagnoli, dst[4:n]))
}

// reseed makes a checked record one of another segment use.
func reseed(rec []byte, seed uint32) {
	le := binary.LittleEndian
	n := headerSize + int(le.Uint16(rec[4:])) + int(le.Uint32(rec[8:]))
	le.PutUint32(rec, crc32.Update(seed, castagnoli, rec[4:n]))
}

type verdict uint8

const (
	whole    verdict = iota // the record asked for
	corrupt                 // not a record, a damaged one, or one of an earlier use of the segment
	otherKey                // a whole record of another key
	expired                 // the record asked for, past its expiry
)

// parseRecord finds the key and value in rec, which may have any content. The
// CRC is compared before anything is believed.
func parseRecord(rec []byte, seed uint32) (key, value []byte, raw int, expires int64, ok bool) {
	if len(rec) < headerSize {
		return nil, nil, 0, 0, false
	}
	le := binary.LittleEndian
	keyLen, valueLen := int(le.Uint16(rec[4:])), int(le.Uint32(rec[8:]))
	raw = int(le.Uint32(rec[12:]))
	end := headerSize + keyLen + valueLen
	if valueLen > maxUnits*unit || raw > maxUnits*unit || end > len(rec) || crc32.Update(seed, castagnoli, rec[4:end]) != le.Uint32(rec) {
		return nil, nil, 0, 0, false
	}
	key = rec[headerSize : headerSize+keyLen]
	return key, rec[headerSize+keyLen : end], raw, int64(le.Uint64(rec[16:])), true
}

// match is parseRecord for the record of key, also looking at the clock.
func match(rec, key []byte, seed uint32) (value []byte, raw int, expires int64, v verdict) {
	k, value, raw, expires, ok := parseRecord(rec, seed)
	switch {
	case !ok:
		v = corrupt
	case string(k) != string(key):
		v = otherKey
	case expires != 0 && expires <= time.Now().UnixMilli():
		v = expired
	}
	return value, raw, expires, v
}
