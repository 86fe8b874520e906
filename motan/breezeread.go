package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

// Decode reads one value, or several arguments, into what v points to. An empty
// body leaves a single value as it is.
func (Breeze) Decode(b []byte, v any) error {
	r := breezeReader{b: b, all: len(b)}
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
	targets, several, err := into("breeze", v)
	if err != nil || len(b) == 0 && !several {
		return err
	}
	for i, target := range targets {
		rv := reflect.ValueOf(target)
		n, err := planOf(rv.Type().Elem())
		if err == nil {
			err = r.into(n, rv.UnsafePointer(), 0)
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

// breezeReader walks over a body.
type breezeReader struct {
	b     []byte
	all   int // length of the whole body, for the position in errors
	names []string
	spent allowance
}

// take charges for values that are about to be made.
func (r *breezeReader) take(n int, size uintptr) error {
	if !r.spent.take(n, size) {
		return r.bad("too many values")
	}
	return nil
}

func (r *breezeReader) bad(format string, args ...any) error {
	return breezeErr("byte %d: %s", r.all-len(r.b), fmt.Sprintf(format, args...))
}

func (r *breezeReader) next(n uint64) ([]byte, error) {
	if uint64(len(r.b)) < n {
		return nil, r.bad("length %d, but %d bytes are left", n, len(r.b))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v, nil
}

func (r *breezeReader) varint() (uint64, error) {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		return 0, r.bad("malformed varint")
	}
	r.b = r.b[n:]
	return v, nil
}

// count reads the number of elements of a container, each of which takes at
// least one byte.
func (r *breezeReader) count(perElement int) (int, error) {
	n, err := r.varint()
	if err == nil && n > uint64(len(r.b)/perElement) {
		err = r.bad("%d elements, but %d bytes are left", n, len(r.b))
	}
	return int(n), err
}

// breezeType is the type of a value: of one, or of all in a packed container.
type breezeType struct {
	code   byte
	packed bool   // what the type byte says about the value comes with each value instead
	name   string // of a message
}

func (r *breezeReader) typ(packed bool) (breezeType, error) {
	b, err := r.next(1)
	if err != nil {
		return breezeType{}, err
	}
	t := breezeType{code: b[0], packed: packed}
	ref := uint64(0)
	switch {
	case t.code == breezeMessage:
		n, err := r.varint()
		if err != nil {
			return t, err
		}
		name, err := r.next(n)
		if err != nil {
			return t, err
		}
		if len(name) > 1024 {
			return t, r.bad("message name of %d bytes", len(name))
		}
		t.name = string(name)
		r.names = append(r.names, t.name)
		return t, nil
	case t.code == breezeRef:
		if ref, err = r.varint(); err != nil {
			return t, err
		}
	case t.code > breezeRef:
		ref = uint64(t.code - breezeRef)
	default:
		if packed && (t.code < breezeInt64 && t.code != breezeString && t.code != breezeInt32 || t.code == breezeNull) {
			return t, r.bad("type %#x cannot be that of all elements", t.code)
		}
		return t, nil
	}
	if ref == 0 || ref > uint64(len(r.names)) {
		return t, r.bad("reference to message name %d of %d", ref, len(r.names))
	}
	t.code, t.name = breezeMessage, r.names[ref-1]
	return t, nil
}

// into reads a value with its type into the place p.
func (r *breezeReader) into(n *plan, p unsafe.Pointer, depth int) error {
	t, err := r.typ(false)
	if err != nil {
		return err
	}
	return r.value(n, p, t, depth)
}

// value reads a value of type t into the place p.
func (r *breezeReader) value(n *plan, p unsafe.Pointer, t breezeType, depth int) error {
	if depth > maxDepth {
		return r.bad("nested deeper than %d", maxDepth)
	}
	switch n.kind {
	case reflect.Interface:
		v, err := r.anyOf(t, depth)
		if err == nil {
			*(*any)(p) = v
		}
		return err
	case reflect.Pointer:
		if t.code == breezeNull {
			*(*unsafe.Pointer)(p) = nil
			return nil
		}
		if err := r.take(1, n.elem.typ.Size()); err != nil {
			return err
		}
		v := reflect.New(n.elem.typ)
		if err := r.value(n.elem, v.UnsafePointer(), t, depth+pointerStep(n.elem.kind)); err != nil {
			return err
		}
		reflect.NewAt(n.typ, p).Elem().Set(v)
		return nil
	}
	if t.code == breezeNull {
		return nil
	}
	switch n.kind {
	case reflect.Bool:
		v, err := r.bool(t)
		if err == nil {
			*(*bool)(p) = v
		}
		return err
	case reflect.String:
		v, err := r.text(t)
		if err == nil {
			*(*string)(p) = v
		}
		return err
	case reflect.Float32, reflect.Float64:
		v, err := r.float(t)
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
		return r.array(n, p, t, depth)
	case reflect.Map:
		return r.mapping(n, p, t, depth)
	case reflect.Struct:
		if n.typ == breezeMessageType {
			v, err := r.anyOf(t, depth)
			if m, ok := v.(*BreezeMessage); ok {
				*(*BreezeMessage)(p) = *m
			} else if err == nil {
				err = r.bad("type %#x, want a message", t.code)
			}
			return err
		}
		return r.message(n, p, t, depth)
	}
	v, err := r.int(t)
	if err == nil && !storeInt(n.kind, p, v) {
		err = r.bad("%d does not fit into %s", v, n.typ)
	}
	return err
}

func (r *breezeReader) bool(t breezeType) (bool, error) {
	if t.packed && (t.code == breezeTrue || t.code == breezeFalse) {
		b, err := r.next(1)
		if err != nil {
			return false, err
		}
		t.code = b[0]
	}
	if t.code != breezeTrue && t.code != breezeFalse {
		return false, r.bad("type %#x, want a bool", t.code)
	}
	return t.code == breezeTrue, nil
}

// str reads a string; ok is false, and nothing read, for another type.
func (r *breezeReader) str(t breezeType) (s []byte, ok bool, err error) {
	n := uint64(t.code)
	switch {
	case t.code == breezeString:
		if n, err = r.varint(); err != nil {
			return nil, true, err
		}
	case t.code > breezeString:
		return nil, false, nil
	}
	s, err = r.next(n)
	return s, true, err
}

func (r *breezeReader) text(t breezeType) (string, error) {
	if s, ok, err := r.str(t); ok {
		return string(s), err
	}
	switch t.code {
	case breezeFloat32:
		f, err := r.float(t)
		return strconv.FormatFloat(f, 'f', -1, 32), err
	case breezeFloat64:
		f, err := r.float(t)
		return strconv.FormatFloat(f, 'f', -1, 64), err
	case breezeByte:
		return "", r.bad("type %#x, want a string", t.code)
	}
	v, err := r.int(t)
	if err != nil {
		return "", err
	}
	return strconv.FormatInt(v, 10), nil
}

// int reads an integer of any type, or a string of digits.
func (r *breezeReader) int(t breezeType) (int64, error) {
	switch c := t.code; {
	case c < 0x40:
		s, _, err := r.str(t)
		if err != nil {
			return 0, err
		}
		v, err := strconv.ParseInt(string(s), 10, 64)
		if err != nil {
			return 0, r.bad("a string that is no integer")
		}
		return v, nil
	case c < breezeInt32:
		return int64(c) - breezeInt32Zero, nil
	case c == breezeInt32:
		v, err := r.varint() // Java may have sign-extended it
		return int64(int32(uint32(v)>>1) ^ -int32(v&1)), err
	case c < breezeInt64:
		return int64(c) - breezeInt64Zero, nil
	case c == breezeInt64:
		v, err := r.varint()
		return int64(v>>1) ^ -int64(v&1), err
	case c == breezeByte:
		b, err := r.next(1)
		if err != nil {
			return 0, err
		}
		return int64(b[0]), nil
	case c == breezeInt16:
		b, err := r.next(2)
		if err != nil {
			return 0, err
		}
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	}
	return 0, r.bad("type %#x, want an integer", t.code)
}

func (r *breezeReader) float(t breezeType) (float64, error) {
	switch {
	case t.code == breezeFloat32:
		b, err := r.next(4)
		if err != nil {
			return 0, err
		}
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b))), nil
	case t.code == breezeFloat64:
		b, err := r.next(8)
		if err != nil {
			return 0, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	case t.code <= breezeString:
		s, _, err := r.str(t)
		if err != nil {
			return 0, err
		}
		v, err := strconv.ParseFloat(string(s), 64)
		if err != nil {
			return 0, r.bad("a string that is no number")
		}
		return v, nil
	}
	v, err := r.int(t)
	return float64(v), err
}

func (r *breezeReader) array(n *plan, p unsafe.Pointer, t breezeType, depth int) error {
	if n.bytes {
		v, ok, err := r.str(t)
		if t.code == breezeBytes {
			v, err = r.sized()
		} else if !ok {
			err = r.bad("type %#x, want bytes", t.code)
		}
		if err == nil {
			*(*[]byte)(p) = append([]byte{}, v...)
		}
		return err
	}
	if t.code != breezeArray && t.code != breezePackedArray {
		return r.bad("type %#x, want an array", t.code)
	}
	count, err := r.count(1)
	if err != nil {
		return err
	}
	et := breezeType{}
	if t.code == breezePackedArray && count > 0 {
		if et, err = r.typ(true); err != nil {
			return err
		}
	}
	list := reflect.NewAt(n.typ, p).Elem()
	list.Set(reflect.MakeSlice(n.typ, 0, 0))
	for i := range count {
		if i == list.Cap() {
			more := min(count-i, max(i, 16)) // a count alone does not make it allocate
			if err := r.take(more, n.elem.typ.Size()); err != nil {
				return err
			}
			list.Grow(more)
		}
		list.SetLen(i + 1)
		slot := list.Index(i)
		slot.SetZero()
		if t.code == breezeArray {
			if et, err = r.typ(false); err != nil {
				return err
			}
		}
		if err := r.value(n.elem, slot.Addr().UnsafePointer(), et, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// sized reads a 4-byte length and that many bytes.
func (r *breezeReader) sized() ([]byte, error) {
	b, err := r.next(4)
	if err != nil {
		return nil, err
	}
	return r.next(uint64(binary.BigEndian.Uint32(b)))
}

// pairs reads the pairs of a map: each gets the types of a key and its value.
func (r *breezeReader) pairs(t breezeType, pair func(k func() (breezeType, error), v func() (breezeType, error)) error) error {
	if t.code != breezeMap && t.code != breezePackedMap {
		return r.bad("type %#x, want a map", t.code)
	}
	count, err := r.count(2)
	if err != nil || count == 0 {
		return err
	}
	key := func() (breezeType, error) { return r.typ(false) }
	val := key
	if t.code == breezePackedMap {
		kt, err := r.typ(true)
		if err != nil {
			return err
		}
		vt, err := r.typ(true)
		if err != nil {
			return err
		}
		key = func() (breezeType, error) { return kt, nil }
		val = func() (breezeType, error) { return vt, nil }
	}
	for range count {
		if err := pair(key, val); err != nil {
			return err
		}
	}
	return nil
}

func (r *breezeReader) mapping(n *plan, p unsafe.Pointer, t breezeType, depth int) error {
	m := reflect.MakeMap(n.typ)
	size := 2*(n.key.typ.Size()+n.elem.typ.Size()) + 16
	err := r.pairs(t, func(kt, vt func() (breezeType, error)) error {
		if err := r.take(1, size); err != nil {
			return err
		}
		key, val := reflect.New(n.key.typ), reflect.New(n.elem.typ)
		t, err := kt()
		if err == nil {
			err = r.value(n.key, key.UnsafePointer(), t, depth+1)
		}
		if err != nil {
			return err
		}
		if !key.Elem().Comparable() {
			return r.bad("map key that cannot be compared")
		}
		if t, err = vt(); err == nil {
			err = r.value(n.elem, val.UnsafePointer(), t, depth+1)
		}
		if err == nil {
			m.SetMapIndex(key.Elem(), val.Elem())
		}
		return err
	})
	if err == nil {
		reflect.NewAt(n.typ, p).Elem().Set(m)
	}
	return err
}

// fields reads a message: field is called with each number and reads the value.
func (r *breezeReader) fields(field func(index uint64) error) error {
	body, err := r.sized()
	if err != nil {
		return err
	}
	rest := r.b
	r.b = body
	r.all -= len(rest) // so that positions in errors stay right
	for len(r.b) > 0 {
		index, err := r.varint()
		if err == nil {
			err = field(index)
		}
		if err != nil {
			return err
		}
	}
	r.b = rest
	r.all += len(rest)
	return nil
}

func (r *breezeReader) message(n *plan, p unsafe.Pointer, t breezeType, depth int) error {
	if n.time {
		v, err := r.time(t, depth)
		if err == nil {
			*(*time.Time)(p) = v
		}
		return err
	}
	if t.code != breezeMessage {
		return r.bad("type %#x, want a message for %s", t.code, n.typ)
	}
	hint := 0
	return r.fields(func(index uint64) error {
		i := n.numbered(index, hint)
		if i < 0 {
			_, err := r.any(depth + 1)
			return err
		}
		hint = i + 1
		f := &n.fields[i]
		if err := r.into(f.plan, unsafe.Add(p, f.offset), depth+1); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
		return nil
	})
}

// time reads a date or, where it stands alone, its milliseconds since 1970.
func (r *breezeReader) time(t breezeType, depth int) (v time.Time, err error) {
	var ms int64
	if t.code != breezeMessage {
		ms, err = r.int(t)
		return time.UnixMilli(ms).UTC(), err
	}
	if t.name != breezeDate && t.name != breezeTimestamp {
		return v, r.bad("message %.100q, want a date", t.name)
	}
	err = r.fields(func(index uint64) error {
		t, err := r.typ(false)
		if err != nil {
			return err
		}
		if index != breezeDateField {
			_, err = r.anyOf(t, depth+1)
			return err
		}
		ms, err = r.int(t)
		return err
	})
	return time.UnixMilli(ms).UTC(), err
}
