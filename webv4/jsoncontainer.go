package webv4

import (
	"fmt"
	"reflect"
	"strconv"
	"unsafe"
)

// fieldSet is a set of field indexes, without allocation for most structs.
type fieldSet struct {
	low  [2]uint64
	more map[int]bool
}

// add reports whether i was new.
func (s *fieldSet) add(i int) bool {
	if i < 128 {
		bit := uint64(1) << (i % 64)
		was := s.low[i/64]&bit != 0
		s.low[i/64] |= bit
		return !was
	}
	if s.more == nil {
		s.more = map[int]bool{}
	}
	was := s.more[i]
	s.more[i] = true
	return !was
}

func (s *fieldSet) has(i int) bool {
	if i < 128 {
		return s.low[i/64]&(1<<(i%64)) != 0
	}
	return s.more[i]
}

func (r *jsonReader) object(m *model, to unsafe.Pointer) error {
	if r.peek() != '{' {
		return r.mismatch(r.at, errObject)
	}
	if err := r.enter(); err != nil {
		return err
	}
	var seen, given fieldSet // given: with a value that is not null
	last := -1
	more := r.peek() != '}'
	if !more {
		r.at++
		r.depth--
	}
	for more {
		name, err := r.name()
		if err != nil {
			return err
		}
		i := m.field(name, last)
		if i < 0 {
			if err := r.skip(); err != nil {
				return err
			}
		} else {
			last = i
			f := &m.fields[i]
			if !seen.add(i) {
				return r.syntax(fmt.Sprintf("%q a second time", f.name))
			}
			if r.peek() != 'n' || f.model.kind == modelOpt {
				given.add(i)
			}
			at := unsafe.Add(to, f.offset)
			if f.via != nil {
				at = f.reach(to)
			}
			if err := r.member(f, at); err != nil {
				return under(f.name, err)
			}
		}
		if more, err = r.more('}'); err != nil {
			return err
		}
	}
	for i := range m.fields {
		f := &m.fields[i]
		switch {
		case given.has(i):
		case f.required:
			return &valueError{path: f.name, missing: true}
		case f.hasDef:
			f.setDefault(f.reach(to))
		}
	}
	return nil
}

func (r *jsonReader) member(f *modelField, to unsafe.Pointer) error {
	if !f.quoted || r.peek() == 'n' {
		return r.value(f.model, to, &f.rules)
	}
	if r.peek() != '"' {
		return r.mismatch(r.at, errString)
	}
	from := r.at
	text, err := r.str()
	if err != nil {
		return err
	}
	inner := jsonReader{s: text}
	if inner.peek() == 'n' {
		return r.wrong(from, errNull)
	}
	err = inner.value(f.model, to, &f.rules)
	if _, ok := err.(*valueError); ok {
		return err
	}
	if err != nil || inner.at != len(text) {
		return r.wrong(from, expect("one value in quotes"))
	}
	return nil
}

// setDefault stores the default, which was tried at registration.
func (f *modelField) setDefault(to unsafe.Pointer) {
	t := f.model.typ
	if f.model.kind == modelOpt {
		*(*bool)(unsafe.Add(to, f.model.set)) = true
		to, t = unsafe.Add(to, f.model.value), f.model.elem.typ
	}
	if set, err := setterOf(t, nil); err == nil {
		_ = set(to, f.def)
	}
}

func (r *jsonReader) list(m *model, to unsafe.Pointer, rules *constraints) error {
	if r.peek() != '[' {
		return r.mismatch(r.at, errArray)
	}
	if err := r.enter(); err != nil {
		return err
	}
	var each *constraints
	if rules != nil && len(rules.value) > 0 {
		each = &constraints{value: rules.value}
	}
	list := reflect.NewAt(m.typ, to).Elem()
	if r.peek() == ']' {
		r.at++
		r.depth--
		list.Set(reflect.MakeSlice(m.typ, 0, 0))
		return nil
	}
	list.SetLen(0)
	header := (*sliceHeader)(to)
	size := m.elem.typ.Size()
	for n, more := 0, true; more; n++ {
		if rules != nil && rules.maxItems > 0 && n >= rules.maxItems {
			// Refused before it costs memory.
			return &valueError{reason: expect(fmt.Sprintf("at most %d items", rules.maxItems)), got: "more"}
		}
		if n == list.Cap() {
			list.Grow(max(4, n))
		}
		list.SetLen(n + 1)
		item := unsafe.Add(header.data, uintptr(n)*size)
		if err := r.item(m.elem, item, each); err != nil {
			return under("["+strconv.Itoa(n)+"]", err)
		}
		var err error
		if more, err = r.more(']'); err != nil {
			return err
		}
	}
	return nil
}

// item reads one value of a list, array or map. A null among them is none, unless it
// can be told from a zero value.
func (r *jsonReader) item(m *model, to unsafe.Pointer, rules *constraints) error {
	from := r.at
	if !m.nulls && r.peek() == 'n' {
		if !r.literal("null") {
			return r.syntax("not JSON")
		}
		return r.wrong(from, errNull)
	}
	return r.value(m, to, rules)
}

// array reads exactly as many items as there are.
func (r *jsonReader) array(m *model, to unsafe.Pointer) error {
	from := r.at
	if r.peek() != '[' {
		return r.mismatch(from, errArray)
	}
	if err := r.enter(); err != nil {
		return err
	}
	n := 0
	more := r.peek() != ']'
	if !more {
		r.at++
		r.depth--
	}
	for more {
		if n == m.length {
			return &valueError{reason: expect(fmt.Sprintf("%d items", m.length)), got: "more"}
		}
		if err := r.item(m.elem, unsafe.Add(to, uintptr(n)*m.elem.typ.Size()), nil); err != nil {
			return under("["+strconv.Itoa(n)+"]", err)
		}
		n++
		var err error
		if more, err = r.more(']'); err != nil {
			return err
		}
	}
	if n < m.length {
		return &valueError{reason: expect(fmt.Sprintf("%d items", m.length)), got: strconv.Itoa(n)}
	}
	return nil
}

func (r *jsonReader) mapping(m *model, to unsafe.Pointer) error {
	if r.peek() != '{' {
		return r.mismatch(r.at, errObject)
	}
	if err := r.enter(); err != nil {
		return err
	}
	dst := reflect.NewAt(m.typ, to).Elem()
	dst.Set(reflect.MakeMap(m.typ))
	more := r.peek() != '}'
	if !more {
		r.at++
		r.depth--
	}
	for more {
		name, err := r.name()
		if err != nil {
			return err
		}
		key, err := m.key(name)
		if err != nil {
			return under(shorten(name), &valueError{reason: err, got: shorten(name)})
		}
		if dst.MapIndex(key).IsValid() {
			return r.syntax(fmt.Sprintf("%q a second time", shorten(name)))
		}
		item := reflect.New(m.elem.typ)
		if err := r.item(m.elem, item.UnsafePointer(), nil); err != nil {
			return under(shorten(name), err)
		}
		dst.SetMapIndex(key, item.Elem())
		if more, err = r.more('}'); err != nil {
			return err
		}
	}
	return nil
}
