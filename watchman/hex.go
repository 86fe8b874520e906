package watchman

import "encoding/binary"

// Every call over a wire writes and reads a trace id and a span id in hex, so
// this works on eight digits at a time, each in a byte of a word, the first in the
// highest. Digits are lower-case only.

const (
	hexDigits = "0123456789abcdef"
	everyByte = 0x0101010101010101
)

// digits makes digits of a word's nibbles, one a byte.
func digits(nibbles uint64) uint64 {
	letters := (nibbles + 6*everyByte) >> 4 & everyByte
	return nibbles + '0'*everyByte + letters*('a'-'0'-10)
}

// nibbles is the opposite; bad is not 0 if a byte is no digit.
func nibbles(d uint64) (n, bad uint64) {
	n = d&(0x0f*everyByte) + d>>6&everyByte*9
	return n, n&(0xf0*everyByte) | (digits(n) ^ d)
}

func spread(x uint32) uint64 {
	n := uint64(x)
	n = (n<<16 | n) & 0x0000ffff0000ffff
	n = (n<<8 | n) & 0x00ff00ff00ff00ff
	return (n<<4 | n) & (0x0f * everyByte)
}

func pack(n uint64) uint32 {
	n = (n | n>>4) & 0x00ff00ff00ff00ff
	n = (n | n>>8) & 0x0000ffff0000ffff
	return uint32(n | n>>16)
}

// putHex8 writes the 16 digits of src, 8 bytes, into dst.
func putHex8(dst, src []byte) {
	_, _ = dst[15], src[7]
	binary.BigEndian.PutUint64(dst, digits(spread(binary.BigEndian.Uint32(src))))
	binary.BigEndian.PutUint64(dst[8:], digits(spread(binary.BigEndian.Uint32(src[4:]))))
}

// lowerHex8 reads 16 digits of s, which are not more, into dst, 8 bytes; bad is
// not 0 if there are other characters.
func lowerHex8(dst []byte, s string) (bad uint64) {
	_, _ = dst[7], s[15]
	hi, bad1 := nibbles(word(s))
	lo, bad2 := nibbles(word(s[8:]))
	binary.BigEndian.PutUint64(dst, uint64(pack(hi))<<32|uint64(pack(lo)))
	return bad1 | bad2
}

func word(s string) uint64 {
	return uint64(s[7]) | uint64(s[6])<<8 | uint64(s[5])<<16 | uint64(s[4])<<24 |
		uint64(s[3])<<32 | uint64(s[2])<<40 | uint64(s[1])<<48 | uint64(s[0])<<56
}

// lowerHex1 reads two digits.
func lowerHex1(hi, lo byte) (b byte, bad uint64) {
	n, bad := nibbles(uint64(hi)<<8 | uint64(lo) | '0'*(everyByte&^0xffff))
	return byte(pack(n)), bad
}
