package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strconv"
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

// any reads a value of whatever type.
func (r *hessianReader) any(depth int) (any, error) {
	c, err := r.tag()
	if err != nil {
		return nil, err
	}
	return r.anyOf(c, depth)
}

func (r *hessianReader) anyOf(c byte, depth int) (any, error) {
	if depth > maxDepth {
		return nil, r.bad("nested deeper than %d", maxDepth)
	}
	switch {
	case c == 'N':
		return nil, nil
	case c == 'T' || c == 'F':
		return c == 'T', nil
	case isHessianInt(c):
		v, err := r.int(c)
		return int32(v), err
	case isHessianLong(c):
		return r.int(c)
	case isHessianDouble(c):
		return r.double(c)
	case isHessianString(c):
		return r.string(c)
	case isHessianBytes(c):
		return r.bytes(c)
	case c == 0x4a || c == 0x4b:
		return r.date(c)
	case c == 'Q':
		ref, err := r.referred()
		if err != nil {
			return nil, err
		}
		if !ref.whole {
			return nil, r.bad("a value that contains itself")
		}
		if ref.plan != nil {
			if ref.plan.kind == reflect.Struct {
				return reflect.NewAt(ref.plan.typ, ref.at).Interface(), nil
			}
			return reflect.NewAt(ref.plan.typ, ref.at).Elem().Interface(), nil
		}
		return ref.any, nil
	case isHessianList(c):
		at := r.begin(hessianRef{})
		list := []any{}
		err := r.elements(c, func() error {
			if !r.spent.take(1, 2*unsafe.Sizeof(list)) {
				return r.bad("too many values")
			}
			v, err := r.any(depth + 1)
			list = append(list, v)
			return err
		})
		r.refs[at].any = list
		r.end(at)
		return list, err
	case c == 'H' || c == 'M':
		return r.anyMap(c, depth)
	case isHessianObject(c):
		d, err := r.classOf(c)
		if err != nil {
			return nil, err
		}
		name, fields := d.name, d.fields // r.classes may move meanwhile
		if !r.spent.take(len(fields)+2, 64) {
			return nil, r.bad("too many values")
		}
		o := &JavaObject{Class: name, Fields: make(map[string]any, min(len(fields), len(r.b)))}
		at := r.begin(hessianRef{any: o})
		for _, f := range fields {
			if o.Fields[f], err = r.any(depth + 1); err != nil {
				return nil, fmt.Errorf("field %s of %s: %w", f, name, err)
			}
		}
		if len(fields) == 1 && fields[0] == "_value" { // a boxed short, byte or float
			r.refs[at].any = o.Fields["_value"]
			r.end(at)
			return o.Fields["_value"], nil
		}
		r.end(at)
		return o, nil
	}
	return nil, r.bad("unknown tag %#x", c)
}

func (r *hessianReader) anyMap(c byte, depth int) (any, error) {
	if c == 'M' {
		if err := r.typ(); err != nil {
			return nil, err
		}
	}
	at := r.begin(hessianRef{})
	texts, all := map[string]any{}, map[any]any(nil)
	err := r.pairs(func() error {
		if !r.spent.take(1, 96) {
			return r.bad("too many values")
		}
		k, err := r.any(depth + 1)
		if err != nil {
			return err
		}
		if k != nil && !reflect.TypeOf(k).Comparable() {
			return r.bad("map key of type %T", k)
		}
		v, err := r.any(depth + 1)
		if err != nil {
			return err
		}
		s, isText := k.(string)
		if all == nil && !isText {
			all = make(map[any]any, len(texts)+1)
			for k, v := range texts {
				all[k] = v
			}
		}
		if all != nil {
			all[k] = v
		} else {
			texts[s] = v
		}
		return nil
	})
	var m any = texts
	if all != nil {
		m = all
	}
	r.refs[at].any = m
	r.end(at)
	return m, err
}

// value reads a value into the place p.
func (r *hessianReader) value(n *plan, p unsafe.Pointer, depth int) error {
	c, err := r.tag()
	if err != nil {
		return err
	}
	return r.valueOf(n, p, c, depth)
}

func (r *hessianReader) valueOf(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if depth > maxDepth {
		return r.bad("nested deeper than %d", maxDepth)
	}
	switch n.kind {
	case reflect.Interface:
		v, err := r.anyOf(c, depth)
		if err == nil {
			*(*any)(p) = v
		}
		return err
	case reflect.Pointer:
		return r.pointer(n, p, c, depth)
	}
	if c == 'N' {
		return nil
	}
	if c == 'Q' {
		ref, err := r.referred()
		if err != nil {
			return err
		}
		return r.refer(n, p, ref)
	}
	switch n.kind {
	case reflect.Bool:
		if c != 'T' && c != 'F' {
			return r.bad("tag %#x, want a bool", c)
		}
		*(*bool)(p) = c == 'T'
		return nil
	case reflect.String:
		v, err := r.textOf(c, depth)
		if err == nil {
			*(*string)(p) = v
		}
		return err
	case reflect.Float32, reflect.Float64:
		v, err := r.numberOf(c, depth)
		if err != nil {
			return err
		}
		if n.kind == reflect.Float32 {
			*(*float32)(p) = float32(v)
		} else {
			*(*float64)(p) = v
		}
		return nil
	case reflect.Slice:
		return r.slice(n, p, c, depth)
	case reflect.Map:
		return r.mapping(n, p, c, depth)
	case reflect.Struct:
		if n.time {
			v, err := r.date(c)
			if err == nil {
				*(*time.Time)(p) = v
			}
			return err
		}
		return r.structure(n, p, c, depth)
	}
	v, err := r.integerOf(c, depth)
	if err == nil && !storeInt(n.kind, p, v) {
		err = r.bad("%d does not fit into %s", v, n.typ)
	}
	return err
}

func (r *hessianReader) pointer(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if c == 'N' {
		*(*unsafe.Pointer)(p) = nil
		return nil
	}
	if c == 'Q' {
		ref, err := r.referred()
		if err != nil {
			return err
		}
		if ref.plan == n.elem && ref.plan.kind == reflect.Struct { // may contain itself
			reflect.NewAt(n.typ, p).Elem().Set(reflect.NewAt(ref.plan.typ, ref.at))
			return nil
		}
		v := reflect.New(n.elem.typ)
		if err := r.refer(n.elem, v.UnsafePointer(), ref); err != nil {
			return err
		}
		reflect.NewAt(n.typ, p).Elem().Set(v)
		return nil
	}
	if !r.spent.take(1, n.elem.typ.Size()) {
		return r.bad("too many values")
	}
	v := reflect.New(n.elem.typ)
	if err := r.valueOf(n.elem, v.UnsafePointer(), c, depth+1); err != nil {
		return err
	}
	reflect.NewAt(n.typ, p).Elem().Set(v)
	return nil
}

// refer stores at p what an earlier value was.
func (r *hessianReader) refer(n *plan, p unsafe.Pointer, ref *hessianRef) error {
	if !ref.whole {
		return r.bad("a value that contains itself")
	}
	var v reflect.Value
	if ref.plan != nil {
		v = reflect.NewAt(ref.plan.typ, ref.at).Elem()
	} else {
		v = reflect.ValueOf(ref.any)
	}
	if n.typ == javaObjectType && v.Type() == reflect.PointerTo(javaObjectType) {
		v = v.Elem()
	}
	if !v.Type().AssignableTo(n.typ) {
		return r.bad("reference to a %s, want %s", v.Type(), n.typ)
	}
	reflect.NewAt(n.typ, p).Elem().Set(v)
	return nil
}

// textOf reads a string, or an object that stands for one.
func (r *hessianReader) textOf(c byte, depth int) (string, error) {
	if isHessianString(c) {
		return r.string(c)
	}
	if isHessianObject(c) {
		v, err := r.scalar(c, depth)
		if s, ok := v.(string); ok || err != nil {
			return s, err
		}
	}
	return "", r.bad("tag %#x, want a string", c)
}

// scalar reads an object that stands for something else: it has a single field,
// a name as enums have, a value as decimals do, or a boxed number.
func (r *hessianReader) scalar(c byte, depth int) (any, error) {
	v, err := r.anyOf(c, depth)
	o, ok := v.(*JavaObject)
	if err != nil || !ok {
		return v, err
	}
	if len(o.Fields) == 1 {
		for name, v := range o.Fields {
			if name == "name" || name == "value" {
				return v, nil
			}
		}
	}
	return nil, r.bad("an object of class %.100q, want a plain value", o.Class)
}

// integerOf reads an integer, or an object that stands for one.
func (r *hessianReader) integerOf(c byte, depth int) (int64, error) {
	if !isHessianObject(c) {
		return r.int(c)
	}
	v, err := r.scalar(c, depth)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case int32:
		return int64(v), nil
	case int64:
		return v, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, r.bad("an object that is no integer")
}

// numberOf reads a double, an integer, or an object that stands for one.
func (r *hessianReader) numberOf(c byte, depth int) (float64, error) {
	if !isHessianObject(c) {
		return r.double(c)
	}
	v, err := r.scalar(c, depth)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case int32:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f, nil
		}
	}
	return 0, r.bad("an object that is no number")
}

func (r *hessianReader) slice(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if n.bytes {
		var v []byte
		var err error
		switch {
		case isHessianBytes(c):
			v, err = r.bytes(c)
		case isHessianString(c):
			var s string
			s, err = r.string(c)
			v = []byte(s)
		default:
			err = r.bad("tag %#x, want a binary", c)
		}
		if err == nil {
			*(*[]byte)(p) = v
		}
		return err
	}
	if !isHessianList(c) {
		return r.bad("tag %#x, want a list", c)
	}
	at := r.begin(hessianRef{plan: n, at: p})
	list := reflect.New(n.typ).Elem()
	list.Set(reflect.MakeSlice(n.typ, 0, 0))
	size := 2 * n.elem.typ.Size()
	err := r.elements(c, func() error {
		if !r.spent.take(1, size) {
			return r.bad("too many values")
		}
		i := list.Len()
		list.Grow(1)
		list.SetLen(i + 1)
		slot := list.Index(i)
		slot.SetZero()
		return r.value(n.elem, slot.Addr().UnsafePointer(), depth+1)
	})
	if err == nil {
		reflect.NewAt(n.typ, p).Elem().Set(list)
		r.refs[at].at = list.Addr().UnsafePointer()
		r.end(at)
	}
	return err
}

func (r *hessianReader) mapping(n *plan, p unsafe.Pointer, c byte, depth int) error {
	m := reflect.MakeMap(n.typ)
	ref := hessianRef{plan: n}
	var at int
	set := func(key, val reflect.Value) error {
		if !key.Comparable() {
			return r.bad("map key that cannot be compared")
		}
		m.SetMapIndex(key, val)
		return nil
	}
	size := 2*(n.key.typ.Size()+n.elem.typ.Size()) + 16
	switch {
	case c == 'H' || c == 'M':
		if c == 'M' {
			if err := r.typ(); err != nil {
				return err
			}
		}
		at = r.begin(ref)
		err := r.pairs(func() error {
			if !r.spent.take(1, size) {
				return r.bad("too many values")
			}
			key, val := reflect.New(n.key.typ), reflect.New(n.elem.typ)
			if err := r.value(n.key, key.UnsafePointer(), depth+1); err != nil {
				return err
			}
			if err := r.value(n.elem, val.UnsafePointer(), depth+1); err != nil {
				return err
			}
			return set(key.Elem(), val.Elem())
		})
		if err != nil {
			return err
		}
	case isHessianObject(c) && n.key.kind == reflect.String:
		d, err := r.classOf(c)
		if err != nil {
			return err
		}
		fields := d.fields
		at = r.begin(ref)
		for _, f := range fields {
			if !r.spent.take(1, size) {
				return r.bad("too many values")
			}
			val := reflect.New(n.elem.typ)
			if err := r.value(n.elem, val.UnsafePointer(), depth+1); err != nil {
				return fmt.Errorf("field %s: %w", f, err)
			}
			if err := set(reflect.ValueOf(f).Convert(n.key.typ), val.Elem()); err != nil {
				return err
			}
		}
	default:
		return r.bad("tag %#x, want a map", c)
	}
	held := reflect.New(n.typ)
	held.Elem().Set(m)
	reflect.NewAt(n.typ, p).Elem().Set(m)
	r.refs[at].at = held.UnsafePointer()
	r.end(at)
	return nil
}

// structure reads an object, or a map with strings for keys, into a struct.
func (r *hessianReader) structure(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if n.typ == javaObjectType {
		v, err := r.anyOf(c, depth)
		if err != nil {
			return err
		}
		o, ok := v.(*JavaObject)
		if !ok {
			return r.bad("tag %#x, want an object", c)
		}
		*(*JavaObject)(p) = *o
		return nil
	}
	field := func(i int) error {
		if i < 0 {
			_, err := r.any(depth + 1)
			return err
		}
		f := &n.fields[i]
		if err := r.value(f.plan, unsafe.Add(p, f.offset), depth+1); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
		return nil
	}
	ref := hessianRef{plan: n, at: p}
	var at int
	switch {
	case isHessianObject(c):
		d, err := r.classOf(c)
		if err != nil {
			return err
		}
		if d.plan != n {
			d.plan, d.fill = n, make([]int, len(d.fields))
			for i, f := range d.fields {
				d.fill[i] = n.field([]byte(f), i)
			}
		}
		fill := d.fill
		at = r.begin(ref)
		for _, i := range fill {
			if err := field(i); err != nil {
				return err
			}
		}
	case c == 'H' || c == 'M':
		if c == 'M' {
			if err := r.typ(); err != nil {
				return err
			}
		}
		at = r.begin(ref)
		hint := 0
		err := r.pairs(func() error {
			name, err := r.text()
			if err != nil {
				return err
			}
			i := n.field([]byte(name), hint)
			hint = i + 1
			return field(i)
		})
		if err != nil {
			return err
		}
	default:
		return r.bad("tag %#x, want an object or a map for %s", c, n.typ)
	}
	r.end(at)
	return nil
}
