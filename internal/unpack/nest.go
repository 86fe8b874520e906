package unpack

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Nests returns an error if v nests deeper than depth, as a value that contains
// itself does: the library would encode it until the stack is used up, which ends
// the process. Structs follow the tag as the library does without its own.
//
// Lists, maps and structs count, as they do for Check. As many pointers may follow each
// other between them, through which a value may contain itself too. What encodes
// itself is taken for a leaf. Values of types that cannot nest without end, which most
// structs are, cost one look into a table.
func Nests(v any, tag string, depth int) error {
	w := walk{tag: tag, most: depth}
	return w.any(v, 0)
}

type walk struct {
	tag  string
	most int
}

func (w *walk) deeper(depth int) error {
	if depth > w.most {
		return fmt.Errorf("nested deeper than %d", w.most)
	}
	return nil
}

// any is value for what is often an any.
func (w *walk) any(v any, depth int) error {
	switch v := v.(type) {
	case nil, bool, string, []byte, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return nil
	case []any:
		if err := w.deeper(depth + 1); err != nil {
			return err
		}
		for _, e := range v {
			if err := w.any(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if err := w.deeper(depth + 1); err != nil {
			return err
		}
		for _, e := range v {
			if err := w.any(e, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return w.value(reflect.ValueOf(v), depth, 0)
}

// value looks at v, which stands in depth others and behind so many pointers.
func (w *walk) value(v reflect.Value, depth, pointers int) error {
	p := planOf(v.Type(), w.tag)
	if p.leaf {
		return nil
	}
	if p.endless {
		return fmt.Errorf("%v points to itself, or embeds itself", v.Type())
	}
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			return w.value(v.Elem(), depth, pointers)
		}
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if err := w.deeper(pointers + 1); err != nil {
			return err
		}
		return w.value(v.Elem(), depth, pointers+1)
	case reflect.Slice, reflect.Array:
		if err := w.deeper(depth + 1); err != nil {
			return err
		}
		for i := range v.Len() {
			if err := w.value(v.Index(i), depth+1, 0); err != nil {
				return err
			}
		}
	case reflect.Map:
		if err := w.deeper(depth + 1); err != nil {
			return err
		}
		for it := v.MapRange(); it.Next(); {
			if err := w.value(it.Key(), depth+1, 0); err != nil {
				return err
			}
			if err := w.value(it.Value(), depth+1, 0); err != nil {
				return err
			}
		}
	case reflect.Struct:
		if err := w.deeper(depth + 1); err != nil {
			return err
		}
		for _, f := range p.fields {
			next := depth + 1
			if f.inline { // its fields are the outer one's
				next = depth
			}
			if err := w.value(v.Field(f.index), next, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// plan is what is to be looked at of the values of a type.
type plan struct {
	leaf    bool    // nothing: they cannot nest without end
	endless bool    // a pointer to itself, or embedding itself: the library never gets to the end of the type
	fields  []field // of a struct, those that are no leaves
}

type field struct {
	index  int
	inline bool
}

type planKey struct {
	t   reflect.Type
	tag string
}

var plans sync.Map // planKey → *plan

func planOf(t reflect.Type, tag string) *plan {
	if p, ok := plans.Load(planKey{t, tag}); ok {
		return p.(*plan)
	}
	p := &plan{leaf: !unbounded(t, tag, make(map[reflect.Type]bool))}
	if t.Kind() == reflect.Struct && !p.leaf {
		for i := range t.NumField() {
			if f := t.Field(i); encoded(f, tag) && unbounded(f.Type, tag, make(map[reflect.Type]bool)) {
				p.fields = append(p.fields, field{i, f.Anonymous && f.Type.Kind() == reflect.Struct})
			}
		}
	}
	p.endless = !p.leaf && endless(t, tag, make(map[reflect.Type]bool))
	got, _ := plans.LoadOrStore(planKey{t, tag}, p)
	return got.(*plan)
}

var (
	errorType = reflect.TypeFor[error]()
	selfs     = []reflect.Type{
		reflect.TypeFor[msgpack.CustomEncoder](), reflect.TypeFor[msgpack.Marshaler](),
		reflect.TypeFor[encoding.BinaryMarshaler](), reflect.TypeFor[encoding.TextMarshaler](),
	}
)

// encodesItself reports that the library does not look into values of a type.
func encodesItself(t reflect.Type) bool {
	if t == errorType {
		return true
	}
	for _, s := range selfs {
		if t.Kind() != reflect.Interface && (t.Implements(s) || t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(s)) {
			return true
		}
	}
	return false
}

// unbounded reports whether values of a type may nest without end: they hold
// interfaces, or others of their own type. path is the types around it.
func unbounded(t reflect.Type, tag string, path map[reflect.Type]bool) bool {
	if encodesItself(t) {
		return false
	}
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
	default:
		return false
	}
	if path[t] {
		return true
	}
	path[t] = true
	defer delete(path, t)
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); encoded(f, tag) && unbounded(f.Type, tag, path) {
				return true
			}
		}
		return false
	case reflect.Map:
		return unbounded(t.Key(), tag, path) || unbounded(t.Elem(), tag, path)
	}
	return unbounded(t.Elem(), tag, path)
}

// endless reports whether following pointers and embedded fields from t never ends.
func endless(t reflect.Type, tag string, path map[reflect.Type]bool) bool {
	if k := t.Kind(); k != reflect.Pointer && k != reflect.Struct || encodesItself(t) {
		return false
	}
	if path[t] {
		return true
	}
	path[t] = true
	defer delete(path, t)
	if t.Kind() == reflect.Pointer {
		return endless(t.Elem(), tag, path)
	}
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous && encoded(f, tag) && endless(f.Type, tag, path) {
			return true
		}
	}
	return false
}

// encoded reports whether a field is.
func encoded(f reflect.StructField, tag string) bool {
	if !f.IsExported() && !f.Anonymous {
		return false
	}
	text := f.Tag.Get("msgpack")
	if text == "" && tag != "" {
		text = f.Tag.Get(tag)
	}
	name, _, _ := strings.Cut(text, ",")
	return name != "-"
}
