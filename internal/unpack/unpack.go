// Package unpack reads MessagePack from anywhere: the library that decodes it
// recurses without a bound, trusts lengths, takes some extensions for maps and
// panics on a few well-formed values.
package unpack

import (
	"bytes"
	"fmt"

	"github.com/vmihailenco/msgpack/v5"
)

// Value decodes the value that b begins with into the pointer v and returns its
// length. Structs follow the tag; "" is the library's own. A value nested deeper
// than depth is an error, and so is an extension that is no timestamp.
func Value(b []byte, v any, tag string, depth int) (n int, err error) {
	n, stamps, err := check(b, depth)
	if err != nil {
		return 0, err
	}
	b = b[:n]
	if len(stamps) > 0 {
		b = widen(b, stamps)
	}
	// A key of a field of type any that comes twice makes the library set what the
	// field held first, which nobody can.
	defer func() {
		if p := recover(); p != nil {
			n, err = 0, fmt.Errorf("%v", p)
		}
	}()
	d := msgpack.GetDecoder()
	d.Reset(bytes.NewReader(b))
	d.SetCustomStructTag(tag)
	err = d.Decode(v)
	msgpack.PutDecoder(d) // not one that panicked
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Check reports whether Value would refuse the value that b is, whatever it is
// decoded into.
func Check(b []byte, depth int) error {
	n, _, err := check(b, depth)
	if err == nil && n < len(b) {
		err = fmt.Errorf("%d bytes after the value", len(b)-n)
	}
	return err
}
