package webv4

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
	"unsafe"
)

// escapes are what stands for a byte inside a string, "" for itself. HTML's own
// characters are among them, so that a reply that ends up in a page is harmless.
var escapes = func() (t [utf8.RuneSelf]string) {
	for c := range ' ' {
		t[c] = `\u00` + string(hexDigits[c>>4]) + string(hexDigits[c&15])
	}
	for _, c := range []byte("<>&") {
		t[c] = `\u00` + string(hexDigits[c>>4]) + string(hexDigits[c&15])
	}
	t['"'], t['\\'], t['\b'], t['\f'], t['\n'], t['\r'], t['\t'] = `\"`, `\\`, `\b`, `\f`, `\n`, `\r`, `\t`
	return t
}()

// plain are the bytes that stand for themselves whatever is around them.
var plain = func() (t [256]bool) {
	for c, e := range escapes {
		t[c] = e == ""
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendJSONString appends s as encoding/json does: one line of valid UTF-8.
func appendJSONString(b []byte, s string) []byte { return appendQuoted(append(b, '"'), s) }

// appendQuoted appends the inside of a string and the quote that ends it. It
// copies and looks at eight bytes at once; at is where it is in b. There is always
// room for what is left of s and spare bytes more.
func appendQuoted(b []byte, s string) []byte {
	const (
		spare = 16
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	n, i, at := len(s), 0, len(b)
	b = reserve(b, n+spare)
	src, dst := unsafe.Pointer(unsafe.StringData(s)), unsafe.Pointer(unsafe.SliceData(b))
	for {
		for i+8 <= n {
			w := load8(unsafe.Add(src, i))
			store8(unsafe.Add(dst, at), w)
			// found has the high bit of the first byte set that is not ASCII or needs an
			// escape. Of ASCII, x-ones has it for the first byte that is zero; those behind
			// may have borrowed. Setting a bit makes < and > one, 0x3c and 0x3e, and " and
			// &, 0x22 and 0x26.
			control, angle, quote, slash := w-ones*0x20, (w|ones*2)^ones*'>', (w|ones*4)^ones*'&', w^ones*'\\'
			if found := (w | control | (angle - ones) | (quote - ones) | (slash - ones)) & highs; found != 0 {
				k := bits.TrailingZeros64(found) / 8
				i, at = i+k, at+k
				break
			}
			i, at = i+8, at+8
		}
		for i < n && plain[s[i]] {
			*(*byte)(unsafe.Add(dst, at)) = s[i]
			i, at = i+1, at+1
		}
		if i == n {
			*(*byte)(unsafe.Add(dst, at)) = '"'
			return b[:at+1]
		}
		for i < n && !plain[s[i]] {
			// What is written here: an escape, or nothing for a character that is copied.
			escape := ""
			size := 1
			if c := s[i]; c < utf8.RuneSelf {
				escape = escapes[c]
			} else {
				if i+4 <= n {
					// Three bytes that nothing can be wrong with, as most of Chinese is. E0, E2
					// and ED need a closer look.
					if w := load4(unsafe.Add(src, i)); w&0xc0c0f0 == 0x8080e0 && 0x2005>>(c&15)&1 == 0 {
						store4(unsafe.Add(dst, at), w)
						i, at = i+3, at+3
						continue
					}
				}
				var r rune
				r, size = utf8.DecodeRuneInString(s[i:])
				switch {
				case r == utf8.RuneError && size == 1:
					escape = `\ufffd`
				case r == 0x2028:
					escape = `\u2028` // a line end in JavaScript, as the next
				case r == 0x2029:
					escape = `\u2029`
				default:
					at += copy(b[at:cap(b)], s[i:i+size])
					i += size
					continue
				}
			}
			at += copy(b[at:cap(b)], escape)
			i += size
			if cap(b)-at < n-i+spare {
				b = reserve(b[:at], n-i+spare)
				dst = unsafe.Pointer(unsafe.SliceData(b))
			}
		}
	}
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
