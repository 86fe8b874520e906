package motan

import (
	"bytes"
	"cmp"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// javaTime is the only form of a time that Java's fastjson reads right: it takes .1 for
// one millisecond, and no more than three digits.
const javaTime = `"2006-01-02T15:04:05.000Z07:00"`

// timesForJava gives the times of v, of which b is the JSON, three digits of a second's
// fraction.
func timesForJava(b []byte, v any) []byte {
	w := timeWriter{b: b, out: make([]byte, 0, len(b)+16)}
	w.value(shapeOfValue(reflect.ValueOf(v)))
	return w.out
}

// timesFromJava makes texts of the milliseconds that stand in b where a t has times:
// Java writes dates so where it takes their class as known, and some of its classes as
// {"val":1388505600123}.
func timesFromJava(b []byte, t reflect.Type) []byte {
	s := shapeOfType(t)
	if s == nil || !json.Valid(b) {
		return b
	}
	w := timeWriter{b: b, out: make([]byte, 0, len(b)+64)}
	w.value(s)
	return w.out
}

// shape is what is known of the value that a text in JSON stands for; nil is nothing.
type shape interface {
	isTime() bool
	time(text []byte) []byte // the text that a time is to have
	element(i int) shape     // of a list
	member(name string) shape
}

// timeWriter copies valid JSON and writes the times in it anew.
type timeWriter struct {
	b   []byte
	i   int // before it, b is copied
	out []byte
}

func (w *timeWriter) copy(n int) {
	w.out = append(w.out, w.b[w.i:w.i+n]...)
	w.i += n
}

// next copies white space and returns the byte that follows.
func (w *timeWriter) next() byte {
	for bytes.IndexByte([]byte(" \t\r\n"), w.b[w.i]) >= 0 {
		w.copy(1)
	}
	return w.b[w.i]
}

func (w *timeWriter) value(s shape) {
	c := w.next()
	switch {
	case s == nil:
		w.copy(valueLen(w.b[w.i:]))
	case s.isTime():
		n := valueLen(w.b[w.i:])
		w.out = append(w.out, s.time(w.b[w.i:w.i+n])...)
		w.i += n
	case c == '[':
		w.copy(1)
		for n := 0; w.more(']'); n++ {
			w.value(s.element(n))
		}
	case c == '{':
		w.copy(1)
		for w.more('}') {
			w.next()
			n := stringLen(w.b[w.i:])
			var name string
			json.Unmarshal(w.b[w.i:w.i+n], &name) // the text is valid
			w.copy(n)
			w.next()
			w.copy(1) // the colon
			w.value(s.member(name))
		}
	default:
		w.copy(valueLen(w.b[w.i:]))
	}
}

// more copies a comma, or the end of a container, and reports whether there are more
// values in it.
func (w *timeWriter) more(end byte) bool {
	c := w.next()
	if c == end || c == ',' {
		w.copy(1)
	}
	return c != end
}

// valueLen returns the length of the value that valid JSON begins with.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i += stringLen(b[i:]) - 1
		case '[', '{':
			depth++
			continue
		case ']', '}':
			if depth--; depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
			continue
		default:
			continue
		}
		if depth == 0 { // after a string or a container
			return i + 1
		}
	}
	return len(b)
}

// valueShape is the shape of a value that is being written.
type valueShape struct{ v reflect.Value }

func shapeOfValue(v reflect.Value) shape {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
		t := v.Type()
		if p := reflect.PointerTo(t); t != timeType && (p.Implements(jsonWriterType) || p.Implements(textWriterType)) {
			return nil
		}
		return valueShape{v}
	}
	return nil
}

func (s valueShape) isTime() bool { return s.v.Type() == timeType }

func (s valueShape) time(text []byte) []byte {
	var t time.Time
	if t.UnmarshalJSON(text) != nil {
		return text
	}
	return t.AppendFormat(nil, javaTime)
}

func (s valueShape) element(i int) shape {
	if k := s.v.Kind(); k != reflect.Slice && k != reflect.Array || i >= s.v.Len() {
		return nil
	}
	return shapeOfValue(s.v.Index(i))
}

func (s valueShape) member(name string) shape {
	switch s.v.Kind() {
	case reflect.Struct:
		if f, ok := fieldsByName(s.v.Type())[name]; ok {
			v, _ := s.v.FieldByIndexErr(f.Index) // zero behind a nil pointer
			return shapeOfValue(v)
		}
	case reflect.Map:
		key := reflect.New(s.v.Type().Key()).Elem()
		switch {
		case key.Kind() == reflect.String && !key.Type().Implements(textWriterType):
			key.SetString(name)
		case key.CanInt():
			n, _ := strconv.ParseInt(name, 10, 64)
			key.SetInt(n)
		case key.CanUint():
			n, _ := strconv.ParseUint(name, 10, 64)
			key.SetUint(n)
		default:
			return nil
		}
		return shapeOfValue(s.v.MapIndex(key))
	}
	return nil
}

// typeShape is the shape of what is to be read, which has times.
type typeShape struct{ t reflect.Type }

func shapeOfType(t reflect.Type) shape {
	if t == nil || !holdsTime(t) {
		return nil
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return typeShape{t}
}

func (s typeShape) isTime() bool { return s.t == timeType }

func (s typeShape) time(text []byte) []byte {
	ms := text
	var of struct{ Val json.RawMessage }
	if json.Unmarshal(text, &of) == nil && of.Val != nil {
		ms = of.Val
	}
	if again, ok := dateText(ms); ok {
		return again
	}
	return text
}

func (s typeShape) element(int) shape {
	if k := s.t.Kind(); k != reflect.Slice && k != reflect.Array {
		return nil
	}
	return shapeOfType(s.t.Elem())
}

func (s typeShape) member(name string) shape {
	switch s.t.Kind() {
	case reflect.Map:
		return shapeOfType(s.t.Elem())
	case reflect.Struct:
		fields := fieldsByName(s.t)
		if f, ok := fields[name]; ok {
			return shapeOfType(f.Type)
		}
		for known, f := range fields {
			if strings.EqualFold(known, name) {
				return shapeOfType(f.Type)
			}
		}
	}
	return nil
}

var (
	jsonReaderType = reflect.TypeFor[json.Unmarshaler]()
	jsonWriterType = reflect.TypeFor[json.Marshaler]()
	textWriterType = reflect.TypeFor[encoding.TextMarshaler]()

	timeHolders sync.Map // reflect.Type → bool, what holdsTime says
	jsonFields  sync.Map // reflect.Type → map[string]reflect.StructField, what fieldsByName says
)

// holdsTime reports whether JSON of a t may have a time in it that is known from t.
func holdsTime(t reflect.Type) bool {
	known, ok := timeHolders.Load(t)
	if !ok {
		known, _ = timeHolders.LoadOrStore(t, reachesTime(t, make(map[reflect.Type]bool)))
	}
	return known.(bool)
}

func reachesTime(t reflect.Type, seen map[reflect.Type]bool) bool {
	if t == timeType || seen[t] {
		return t == timeType
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer:
		return reachesTime(t.Elem(), seen)
	case reflect.Slice, reflect.Array, reflect.Map:
		return !reflect.PointerTo(t).Implements(jsonReaderType) && reachesTime(t.Elem(), seen)
	case reflect.Struct:
		if reflect.PointerTo(t).Implements(jsonReaderType) {
			return false
		}
		for i := range t.NumField() {
			if reachesTime(t.Field(i).Type, seen) {
				return true
			}
		}
	}
	return false
}

// fieldsByName returns the fields of a struct by their names in JSON.
func fieldsByName(t reflect.Type) map[string]reflect.StructField {
	if known, ok := jsonFields.Load(t); ok {
		return known.(map[string]reflect.StructField)
	}
	fields := make(map[string]reflect.StructField)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		name = cmp.Or(name, f.Name)
		if other, twice := fields[name]; !twice || len(f.Index) < len(other.Index) {
			fields[name] = f
		}
	}
	jsonFields.Store(t, fields)
	return fields
}
