// Package unpack reads MessagePack from anywhere: the library that decodes it
// recurses without a bound, trusts lengths and panics on a few well-formed values.
package unpack

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Value decodes the value that b begins with into the pointer v and returns its
// length. Structs follow the tag; "" is the library's own. A value nested deeper
// than depth is an error.
func Value(b []byte, v any, tag string, depth int) (n int, err error) {
	if n, err = check(b, depth); err != nil {
		return 0, err
	}
	// A key of a field of type any that comes twice makes the library set what the
	// field held first, which nobody can.
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("%v", p)
		}
	}()
	d := msgpack.GetDecoder()
	d.Reset(bytes.NewReader(b[:n]))
	d.UsePreallocateValues(true) // check bounds them
	d.SetCustomStructTag(tag)
	err = d.Decode(v)
	msgpack.PutDecoder(d) // not one that panicked
	if err != nil {
		return 0, err
	}
	return n, nil
}

// check returns the length of the value that b begins with. It refuses one nested
// too deep or with lengths beyond the end before the decoder sees it.
func check(b []byte, depth int) (int, error) {
	open := make([]uint64, 1, 64) // values still to come at each level
	open[0] = 1
	at := 0
	bad := func(why string) (int, error) {
		return 0, fmt.Errorf("%s at byte %d", why, at)
	}
	for {
		for open[len(open)-1] == 0 {
			if len(open) == 1 {
				return at, nil
			}
			open = open[:len(open)-1]
		}
		open[len(open)-1]--
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
		ok := true
		nest := false
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
			skip++
		case c == 0xca || c == 0xce || c == 0xd2:
			skip = 4
		case c == 0xcb || c == 0xcf || c == 0xd3:
			skip = 8
		case c == 0xcc || c == 0xd0:
			skip = 1
		case c == 0xcd || c == 0xd1:
			skip = 2
		case c >= 0xd4 && c <= 0xd8:
			skip = 1 + 1<<(c-0xd4)
		case c == 0xdc || c == 0xdd:
			children, ok = size(2 << (c - 0xdc))
			nest = true
		case c == 0xde || c == 0xdf:
			children, ok = size(2 << (c - 0xde))
			children, nest = 2*children, true
		default:
			return bad("unknown type")
		}
		if !ok || skip > uint64(len(b)-at) || children > uint64(len(b)-at) {
			return bad("length beyond the end")
		}
		at += int(skip)
		if nest {
			if len(open) > depth {
				return bad(fmt.Sprintf("nested deeper than %d", depth))
			}
			open = append(open, children)
		}
	}
}
