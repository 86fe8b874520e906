package webv4

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unsafe"
)

// maxWriteDepth bounds the nesting of a reply, which a cycle would exceed.
const maxWriteDepth = 1000

var errTooDeep = errors.New("webv4: reply nested too deeply, or in a cycle")

// appendJSON appends the variable at an address as encoding/json would write it.
func (m *model) appendJSON(b []byte, at unsafe.Pointer, depth int) ([]byte, error) {
	switch m.kind {
	case modelBool:
		return strconv.AppendBool(b, *(*bool)(at)), nil
	case modelInt:
		return strconv.AppendInt(b, loadInt(at, m.size), 10), nil
	case modelUint:
		return strconv.AppendUint(b, loadUint(at, m.size), 10), nil
	case modelFloat:
		return appendFloat(b, at, m.size)
	case modelString:
		return appendJSONString(b, *(*string)(at)), nil
	case modelBytes:
		data := *(*[]byte)(at)
		if data == nil {
			return append(b, "null"...), nil
		}
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, data)
		return append(b, '"'), nil
	case modelTime:
		return appendTime(b, *(*time.Time)(at))
	case modelOpt:
		if !*(*bool)(unsafe.Add(at, m.set)) || *(*bool)(unsafe.Add(at, m.null)) {
			return append(b, "null"...), nil
		}
		return m.elem.appendJSON(b, unsafe.Add(at, m.value), depth)
	case modelPointer:
		p := *(*unsafe.Pointer)(at)
		if p == nil {
			return append(b, "null"...), nil
		}
		if depth++; depth > maxWriteDepth {
			return b, errTooDeep
		}
		return m.elem.appendJSON(b, p, depth)
	case modelStruct:
		return m.appendStruct(b, at, depth+1)
	case modelList:
		h := (*sliceHeader)(at)
		if h.data == nil {
			return append(b, "null"...), nil
		}
		return m.appendItems(b, h.data, h.len, depth+1)
	case modelArray:
		return m.appendItems(b, at, m.length, depth+1)
	case modelMap:
		return m.appendMap(b, at, depth+1)
	case modelAny:
		return appendAny(b, *(*any)(at), depth+1)
	}
	data, err := json.Marshal(reflect.NewAt(m.typ, at).Interface())
	return append(b, data...), err
}

func (m *model) appendStruct(b []byte, at unsafe.Pointer, depth int) ([]byte, error) {
	if depth > maxWriteDepth {
		return b, errTooDeep
	}
	start := len(b)
	for i := range m.fields {
		f := &m.fields[i]
		p := unsafe.Add(at, f.offset)
		if f.omit != never {
			if p = f.present(at); p == nil {
				continue
			}
		}
		// Most fields are of these kinds, and written without a further call.
		switch {
		case f.quoted:
		case f.model.kind == modelString:
			b = appendQuoted(f.keyQuote.appendTo(b), *(*string)(p))
			continue
		case f.model.kind == modelInt:
			b = f.key.appendTo(b)
			b = strconv.AppendInt(b, loadInt(p, f.model.size), 10)
			continue
		}
		var err error
		b = f.key.appendTo(b)
		if f.quoted {
			b, err = f.model.appendInQuotes(b, p, depth)
		} else {
			b, err = f.model.appendJSON(b, p, depth)
		}
		if err != nil {
			return b, err
		}
	}
	if len(b) == start {
		return append(b, "{}"...), nil
	}
	b[start] = '{' // in the place of the first name's comma
	return append(b, '}'), nil
}

// appendInQuotes appends a value whose json tag has the option string.
func (m *model) appendInQuotes(b []byte, at unsafe.Pointer, depth int) ([]byte, error) {
	switch m.kind {
	case modelString:
		text := appendJSONString(nil, *(*string)(at))
		return appendJSONString(b, string(text)), nil
	case modelPointer:
		p := *(*unsafe.Pointer)(at)
		if p == nil {
			return append(b, "null"...), nil
		}
		return m.elem.appendInQuotes(b, p, depth)
	}
	b, err := m.appendJSON(append(b, '"'), at, depth)
	return append(b, '"'), err
}

func (m *model) appendItems(b []byte, at unsafe.Pointer, n, depth int) ([]byte, error) {
	if depth > maxWriteDepth {
		return b, errTooDeep
	}
	b = append(b, '[')
	size := m.elem.typ.Size()
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		if m.elem.kind == modelString {
			b = appendJSONString(b, *(*string)(unsafe.Add(at, uintptr(i)*size)))
			continue
		}
		var err error
		if b, err = m.elem.appendJSON(b, unsafe.Add(at, uintptr(i)*size), depth); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func (m *model) appendMap(b []byte, at unsafe.Pointer, depth int) ([]byte, error) {
	v := reflect.NewAt(m.typ, at).Elem()
	if v.IsNil() {
		return append(b, "null"...), nil
	}
	if depth > maxWriteDepth {
		return b, errTooDeep
	}
	b = append(b, '{')
	entries, err := m.entries(v)
	if err != nil {
		return b, err
	}
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSONString(b, e.name)
		b = append(b, ':')
		if b, err = m.elem.appendJSON(b, addressOf(v.MapIndex(e.key)), depth); err != nil {
			return b, err
		}
	}
	return append(b, '}'), nil
}

// addressOf copies a value to where it has an address.
func addressOf(v reflect.Value) unsafe.Pointer {
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p.UnsafePointer()
}

// appendAny appends a value of any type; the common ones cost no reflection.
func appendAny(b []byte, v any, depth int) ([]byte, error) {
	if depth > maxWriteDepth {
		return b, errTooDeep
	}
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendJSONString(b, v), nil
	case int:
		return strconv.AppendInt(b, int64(v), 10), nil
	case int64:
		return strconv.AppendInt(b, v, 10), nil
	case float64:
		return appendFloat(b, unsafe.Pointer(&v), 8)
	case map[string]any:
		if v == nil {
			return append(b, "null"...), nil
		}
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendJSONString(b, key), ':')
			var err error
			if b, err = appendAny(b, v[key], depth+1); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	case []any:
		if v == nil {
			return append(b, "null"...), nil
		}
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = appendAny(b, item, depth+1); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	}
	m, at := variable(v)
	return m.appendJSON(b, at, depth)
}

// variable returns the model of v's type and the address of its value.
func variable(v any) (*model, unsafe.Pointer) {
	rv := reflect.ValueOf(v)
	m, _ := modelOf(rv.Type())
	return m, addressOf(rv)
}

// appendFloat writes the shortest form that reads back, with an exponent for
// the very small and the very large, as encoding/json does.
func appendFloat(b []byte, at unsafe.Pointer, size int) ([]byte, error) {
	var f float64
	if size == 4 {
		f = float64(*(*float32)(at))
	} else {
		f = *(*float64)(at)
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return b, fmt.Errorf("webv4: %v cannot be written", f)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 {
		if size == 8 && (abs < 1e-6 || abs >= 1e21) || size == 4 && (float32(abs) < 1e-6 || float32(abs) >= 1e21) {
			format = 'e'
		}
	}
	b = strconv.AppendFloat(b, f, format, -1, size*8)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 becomes e-9
		b = b[:n-1]
	}
	return b, nil
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	if y := t.Year(); y < 0 || y > 9999 {
		return b, fmt.Errorf("webv4: year %d cannot be written", y)
	}
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"'), nil
}
