package motan

import (
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unsafe"
)

// value reads a value into the place p.
func (r *hessianReader) value(n *plan, p unsafe.Pointer, depth int) error {
	c, err := r.tag()
	if err != nil {
		return err
	}
	return r.valueOf(n, p, c, depth)
}

func (r *hessianReader) valueOf(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if depth > maxDepth {
		return r.bad("nested deeper than %d", maxDepth)
	}
	switch n.kind {
	case reflect.Interface:
		v, err := r.anyOf(c, depth)
		if err == nil {
			*(*any)(p) = v
		}
		return err
	case reflect.Pointer:
		return r.pointer(n, p, c, depth)
	}
	if c == 'N' {
		return nil
	}
	if c == 'Q' {
		ref, err := r.referred()
		if err != nil {
			return err
		}
		return r.refer(n, p, ref)
	}
	switch n.kind {
	case reflect.Bool:
		if c != 'T' && c != 'F' {
			return r.bad("tag %#x, want a bool", c)
		}
		*(*bool)(p) = c == 'T'
		return nil
	case reflect.String:
		v, err := r.textOf(c, depth)
		if err == nil {
			*(*string)(p) = v
		}
		return err
	case reflect.Float32, reflect.Float64:
		v, err := r.numberOf(c, depth)
		if err != nil {
			return err
		}
		if n.kind == reflect.Float32 {
			*(*float32)(p) = float32(v)
		} else {
			*(*float64)(p) = v
		}
		return nil
	case reflect.Slice:
		return r.slice(n, p, c, depth)
	case reflect.Map:
		return r.mapping(n, p, c, depth)
	case reflect.Struct:
		if n.time {
			v, err := r.date(c)
			if err == nil {
				*(*time.Time)(p) = v
			}
			return err
		}
		return r.structure(n, p, c, depth)
	}
	v, err := r.integerOf(c, depth)
	if err == nil && !storeInt(n.kind, p, v) {
		err = r.bad("%d does not fit into %s", v, n.typ)
	}
	return err
}

func (r *hessianReader) pointer(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if c == 'N' {
		*(*unsafe.Pointer)(p) = nil
		return nil
	}
	if c == 'Q' {
		ref, err := r.referred()
		if err != nil {
			return err
		}
		if ref.plan == n.elem && ref.plan.kind == reflect.Struct { // may contain itself
			reflect.NewAt(n.typ, p).Elem().Set(reflect.NewAt(ref.plan.typ, ref.at))
			return nil
		}
		v := reflect.New(n.elem.typ)
		if err := r.refer(n.elem, v.UnsafePointer(), ref); err != nil {
			return err
		}
		reflect.NewAt(n.typ, p).Elem().Set(v)
		return nil
	}
	if !r.spent.take(1, n.elem.typ.Size()) {
		return r.bad("too many values")
	}
	v := reflect.New(n.elem.typ)
	if err := r.valueOf(n.elem, v.UnsafePointer(), c, depth+pointerStep(n.elem.kind)); err != nil {
		return err
	}
	reflect.NewAt(n.typ, p).Elem().Set(v)
	return nil
}

// refer stores at p what an earlier value was.
func (r *hessianReader) refer(n *plan, p unsafe.Pointer, ref *hessianRef) error {
	if !ref.whole {
		return r.bad("a value that contains itself")
	}
	var v reflect.Value
	if ref.plan != nil {
		v = reflect.NewAt(ref.plan.typ, ref.at).Elem()
	} else {
		v = reflect.ValueOf(ref.any)
	}
	if n.typ == javaObjectType && v.Type() == reflect.PointerTo(javaObjectType) {
		v = v.Elem()
	}
	if !v.Type().AssignableTo(n.typ) {
		return r.bad("reference to a %s, want %s", v.Type(), n.typ)
	}
	reflect.NewAt(n.typ, p).Elem().Set(v)
	return nil
}

// textOf reads a string, or an object that stands for one.
func (r *hessianReader) textOf(c byte, depth int) (string, error) {
	if isHessianString(c) {
		return r.string(c)
	}
	if isHessianObject(c) {
		v, err := r.scalar(c, depth)
		if s, ok := v.(string); ok || err != nil {
			return s, err
		}
	}
	return "", r.bad("tag %#x, want a string", c)
}

// scalar reads an object that stands for something else: it has a single field,
// a name as enums have, a value as decimals do, or a boxed number.
func (r *hessianReader) scalar(c byte, depth int) (any, error) {
	v, err := r.anyOf(c, depth)
	o, ok := v.(*JavaObject)
	if err != nil || !ok {
		return v, err
	}
	if len(o.Fields) == 1 {
		for name, v := range o.Fields {
			if name == "name" || name == "value" {
				return v, nil
			}
		}
	}
	return nil, r.bad("an object of class %.100q, want a plain value", o.Class)
}

// integerOf reads an integer, or an object that stands for one.
func (r *hessianReader) integerOf(c byte, depth int) (int64, error) {
	if !isHessianObject(c) {
		return r.int(c)
	}
	v, err := r.scalar(c, depth)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case int32:
		return int64(v), nil
	case int64:
		return v, nil
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n, nil
		}
	}
	return 0, r.bad("an object that is no integer")
}

// numberOf reads a double, an integer, or an object that stands for one.
func (r *hessianReader) numberOf(c byte, depth int) (float64, error) {
	if !isHessianObject(c) {
		return r.double(c)
	}
	v, err := r.scalar(c, depth)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case int32:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case float64:
		return v, nil
	case string:
		if f, err := strconv.ParseFloat(v, 64); err == nil {
			return f, nil
		}
	}
	return 0, r.bad("an object that is no number")
}

func (r *hessianReader) slice(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if n.bytes {
		var v []byte
		var err error
		switch {
		case isHessianBytes(c):
			v, err = r.bytes(c)
		case isHessianString(c):
			var s string
			s, err = r.string(c)
			v = []byte(s)
		default:
			err = r.bad("tag %#x, want a binary", c)
		}
		if err == nil {
			*(*[]byte)(p) = v
		}
		return err
	}
	if !isHessianList(c) {
		return r.bad("tag %#x, want a list", c)
	}
	at := r.begin(hessianRef{plan: n, at: p})
	list := reflect.New(n.typ).Elem()
	list.Set(reflect.MakeSlice(n.typ, 0, 0))
	size := 2 * n.elem.typ.Size()
	err := r.elements(c, func() error {
		if !r.spent.take(1, size) {
			return r.bad("too many values")
		}
		i := list.Len()
		list.Grow(1)
		list.SetLen(i + 1)
		slot := list.Index(i)
		slot.SetZero()
		return r.value(n.elem, slot.Addr().UnsafePointer(), depth+1)
	})
	if err == nil {
		reflect.NewAt(n.typ, p).Elem().Set(list)
		r.refs[at].at = list.Addr().UnsafePointer()
		r.end(at)
	}
	return err
}

func (r *hessianReader) mapping(n *plan, p unsafe.Pointer, c byte, depth int) error {
	m := reflect.MakeMap(n.typ)
	ref := hessianRef{plan: n}
	var at int
	set := func(key, val reflect.Value) error {
		if !key.Comparable() {
			return r.bad("map key that cannot be compared")
		}
		m.SetMapIndex(key, val)
		return nil
	}
	size := 2*(n.key.typ.Size()+n.elem.typ.Size()) + 16
	switch {
	case c == 'H' || c == 'M':
		if c == 'M' {
			if err := r.typ(); err != nil {
				return err
			}
		}
		at = r.begin(ref)
		err := r.pairs(func() error {
			if !r.spent.take(1, size) {
				return r.bad("too many values")
			}
			key, val := reflect.New(n.key.typ), reflect.New(n.elem.typ)
			if err := r.value(n.key, key.UnsafePointer(), depth+1); err != nil {
				return err
			}
			if err := r.value(n.elem, val.UnsafePointer(), depth+1); err != nil {
				return err
			}
			return set(key.Elem(), val.Elem())
		})
		if err != nil {
			return err
		}
	case isHessianObject(c) && n.key.kind == reflect.String:
		d, err := r.classOf(c)
		if err != nil {
			return err
		}
		fields := d.fields
		at = r.begin(ref)
		for _, f := range fields {
			if !r.spent.take(1, size) {
				return r.bad("too many values")
			}
			val := reflect.New(n.elem.typ)
			if err := r.value(n.elem, val.UnsafePointer(), depth+1); err != nil {
				return fmt.Errorf("field %s: %w", f, err)
			}
			if err := set(reflect.ValueOf(f).Convert(n.key.typ), val.Elem()); err != nil {
				return err
			}
		}
	default:
		return r.bad("tag %#x, want a map", c)
	}
	held := reflect.New(n.typ)
	held.Elem().Set(m)
	reflect.NewAt(n.typ, p).Elem().Set(m)
	r.refs[at].at = held.UnsafePointer()
	r.end(at)
	return nil
}

// structure reads an object, or a map with strings for keys, into a struct.
func (r *hessianReader) structure(n *plan, p unsafe.Pointer, c byte, depth int) error {
	if n.typ == javaObjectType {
		v, err := r.anyOf(c, depth)
		if err != nil {
			return err
		}
		o, ok := v.(*JavaObject)
		if !ok {
			return r.bad("tag %#x, want an object", c)
		}
		*(*JavaObject)(p) = *o
		return nil
	}
	field := func(i int) error {
		if i < 0 {
			_, err := r.any(depth + 1)
			return err
		}
		f := &n.fields[i]
		if err := r.value(f.plan, unsafe.Add(p, f.offset), depth+1); err != nil {
			return fmt.Errorf("field %s: %w", f.name, err)
		}
		return nil
	}
	ref := hessianRef{plan: n, at: p}
	var at int
	switch {
	case isHessianObject(c):
		d, err := r.classOf(c)
		if err != nil {
			return err
		}
		if d.plan != n {
			d.plan, d.fill = n, make([]int, len(d.fields))
			for i, f := range d.fields {
				d.fill[i] = n.field([]byte(f), i)
			}
		}
		fill := d.fill
		at = r.begin(ref)
		for _, i := range fill {
			if err := field(i); err != nil {
				return err
			}
		}
	case c == 'H' || c == 'M':
		if c == 'M' {
			if err := r.typ(); err != nil {
				return err
			}
		}
		at = r.begin(ref)
		hint := 0
		err := r.pairs(func() error {
			name, err := r.text()
			if err != nil {
				return err
			}
			i := n.field([]byte(name), hint)
			hint = i + 1
			return field(i)
		})
		if err != nil {
			return err
		}
	default:
		return r.bad("tag %#x, want an object or a map for %s", c, n.typ)
	}
	r.end(at)
	return nil
}
