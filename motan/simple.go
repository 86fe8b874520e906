package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync"
	"unsafe"
)

// The tags of the simple serialization.
const (
	tagNull        = 0
	tagString      = 1
	tagStringMap   = 2
	tagBytes       = 3
	tagStringArray = 4
	tagBool        = 5
	tagByte        = 6
	tagInt16       = 7
	tagInt32       = 8
	tagInt64       = 9
	tagFloat32     = 10
	tagFloat64     = 11
	tagMap         = 20
	tagArray       = 21
)

// maxDepth bounds how deep values may nest, so that a body cannot exhaust the
// stack. Lists, maps and structs count, on the way out as on the way in; the
// pointers and interfaces between them do not, for they leave nothing on the wire.
const maxDepth = 64

// pointerStep is what a pointer to a type counts. Pointers to pointers and to
// interfaces do: through them a value may contain itself without a struct.
func pointerStep(elem reflect.Kind) int {
	if elem == reflect.Pointer || elem == reflect.Interface {
		return 1
	}
	return 0
}

// anyStep is what an interface that holds v counts: what v does if it is a pointer.
func anyStep(v any) int {
	if t := reflect.TypeOf(v); t != nil && t.Kind() == reflect.Pointer {
		return pointerStep(t.Elem().Kind())
	}
	return 0
}

// Simple is serialization 6, the default: a tag byte and a payload for each
// value. A struct travels as a map from field names (the motan tag, or the name
// as it is; "-" leaves a field out) to values; a decoder ignores names it does
// not know, and a field that does not come keeps its zero value. Supported are
// bool, all integers, floats, string, []byte, slices, maps, structs, pointers
// to these, time.Time, which is text in RFC 3339, and any. Motan Java neither sends a
// Date here nor reads one; to it a time is a String, and milliseconds of its own are
// read as a time. What a type needs is worked out once; encoding then reflects on
// maps, []T and any only.
//
// Encoding the plain kinds, by value or by pointer, allocates nothing, and
// decoding them nothing but what the value itself takes.
type Simple struct{}

// ID returns 6.
func (Simple) ID() byte { return idSimple }

// Append appends v, following pointers.
func (s Simple) Append(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, tagNull), nil
	case string:
		return appendSized(append(dst, tagString), v), nil
	case []byte:
		return appendBytes(dst, v), nil
	case int64:
		return binary.AppendUvarint(append(dst, tagInt64), uint64(v)<<1^uint64(v>>63)), nil
	case map[string]string:
		return appendStringMap(dst, v)
	case *Args:
		if v != nil {
			return s.appendArgs(dst, *v)
		}
	case Args:
		return s.appendArgs(dst, v)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return append(dst, tagNull), nil
		}
		c, err := codecOf(rv.Type().Elem())
		if err != nil {
			return dst, err
		}
		return c.enc(dst, rv.UnsafePointer(), 0)
	}
	c, err := codecOf(rv.Type())
	if err != nil {
		return dst, err
	}
	p := reflect.New(rv.Type())
	p.Elem().Set(rv)
	return c.enc(dst, p.UnsafePointer(), 0)
}

func (s Simple) appendArgs(dst []byte, args Args) ([]byte, error) {
	for i, a := range args {
		var err error
		if dst, err = s.Append(dst, a); err != nil {
			return dst, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return dst, nil
}

// Decode reads one value into what v points to. An empty body leaves it as it is.
func (Simple) Decode(b []byte, v any) error {
	if len(b) > 0 {
		r := reader{b: b, all: len(b)}
		switch v := v.(type) {
		case *string:
			if v != nil {
				return r.rest(decString(&r, unsafe.Pointer(v), 0))
			}
		case *[]byte:
			if v != nil {
				return r.rest(decBytes(&r, unsafe.Pointer(v), 0))
			}
		case *int64:
			if v != nil {
				return r.rest(decInt64(&r, unsafe.Pointer(v), 0))
			}
		case *map[string]string:
			if v != nil {
				return r.rest(decStringMap(&r, unsafe.Pointer(v), 0))
			}
		}
	}
	r := readers.Get().(*simpleReader)
	r.b, r.all, r.used = b, len(b), 0
	err := r.top(v)
	r.b = nil
	readers.Put(r)
	return err
}

// readers are for the types whose codec is called through a pointer, which would
// make a new reader escape each time.
var readers = sync.Pool{New: func() any {
	r := &simpleReader{}
	r.spent = &r.used
	return r
}}

type simpleReader struct {
	reader
	used allowance
}

// top reads what Decode is given.
func (r *reader) top(v any) error {
	switch args := v.(type) {
	case Args:
		for i, a := range args {
			if err := r.decode(a, true); err != nil {
				return fmt.Errorf("argument %d: %w", i+1, err)
			}
		}
	case *Args:
		for *args = nil; len(r.b) > 0; {
			a, err := r.value(0)
			if err != nil {
				return fmt.Errorf("argument %d: %w", len(*args)+1, err)
			}
			*args = append(*args, a)
		}
	default:
		if err := r.decode(v, false); err != nil {
			return err
		}
	}
	return r.rest(nil)
}

// rest passes an error on, or complains if there is more.
func (r *reader) rest(err error) error {
	if err == nil && len(r.b) != 0 {
		err = r.bad("%d bytes after the value", len(r.b))
	}
	return err
}

// decode reads a value, or several if v is Positional. A single value may be
// absent unless it must be there.
func (r *reader) decode(v any, must bool) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return fmt.Errorf("%w: simple: decode into %T, want a pointer", ErrSerialization, v)
	}
	c, err := codecOf(rv.Type().Elem())
	if err != nil {
		return err
	}
	if len(r.b) == 0 && !must && !c.args {
		return nil
	}
	return c.dec(r, rv.UnsafePointer(), 0)
}

// reader walks over an encoded value.
type reader struct {
	b   []byte
	all int // b's length when it was whole, for the position in errors

	spent *allowance
}

// take charges for values that are about to be made.
func (r *reader) take(n int, size uintptr) error {
	if !r.spent.take(n, size) {
		return r.bad("too many values")
	}
	return nil
}

func (r *reader) bad(format string, args ...any) error {
	return fmt.Errorf("%w: simple: byte %d: %s", ErrSerialization, r.all-len(r.b), fmt.Sprintf(format, args...))
}

func (r *reader) tag() (byte, error) {
	if len(r.b) == 0 {
		return 0, r.bad("body ends where a tag should be")
	}
	t := r.b[0]
	r.b = r.b[1:]
	return t, nil
}

func (r *reader) fixed(n int) ([]byte, error) {
	if len(r.b) < n {
		return nil, r.bad("%d bytes left, want %d", len(r.b), n)
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v, nil
}

// sized reads a 4-byte length and that many bytes.
func (r *reader) sized() ([]byte, error) {
	l, err := r.fixed(4)
	if err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(l)
	if uint64(n) > uint64(len(r.b)) {
		return nil, r.bad("length %d, but %d bytes are left", n, len(r.b))
	}
	return r.fixed(int(n))
}

// enter goes into a container: r is at its content, and rest is what follows.
func (r *reader) enter() (rest []byte, err error) {
	b, err := r.sized()
	rest = r.b
	r.b = b
	r.all -= len(rest)
	return rest, err
}

// leave goes on behind a container.
func (r *reader) leave(rest []byte) {
	r.b = rest
	r.all += len(rest)
}

// varint reads 64 bits, least significant group first. Java sign-extends a
// 32-bit number to ten bytes, so both widths read the same.
func (r *reader) varint() (uint64, error) {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		return 0, r.bad("malformed varint")
	}
	r.b = r.b[n:]
	return v, nil
}

// integer reads the payload of any integer tag.
func (r *reader) integer(tag byte) (int64, error) {
	switch tag {
	case tagByte:
		b, err := r.fixed(1)
		if err != nil {
			return 0, err
		}
		return int64(b[0]), nil
	case tagInt16:
		b, err := r.fixed(2)
		if err != nil {
			return 0, err
		}
		return int64(int16(binary.BigEndian.Uint16(b))), nil
	case tagInt32:
		v, err := r.varint()
		u := uint32(v)
		return int64(int32(u>>1) ^ -int32(u&1)), err
	case tagInt64:
		v, err := r.varint()
		return int64(v>>1) ^ -int64(v&1), err
	}
	return 0, r.bad("tag %d, want an integer", tag)
}

// float reads the payload of a float tag, or of an integer.
func (r *reader) float(tag byte) (float64, error) {
	switch tag {
	case tagFloat32:
		b, err := r.fixed(4)
		if err != nil {
			return 0, err
		}
		return float64(math.Float32frombits(binary.BigEndian.Uint32(b))), nil
	case tagFloat64:
		b, err := r.fixed(8)
		if err != nil {
			return 0, err
		}
		return math.Float64frombits(binary.BigEndian.Uint64(b)), nil
	}
	n, err := r.integer(tag)
	return float64(n), err
}

// skip passes over the value that follows tag.
func (r *reader) skip(tag byte) (err error) {
	switch tag {
	case tagNull:
	case tagString, tagBytes, tagStringMap, tagStringArray, tagMap, tagArray:
		_, err = r.sized() // a container's content need not be looked at
	case tagBool, tagByte:
		_, err = r.fixed(1)
	case tagInt16:
		_, err = r.fixed(2)
	case tagInt32, tagInt64:
		_, err = r.varint()
	case tagFloat32:
		_, err = r.fixed(4)
	case tagFloat64:
		_, err = r.fixed(8)
	default:
		err = r.bad("unknown tag %d", tag)
	}
	return err
}

// value reads anything: nil, string, map[string]string, []byte, []string, bool,
// byte, int16, int32, int64, float32, float64, map[any]any or []any.
func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, r.bad("nested deeper than %d", maxDepth)
	}
	tag, err := r.tag()
	if err != nil {
		return nil, err
	}
	switch tag {
	case tagNull:
		return nil, nil
	case tagString:
		b, err := r.sized()
		return string(b), err
	case tagBytes:
		b, err := r.sized()
		return own(b), err
	case tagBool:
		b, err := r.fixed(1)
		return err == nil && b[0] == 1, err
	case tagByte:
		n, err := r.integer(tag)
		return byte(n), err
	case tagInt16:
		n, err := r.integer(tag)
		return int16(n), err
	case tagInt32:
		n, err := r.integer(tag)
		return int32(n), err
	case tagInt64:
		return r.integer(tag)
	case tagFloat32:
		f, err := r.float(tag)
		return float32(f), err
	case tagFloat64:
		return r.float(tag)
	case tagStringMap:
		rest, err := r.enter()
		m := map[string]string{}
		for err == nil && len(r.b) > 0 {
			var k, v []byte
			if err = r.take(1, 80); err != nil {
				break
			}
			if k, err = r.sized(); err == nil {
				if v, err = r.sized(); err == nil {
					m[string(k)] = string(v)
				}
			}
		}
		r.leave(rest)
		return m, err
	case tagStringArray:
		rest, err := r.enter()
		list := []string{}
		for err == nil && len(r.b) > 0 {
			var s []byte
			if err = r.take(1, 32); err != nil {
				break
			}
			if s, err = r.sized(); err == nil {
				list = append(list, string(s))
			}
		}
		r.leave(rest)
		return list, err
	case tagMap:
		rest, err := r.enter()
		m := map[any]any{}
		for err == nil && len(r.b) > 0 {
			var k, v any
			if err = r.take(1, 96); err != nil {
				break
			}
			if k, err = r.value(depth + 1); err != nil {
				break
			}
			if k != nil && !reflect.TypeOf(k).Comparable() {
				return nil, r.bad("map key of type %T", k)
			}
			if v, err = r.value(depth + 1); err == nil {
				m[k] = v
			}
		}
		r.leave(rest)
		return m, err
	case tagArray:
		rest, err := r.enter()
		list := []any{}
		for err == nil && len(r.b) > 0 {
			var v any
			if err = r.take(1, 32); err != nil {
				break
			}
			if v, err = r.value(depth + 1); err == nil {
				list = append(list, v)
			}
		}
		r.leave(rest)
		return list, err
	}
	return nil, r.bad("unknown tag %d", tag)
}
