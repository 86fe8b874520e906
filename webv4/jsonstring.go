package webv4

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
	"unsafe"
)

// escape is what stands for a byte inside a string; n is 0 for itself.
type escape struct {
	text uint64 // little-endian
	n    int
}

func newEscape(s string) escape {
	return escape{binary.LittleEndian.Uint64([]byte(s + "\x00\x00\x00\x00\x00\x00\x00")), len(s)}
}

// escapes are those of ASCII. HTML's own characters are among them, so that a
// reply that ends up in a page is harmless.
var escapes = func() (t [utf8.RuneSelf]escape) {
	for c := range t {
		if c < ' ' || c == '<' || c == '>' || c == '&' {
			t[c] = newEscape(`\u00` + string(hexDigits[c>>4]) + string(hexDigits[c&15]))
		}
	}
	for c, s := range map[byte]string{'"': `\"`, '\\': `\\`, '\b': `\b`, '\f': `\f`, '\n': `\n`, '\r': `\r`, '\t': `\t`} {
		t[c] = newEscape(s)
	}
	return t
}()

// The escapes of what is not valid, and of two line ends of JavaScript.
var noRune, lineEnd, paragraphEnd = newEscape(`\ufffd`), newEscape(`\u2028`), newEscape(`\u2029`)

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as encoding/json does: one line of valid UTF-8.
func appendJSONString(b []byte, s string) []byte { return appendQuoted(append(b, '"'), s) }

// spare is how many bytes more than what is left of a string there are in the
// buffer: what is copied is copied in words.
const spare = 16

// appendQuoted appends the inside of a string and the quote that ends it. It
// copies and looks at eight bytes at once; at is where it is in b.
func appendQuoted(b []byte, s string) []byte {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	n, i, at := len(s), 0, len(b)
	b = reserve(b, n+spare)
	src, dst := unsafe.Pointer(unsafe.StringData(s)), unsafe.Pointer(unsafe.SliceData(b))
	last, from := lastWord(src, n)
	for i < n {
		var w uint64
		if i+8 <= n {
			w = load8(unsafe.Add(src, i))
		} else {
			w = last >> (8 * uint(i-from) & 63) // zeros behind the end, where it stops
		}
		store8(unsafe.Add(dst, at), w)
		// found has the high bit of the first byte set that is not ASCII or needs an
		// escape. Of ASCII, x-ones has it for the first byte that is zero; those behind
		// may have borrowed. Setting a bit makes < and > one, 0x3c and 0x3e, and " and
		// &, 0x22 and 0x26.
		control, angle, quote, slash := w-ones*0x20, (w|ones*2)^ones*'>', (w|ones*4)^ones*'&', w^ones*'\\'
		found := (w | control | (angle - ones) | (quote - ones) | (slash - ones)) & highs
		if found == 0 {
			i, at = i+8, at+8
			continue
		}
		k := bits.TrailingZeros64(found) / 8
		for i, at = i+k, at+k; i < n; {
			var e *escape
			c, size := s[i], 1
			if c < utf8.RuneSelf {
				if e = &escapes[c]; e.n == 0 {
					break
				}
			} else {
				// Three bytes that nothing can be wrong with, as most of Chinese is, and
				// mostly one behind the other.
				if i+8 <= n {
					if w := load8(unsafe.Add(src, i)); w&0xc0c0f0c0c0f0 == 0x8080e08080e0 && isSound(c) && isSound(byte(w>>24)) {
						store8(unsafe.Add(dst, at), w)
						i, at = i+6, at+6
						continue
					}
				}
				if i+3 <= n && isSound(c) {
					if w := uint32(c) | uint32(s[i+1])<<8 | uint32(s[i+2])<<16; w&0xc0c0f0 == 0x8080e0 {
						store4(unsafe.Add(dst, at), w)
						i, at = i+3, at+3
						continue
					}
				}
				var r rune
				r, size = utf8.DecodeRuneInString(s[i:])
				switch {
				case r == utf8.RuneError && size == 1:
					e = &noRune
				case r == 0x2028:
					e = &lineEnd
				case r == 0x2029:
					e = &paragraphEnd
				default:
					at += copy(b[at:cap(b)], s[i:i+size])
					i += size
					continue
				}
			}
			store8(unsafe.Add(dst, at), e.text)
			i, at = i+size, at+e.n
			if cap(b)-at < n-i+spare {
				b = reserve(b[:at], n-i+spare)
				dst = unsafe.Pointer(unsafe.SliceData(b))
			}
		}
	}
	*(*byte)(unsafe.Add(dst, at)) = '"'
	return b[:at+1]
}

// isSound reports whether any two bytes 10xxxxxx make a character of a byte
// 1110xxxx that encoding/json writes as it is: not of E0, ED and E2.
func isSound(c byte) bool { return 0x2005>>(c&15)&1 == 0 }

// lastWord is the last eight bytes of a string, or all of it, and where they begin.
func lastWord(src unsafe.Pointer, n int) (w uint64, from int) {
	switch {
	case n >= 8:
		return load8(unsafe.Add(src, n-8)), n - 8
	case n >= 4: // two halves that overlap
		return uint64(load4(src)) | uint64(load4(unsafe.Add(src, n-4)))<<(8*uint(n-4)), 0
	}
	for i := range n {
		w |= uint64(*(*byte)(unsafe.Add(src, i))) << (8 * uint(i))
	}
	return w, 0
}

// reserve makes room for n more bytes.
func reserve(b []byte, n int) []byte {
	if cap(b)-len(b) < n {
		b = slices.Grow(b, n+len(b)/2)
	}
	return b
}

func load8(p unsafe.Pointer) uint64     { return binary.LittleEndian.Uint64((*[8]byte)(p)[:]) }
func load4(p unsafe.Pointer) uint32     { return binary.LittleEndian.Uint32((*[4]byte)(p)[:]) }
func store8(p unsafe.Pointer, w uint64) { binary.LittleEndian.PutUint64((*[8]byte)(p)[:], w) }
func store4(p unsafe.Pointer, w uint32) { binary.LittleEndian.PutUint32((*[4]byte)(p)[:], w) }

// words is a short text that is appended often: padded to whole words.
type words struct {
	padded string
	n      int
}

func newWords(s string) words { return words{s + "       "[:-len(s)&7], len(s)} }

func (t *words) appendTo(b []byte) []byte {
	b = reserve(b, len(t.padded))
	at := len(b)
	src, dst := unsafe.Pointer(unsafe.StringData(t.padded)), unsafe.Pointer(unsafe.SliceData(b))
	for i := 0; i < len(t.padded); i += 8 {
		store8(unsafe.Add(dst, at+i), load8(unsafe.Add(src, i)))
	}
	return b[:at+t.n]
}
