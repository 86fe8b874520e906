package webv4

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"reflect"
	"time"
	"unsafe"
)

// MessagePack is written from the same model as JSON and means the same: objects
// are maps with string keys, times and other types with a text form are strings.
// Bytes are bin.

// appendMsgpack appends the variable at an address.
func (m *model) appendMsgpack(b []byte, at unsafe.Pointer, depth int) ([]byte, error) {
	if depth++; depth > maxWriteDepth {
		return b, errTooDeep
	}
	var err error
	switch m.kind {
	case modelBool:
		if *(*bool)(at) {
			return append(b, 0xc3), nil
		}
		return append(b, 0xc2), nil
	case modelInt:
		return packInt(b, loadInt(at, m.size)), nil
	case modelUint:
		return packUint(b, loadUint(at, m.size)), nil
	case modelFloat:
		if m.size == 4 {
			return binary.BigEndian.AppendUint32(append(b, 0xca), math.Float32bits(*(*float32)(at))), nil
		}
		return binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(*(*float64)(at))), nil
	case modelString:
		return packString(b, *(*string)(at)), nil
	case modelBytes:
		data := *(*[]byte)(at)
		if data == nil {
			return append(b, 0xc0), nil
		}
		return append(packSize(b, len(data), 0, -1, 0xc4, 0xc5, 0xc6), data...), nil
	case modelTime:
		return packString(b, (*time.Time)(at).Format(time.RFC3339Nano)), nil
	case modelOpt:
		if !*(*bool)(unsafe.Add(at, m.set)) || *(*bool)(unsafe.Add(at, m.null)) {
			return append(b, 0xc0), nil
		}
		return m.elem.appendMsgpack(b, unsafe.Add(at, m.value), depth)
	case modelPointer:
		p := *(*unsafe.Pointer)(at)
		if p == nil {
			return append(b, 0xc0), nil
		}
		return m.elem.appendMsgpack(b, p, depth)
	case modelStruct:
		n := 0
		for i := range m.fields {
			if m.fields[i].present(at) != nil {
				n++
			}
		}
		b = packSize(b, n, 0x80, 15, 0, 0xde, 0xdf)
		for i := range m.fields {
			f := &m.fields[i]
			p := f.present(at)
			if p == nil {
				continue
			}
			b = packString(b, f.name)
			if f.quoted {
				b, err = f.model.packInQuotes(b, p, depth)
			} else {
				b, err = f.model.appendMsgpack(b, p, depth)
			}
			if err != nil {
				return b, err
			}
		}
		return b, nil
	case modelList, modelArray:
		data, n := at, m.length
		if m.kind == modelList {
			h := (*sliceHeader)(at)
			if h.data == nil {
				return append(b, 0xc0), nil
			}
			data, n = h.data, h.len
		}
		b = packSize(b, n, 0x90, 15, 0, 0xdc, 0xdd)
		for i := range n {
			if b, err = m.elem.appendMsgpack(b, unsafe.Add(data, uintptr(i)*m.elem.typ.Size()), depth); err != nil {
				return b, err
			}
		}
		return b, nil
	case modelMap:
		v := reflect.NewAt(m.typ, at).Elem()
		if v.IsNil() {
			return append(b, 0xc0), nil
		}
		b = packSize(b, v.Len(), 0x80, 15, 0, 0xde, 0xdf)
		entries, err := m.entries(v)
		if err != nil {
			return b, err
		}
		for _, e := range entries {
			b = packString(b, e.name)
			if b, err = m.elem.appendMsgpack(b, addressOf(v.MapIndex(e.key)), depth); err != nil {
				return b, err
			}
		}
		return b, nil
	case modelAny:
		v := *(*any)(at)
		if v == nil {
			return append(b, 0xc0), nil
		}
		dynamic, p := variable(v)
		return dynamic.appendMsgpack(b, p, depth)
	}
	data, err := json.Marshal(reflect.NewAt(m.typ, at).Interface())
	if err != nil {
		return b, err
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return b, err
	}
	if v == nil {
		return append(b, 0xc0), nil
	}
	dynamic, p := variable(v)
	return dynamic.appendMsgpack(b, p, depth)
}

// packInQuotes appends a value whose json tag has the option string: the string that
// JSON has.
func (m *model) packInQuotes(b []byte, at unsafe.Pointer, depth int) ([]byte, error) {
	for m.kind == modelPointer {
		if at = *(*unsafe.Pointer)(at); at == nil {
			return append(b, 0xc0), nil
		}
		m = m.elem
	}
	text, err := m.appendJSON(nil, at, depth)
	return packString(b, string(text)), err
}

func packInt(b []byte, n int64) []byte {
	switch {
	case n >= 0:
		return packUint(b, uint64(n))
	case n >= -32:
		return append(b, byte(n))
	case n >= math.MinInt8:
		return append(b, 0xd0, byte(n))
	case n >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(n))
	case n >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(n))
}

func packUint(b []byte, n uint64) []byte {
	switch {
	case n < 128:
		return append(b, byte(n))
	case n <= math.MaxUint8:
		return append(b, 0xcc, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0xcf), n)
}

func packString(b []byte, s string) []byte {
	return append(packSize(b, len(s), 0xa0, 31, 0xd9, 0xda, 0xdb), s...)
}

// packSize writes the head of what has a size: in the byte fixed if it is at
// most small, else behind the codes for 8, 16 or 32 bits. There is no code for 8
// bits if that is 0.
func packSize(b []byte, n int, fixed byte, small int, code8, code16, code32 byte) []byte {
	switch {
	case n <= small:
		return append(b, fixed|byte(n))
	case n <= math.MaxUint8 && code8 != 0:
		return append(b, code8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, code16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, code32), uint32(n))
}
