package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Decode reads one value, or several arguments, into what v points to. An empty
// body, and a null, leave a single value as it is.
func (Hessian2) Decode(b []byte, v any) error {
	r := hessianReader{b: b, all: len(b)}
	if args, ok := v.(*Args); ok && args != nil {
		for *args = nil; len(r.b) > 0; {
			a, err := r.any(0)
			if err != nil {
				return fmt.Errorf("argument %d: %w", len(*args)+1, err)
			}
			*args = append(*args, a)
		}
		return nil
	}
	targets, several, err := into("hessian2", v)
	if err != nil || len(b) == 0 && !several {
		return err
	}
	for i, target := range targets {
		rv := reflect.ValueOf(target)
		n, err := planOf(rv.Type().Elem())
		if err == nil {
			err = r.value(n, rv.UnsafePointer(), 0)
		}
		if err != nil {
			if several {
				err = fmt.Errorf("argument %d: %w", i+1, err)
			}
			return err
		}
	}
	if len(r.b) != 0 {
		return r.bad("%d bytes after the value", len(r.b))
	}
	return nil
}

// hessianReader walks over a body.
type hessianReader struct {
	b       []byte
	all     int // length of the whole body, for the position in errors
	types   []string
	classes []hessianClassDef
	refs    []hessianRef
	spent   allowance
}

// hessianClassDef is a class definition that has come; fill says which field of
// plan each of its fields is, or -1.
type hessianClassDef struct {
	name   string
	fields []string
	plan   *plan
	fill   []int
}

// hessianRef is a list, map or object that later values may refer to: either
// what any got, or a value of a plan at a place.
type hessianRef struct {
	whole bool      // it has been read to its end
	spent allowance // before it began, and then for it: a reference takes as much again
	any   any
	plan  *plan
	at    unsafe.Pointer
}

func (r *hessianReader) bad(format string, args ...any) error {
	return hessianErr("byte %d: %s", r.all-len(r.b), fmt.Sprintf(format, args...))
}

func (r *hessianReader) next(n int) ([]byte, error) {
	if n < 0 || len(r.b) < n {
		return nil, r.bad("length %d, but %d bytes are left", n, len(r.b))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v, nil
}

func (r *hessianReader) peek() (byte, error) {
	if len(r.b) == 0 {
		return 0, r.bad("body ends where a value should be")
	}
	return r.b[0], nil
}

// tag reads the byte that a value begins with, after definitions of classes.
func (r *hessianReader) tag() (byte, error) {
	for {
		c, err := r.peek()
		if err != nil {
			return 0, err
		}
		r.b = r.b[1:]
		if c != 'C' {
			return c, nil
		}
		if err := r.define(); err != nil {
			return 0, err
		}
	}
}

// define reads the definition of a class behind its C.
func (r *hessianReader) define() error {
	name, err := r.text()
	if err != nil {
		return err
	}
	count, err := r.count()
	if err != nil {
		return err
	}
	if !r.spent.take(count, unsafe.Sizeof("")+unsafe.Sizeof(0)) {
		return r.bad("too many values")
	}
	d := hessianClassDef{name: name, fields: make([]string, count)}
	for i := range d.fields {
		if d.fields[i], err = r.text(); err != nil {
			return err
		}
	}
	r.classes = append(r.classes, d)
	return nil
}

// count reads an int that says how many values follow, each of a byte or more.
func (r *hessianReader) count() (int, error) {
	c, err := r.peek()
	if err != nil {
		return 0, err
	}
	r.b = r.b[1:]
	n, err := r.int(c)
	if err == nil && (n < 0 || n > int64(len(r.b))) {
		err = r.bad("%d values, but %d bytes are left", n, len(r.b))
	}
	return int(n), err
}

// text reads a string that must come.
func (r *hessianReader) text() (string, error) {
	c, err := r.peek()
	if err != nil {
		return "", err
	}
	r.b = r.b[1:]
	if !isHessianString(c) {
		return "", r.bad("tag %#x, want a string", c)
	}
	return r.string(c)
}

func isHessianString(c byte) bool {
	return c <= 0x1f || c >= 0x30 && c <= 0x33 || c == 'S' || c == 'R'
}

func isHessianBytes(c byte) bool {
	return c >= 0x20 && c <= 0x2f || c >= 0x34 && c <= 0x37 || c == 'A' || c == 'B'
}

// string reads a string whose first piece has tag c.
func (r *hessianReader) string(c byte) (string, error) {
	var out []byte
	for {
		units, last := int(c), true
		switch {
		case c <= 0x1f:
		case c >= 0x30 && c <= 0x33:
			b, err := r.next(1)
			if err != nil {
				return "", err
			}
			units = int(c-0x30)<<8 | int(b[0])
		case c == 'S' || c == 'R':
			b, err := r.next(2)
			if err != nil {
				return "", err
			}
			units, last = int(binary.BigEndian.Uint16(b)), c == 'S'
		default:
			return "", r.bad("tag %#x, want a piece of a string", c)
		}
		n, plain, err := r.units(units)
		if err != nil {
			return "", err
		}
		b, err := r.next(n)
		if err != nil {
			return "", err
		}
		switch {
		case last && plain && out == nil:
			return string(b), nil
		case plain:
			out = append(out, b...)
		default:
			out = appendJoined(out, b)
		}
		if last {
			return string(out), nil
		}
		if c, err = r.peek(); err != nil {
			return "", err
		}
		r.b = r.b[1:]
	}
}

// units returns how many bytes so many UTF-16 units take; plain says that they
// are UTF-8 as it stands, without surrogates.
func (r *hessianReader) units(units int) (n int, plain bool, err error) {
	n, plain = asciiPrefix(r.b, units), true
	units -= n
	for units > 0 {
		if n >= len(r.b) {
			return 0, false, r.bad("string of %d more characters, but the body ends", units)
		}
		c := r.b[n]
		size := 1
		switch {
		case c < 0x80:
		case c >= 0xc0 && c < 0xe0:
			size = 2
		case c >= 0xe0 && c < 0xf0:
			size = 3
			plain = plain && (c != 0xed || n+1 < len(r.b) && r.b[n+1] < 0xa0)
		case c >= 0xf0 && c < 0xf8 && units > 1: // not what Java writes, but others do
			size = 4
			units--
		default:
			return 0, false, r.bad("byte %#x in a string", c)
		}
		for i := 1; i < size; i++ {
			if n+i >= len(r.b) || r.b[n+i]&0xc0 != 0x80 {
				return 0, false, r.bad("malformed character in a string")
			}
		}
		n += size
		units--
	}
	return n, plain, nil
}

// appendJoined appends text in which pairs of surrogates are single characters.
func appendJoined(out, b []byte) []byte {
	unit := func(at int) rune {
		if at+2 < len(b) && b[at] == 0xed && b[at+1] >= 0xa0 {
			return 0xd000 | rune(b[at+1]&0x3f)<<6 | rune(b[at+2]&0x3f)
		}
		return -1
	}
	for at := 0; at < len(b); {
		if u := unit(at); u >= 0 {
			if v := unit(at + 3); v >= 0 && utf16.DecodeRune(u, v) != utf8.RuneError {
				out = utf8.AppendRune(out, utf16.DecodeRune(u, v))
				at += 6
			} else {
				out = utf8.AppendRune(out, utf8.RuneError) // a lone surrogate is no character
				at += 3
			}
			continue
		}
		out = append(out, b[at])
		at++
	}
	return out
}

// bytes reads a binary whose first piece has tag c.
func (r *hessianReader) bytes(c byte) ([]byte, error) {
	out := []byte{}
	for {
		n, last := int(c-0x20), true
		switch {
		case c >= 0x20 && c <= 0x2f:
		case c >= 0x34 && c <= 0x37:
			b, err := r.next(1)
			if err != nil {
				return nil, err
			}
			n = int(c-0x34)<<8 | int(b[0])
		case c == 'A' || c == 'B':
			b, err := r.next(2)
			if err != nil {
				return nil, err
			}
			n, last = int(binary.BigEndian.Uint16(b)), c == 'B'
		default:
			return nil, r.bad("tag %#x, want a piece of a binary", c)
		}
		b, err := r.next(n)
		if err != nil {
			return nil, err
		}
		if out = append(out, b...); last {
			return out, nil
		}
		if c, err = r.peek(); err != nil {
			return nil, err
		}
		r.b = r.b[1:]
	}
}

func isHessianInt(c byte) bool { return c >= 0x80 && c <= 0xd7 || c == 'I' }

func isHessianLong(c byte) bool { return c >= 0xd8 || c >= 0x38 && c <= 0x3f || c == 'L' || c == 'Y' }

// int reads an int or long with tag c.
func (r *hessianReader) int(c byte) (int64, error) {
	high, n := int64(0), 0
	switch {
	case c >= 0x80 && c <= 0xbf:
		return int64(c) - 0x90, nil
	case c >= 0xc0 && c <= 0xcf:
		high, n = int64(c)-0xc8, 1
	case c >= 0xd0 && c <= 0xd7:
		high, n = int64(c)-0xd4, 2
	case c >= 0xd8 && c <= 0xef:
		return int64(c) - 0xe0, nil
	case c >= 0xf0:
		high, n = int64(c)-0xf8, 1
	case c >= 0x38 && c <= 0x3f:
		high, n = int64(c)-0x3c, 2
	case c == 'I' || c == 'Y':
		b, err := r.next(4)
		if err != nil {
			return 0, err
		}
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	case c == 'L':
		b, err := r.next(8)
		if err != nil {
			return 0, err
		}
		return int64(binary.BigEndian.Uint64(b)), nil
	default:
		return 0, r.bad("tag %#x, want an integer", c)
	}
	b, err := r.next(n)
	if err != nil {
		return 0, err
	}
	for _, x := range b {
		high = high<<8 | int64(x)
	}
	return high, nil
}

func isHessianDouble(c byte) bool { return c == 'D' || c >= 0x5b && c <= 0x5f }

// double reads a double with tag c, or an integer.
func (r *hessianReader) double(c byte) (float64, error) {
	n := 0
	switch c {
	case 0x5b:
		return 0, nil
	case 0x5c:
		return 1, nil
	case 0x5d:
		n = 1
	case 0x5e:
		n = 2
	case 0x5f:
		n = 4
	case 'D':
		n = 8
	default:
		v, err := r.int(c)
		return float64(v), err
	}
	b, err := r.next(n)
	if err != nil {
		return 0, err
	}
	switch n {
	case 1:
		return float64(int8(b[0])), nil
	case 2:
		return float64(int16(binary.BigEndian.Uint16(b))), nil
	case 4: // thousandths
		return 0.001 * float64(int32(binary.BigEndian.Uint32(b))), nil
	}
	return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
}

// date reads a date with tag c.
func (r *hessianReader) date(c byte) (time.Time, error) {
	switch c {
	case 0x4a:
		b, err := r.next(8)
		if err != nil {
			return time.Time{}, err
		}
		return time.UnixMilli(int64(binary.BigEndian.Uint64(b))).UTC(), nil
	case 0x4b:
		b, err := r.next(4)
		if err != nil {
			return time.Time{}, err
		}
		return time.Unix(60*int64(int32(binary.BigEndian.Uint32(b))), 0).UTC(), nil
	}
	v, err := r.int(c)
	if err != nil {
		return time.Time{}, r.bad("tag %#x, want a date", c)
	}
	return time.UnixMilli(v).UTC(), nil
}

// typ reads the type of a list or map: a string, or the number of an earlier
// one. Nothing is done with it.
func (r *hessianReader) typ() error {
	c, err := r.peek()
	if err != nil {
		return err
	}
	if isHessianString(c) {
		t, err := r.text()
		r.types = append(r.types, t)
		return err
	}
	r.b = r.b[1:]
	n, err := r.int(c)
	if err == nil && (n < 0 || n >= int64(len(r.types))) {
		err = r.bad("reference to type %d of %d", n, len(r.types))
	}
	return err
}

func isHessianList(c byte) bool { return c >= 0x55 && c <= 0x58 || c >= 0x70 && c <= 0x7f }

// elements reads a list with tag c: element is called for each value.
func (r *hessianReader) elements(c byte, element func() error) error {
	count := -1
	var err error
	switch {
	case c == 0x55: // typed, up to a Z
		err = r.typ()
	case c == 0x56:
		if err = r.typ(); err == nil {
			count, err = r.count()
		}
	case c == 0x57: // up to a Z
	case c == 0x58:
		count, err = r.count()
	case c >= 0x70 && c <= 0x77:
		err = r.typ()
		count = int(c - 0x70)
	default:
		count = int(c - 0x78)
	}
	if err != nil {
		return err
	}
	if count > len(r.b) {
		return r.bad("%d values, but %d bytes are left", count, len(r.b))
	}
	for i := 0; i != count; i++ {
		if count < 0 {
			if z, err := r.peek(); err != nil {
				return err
			} else if z == 'Z' {
				r.b = r.b[1:]
				return nil
			}
		}
		if err := element(); err != nil {
			return err
		}
	}
	return nil
}

// pairs reads a map behind its tag and type: pair is called for each key.
func (r *hessianReader) pairs(pair func() error) error {
	for {
		z, err := r.peek()
		if err != nil {
			return err
		}
		if z == 'Z' {
			r.b = r.b[1:]
			return nil
		}
		if err := pair(); err != nil {
			return err
		}
	}
}

// classOf reads which class an object with tag c has.
func (r *hessianReader) classOf(c byte) (*hessianClassDef, error) {
	at := int64(c) - 0x60
	if c == 'O' {
		b, err := r.next(1)
		if err != nil {
			return nil, err
		}
		if at, err = r.int(b[0]); err != nil {
			return nil, err
		}
	}
	if at < 0 || at >= int64(len(r.classes)) {
		return nil, r.bad("reference to class %d of %d", at, len(r.classes))
	}
	return &r.classes[at], nil
}

func isHessianObject(c byte) bool { return c == 'O' || c >= 0x60 && c <= 0x6f }

// begin notes a list, map or object that later values may refer to.
func (r *hessianReader) begin(ref hessianRef) int {
	ref.spent = r.spent
	r.refs = append(r.refs, ref)
	return len(r.refs) - 1
}

// end notes that such a value has been read to its end.
func (r *hessianReader) end(at int) {
	ref := &r.refs[at]
	ref.whole, ref.spent = true, r.spent-ref.spent+16
}

// referred finds what a Q refers to. It charges as if the value came again, so
// that lists of references to lists of references do not become large to whoever
// walks over them.
func (r *hessianReader) referred() (*hessianRef, error) {
	b, err := r.next(1)
	if err != nil {
		return nil, err
	}
	at, err := r.int(b[0])
	if err != nil {
		return nil, err
	}
	if at < 0 || at >= int64(len(r.refs)) {
		return nil, r.bad("reference to value %d of %d", at, len(r.refs))
	}
	ref := &r.refs[at]
	if ref.whole && !r.spent.take(1, uintptr(ref.spent)) {
		return nil, r.bad("too many values")
	}
	return ref, nil
}
