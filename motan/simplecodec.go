package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"sync"
	"time"
	"unsafe"
)

// codec is how values of one type are written and read; p points to the value.
type codec struct {
	enc func(b []byte, p unsafe.Pointer, depth int) ([]byte, error)
	dec func(r *reader, p unsafe.Pointer, depth int) error

	args bool // several values, one behind the other
}

var codecs sync.Map // reflect.Type → *codec

// codecOf returns the codec of t, working it out the first time.
func codecOf(t reflect.Type) (*codec, error) {
	if c, ok := codecs.Load(t); ok {
		return c.(*codec), nil
	}
	c, err := compile(t, map[reflect.Type]*codec{})
	if err != nil {
		return nil, err
	}
	got, _ := codecs.LoadOrStore(t, c)
	return got.(*codec), nil
}

// compile works out the codec of t; busy holds the types on the way, so that a
// type may contain itself.
func compile(t reflect.Type, busy map[reflect.Type]*codec) (*codec, error) {
	if c := busy[t]; c != nil {
		return c, nil
	}
	c := &codec{}
	busy[t] = c
	var err error
	switch t.Kind() {
	case reflect.Bool:
		c.enc, c.dec = encBool, decBool
	case reflect.String:
		c.enc, c.dec = encString, decString
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		compileInt(c, t)
	case reflect.Float32:
		c.enc = func(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
			return binary.BigEndian.AppendUint32(append(b, tagFloat32), math.Float32bits(*(*float32)(p))), nil
		}
		c.dec = func(r *reader, p unsafe.Pointer, _ int) error {
			return decFloat(r, func(f float64) { *(*float32)(p) = float32(f) })
		}
	case reflect.Float64:
		c.enc = func(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
			return binary.BigEndian.AppendUint64(append(b, tagFloat64), math.Float64bits(*(*float64)(p))), nil
		}
		c.dec = func(r *reader, p unsafe.Pointer, _ int) error {
			return decFloat(r, func(f float64) { *(*float64)(p) = f })
		}
	case reflect.Slice:
		switch t.Elem().Kind() {
		case reflect.Uint8:
			c.enc, c.dec = encBytes, decBytes
		default:
			err = compileSlice(c, t, busy)
		}
	case reflect.Map:
		if t == stringMapType {
			c.enc, c.dec = encStringMap, decStringMap
			break
		}
		err = compileMap(c, t, busy)
	case reflect.Pointer:
		err = compilePointer(c, t, busy)
	case reflect.Struct:
		if t == timeType {
			c.enc, c.dec = encTime, decTime
			break
		}
		err = compileStruct(c, t, busy)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			err = unsupported(t)
		}
		c.enc, c.dec = encAny, decAny
	default:
		err = unsupported(t)
	}
	return c, err
}

func unsupported(t reflect.Type) error {
	return fmt.Errorf("%w: simple: type %s is not supported", ErrSerialization, t)
}

func encBool(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
	v := byte(0)
	if *(*bool)(p) {
		v = 1
	}
	return append(b, tagBool, v), nil
}

func decBool(r *reader, p unsafe.Pointer, _ int) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	if tag != tagBool {
		return r.bad("tag %d, want a bool", tag)
	}
	v, err := r.fixed(1)
	if err == nil {
		*(*bool)(p) = v[0] == 1
	}
	return err
}

func appendSized(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...)
}

func encString(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
	return appendSized(append(b, tagString), *(*string)(p)), nil
}

func decString(r *reader, p unsafe.Pointer, _ int) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	if tag != tagString {
		return r.bad("tag %d, want a string", tag)
	}
	v, err := r.sized()
	if err == nil {
		*(*string)(p) = string(v)
	}
	return err
}

func encBytes(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
	return appendBytes(b, *(*[]byte)(p)), nil
}

func appendBytes(b, v []byte) []byte {
	return append(binary.BigEndian.AppendUint32(append(b, tagBytes), uint32(len(v))), v...)
}

// own copies v, with no room to spare and never to nil.
func own(v []byte) []byte {
	c := make([]byte, len(v))
	copy(c, v)
	return c
}

func decBytes(r *reader, p unsafe.Pointer, _ int) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	if tag != tagBytes && tag != tagString {
		return r.bad("tag %d, want bytes", tag)
	}
	v, err := r.sized()
	if err == nil {
		*(*[]byte)(p) = own(v)
	}
	return err
}

func decFloat(r *reader, set func(float64)) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	f, err := r.float(tag)
	if err == nil {
		set(f)
	}
	return err
}

func decInt64(r *reader, p unsafe.Pointer, _ int) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	v, err := r.integer(tag)
	if err == nil {
		*(*int64)(p) = v
	}
	return err
}

func appendStringMap(b []byte, m map[string]string) ([]byte, error) {
	b = open(b, tagStringMap)
	start := len(b)
	for k, v := range m {
		b = appendSized(appendSized(b, k), v)
	}
	return finish(b, start)
}

func encStringMap(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
	return appendStringMap(b, *(*map[string]string)(p))
}

// decStringMap reads a map of strings without a reflection on each. Java writes an
// empty one with the tag of other maps, which may hold strings too.
func decStringMap(r *reader, p unsafe.Pointer, _ int) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	if tag != tagMap && tag != tagStringMap {
		return r.bad("tag %d, want a map", tag)
	}
	rest, err := r.enter()
	if err != nil {
		return err
	}
	m := map[string]string{}
	for len(r.b) > 0 {
		var k, v string
		for _, to := range [...]*string{&k, &v} {
			if tag == tagMap {
				if err := decString(r, unsafe.Pointer(to), 0); err != nil {
					return err
				}
				continue
			}
			s, err := r.sized()
			if err != nil {
				return err
			}
			*to = string(s)
		}
		m[k] = v
	}
	r.leave(rest)
	*(*map[string]string)(p) = m
	return nil
}

// encTime and decTime have a time as text, which any language reads. A decoder
// takes milliseconds since 1970 too.
func encTime(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
	b = open(b, tagString)
	start := len(b)
	b, err := (*time.Time)(p).AppendText(b)
	if err != nil {
		return b, fmt.Errorf("%w: simple: %w", ErrSerialization, err)
	}
	return finish(b, start)
}

func decTime(r *reader, p unsafe.Pointer, _ int) error {
	tag, err := r.tag()
	if err != nil || tag == tagNull {
		return err
	}
	if tag != tagString {
		ms, err := r.integer(tag)
		if err == nil {
			*(*time.Time)(p) = time.UnixMilli(ms).UTC()
		}
		return err
	}
	text, err := r.sized()
	if err != nil {
		return err
	}
	if err := (*time.Time)(p).UnmarshalText(text); err != nil {
		return r.bad("text that is no time")
	}
	return nil
}

// compileInt gives uint8 the byte tag, int16 and int32 theirs, and everything
// else the 64-bit one.
func compileInt(c *codec, t reflect.Type) {
	size, signed := t.Size(), t.Kind() <= reflect.Int64
	load := func(p unsafe.Pointer) int64 {
		switch size {
		case 1:
			if signed {
				return int64(*(*int8)(p))
			}
			return int64(*(*uint8)(p))
		case 2:
			if signed {
				return int64(*(*int16)(p))
			}
			return int64(*(*uint16)(p))
		case 4:
			if signed {
				return int64(*(*int32)(p))
			}
			return int64(*(*uint32)(p))
		}
		return *(*int64)(p)
	}
	kind := t.Kind()
	c.enc = func(b []byte, p unsafe.Pointer, _ int) ([]byte, error) {
		v := load(p)
		switch kind {
		case reflect.Uint8:
			return append(b, tagByte, byte(v)), nil
		case reflect.Int16:
			return binary.BigEndian.AppendUint16(append(b, tagInt16), uint16(v)), nil
		case reflect.Int32:
			return binary.AppendUvarint(append(b, tagInt32), uint64(uint32(v)<<1^uint32(v>>31))), nil
		case reflect.Uint64, reflect.Uint:
			if v < 0 {
				return b, fmt.Errorf("%w: simple: %d does not fit into 63 bits", ErrSerialization, uint64(v))
			}
		}
		return binary.AppendUvarint(append(b, tagInt64), uint64(v)<<1^uint64(v>>63)), nil
	}
	c.dec = func(r *reader, p unsafe.Pointer, _ int) error {
		tag, err := r.tag()
		if err != nil || tag == tagNull {
			return err
		}
		v, err := r.integer(tag)
		if err != nil {
			return err
		}
		switch size {
		case 1:
			*(*uint8)(p) = uint8(v)
		case 2:
			*(*uint16)(p) = uint16(v)
		case 4:
			*(*uint32)(p) = uint32(v)
		default:
			*(*int64)(p) = v
		}
		if load(p) != v || !signed && v < 0 {
			return r.bad("%d does not fit into %s", v, kind)
		}
		return nil
	}
}

// open starts a container: a tag and room for its length, which finish fills in.
func open(b []byte, tag byte) []byte { return append(b, tag, 0, 0, 0, 0) }

func finish(b []byte, start int) ([]byte, error) {
	n := len(b) - start
	if n > math.MaxInt32 {
		return b, fmt.Errorf("%w: simple: container of %d bytes", ErrSerialization, n)
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(n))
	return b, nil
}

func tooDeep(depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: simple: nested deeper than %d", ErrSerialization, maxDepth)
	}
	return nil
}
