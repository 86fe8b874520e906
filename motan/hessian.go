package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Hessian2 is serialization 0, Hessian 2.0, the default of Motan Java. A struct
// travels as a map of its fields or, if the motan tag of a blank field names its
// Java class, as an object of that class:
//
//	type User struct {
//		_    struct{} `motan:"com.example.User"`
//		ID   int64    `motan:"id"`
//		Name string   `motan:"name"`
//	}
//
// Fields have the names in their motan tags or else their own in Java's manner:
// userID for UserID. time.Time is a date of milliseconds, null when zero. Pointers
// to the same struct travel as references, so that graphs keep their shape.
//
// A decoder fills structs by the names of fields, whatever class is said to
// come, and ignores names that it does not know; what does not come keeps its
// zero value. Objects also decode into maps; enums and decimals, which are objects
// of one field, into strings; decimals and Java's short, byte and float, which are
// objects too, into numbers. Into any, values become bool, int32, int64,
// float64, time.Time, string, []byte, []any, map[string]any, map[any]any if
// there are other keys, or *JavaObject. There, a value may not contain itself.
type Hessian2 struct{}

// JavaObject is an object whose class is not known here.
type JavaObject struct {
	Class  string
	Fields map[string]any
}

var javaObjectType = reflect.TypeFor[JavaObject]()

// ID returns 0.
func (Hessian2) ID() byte { return idHessian2 }

// Append appends v, following pointers.
func (Hessian2) Append(dst []byte, v any) ([]byte, error) {
	w := hessianWriter{b: dst}
	err := each(v, func(v any) error { return w.any(v, 0) })
	return w.b, err
}

func hessianErr(format string, args ...any) error {
	return fmt.Errorf("%w: hessian2: %s", ErrSerialization, fmt.Sprintf(format, args...))
}

// hessianWriter is a body being written.
type hessianWriter struct {
	b       []byte
	classes []hessianClass
	values  int // lists, maps and objects so far: references count them
	seen    map[unsafe.Pointer]hessianSeen
}

// hessianClass is a class definition that has been written: a name and fields.
type hessianClass struct {
	plan   *plan // nil for a JavaObject
	name   string
	fields []string
}

// hessianSeen is a struct that a pointer led to.
type hessianSeen struct {
	plan *plan
	at   int
}

func (w *hessianWriter) any(v any, depth int) error {
	n, p, err := planValue(v)
	if err != nil {
		return err
	}
	if n == nil {
		w.b = append(w.b, 'N')
		return nil
	}
	if n.kind == reflect.Struct && reflect.TypeOf(v).Kind() == reflect.Pointer {
		return w.shared(n, p, depth)
	}
	return w.value(n, p, depth)
}

// value writes the value at p.
func (w *hessianWriter) value(n *plan, p unsafe.Pointer, depth int) error {
	if depth > maxDepth {
		return hessianErr("nested deeper than %d", maxDepth)
	}
	switch n.kind {
	case reflect.Bool:
		if *(*bool)(p) {
			w.b = append(w.b, 'T')
		} else {
			w.b = append(w.b, 'F')
		}
	case reflect.String:
		w.b = appendHessianString(w.b, *(*string)(p))
	case reflect.Float32:
		w.b = appendHessianDouble(w.b, float64(*(*float32)(p)))
	case reflect.Float64:
		w.b = appendHessianDouble(w.b, *(*float64)(p))
	case reflect.Slice:
		switch {
		case *(*unsafe.Pointer)(p) == nil:
			w.b = append(w.b, 'N')
		case n.bytes:
			w.b = appendHessianBytes(w.b, *(*[]byte)(p))
		default:
			return w.list(n, p, depth)
		}
	case reflect.Map:
		if *(*unsafe.Pointer)(p) == nil {
			w.b = append(w.b, 'N')
			return nil
		}
		return w.mapping(n, p, depth)
	case reflect.Pointer:
		to := *(*unsafe.Pointer)(p)
		if to == nil {
			w.b = append(w.b, 'N')
			return nil
		}
		if n.elem.kind == reflect.Struct {
			return w.shared(n.elem, to, depth)
		}
		return w.value(n.elem, to, depth+pointerStep(n.elem.kind))
	case reflect.Interface:
		v := *(*any)(p)
		return w.any(v, depth+anyStep(v))
	case reflect.Struct:
		switch {
		case n.time:
			w.b = appendHessianDate(w.b, *(*time.Time)(p))
		case n.typ == javaObjectType:
			return w.unknown((*JavaObject)(p), depth)
		default:
			return w.object(n, p, depth)
		}
	default:
		v, ok := loadInt(n.kind, p)
		switch {
		case !ok:
			return hessianErr("%d does not fit into 63 bits", uint64(v))
		case n.kind == reflect.Int || n.kind == reflect.Int64 || n.kind >= reflect.Uint32 || n.kind == reflect.Uint:
			w.b = appendHessianLong(w.b, v)
		default:
			w.b = appendHessianInt(w.b, int32(v))
		}
	}
	return nil
}

// shared writes the struct that a pointer leads to or, if it has been written, a
// reference to it.
func (w *hessianWriter) shared(n *plan, p unsafe.Pointer, depth int) error {
	if n.time {
		return w.value(n, p, depth)
	}
	if s, ok := w.seen[p]; ok && s.plan == n {
		w.b = appendHessianInt(append(w.b, 'Q'), int32(s.at))
		return nil
	}
	if w.seen == nil {
		w.seen = map[unsafe.Pointer]hessianSeen{}
	}
	w.seen[p] = hessianSeen{n, w.values}
	return w.value(n, p, depth)
}

func (w *hessianWriter) list(n *plan, p unsafe.Pointer, depth int) error {
	data, count := unsafe.Pointer(unsafe.SliceData(*(*[]byte)(p))), len(*(*[]byte)(p))
	w.values++
	if count <= 7 {
		w.b = append(w.b, 0x78+byte(count))
	} else {
		w.b = appendHessianInt(append(w.b, 0x58), int32(count))
	}
	size := n.elem.typ.Size()
	for i := range count {
		if err := w.value(n.elem, unsafe.Add(data, uintptr(i)*size), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *hessianWriter) mapping(n *plan, p unsafe.Pointer, depth int) error {
	w.values++
	w.b = append(w.b, 'H')
	key, val := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	for it := reflect.NewAt(n.typ, p).Elem().MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		val.Elem().SetIterValue(it)
		if err := w.value(n.key, key.UnsafePointer(), depth+1); err != nil {
			return err
		}
		if err := w.value(n.elem, val.UnsafePointer(), depth+1); err != nil {
			return err
		}
	}
	w.b = append(w.b, 'Z')
	return nil
}

// class writes which class the next object has, with the definition the first time.
func (w *hessianWriter) class(c hessianClass, names func(yield func(string) bool)) {
	at := slices.IndexFunc(w.classes, func(d hessianClass) bool {
		return d.plan == c.plan && d.name == c.name && slices.Equal(d.fields, c.fields)
	})
	if at < 0 {
		at = len(w.classes)
		w.classes = append(w.classes, c)
		count := 0
		for range names {
			count++
		}
		w.b = appendHessianInt(appendHessianString(append(w.b, 'C'), c.name), int32(count))
		for name := range names {
			w.b = appendHessianString(w.b, name)
		}
	}
	if at <= 15 {
		w.b = append(w.b, 0x60+byte(at))
	} else {
		w.b = appendHessianInt(append(w.b, 'O'), int32(at))
	}
}

func (w *hessianWriter) object(n *plan, p unsafe.Pointer, depth int) error {
	w.values++
	typed := n.tagged
	if typed {
		w.class(hessianClass{plan: n, name: n.class}, func(yield func(string) bool) {
			for i := range n.fields {
				if !yield(n.fields[i].name) {
					return
				}
			}
		})
	} else {
		w.b = append(w.b, 'H')
	}
	for i := range n.fields {
		f := &n.fields[i]
		if !typed {
			w.b = appendHessianString(w.b, f.name)
		}
		if err := w.value(f.plan, unsafe.Add(p, f.offset), depth+1); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	if !typed {
		w.b = append(w.b, 'Z')
	}
	return nil
}

func (w *hessianWriter) unknown(o *JavaObject, depth int) error {
	w.values++
	names := make([]string, 0, len(o.Fields))
	for name := range o.Fields {
		names = append(names, name)
	}
	slices.Sort(names)
	w.class(hessianClass{name: o.Class, fields: names}, slices.Values(names))
	for _, name := range names {
		if err := w.any(o.Fields[name], depth+1); err != nil {
			return fmt.Errorf("field %s of %s: %w", name, o.Class, err)
		}
	}
	return nil
}

func appendHessianInt(b []byte, v int32) []byte {
	switch {
	case v >= -0x10 && v <= 0x2f:
		return append(b, byte(0x90+v))
	case v >= -0x800 && v <= 0x7ff:
		return append(b, byte(0xc8+v>>8), byte(v))
	case v >= -0x40000 && v <= 0x3ffff:
		return append(b, byte(0xd4+v>>16), byte(v>>8), byte(v))
	}
	return binary.BigEndian.AppendUint32(append(b, 'I'), uint32(v))
}

func appendHessianLong(b []byte, v int64) []byte {
	switch {
	case v >= -0x08 && v <= 0x0f:
		return append(b, byte(0xe0+v))
	case v >= -0x800 && v <= 0x7ff:
		return append(b, byte(0xf8+v>>8), byte(v))
	case v >= -0x40000 && v <= 0x3ffff:
		return append(b, byte(0x3c+v>>16), byte(v>>8), byte(v))
	case v == int64(int32(v)):
		return binary.BigEndian.AppendUint32(append(b, 'Y'), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, 'L'), uint64(v))
}

// appendHessianDouble takes the short forms of whole numbers and of thousandths.
func appendHessianDouble(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) <= 1<<15 && (v != 0 || !math.Signbit(v)) {
		switch i := int(v); {
		case i == 0:
			return append(b, 0x5b)
		case i == 1:
			return append(b, 0x5c)
		case i >= -0x80 && i <= 0x7f:
			return append(b, 0x5d, byte(i))
		case i >= -0x8000 && i <= 0x7fff:
			return append(b, 0x5e, byte(i>>8), byte(i))
		}
	}
	if mills := v * 1000; math.Abs(mills) < math.MaxInt32 && 0.001*float64(int32(mills)) == v && v != 0 {
		return binary.BigEndian.AppendUint32(append(b, 0x5f), uint32(int32(mills)))
	}
	bits := math.Float64bits(v)
	if math.IsNaN(v) {
		bits = 0x7ff8 << 48 // Java's NaN
	}
	return binary.BigEndian.AppendUint64(append(b, 'D'), bits)
}

func appendHessianDate(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, 'N')
	}
	ms := t.UnixMilli()
	if m := ms / 60000; ms%60000 == 0 && m == int64(int32(m)) {
		return binary.BigEndian.AppendUint32(append(b, 0x4b), uint32(m))
	}
	return binary.BigEndian.AppendUint64(append(b, 0x4a), uint64(ms))
}

// The sizes of the pieces of a long string, in UTF-16 units, and of a long binary,
// as Java makes them.
const (
	hessianChunk       = 0x8000
	hessianBinaryChunk = 8189
)

func appendHessianBytes(b, v []byte) []byte {
	for len(v) > hessianBinaryChunk {
		b = append(binary.BigEndian.AppendUint16(append(b, 'A'), hessianBinaryChunk), v[:hessianBinaryChunk]...)
		v = v[hessianBinaryChunk:]
	}
	switch n := len(v); {
	case n <= 15:
		b = append(b, 0x20+byte(n))
	case n <= 1023:
		b = append(b, 0x34+byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint16(append(b, 'B'), uint16(n))
	}
	return append(b, v...)
}

// appendHessianString writes s as Java has it: lengths count UTF-16 units, and a
// character beyond 16 bits is two surrogates of three bytes each.
func appendHessianString(b []byte, s string) []byte {
	for {
		units, at := asciiPrefix(s, hessianChunk), 0
		if units == len(s) || units == hessianChunk {
			last := units == len(s)
			b = append(hessianLength(b, units, last), s[:units]...)
			if last {
				return b
			}
			s = s[units:]
			continue
		}
		units = 0
		for i, r := range s {
			n := 1
			if r > 0xffff {
				n = 2
			}
			if units+n > hessianChunk {
				break
			}
			units += n
			_, size := utf8.DecodeRuneInString(s[i:])
			at = i + size
		}
		last := at == len(s)
		b = hessianLength(b, units, last)
		for _, r := range s[:at] {
			if r > 0xffff {
				r -= 0x10000
				b = appendUnit(appendUnit(b, 0xd800|r>>10), 0xdc00|r&0x3ff)
			} else {
				b = appendUnit(b, r)
			}
		}
		if last {
			return b
		}
		s = s[at:]
	}
}

// hessianLength appends what a piece of a string begins with.
func hessianLength(b []byte, units int, last bool) []byte {
	switch {
	case !last:
		return binary.BigEndian.AppendUint16(append(b, 'R'), uint16(units))
	case units <= 31:
		return append(b, byte(units))
	case units <= 1023:
		return append(b, 0x30+byte(units>>8), byte(units))
	}
	return binary.BigEndian.AppendUint16(append(b, 'S'), uint16(units))
}

// asciiPrefix returns how many bytes of the first most of s are ASCII.
func asciiPrefix[T string | []byte](s T, most int) int {
	n := min(len(s), most)
	for i := range n {
		if s[i] >= utf8.RuneSelf {
			return i
		}
	}
	return n
}

// appendUnit appends one UTF-16 unit in UTF-8's manner, surrogates too.
func appendUnit(b []byte, r rune) []byte {
	switch {
	case r < 0x80:
		return append(b, byte(r))
	case r < 0x800:
		return append(b, byte(0xc0|r>>6), byte(0x80|r&0x3f))
	}
	return append(b, byte(0xe0|r>>12), byte(0x80|r>>6&0x3f), byte(0x80|r&0x3f))
}
