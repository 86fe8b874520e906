package webv4

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// model is a type taken apart once, for reading it from JSON and writing it in
// every format. Names are those of json tags. Models of recursive types are
// cyclic.
type model struct {
	kind modelKind
	typ  reflect.Type
	size int // of a number, in bytes

	elem   *model // of a pointer, list, array, map or Opt
	keys   keyKind
	nulls  bool // null is a value of the type, or the type's own business
	length int  // of an array
	fields []modelField
	byName map[string]int // of a struct with many fields
	value  uintptr        // offsets within an Opt
	set    uintptr
	null   uintptr
}

type modelKind uint8

const (
	modelBool modelKind = iota
	modelInt
	modelUint
	modelFloat
	modelString
	modelBytes // base64 in JSON
	modelTime
	modelStruct
	modelPointer
	modelList
	modelArray
	modelMap
	modelAny // an interface
	modelOpt
	modelText    // has MarshalText or UnmarshalText, and is a string
	modelForeign // writes itself as JSON, or is left to encoding/json
)

// modelField is a field of a struct.
type modelField struct {
	name     string
	goName   string
	key      words  // `,"name":`
	keyQuote words  // `,"name":"`
	element  string // the name in XML
	item     string // what XML calls an item of a list
	offset   uintptr
	via      []hop // embedded pointers on the way; offset is within what the last one points at
	model    *model
	omit     omission
	quoted   bool // the json tag's option string
	required bool
	trim     bool
	def      string
	hasDef   bool
	rules    constraints
	tag      reflect.StructTag
}

// omission is when a field is left out.
type omission uint8

const (
	never omission = iota
	ifEmpty
	ifZero
	ifUnreachable // a pointer on the way is nil
)

// hop is an embedded pointer.
type hop struct {
	offset uintptr
	to     reflect.Type // what it points at
}

// models are all that were made, by reflect.Type.
var models sync.Map

// modelOf returns the model of t. The errors are about tags and types that have no
// JSON; a model with errors still writes what it can.
func modelOf(t reflect.Type) (*model, error) {
	if m, ok := models.Load(t); ok {
		return m.(*model), nil
	}
	b := modelBuilder{made: map[reflect.Type]*model{}}
	m := b.of(t)
	if unwritable := m.unwritable(); unwritable != nil {
		b.errs = append(b.errs, fmt.Errorf("type %s has no JSON", unwritable))
	}
	if len(b.errs) > 0 {
		return m, errors.Join(b.errs...)
	}
	// Other goroutines see models when all that they lead to is complete.
	for typ, m := range b.made {
		models.LoadOrStore(typ, m)
	}
	return m, nil
}

type modelBuilder struct {
	made map[reflect.Type]*model
	errs []error
}

var (
	jsonMarshaler   = reflect.TypeFor[json.Marshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (b *modelBuilder) of(t reflect.Type) *model {
	if m, ok := models.Load(t); ok {
		return m.(*model)
	}
	if m := b.made[t]; m != nil {
		return m
	}
	m := &model{typ: t, size: int(t.Size())}
	b.made[t] = m
	b.kind(m, t)
	switch m.kind {
	case modelPointer, modelOpt, modelList, modelMap, modelAny:
		m.nulls = true
	case modelForeign:
		k := t.Kind()
		m.nulls = k == reflect.Pointer || k == reflect.Slice || k == reflect.Map || k == reflect.Interface || reflect.PointerTo(t).Implements(jsonUnmarshaler)
	}
	return m
}

// kind finds out what t is to JSON.
func (b *modelBuilder) kind(m *model, t reflect.Type) {
	if inner, value, set, null, ok := optType(t); ok {
		m.kind, m.value, m.set, m.null = modelOpt, value, set, null
		m.elem = b.of(inner)
		return
	}
	if t == reflect.TypeFor[time.Time]() {
		m.kind = modelTime
		return
	}
	pt := reflect.PointerTo(t)
	switch {
	case t.Kind() == reflect.Pointer || t.Kind() == reflect.Interface:
		// Their elements decide.
	case pt.Implements(jsonMarshaler) || pt.Implements(jsonUnmarshaler):
		m.kind = modelForeign
		return
	case pt.Implements(textMarshaler) && pt.Implements(textUnmarshaler):
		m.kind = modelText
		return
	case pt.Implements(textMarshaler) || pt.Implements(textUnmarshaler):
		m.kind = modelForeign
		return
	}
	switch t.Kind() {
	case reflect.Bool:
		m.kind = modelBool
	case reflect.Float32, reflect.Float64:
		m.kind = modelFloat
	case reflect.String:
		m.kind = modelString
		if t == reflect.TypeFor[json.Number]() {
			m.kind = modelForeign
		}
	case reflect.Pointer:
		m.kind, m.elem = modelPointer, b.of(t.Elem())
	case reflect.Interface:
		m.kind = modelAny
		if t.NumMethod() > 0 {
			m.kind = modelForeign
		}
	case reflect.Slice:
		m.kind, m.elem = modelList, b.of(t.Elem())
		if t.Elem().Kind() == reflect.Uint8 && m.elem.kind == modelUint {
			m.kind = modelBytes
		}
	case reflect.Array:
		m.kind, m.elem, m.length = modelArray, b.of(t.Elem()), t.Len()
	case reflect.Map:
		m.kind = modelForeign
		if m.keys = keyKindOf(t.Key()); m.keys != otherKeys {
			m.kind, m.elem = modelMap, b.of(t.Elem())
		}
	case reflect.Struct:
		m.kind = modelStruct
		b.fields(m, t)
	default:
		m.kind = modelForeign
		switch {
		case isInt(t):
			m.kind = modelInt
		case isUint(t):
			m.kind = modelUint
		}
	}
}

// unwritable is the type within m's, not behind a struct's fields, that encoding/json
// cannot write; nil if there is none.
func (m *model) unwritable() reflect.Type {
	for range maxReadDepth { // a type may contain itself
		if m.elem == nil {
			break
		}
		m = m.elem
	}
	if m.kind != modelForeign || m.marshals() {
		return nil
	}
	switch m.typ.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return m.typ
	case reflect.Map:
		return m.typ // of its keys
	}
	return nil
}

// marshals reports whether the type has methods that write or read it.
func (m *model) marshals() bool {
	pt := reflect.PointerTo(m.typ)
	return pt.Implements(jsonMarshaler) || pt.Implements(jsonUnmarshaler) || pt.Implements(textMarshaler) || pt.Implements(textUnmarshaler)
}

// candidate is a field found on the way through embedded structs.
type candidate struct {
	modelField
	typ    reflect.Type
	depth  int
	tagged bool
	order  []int
}

// fields collects a struct's fields with encoding/json's rules: of several
// fields of one name the shallowest counts, then the tagged one, else none.
func (b *modelBuilder) fields(m *model, t reflect.Type) {
	found := collector{within: map[reflect.Type]bool{}}
	found.collect(t, nil, 0, nil)
	byName := map[string][]candidate{}
	for _, c := range found.list {
		byName[c.name] = append(byName[c.name], c)
	}
	var chosen []candidate
	for _, list := range byName {
		slices.SortFunc(list, func(a, b candidate) int {
			if a.depth != b.depth {
				return a.depth - b.depth
			}
			if a.tagged != b.tagged {
				if a.tagged {
					return -1
				}
				return 1
			}
			return 0
		})
		if len(list) > 1 && list[0].depth == list[1].depth && list[0].tagged == list[1].tagged {
			continue
		}
		chosen = append(chosen, list[0])
	}
	slices.SortFunc(chosen, func(a, b candidate) int { return slices.Compare(a.order, b.order) })
	for _, c := range chosen {
		f := c.modelField
		f.model = b.of(c.typ)
		f.quoted = f.quoted && f.model.quotable()
		if f.via != nil && f.omit == never {
			f.omit = ifUnreachable
		}
		key := string(append(appendJSONString([]byte{','}, f.name), ':'))
		f.key, f.keyQuote = newWords(key), newWords(key+`"`)
		f.element, f.item = xmlName(f.name), xmlName(f.item)
		b.annotations(t, &f, c.typ)
		m.fields = append(m.fields, f)
	}
	if len(m.fields) > 8 {
		m.byName = make(map[string]int, len(m.fields))
		for i := range m.fields {
			m.byName[m.fields[i].name] = i
		}
	}
}

// annotations reads what the tags say beyond the name.
func (b *modelBuilder) annotations(t reflect.Type, f *modelField, ft reflect.Type) {
	bad := func(format string, args ...any) {
		b.errs = append(b.errs, fmt.Errorf("%s.%s: %s", t, f.goName, fmt.Sprintf(format, args...)))
	}
	if unwritable := f.model.unwritable(); unwritable != nil {
		bad("type %s has no JSON", unwritable)
	}
	if inner, _, _, _, ok := optType(ft); ok {
		ft = inner
	}
	for ft.Kind() == reflect.Pointer {
		ft = ft.Elem()
	}
	checkTag(f.tag, fieldTags, bad)
	f.trim = boolTag(f.tag, "trim", bad)
	f.rules = readConstraints(f.tag, ft, bad)
	f.required = boolTag(f.tag, "required", bad)
	if f.def, f.hasDef = f.tag.Lookup("default"); f.hasDef {
		set, err := setterOf(ft, f.rules.value)
		if err == nil {
			err = tryDefault(set, ft, f.def, f.rules.list)
		}
		switch {
		case err != nil:
			bad("default %q: %v", f.def, err)
		case f.model.kind == modelPointer:
			bad("default on a pointer")
		case f.required:
			bad("is required and has a default")
		}
	}
}

// collector walks the fields of a struct and of those embedded in it.
type collector struct {
	list   []candidate
	within map[reflect.Type]bool
}

// collect adds the fields of t, which is found by way of embedded pointers and at
// base from there.
func (c *collector) collect(t reflect.Type, via []hop, base uintptr, order []int) {
	if c.within[t] {
		return
	}
	c.within[t] = true
	defer delete(c.within, t)
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("json")
		if tag == "-" || sf.Name == "_" {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		if strings.ContainsAny(name, "\"\\'`") {
			name = "" // as in encoding/json
		}
		at := append(slices.Clone(order), i)
		if sf.Anonymous && name == "" {
			ft := sf.Type
			switch {
			case ft.Kind() == reflect.Pointer && ft.Elem().Kind() == reflect.Struct:
				c.collect(ft.Elem(), append(slices.Clip(via), hop{base + sf.Offset, ft.Elem()}), 0, at)
				continue
			case ft.Kind() == reflect.Struct && !reflect.PointerTo(ft).Implements(jsonMarshaler) && !reflect.PointerTo(ft).Implements(textMarshaler):
				c.collect(ft, via, base+sf.Offset, at)
				continue
			}
		}
		if !sf.IsExported() {
			continue
		}
		f := candidate{typ: sf.Type, depth: len(order), tagged: name != "", order: at}
		f.modelField = modelField{name: name, goName: sf.Name, via: via, offset: base + sf.Offset, tag: sf.Tag, item: "item"}
		if name == "" {
			f.name = sf.Name
		}
		if x := sf.Tag.Get("xml"); strings.Contains(x, ">") {
			x, _, _ = strings.Cut(x, ",")
			f.item = x[strings.LastIndexByte(x, '>')+1:]
		}
		for o := range strings.SplitSeq(options, ",") {
			switch o {
			case "omitempty":
				f.omit = ifEmpty
			case "omitzero":
				f.omit = ifZero
			case "string":
				f.quoted = true
			}
		}
		c.list = append(c.list, f)
	}
}

// quotable reports whether the option string of a json tag means anything for
// values of the model.
func (m *model) quotable() bool {
	if m.kind == modelPointer && m.typ.Name() == "" {
		m = m.elem
	}
	return m.kind <= modelString || m.typ == reflect.TypeFor[json.Number]()
}

// field finds a struct's field by name, -1 if there is none. Fields mostly come
// in the order of the struct, so the search begins after the last one found.
func (m *model) field(name string, after int) int {
	if m.byName != nil {
		if next := after + 1; next < len(m.fields) && m.fields[next].name == name {
			return next
		}
		if i, ok := m.byName[name]; ok {
			return i
		}
		return -1
	}
	for range m.fields {
		if after++; after >= len(m.fields) {
			after = 0
		}
		if m.fields[after].name == name {
			return after
		}
	}
	return -1
}

// present returns the address of the field of the struct at an address, nil if it
// is left out.
func (f *modelField) present(at unsafe.Pointer) unsafe.Pointer {
	for _, h := range f.via {
		if at = *(*unsafe.Pointer)(unsafe.Add(at, h.offset)); at == nil {
			return nil
		}
	}
	at = unsafe.Add(at, f.offset)
	if f.omit == ifEmpty && f.model.isEmpty(at) || f.omit == ifZero && f.model.isZero(at) {
		return nil
	}
	return at
}

// reach returns the address of the field of the struct at an address. It makes what
// embedded pointers on the way are to point at.
func (f *modelField) reach(at unsafe.Pointer) unsafe.Pointer {
	for _, h := range f.via {
		p := (*unsafe.Pointer)(unsafe.Add(at, h.offset))
		if *p == nil {
			*p = reflect.New(h.to).UnsafePointer()
		}
		at = *p
	}
	return unsafe.Add(at, f.offset)
}

// isEmpty is what omitempty means by empty.
func (m *model) isEmpty(at unsafe.Pointer) bool {
	switch m.kind {
	case modelBool:
		return !*(*bool)(at)
	case modelInt, modelUint:
		return loadUint(at, m.size) == 0
	case modelString:
		return *(*string)(at) == ""
	case modelPointer:
		return *(*unsafe.Pointer)(at) == nil
	case modelList, modelBytes:
		return (*sliceHeader)(at).len == 0
	case modelTime, modelStruct, modelOpt:
		return false
	}
	switch v := reflect.NewAt(m.typ, at).Elem(); v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	default:
		return v.IsZero()
	}
}

// isZero is what omitzero means by zero.
func (m *model) isZero(at unsafe.Pointer) bool {
	switch m.kind {
	case modelOpt:
		return !*(*bool)(unsafe.Add(at, m.set))
	case modelTime:
		return (*time.Time)(at).IsZero()
	}
	v := reflect.NewAt(m.typ, at)
	if z, ok := v.Interface().(interface{ IsZero() bool }); ok {
		return z.IsZero()
	}
	return v.Elem().IsZero()
}

// optType tells whether t is an Opt, of what, and where its parts are.
func optType(t reflect.Type) (inner reflect.Type, value, set, null uintptr, ok bool) {
	if t.Kind() != reflect.Struct || t.PkgPath() != reflect.TypeFor[Opt[int]]().PkgPath() || !strings.HasPrefix(t.Name(), "Opt[") {
		return nil, 0, 0, 0, false
	}
	v, _ := t.FieldByName("Value")
	s, _ := t.FieldByName("Set")
	n, _ := t.FieldByName("Null")
	return v.Type, v.Offset, s.Offset, n.Offset, true
}
