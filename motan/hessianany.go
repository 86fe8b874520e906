package motan

import (
	"fmt"
	"reflect"
	"unsafe"
)

// any reads a value of whatever type.
func (r *hessianReader) any(depth int) (any, error) {
	c, err := r.tag()
	if err != nil {
		return nil, err
	}
	return r.anyOf(c, depth)
}

func (r *hessianReader) anyOf(c byte, depth int) (any, error) {
	if depth > maxDepth {
		return nil, r.bad("nested deeper than %d", maxDepth)
	}
	switch {
	case c == 'N':
		return nil, nil
	case c == 'T' || c == 'F':
		return c == 'T', nil
	case isHessianInt(c):
		v, err := r.int(c)
		return int32(v), err
	case isHessianLong(c):
		return r.int(c)
	case isHessianDouble(c):
		return r.double(c)
	case isHessianString(c):
		return r.string(c)
	case isHessianBytes(c):
		return r.bytes(c)
	case c == 0x4a || c == 0x4b:
		return r.date(c)
	case c == 'Q':
		ref, err := r.referred()
		if err != nil {
			return nil, err
		}
		if !ref.whole {
			return nil, r.bad("a value that contains itself")
		}
		if ref.plan != nil {
			if ref.plan.kind == reflect.Struct {
				return reflect.NewAt(ref.plan.typ, ref.at).Interface(), nil
			}
			return reflect.NewAt(ref.plan.typ, ref.at).Elem().Interface(), nil
		}
		return ref.any, nil
	case isHessianList(c):
		at := r.begin(hessianRef{})
		list := []any{}
		err := r.elements(c, func() error {
			if !r.spent.take(1, 2*unsafe.Sizeof(list)) {
				return r.bad("too many values")
			}
			v, err := r.any(depth + 1)
			list = append(list, v)
			return err
		})
		r.refs[at].any = list
		r.end(at)
		return list, err
	case c == 'H' || c == 'M':
		return r.anyMap(c, depth)
	case isHessianObject(c):
		d, err := r.classOf(c)
		if err != nil {
			return nil, err
		}
		name, fields := d.name, d.fields // r.classes may move meanwhile
		if !r.spent.take(len(fields)+2, 64) {
			return nil, r.bad("too many values")
		}
		o := &JavaObject{Class: name, Fields: make(map[string]any, min(len(fields), len(r.b)))}
		at := r.begin(hessianRef{any: o})
		for _, f := range fields {
			if o.Fields[f], err = r.any(depth + 1); err != nil {
				return nil, fmt.Errorf("field %s of %s: %w", f, name, err)
			}
		}
		if len(fields) == 1 && fields[0] == "_value" { // a boxed short, byte or float
			r.refs[at].any = o.Fields["_value"]
			r.end(at)
			return o.Fields["_value"], nil
		}
		r.end(at)
		return o, nil
	}
	return nil, r.bad("unknown tag %#x", c)
}

func (r *hessianReader) anyMap(c byte, depth int) (any, error) {
	if c == 'M' {
		if err := r.typ(); err != nil {
			return nil, err
		}
	}
	at := r.begin(hessianRef{})
	texts, all := map[string]any{}, map[any]any(nil)
	err := r.pairs(func() error {
		if !r.spent.take(1, 96) {
			return r.bad("too many values")
		}
		k, err := r.any(depth + 1)
		if err != nil {
			return err
		}
		if k != nil && !reflect.TypeOf(k).Comparable() {
			return r.bad("map key of type %T", k)
		}
		v, err := r.any(depth + 1)
		if err != nil {
			return err
		}
		s, isText := k.(string)
		if all == nil && !isText {
			all = make(map[any]any, len(texts)+1)
			for k, v := range texts {
				all[k] = v
			}
		}
		if all != nil {
			all[k] = v
		} else {
			texts[s] = v
		}
		return nil
	})
	var m any = texts
	if all != nil {
		m = all
	}
	r.refs[at].any = m
	r.end(at)
	return m, err
}
