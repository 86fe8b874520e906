package motan

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// The type bytes of breeze. Below breezeString are the lengths of short strings;
// the other gaps hold small numbers.
const (
	breezeString      = 0x3f
	breezeInt32       = 0x7f
	breezeInt64       = 0x98
	breezeNull        = 0x99
	breezeTrue        = 0x9a
	breezeFalse       = 0x9b
	breezeByte        = 0x9c
	breezeBytes       = 0x9d
	breezeInt16       = 0x9e
	breezeFloat32     = 0x9f
	breezeFloat64     = 0xa0
	breezeMap         = 0xd9
	breezeArray       = 0xda
	breezePackedMap   = 0xdb
	breezePackedArray = 0xdc
	breezeMessage     = 0xde
	breezeRef         = 0xdf

	// What Java's breeze makes of a date: a message of its milliseconds since 1970.
	// A date of a database has the same field.
	breezeDate      = "java.util.Date"
	breezeTimestamp = "java.sql.Timestamp"
	breezeDateField = 1

	breezeInt32Zero = 0x50
	breezeInt64Zero = 0x88
)

// Breeze is serialization 8. A struct travels as a message: its fields carry
// numbers, which are the breeze tag or else count from 1, and it has a name,
// which the motan tag of a blank field gives:
//
//	type User struct {
//		_    struct{} `motan:"com.example.User"`
//		ID   int64    `breeze:"1"`
//		Name string   `breeze:"2"`
//	}
//
// A decoder goes by the numbers alone and passes over those it does not know.
// Numbers and strings convert into each other where nothing is lost. time.Time is
// Java's Date, of milliseconds, and null when zero; milliseconds alone are read too.
// Into any, values become string, bool, byte, int16, int32, int64, float32, float64,
// time.Time, []byte, []string, []any, map[string]string, map[any]any or
// *BreezeMessage.
type Breeze struct{}

// BreezeMessage is a message whose type is not known here.
type BreezeMessage struct {
	Name   string
	Fields map[int]any
}

var breezeMessageType = reflect.TypeFor[BreezeMessage]()

// ID returns 8.
func (Breeze) ID() byte { return idBreeze }

// Append appends v, following pointers.
func (Breeze) Append(dst []byte, v any) ([]byte, error) {
	w := breezeWriter{b: dst}
	err := each(v, func(v any) error { return w.any(v, 0) })
	return w.b, err
}

// breezeWriter is a body being written.
type breezeWriter struct {
	b     []byte
	names []string // of the messages written so far; later ones refer to them
}

func breezeErr(format string, args ...any) error {
	return fmt.Errorf("%w: breeze: %s", ErrSerialization, fmt.Sprintf(format, args...))
}

func (w *breezeWriter) any(v any, depth int) error {
	n, p, err := planValue(v)
	if err != nil {
		return err
	}
	if n == nil {
		w.b = append(w.b, breezeNull)
		return nil
	}
	return w.value(n, p, true, depth)
}

// value writes the value at p; typed says that its type comes with it.
func (w *breezeWriter) value(n *plan, p unsafe.Pointer, typed bool, depth int) error {
	if depth > maxDepth {
		return breezeErr("nested deeper than %d", maxDepth)
	}
	switch n.kind {
	case reflect.Bool:
		if *(*bool)(p) {
			w.b = append(w.b, breezeTrue)
		} else {
			w.b = append(w.b, breezeFalse)
		}
	case reflect.String:
		w.string(*(*string)(p), typed)
	case reflect.Float32:
		if typed {
			w.b = append(w.b, breezeFloat32)
		}
		w.b = binary.BigEndian.AppendUint32(w.b, math.Float32bits(*(*float32)(p)))
	case reflect.Float64:
		if typed {
			w.b = append(w.b, breezeFloat64)
		}
		w.b = binary.BigEndian.AppendUint64(w.b, math.Float64bits(*(*float64)(p)))
	case reflect.Slice:
		if n.bytes {
			if typed {
				w.b = append(w.b, breezeBytes)
			}
			v := *(*[]byte)(p)
			w.b = append(binary.BigEndian.AppendUint32(w.b, uint32(len(v))), v...)
			return nil
		}
		return w.array(n, p, typed, depth)
	case reflect.Map:
		return w.mapping(n, p, typed, depth)
	case reflect.Pointer:
		to := *(*unsafe.Pointer)(p)
		if to == nil {
			if !typed {
				return breezeErr("a nil %s stands where there is no room for a null", n.typ)
			}
			w.b = append(w.b, breezeNull)
			return nil
		}
		return w.value(n.elem, to, typed, depth+pointerStep(n.elem.kind))
	case reflect.Interface:
		v := *(*any)(p)
		return w.any(v, depth+anyStep(v))
	case reflect.Struct:
		return w.message(n, p, typed, depth)
	default:
		return w.int(n, p, typed)
	}
	return nil
}

func (w *breezeWriter) string(s string, typed bool) {
	switch {
	case !typed:
		w.b = binary.AppendUvarint(w.b, uint64(len(s)))
	case len(s) < breezeString:
		w.b = append(w.b, byte(len(s)))
	default:
		w.b = binary.AppendUvarint(append(w.b, breezeString), uint64(len(s)))
	}
	w.b = append(w.b, s...)
}

// breezeIntType is the type that an integer kind travels as.
func breezeIntType(k reflect.Kind) byte {
	switch k {
	case reflect.Uint8:
		return breezeByte
	case reflect.Int8, reflect.Int16:
		return breezeInt16
	case reflect.Int32, reflect.Uint16:
		return breezeInt32
	}
	return breezeInt64
}

func (w *breezeWriter) int(n *plan, p unsafe.Pointer, typed bool) error {
	v, ok := loadInt(n.kind, p)
	if !ok {
		return breezeErr("%d does not fit into 63 bits", uint64(v))
	}
	t := breezeIntType(n.kind)
	switch {
	case !typed:
	case t == breezeInt32 && v >= -16 && v <= 46:
		w.b = append(w.b, byte(v+breezeInt32Zero))
		return nil
	case t == breezeInt64 && v >= -8 && v <= 15:
		w.b = append(w.b, byte(v+breezeInt64Zero))
		return nil
	default:
		w.b = append(w.b, t)
	}
	switch t {
	case breezeByte:
		w.b = append(w.b, byte(v))
	case breezeInt16:
		w.b = binary.BigEndian.AppendUint16(w.b, uint16(v))
	case breezeInt32:
		w.b = binary.AppendUvarint(w.b, uint64(uint32(v)<<1^uint32(int32(v)>>31)))
	default:
		w.b = binary.AppendUvarint(w.b, uint64(v)<<1^uint64(v>>63))
	}
	return nil
}

// packable reports whether the values of n can travel without a type each.
func packable(n *plan) bool {
	return n.deref().kind != reflect.Interface && n.deref().typ != breezeMessageType
}

// typeOf writes the type that the elements of a packed container have.
func (w *breezeWriter) typeOf(n *plan) error {
	n = n.deref()
	t := byte(0)
	switch n.kind {
	case reflect.Bool:
		t = breezeTrue
	case reflect.String:
		t = breezeString
	case reflect.Float32:
		t = breezeFloat32
	case reflect.Float64:
		t = breezeFloat64
	case reflect.Slice:
		switch {
		case n.bytes:
			t = breezeBytes
		case packable(n.elem):
			t = breezePackedArray
		default:
			t = breezeArray
		}
	case reflect.Map:
		t = breezeMap
		if packable(n.key) && packable(n.elem) {
			t = breezePackedMap
		}
	case reflect.Struct:
		w.name(n)
		return nil
	default:
		t = breezeIntType(n.kind)
	}
	w.b = append(w.b, t)
	return nil
}

// name writes the type of a message: its name or, the next times, a reference.
func (w *breezeWriter) name(n *plan) {
	if n.time {
		w.messageName(breezeDate)
	} else {
		w.messageName(n.class)
	}
}

func (w *breezeWriter) messageName(name string) {
	for i, known := range w.names {
		if known != name {
			continue
		}
		if i+1 <= 0xff-breezeRef {
			w.b = append(w.b, byte(breezeRef+i+1))
		} else {
			w.b = binary.AppendUvarint(append(w.b, breezeRef), uint64(i+1))
		}
		return
	}
	w.names = append(w.names, name)
	w.b = append(w.b, breezeMessage)
	w.string(name, false)
}

func (w *breezeWriter) array(n *plan, p unsafe.Pointer, typed bool, depth int) error {
	data, count := unsafe.Pointer(unsafe.SliceData(*(*[]byte)(p))), len(*(*[]byte)(p))
	packed := packable(n.elem)
	if typed {
		t := byte(breezeArray)
		if packed {
			t = breezePackedArray
		}
		w.b = append(w.b, t)
	}
	w.b = binary.AppendUvarint(w.b, uint64(count))
	if packed && count > 0 {
		if err := w.typeOf(n.elem); err != nil {
			return err
		}
	}
	size := n.elem.typ.Size()
	for i := range count {
		if err := w.value(n.elem, unsafe.Add(data, uintptr(i)*size), !packed, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *breezeWriter) mapping(n *plan, p unsafe.Pointer, typed bool, depth int) error {
	m := reflect.NewAt(n.typ, p).Elem()
	packed := packable(n.key) && packable(n.elem)
	if typed {
		t := byte(breezeMap)
		if packed {
			t = breezePackedMap
		}
		w.b = append(w.b, t)
	}
	w.b = binary.AppendUvarint(w.b, uint64(m.Len()))
	if m.Len() == 0 {
		return nil
	}
	if packed {
		if err := w.typeOf(n.key); err != nil {
			return err
		}
		if err := w.typeOf(n.elem); err != nil {
			return err
		}
	}
	if n.typ == stringMapType {
		for k, v := range *(*map[string]string)(p) {
			w.string(k, false)
			w.string(v, false)
		}
		return nil
	}
	key, val := reflect.New(n.key.typ), reflect.New(n.elem.typ)
	for it := m.MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		val.Elem().SetIterValue(it)
		if err := w.value(n.key, key.UnsafePointer(), !packed, depth+1); err != nil {
			return err
		}
		if err := w.value(n.elem, val.UnsafePointer(), !packed, depth+1); err != nil {
			return err
		}
	}
	return nil
}

var stringMapType = reflect.TypeFor[map[string]string]()

func (w *breezeWriter) message(n *plan, p unsafe.Pointer, typed bool, depth int) error {
	if n.typ == breezeMessageType {
		return w.unknown((*BreezeMessage)(p), depth)
	}
	if n.time && typed && n.isZero(p) {
		w.b = append(w.b, breezeNull)
		return nil
	}
	if typed {
		w.name(n)
	}
	w.b = append(w.b, 0, 0, 0, 0)
	start := len(w.b)
	if n.time {
		ms := (*time.Time)(p).UnixMilli()
		w.b = binary.AppendVarint(append(w.b, breezeDateField, breezeInt64), ms)
	}
	for i := range n.fields {
		f := &n.fields[i]
		at := unsafe.Add(p, f.offset)
		if f.plan.isZero(at) {
			continue
		}
		w.b = binary.AppendUvarint(w.b, uint64(f.index))
		if err := w.value(f.plan, at, true, depth+1); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
	}
	binary.BigEndian.PutUint32(w.b[start-4:], uint32(len(w.b)-start))
	return nil
}

func (w *breezeWriter) unknown(m *BreezeMessage, depth int) error {
	w.messageName(m.Name)
	w.b = append(w.b, 0, 0, 0, 0)
	start := len(w.b)
	for index, v := range m.Fields {
		if index < 0 {
			return breezeErr("field number %d of %s", index, m.Name)
		}
		w.b = binary.AppendUvarint(w.b, uint64(index))
		if err := w.any(v, depth+1); err != nil {
			return fmt.Errorf("field %d of %s: %w", index, m.Name, err)
		}
	}
	binary.BigEndian.PutUint32(w.b[start-4:], uint32(len(w.b)-start))
	return nil
}
