package objstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// blocks are the CRC-32C sums of a content's parts, which are all of one size
// but the last. They let a reader verify what it reads of the middle. A content
// of no more than minBlock has none, because its own sum does the same; nor has
// one that was stored before there were any.
type blocks struct {
	size int64  // of a part, in bytes; 0: there are no sums
	sums string // 4 bytes each, little-endian
}

const (
	minBlock = 1 << 20

	// maxBlocks bounds the metadata: parts become larger instead of more. 1 GiB
	// has parts of 2 MiB.
	maxBlocks = 512
)

// check finds sums that do not fit a content's size.
func (b blocks) check(size int64) error {
	if b.size == 0 && b.sums == "" {
		return nil
	}
	if b.size < minBlock || b.size > 1<<53 || size < 0 {
		return fmt.Errorf("blocks of %d bytes", b.size)
	}
	count := size / b.size
	if size%b.size > 0 {
		count++
	}
	if count > maxBlocks || int64(len(b.sums)) != 4*count {
		return fmt.Errorf("%d bytes of sums for %d blocks", len(b.sums), count)
	}
	return nil
}

// block returns the part of a content that an offset is in, and its sum. It
// tells whether there is one.
func (c *ContentInfo) block(offset int64) (start, size int64, sum uint32, ok bool) {
	switch {
	case c.blocks.size > 0:
		i := offset / c.blocks.size
		start = i * c.blocks.size
		if 4*i+4 > int64(len(c.blocks.sums)) {
			return 0, 0, 0, false // somebody has changed Size
		}
		b := []byte(c.blocks.sums[4*i : 4*i+4])
		return start, min(c.blocks.size, c.Size-start), binary.LittleEndian.Uint32(b), true
	case c.Size <= minBlock:
		return 0, c.Size, c.CRC32C, true
	}
	return 0, 0, 0, false
}

// blockSummer sums up the parts of a content whose size is not known.
type blockSummer struct {
	size int64 // of a part; 0 is minBlock
	sums []uint32
	crc  uint32 // of the part under way
	n    int64  // bytes of it
}

func (s *blockSummer) write(p []byte) {
	if s.size == 0 {
		s.size = minBlock
	}
	for len(p) > 0 {
		n := min(int64(len(p)), s.size-s.n)
		s.crc = crc32.Update(s.crc, castagnoli, p[:n])
		s.n += n
		p = p[n:]
		if s.n == s.size {
			s.next()
		}
	}
}

// next ends a part, and joins all of them in twos when they become too many.
func (s *blockSummer) next() {
	s.sums = append(s.sums, s.crc)
	s.crc, s.n = 0, 0
	if len(s.sums) < maxBlocks {
		return
	}
	shift := shiftBy(s.size)
	for i := range maxBlocks / 2 {
		s.sums[i] = shift.apply(s.sums[2*i]) ^ s.sums[2*i+1]
	}
	s.sums = s.sums[:maxBlocks/2]
	s.size *= 2
}

// blocks are the sums of a content that was written as a whole.
func (s *blockSummer) blocks(size int64) blocks {
	if size <= minBlock {
		return blocks{}
	}
	sums := s.sums
	if s.n > 0 {
		sums = append(sums, s.crc)
	}
	b := make([]byte, 0, 4*len(sums))
	for _, sum := range sums {
		b = binary.LittleEndian.AppendUint32(b, sum)
	}
	return blocks{size: s.size, sums: string(b)}
}

// crcShift is a linear map of CRC-32C sums: what bit i alone becomes. The sum of
// two pieces is that of the first, moved over as many zero bytes as the second
// has, and that of the second, added without carry.
type crcShift [32]uint32

func (m *crcShift) apply(crc uint32) (out uint32) {
	for i := 0; crc != 0; i, crc = i+1, crc>>1 {
		if crc&1 != 0 {
			out ^= m[i]
		}
	}
	return out
}

// shiftBy is the map over a power of two of zero bytes.
func shiftBy(bytes int64) *crcShift {
	// One zero bit divides the polynomial by x, in the reversed order of bits.
	m := &crcShift{crc32.Castagnoli}
	for i := 1; i < len(m); i++ {
		m[i] = 1 << (i - 1)
	}
	for bits := 8 * bytes; bits > 1; bits /= 2 {
		square := new(crcShift)
		for i := range square {
			square[i] = m.apply(m[i])
		}
		m = square
	}
	return m
}
