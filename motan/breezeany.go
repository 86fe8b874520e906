package motan

import (
	"math"
	"reflect"
)

// any reads a value of whatever type.
func (r *breezeReader) any(depth int) (any, error) {
	t, err := r.typ(false)
	if err != nil {
		return nil, err
	}
	return r.anyOf(t, depth)
}

func (r *breezeReader) anyOf(t breezeType, depth int) (any, error) {
	if depth > maxDepth {
		return nil, r.bad("nested deeper than %d", maxDepth)
	}
	switch c := t.code; {
	case c <= breezeString:
		return r.text(t)
	case c == breezeNull:
		return nil, nil
	case c == breezeTrue || c == breezeFalse:
		return r.bool(t)
	case c <= breezeInt32:
		v, err := r.int(t)
		return int32(v), err
	case c <= breezeInt64:
		return r.int(t)
	case c == breezeByte:
		v, err := r.int(t)
		return byte(v), err
	case c == breezeInt16:
		v, err := r.int(t)
		return int16(v), err
	case c == breezeFloat32:
		v, err := r.float(t)
		return float32(v), err
	case c == breezeFloat64:
		return r.float(t)
	case c == breezeBytes:
		v, err := r.sized()
		return append([]byte{}, v...), err
	case c == breezeMessage && (t.name == breezeDate || t.name == breezeTimestamp):
		if err := r.take(1, 32); err != nil {
			return nil, err
		}
		return r.time(t, depth)
	case c == breezeMessage:
		if err := r.take(1, 96); err != nil {
			return nil, err
		}
		m := &BreezeMessage{Name: t.name, Fields: map[int]any{}}
		return m, r.fields(func(index uint64) error {
			if index > math.MaxInt32 {
				return r.bad("field number %d", index)
			}
			if err := r.take(1, 64); err != nil {
				return err
			}
			v, err := r.any(depth + 1)
			m.Fields[int(index)] = v
			return err
		})
	case c == breezeArray || c == breezePackedArray:
		return r.anyArray(t, depth)
	case c == breezeMap || c == breezePackedMap:
		return r.anyMap(t, depth)
	}
	return nil, r.bad("unknown type %#x", t.code)
}

func (r *breezeReader) anyArray(t breezeType, depth int) (any, error) {
	count, err := r.count(1)
	if err != nil {
		return nil, err
	}
	et := breezeType{}
	if t.code == breezePackedArray && count > 0 {
		if et, err = r.typ(true); err != nil {
			return nil, err
		}
	}
	if t.code == breezePackedArray && et.code == breezeString {
		list := []string{}
		for range count {
			s, err := r.text(et)
			if err != nil {
				return nil, err
			}
			list = append(list, s)
		}
		return list, nil
	}
	list := []any{}
	if err := r.take(count+1, 32); err != nil {
		return nil, err
	}
	for range count {
		if t.code == breezeArray {
			if et, err = r.typ(false); err != nil {
				return nil, err
			}
		}
		v, err := r.anyOf(et, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func (r *breezeReader) anyMap(t breezeType, depth int) (any, error) {
	texts, all := map[string]string{}, map[any]any{}
	err := r.pairs(t, func(kt, vt func() (breezeType, error)) error {
		if err := r.take(1, 96); err != nil {
			return err
		}
		t, err := kt()
		if err != nil {
			return err
		}
		k, err := r.anyOf(t, depth+1)
		if err != nil {
			return err
		}
		if k != nil && !reflect.TypeOf(k).Comparable() {
			return r.bad("map key of type %T", k)
		}
		u, err := vt()
		if err != nil {
			return err
		}
		v, err := r.anyOf(u, depth+1)
		if err != nil {
			return err
		}
		ks, ok1 := k.(string)
		vs, ok2 := v.(string)
		if t.packed && ok1 && ok2 {
			texts[ks] = vs
		} else {
			all[k] = v
		}
		return nil
	})
	if len(all) == 0 && t.code == breezePackedMap {
		return texts, err
	}
	return all, err
}
