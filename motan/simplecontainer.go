package motan

import (
	"fmt"
	"reflect"
	"strings"
	"unsafe"
)

func compileSlice(c *codec, t reflect.Type, busy map[reflect.Type]*codec) error {
	e, err := compile(t.Elem(), busy)
	if err != nil {
		return err
	}
	size := t.Elem().Size()
	stringsOnly := t.Elem().Kind() == reflect.String
	c.enc = func(b []byte, p unsafe.Pointer, depth int) ([]byte, error) {
		if err := tooDeep(depth); err != nil {
			return b, err
		}
		data, n := unsafe.Pointer(unsafe.SliceData(*(*[]byte)(p))), len(*(*[]byte)(p))
		var err error
		if stringsOnly {
			b = open(b, tagStringArray)
			start := len(b)
			for _, s := range *(*[]string)(p) {
				b = appendSized(b, s)
			}
			return finish(b, start)
		}
		b = open(b, tagArray)
		start := len(b)
		for i := range n {
			if b, err = e.enc(b, unsafe.Add(data, uintptr(i)*size), depth+1); err != nil {
				return b, err
			}
		}
		return finish(b, start)
	}
	c.dec = func(r *reader, p unsafe.Pointer, depth int) error {
		if err := tooDeep(depth); err != nil {
			return err
		}
		tag, err := r.tag()
		if err != nil || tag == tagNull {
			return err
		}
		if tag != tagArray && tag != tagStringArray {
			return r.bad("tag %d, want an array", tag)
		}
		rest, err := r.enter()
		if err != nil {
			return err
		}
		list := reflect.NewAt(t, p).Elem()
		list.Set(reflect.MakeSlice(t, 0, 0))
		for len(r.b) > 0 {
			if tag == tagStringArray && stringsOnly {
				s, err := r.sized()
				if err != nil {
					return err
				}
				*(*[]string)(p) = append(*(*[]string)(p), string(s))
				continue
			}
			n := list.Len()
			if err := r.take(1, 2*size); err != nil {
				return err
			}
			list.Grow(1)
			list.SetLen(n + 1)
			slot := list.Index(n)
			slot.SetZero()
			if tag == tagStringArray { // which Java makes of any list that holds strings only
				if err := r.untagged(slot); err != nil {
					return err
				}
				continue
			}
			if err := e.dec(r, slot.Addr().UnsafePointer(), depth+1); err != nil {
				return err
			}
		}
		r.leave(rest)
		return nil
	}
	return nil
}

func compileMap(c *codec, t reflect.Type, busy map[reflect.Type]*codec) error {
	k, err := compile(t.Key(), busy)
	if err != nil {
		return err
	}
	v, err := compile(t.Elem(), busy)
	if err != nil {
		return err
	}
	stringsOnly := t.Key().Kind() == reflect.String && t.Elem().Kind() == reflect.String
	room := 2*(t.Key().Size()+t.Elem().Size()) + 16 // of an entry
	c.enc = func(b []byte, p unsafe.Pointer, depth int) ([]byte, error) {
		if err := tooDeep(depth); err != nil {
			return b, err
		}
		tag := byte(tagMap)
		if stringsOnly {
			tag = tagStringMap
		}
		b = open(b, tag)
		start := len(b)
		key, val := reflect.New(t.Key()), reflect.New(t.Elem())
		for it := reflect.NewAt(t, p).Elem().MapRange(); it.Next(); {
			key.Elem().SetIterKey(it)
			val.Elem().SetIterValue(it)
			if stringsOnly {
				b = appendSized(b, key.Elem().String())
				b = appendSized(b, val.Elem().String())
				continue
			}
			var err error
			if b, err = k.enc(b, key.UnsafePointer(), depth+1); err != nil {
				return b, err
			}
			if b, err = v.enc(b, val.UnsafePointer(), depth+1); err != nil {
				return b, err
			}
		}
		return finish(b, start)
	}
	c.dec = func(r *reader, p unsafe.Pointer, depth int) error {
		if err := tooDeep(depth); err != nil {
			return err
		}
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
		m := reflect.MakeMap(t)
		for len(r.b) > 0 {
			if err := r.take(1, room); err != nil {
				return err
			}
			key, val := reflect.New(t.Key()), reflect.New(t.Elem())
			if tag == tagStringMap {
				if err = r.untagged(key.Elem()); err == nil {
					err = r.untagged(val.Elem())
				}
			} else if err = k.dec(r, key.UnsafePointer(), depth+1); err == nil {
				err = v.dec(r, val.UnsafePointer(), depth+1)
			}
			if err != nil {
				return err
			}
			if !key.Elem().Comparable() {
				return r.bad("map key that cannot be compared")
			}
			m.SetMapIndex(key.Elem(), val.Elem())
		}
		r.leave(rest)
		reflect.NewAt(t, p).Elem().Set(m)
		return nil
	}
	return nil
}

// untagged reads a string of a container that holds nothing else into dst.
func (r *reader) untagged(dst reflect.Value) error {
	s, err := r.sized()
	if err != nil {
		return err
	}
	if dst.Kind() == reflect.Pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	switch dst.Kind() {
	case reflect.String:
		dst.SetString(string(s))
	case reflect.Interface:
		dst.Set(reflect.ValueOf(string(s)))
	default:
		return r.bad("a string, want %s", dst.Type())
	}
	return nil
}

func compilePointer(c *codec, t reflect.Type, busy map[reflect.Type]*codec) error {
	e, err := compile(t.Elem(), busy)
	if err != nil {
		return err
	}
	step := pointerStep(t.Elem().Kind())
	c.enc = func(b []byte, p unsafe.Pointer, depth int) ([]byte, error) {
		if err := tooDeep(depth); err != nil {
			return b, err
		}
		to := *(*unsafe.Pointer)(p)
		if to == nil {
			return append(b, tagNull), nil
		}
		return e.enc(b, to, depth+step)
	}
	c.dec = func(r *reader, p unsafe.Pointer, depth int) error {
		if err := tooDeep(depth); err != nil {
			return err
		}
		if len(r.b) > 0 && r.b[0] == tagNull {
			r.b = r.b[1:]
			*(*unsafe.Pointer)(p) = nil
			return nil
		}
		if err := r.take(1, t.Elem().Size()); err != nil {
			return err
		}
		v := reflect.New(t.Elem())
		if err := e.dec(r, v.UnsafePointer(), depth+step); err != nil {
			return err
		}
		reflect.NewAt(t, p).Elem().Set(v)
		return nil
	}
	return nil
}

// field is one struct field's place and codec.
type field struct {
	name   string
	key    []byte // the name as it stands in a body: tag, length, text
	offset uintptr
	codec  *codec
}

func compileStruct(c *codec, t reflect.Type, busy map[reflect.Type]*codec) error {
	if positional(t) != nil {
		return compilePositional(c, t, busy)
	}
	var fields []field
	byName := map[string]int{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("motan"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fc, err := compile(f.Type, busy)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		if _, twice := byName[name]; twice {
			return fmt.Errorf("%w: simple: %s has two fields named %q", ErrSerialization, t, name)
		}
		byName[name] = len(fields)
		fields = append(fields, field{name: name, key: appendSized([]byte{tagString}, name), offset: f.Offset, codec: fc})
	}
	c.enc = func(b []byte, p unsafe.Pointer, depth int) ([]byte, error) {
		if err := tooDeep(depth); err != nil {
			return b, err
		}
		b = open(b, tagMap)
		start := len(b)
		var err error
		for i := range fields {
			f := &fields[i]
			b = append(b, f.key...)
			if b, err = f.codec.enc(b, unsafe.Add(p, f.offset), depth+1); err != nil {
				return b, fmt.Errorf("field %s: %w", f.name, err)
			}
		}
		return finish(b, start)
	}
	c.dec = func(r *reader, p unsafe.Pointer, depth int) error {
		if err := tooDeep(depth); err != nil {
			return err
		}
		tag, err := r.tag()
		if err != nil || tag == tagNull {
			return err
		}
		if tag != tagMap && tag != tagStringMap {
			return r.bad("tag %d, want a map for %s", tag, t)
		}
		rest, err := r.enter()
		if err != nil {
			return err
		}
		next := 0
		for len(r.b) > 0 {
			if tag == tagMap {
				kt, err := r.tag()
				if err != nil {
					return err
				}
				if kt != tagString {
					return r.bad("tag %d, want a field name of %s", kt, t)
				}
			}
			name, err := r.sized()
			if err != nil {
				return err
			}
			// Fields usually come in the order in which they are declared.
			i := next
			if i >= len(fields) || fields[i].name != string(name) {
				var known bool
				if i, known = byName[string(name)]; !known {
					i = -1
				}
			}
			vr := r
			if tag == tagStringMap { // the value has no tag of its own
				v, err := r.sized()
				if err != nil {
					return err
				}
				vr = &reader{b: appendSized([]byte{tagString}, string(v)), all: r.all, spent: r.spent}
			}
			if i < 0 {
				vt, err := vr.tag()
				if err == nil {
					err = vr.skip(vt)
				}
				if err != nil {
					return err
				}
				continue
			}
			next = i + 1
			f := &fields[i]
			if err := f.codec.dec(vr, unsafe.Add(p, f.offset), depth+1); err != nil {
				return fmt.Errorf("field %s: %w", f.name, err)
			}
		}
		r.leave(rest)
		return nil
	}
	return nil
}

// compilePositional makes a codec of values that stand one behind the other.
func compilePositional(c *codec, t reflect.Type, busy map[reflect.Type]*codec) error {
	if len(busy) > 1 {
		return fmt.Errorf("%w: simple: %s is Positional and cannot be part of another value", ErrSerialization, t)
	}
	c.args = true
	var fields []field
	for _, i := range positional(t) {
		f := t.Field(i)
		fc, err := compile(f.Type, busy)
		if err != nil {
			return fmt.Errorf("%s.%s: %w", t, f.Name, err)
		}
		fields = append(fields, field{name: f.Name, offset: f.Offset, codec: fc})
	}
	c.enc = func(b []byte, p unsafe.Pointer, _ int) (_ []byte, err error) {
		for i := range fields {
			f := &fields[i]
			if b, err = f.codec.enc(b, unsafe.Add(p, f.offset), 0); err != nil {
				return b, fmt.Errorf("argument %d, %s: %w", i+1, f.name, err)
			}
		}
		return b, nil
	}
	c.dec = func(r *reader, p unsafe.Pointer, _ int) error {
		for i := range fields {
			f := &fields[i]
			if err := f.codec.dec(r, unsafe.Add(p, f.offset), 0); err != nil {
				return fmt.Errorf("argument %d, %s: %w", i+1, f.name, err)
			}
		}
		return nil
	}
	return nil
}

func encAny(b []byte, p unsafe.Pointer, depth int) ([]byte, error) {
	if err := tooDeep(depth); err != nil {
		return b, err
	}
	v := *(*any)(p)
	if v == nil {
		return append(b, tagNull), nil
	}
	rv := reflect.ValueOf(v)
	c, err := codecOf(rv.Type())
	if err != nil {
		return b, err
	}
	if c.args {
		return b, fmt.Errorf("%w: simple: %T is Positional and cannot be part of another value", ErrSerialization, v)
	}
	at := reflect.New(rv.Type())
	at.Elem().Set(rv)
	return c.enc(b, at.UnsafePointer(), depth)
}

func decAny(r *reader, p unsafe.Pointer, depth int) error {
	v, err := r.value(depth)
	if err == nil {
		*(*any)(p) = v
	}
	return err
}
