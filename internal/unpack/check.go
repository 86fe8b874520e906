package unpack

import (
	"encoding/binary"
	"fmt"
)

// check returns the length of the value that b begins with. It refuses one nested
// too deep or with lengths beyond the end before the decoder sees it. stamps is
// where those timestamps begin that the decoder must not see as they are.
func check(b []byte, depth int) (n int, stamps []int, err error) {
	open := make([]uint64, 1, 64) // values still to come at each level
	open[0] = 1
	pending := uint64(1) // their sum
	at := 0
	bad := func(why string) (int, []int, error) {
		return 0, nil, fmt.Errorf("%s at byte %d", why, at)
	}
	for {
		for open[len(open)-1] == 0 {
			if len(open) == 1 {
				return at, stamps, nil
			}
			open = open[:len(open)-1]
		}
		open[len(open)-1]--
		pending--
		if at >= len(b) {
			return bad("value ends early")
		}
		c := b[at]
		at++
		size := func(n int) (v uint64, ok bool) {
			if len(b)-at < n {
				return 0, false
			}
			for _, x := range b[at : at+n] {
				v = v<<8 | uint64(x)
			}
			at += n
			return v, true
		}
		var skip, children uint64
		ok, nest, ext := true, false, false
		begin := at - 1
		switch {
		case c < 0x80 || c >= 0xe0: // small integers
		case c < 0x90:
			children, nest = 2*uint64(c&15), true
		case c < 0xa0:
			children, nest = uint64(c&15), true
		case c < 0xc0:
			skip = uint64(c & 31)
		case c == 0xc0 || c == 0xc2 || c == 0xc3: // nil, false, true
		case c == 0xc4 || c == 0xd9:
			skip, ok = size(1)
		case c == 0xc5 || c == 0xda:
			skip, ok = size(2)
		case c == 0xc6 || c == 0xdb:
			skip, ok = size(4)
		case c >= 0xc7 && c <= 0xc9: // ext
			skip, ok = size(1 << (c - 0xc7))
			ext = true
		case c == 0xca || c == 0xce || c == 0xd2:
			skip = 4
		case c == 0xcb || c == 0xcf || c == 0xd3:
			skip = 8
		case c == 0xcc || c == 0xd0:
			skip = 1
		case c == 0xcd || c == 0xd1:
			skip = 2
		case c >= 0xd4 && c <= 0xd8:
			skip, ext = 1<<(c-0xd4), true
		case c == 0xdc || c == 0xdd:
			children, ok = size(2 << (c - 0xdc))
			nest = true
		case c == 0xde || c == 0xdf:
			children, ok = size(2 << (c - 0xde))
			children, nest = 2*children, true
		default:
			return bad("unknown type")
		}
		if ext {
			skip++ // the type
		}
		left := uint64(len(b) - at)
		if !ok || skip > left || pending > left-skip || children > left-skip-pending { // a value has a byte at least
			return bad("length beyond the end")
		}
		if ext {
			narrow, problem := timestamp(b[at : at+int(skip)])
			if problem != "" {
				return bad(problem)
			}
			if narrow {
				stamps = append(stamps, begin)
			}
		}
		at += int(skip)
		if nest {
			if len(open) > depth {
				return bad(fmt.Sprintf("nested deeper than %d", depth))
			}
			open = append(open, children)
			pending += children
		}
	}
}

// timestamp looks at an extension: its type, and what it holds. Where the decoder
// wants a map it takes what the extension holds for the map, and is out of step
// with the value from there on. So nothing but timestamps may pass, and those
// whose first byte could begin a map are narrow: the longest form begins with
// nanoseconds, which are too few for that.
func timestamp(ext []byte) (narrow bool, problem string) {
	const official, node = 0xff, 13 // what the decoder takes for times
	kind, b := ext[0], ext[1:]
	if kind != official && kind != node || len(b) != 4 && len(b) != 8 && len(b) != 12 {
		return false, fmt.Sprintf("extension of type %d and %d bytes, which is no timestamp,", int8(kind), len(b))
	}
	if _, nanos := split(b); nanos >= 1e9 {
		return false, fmt.Sprintf("timestamp with %d nanoseconds", nanos)
	}
	c := b[0]
	return c >= 0x80 && c < 0x90 || c == 0xc0 || c == 0xde || c == 0xdf, ""
}

// split reads a timestamp of 4, 8 or 12 bytes.
func split(b []byte) (seconds uint64, nanos uint32) {
	switch len(b) {
	case 4:
		return uint64(binary.BigEndian.Uint32(b)), 0
	case 8:
		v := binary.BigEndian.Uint64(b)
		return v & (1<<34 - 1), uint32(v >> 34)
	}
	return binary.BigEndian.Uint64(b[4:]), binary.BigEndian.Uint32(b)
}

// widen returns a copy of b in which the timestamps that begin at stamps have the
// form of 12 bytes.
func widen(b []byte, stamps []int) []byte {
	out := make([]byte, 0, len(b)+9*len(stamps))
	done := 0
	for _, at := range stamps {
		out = append(out, b[done:at]...)
		var head, size int // head is up to the type
		switch c := b[at]; c {
		case 0xd6, 0xd7:
			size = 4 << (c - 0xd6)
			head = 1
		default: // 0xc7 to 0xc9, with a length in 1, 2 or 4 bytes
			head = 1 + 1<<(c-0xc7)
			size = int(b[at+head-1])
		}
		done = at + head + 1 + size
		seconds, nanos := split(b[done-size : done])
		out = append(out, 0xc7, 12, b[at+head])
		out = binary.BigEndian.AppendUint32(out, nanos)
		out = binary.BigEndian.AppendUint64(out, seconds)
	}
	return append(out, b[done:]...)
}
