package motan

import (
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unsafe"
)

// plan is what the serializers have to know about a type; it is worked out once.
type plan struct {
	typ    reflect.Type
	kind   reflect.Kind
	bytes  bool        // []byte
	time   bool        // time.Time
	elem   *plan       // of a pointer, slice or map
	key    *plan       // of a map
	fields []planField // of a struct
	named  map[string]int
	folded map[string]int // by the names in lower case
	class  string         // a struct's name to other languages: the tag of its blank field, or its Go name
	tagged bool           // class is from a tag
}

// planField is an exported field of a struct.
type planField struct {
	name   string // the motan tag, or the name in Java's manner
	index  int    // the breeze tag, or one more than the field before
	offset uintptr
	plan   *plan
}

var (
	plans    sync.Map // reflect.Type → *plan
	timeType = reflect.TypeFor[time.Time]()
)

// planOf returns the plan of t, working it out the first time.
func planOf(t reflect.Type) (*plan, error) {
	if p, ok := plans.Load(t); ok {
		return p.(*plan), nil
	}
	p, err := makePlan(t, map[reflect.Type]*plan{})
	if err != nil {
		return nil, err
	}
	got, _ := plans.LoadOrStore(t, p)
	return got.(*plan), nil
}

// planValue returns where the value behind v is and its plan, following one
// pointer. The plan is nil for nil.
func planValue(v any) (*plan, unsafe.Pointer, error) {
	rv := reflect.ValueOf(v)
	if !rv.IsValid() || rv.Kind() == reflect.Pointer && rv.IsNil() {
		return nil, nil, nil
	}
	if rv.Kind() == reflect.Pointer {
		p, err := planOf(rv.Type().Elem())
		return p, rv.UnsafePointer(), err
	}
	p, err := planOf(rv.Type())
	if err != nil {
		return nil, nil, err
	}
	at := reflect.New(rv.Type())
	at.Elem().Set(rv)
	return p, at.UnsafePointer(), nil
}

// makePlan works out the plan of t; busy holds the types on the way, so that a
// type may contain itself.
func makePlan(t reflect.Type, busy map[reflect.Type]*plan) (*plan, error) {
	if p := busy[t]; p != nil {
		return p, nil
	}
	p := &plan{typ: t, kind: t.Kind()}
	busy[t] = p
	var err error
	switch p.kind {
	case reflect.Bool, reflect.String, reflect.Float32, reflect.Float64,
		reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int,
		reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return p, nil
	case reflect.Interface:
		if t.NumMethod() == 0 {
			return p, nil
		}
	case reflect.Slice:
		p.bytes = t.Elem().Kind() == reflect.Uint8
		p.elem, err = makePlan(t.Elem(), busy)
		return p, err
	case reflect.Pointer:
		p.elem, err = makePlan(t.Elem(), busy)
		return p, err
	case reflect.Map:
		if p.key, err = makePlan(t.Key(), busy); err == nil {
			p.elem, err = makePlan(t.Elem(), busy)
		}
		return p, err
	case reflect.Struct:
		return p, p.makeStruct(busy)
	}
	return nil, fmt.Errorf("%w: type %s is not supported", ErrSerialization, t)
}

func (p *plan) makeStruct(busy map[reflect.Type]*plan) error {
	t := p.typ
	if t == timeType {
		p.time = true
		return nil
	}
	if positional(t) != nil {
		return fmt.Errorf("%w: %s is Positional and cannot be part of another value", ErrSerialization, t)
	}
	p.class, p.named, p.folded = t.Name(), map[string]int{}, map[string]int{}
	index := 0
	indexes := map[int]bool{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("motan"), ",")
		if f.Name == "_" && name != "" {
			p.class, p.tagged = name, true
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = javaName(f.Name)
		}
		index++
		if tag := f.Tag.Get("breeze"); tag != "" {
			n, err := strconv.ParseUint(tag, 10, 31)
			if err != nil {
				return fmt.Errorf("%w: %s.%s: breeze tag %q: want a number", ErrSerialization, t, f.Name, tag)
			}
			index = int(n)
		}
		if _, twice := p.named[name]; twice || indexes[index] {
			return fmt.Errorf("%w: %s has two fields named %q or numbered %d", ErrSerialization, t, name, index)
		}
		fp, err := makePlan(f.Type, busy)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		p.named[name], p.folded[strings.ToLower(name)], indexes[index] = len(p.fields), len(p.fields), true
		p.fields = append(p.fields, planField{name: name, index: index, offset: f.Offset, plan: fp})
	}
	return nil
}

// field finds a struct's field by name; hint is where it probably is.
func (p *plan) field(name []byte, hint int) int {
	if hint < len(p.fields) && p.fields[hint].name == string(name) {
		return hint
	}
	if i, ok := p.named[string(name)]; ok {
		return i
	}
	if i, ok := p.folded[strings.ToLower(string(name))]; ok {
		return i
	}
	return -1
}

// javaName lowers the capitals that a name begins with, but not the one that a
// word in small letters follows: ID is id, URLPath urlPath, UserID userID.
func javaName(s string) string {
	runes := []rune(s)
	for i := range runes {
		if !unicode.IsUpper(runes[i]) || i > 0 && i+1 < len(runes) && unicode.IsLower(runes[i+1]) {
			break
		}
		runes[i] = unicode.ToLower(runes[i])
	}
	return string(runes)
}

// allowance bounds the memory that decoding a body may take, which can be many
// times the body's size.
type allowance int64

// maxDecoded is how many bytes the elements of containers in one body may take.
const maxDecoded = 256 << 20

// take charges for n values of a size each and reports whether there was room.
func (a *allowance) take(n int, size uintptr) bool {
	if size > 0 && uint64(n) > uint64(maxDecoded)/uint64(size) {
		return false
	}
	*a += allowance(uint64(n) * uint64(size))
	return *a <= maxDecoded
}

// numbered finds a struct's field by its breeze number.
func (p *plan) numbered(index uint64, hint int) int {
	if hint < len(p.fields) && uint64(p.fields[hint].index) == index {
		return hint
	}
	for i := range p.fields {
		if uint64(p.fields[i].index) == index {
			return i
		}
	}
	return -1
}

// deref follows pointers to the plan of what they point to.
func (p *plan) deref() *plan {
	for p.kind == reflect.Pointer {
		p = p.elem
	}
	return p
}

// loadInt returns the integer at p. ok is false for more than 63 bits.
func loadInt(kind reflect.Kind, p unsafe.Pointer) (v int64, ok bool) {
	switch kind {
	case reflect.Int8:
		return int64(*(*int8)(p)), true
	case reflect.Int16:
		return int64(*(*int16)(p)), true
	case reflect.Int32:
		return int64(*(*int32)(p)), true
	case reflect.Int64:
		return *(*int64)(p), true
	case reflect.Int:
		return int64(*(*int)(p)), true
	case reflect.Uint8:
		return int64(*(*uint8)(p)), true
	case reflect.Uint16:
		return int64(*(*uint16)(p)), true
	case reflect.Uint32:
		return int64(*(*uint32)(p)), true
	}
	u := uint64(0)
	if kind == reflect.Uint {
		u = uint64(*(*uint)(p))
	} else {
		u = *(*uint64)(p)
	}
	return int64(u), u <= math.MaxInt64
}

// storeInt stores v at p. It reports false if it does not fit.
func storeInt(kind reflect.Kind, p unsafe.Pointer, v int64) bool {
	switch kind {
	case reflect.Int8:
		*(*int8)(p) = int8(v)
		return v == int64(int8(v))
	case reflect.Int16:
		*(*int16)(p) = int16(v)
		return v == int64(int16(v))
	case reflect.Int32:
		*(*int32)(p) = int32(v)
		return v == int64(int32(v))
	case reflect.Int64:
		*(*int64)(p) = v
		return true
	case reflect.Int:
		*(*int)(p) = int(v)
		return v == int64(int(v))
	case reflect.Uint8:
		*(*uint8)(p) = uint8(v)
		return v == int64(uint8(v))
	case reflect.Uint16:
		*(*uint16)(p) = uint16(v)
		return v == int64(uint16(v))
	case reflect.Uint32:
		*(*uint32)(p) = uint32(v)
		return v == int64(uint32(v))
	}
	if kind == reflect.Uint {
		*(*uint)(p) = uint(v)
		return v >= 0 && uint64(v) == uint64(uint(v))
	}
	*(*uint64)(p) = uint64(v)
	return v >= 0
}

// isZero reports whether the value at at is what a decoder leaves when the value
// does not come: zero, or an empty slice or map.
func (p *plan) isZero(at unsafe.Pointer) bool {
	switch p.kind {
	case reflect.String, reflect.Slice: // the length is the second word of both
		return len(*(*string)(at)) == 0
	case reflect.Map:
		return reflect.NewAt(p.typ, at).Elem().Len() == 0
	case reflect.Struct:
		return p.time && (*time.Time)(at).IsZero()
	case reflect.Pointer, reflect.Interface:
		return *(*unsafe.Pointer)(at) == nil
	case reflect.Bool:
		return !*(*bool)(at)
	case reflect.Float32:
		return *(*uint32)(at) == 0
	case reflect.Float64:
		return *(*uint64)(at) == 0
	}
	v, _ := loadInt(p.kind, at)
	return v == 0
}

// each calls fn with v or, if v stands for several arguments, with each of them.
func each(v any, fn func(any) error) error {
	if args, ok := v.(*Args); ok && args != nil {
		v = *args
	}
	args, several := arguments(v)
	if !several {
		return fn(v)
	}
	for i, a := range args {
		if err := fn(a); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return nil
}

// into returns where to decode into: the one that v points to, or the arguments
// that it stands for.
func into(format string, v any) (targets Args, several bool, err error) {
	targets, several = arguments(v)
	if !several {
		targets = Args{v}
	}
	for _, t := range targets {
		if rv := reflect.ValueOf(t); rv.Kind() != reflect.Pointer || rv.IsNil() {
			return nil, several, fmt.Errorf("%w: %s: decode into %T, want a pointer", ErrSerialization, format, t)
		}
	}
	return targets, several, nil
}
