package ssdcache

import (
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
)

// minCompress is the smallest value that is worth trying.
const minCompress = 128

// pressed holds values on their way in or out.
var pressed = sync.Pool{New: func() any { return new([]byte) }}

func keepPressed(b *[]byte) {
	if cap(*b) <= 256<<10 {
		pressed.Put(b)
	}
}

// compress returns value compressed by S2 in room, if that saves an eighth.
func compress(room *[]byte, value []byte) (short []byte, ok bool) {
	if n := s2.MaxEncodedLen(len(value)); cap(*room) < n {
		*room = make([]byte, n)
	}
	short = s2.Encode((*room)[:cap(*room)], value)
	return short, len(short) <= len(value)*7/8
}

// decompress appends raw bytes to dst, or fails if short does not become so many.
func decompress(dst, short []byte, raw int) ([]byte, error) {
	if n, err := s2.DecodedLen(short); err != nil || n != raw {
		return dst, errDamaged
	}
	dst = slices.Grow(dst, raw)
	if _, err := s2.Decode(dst[len(dst):len(dst)+raw], short); err != nil {
		return dst, errDamaged
	}
	return dst[:len(dst)+raw], nil
}
