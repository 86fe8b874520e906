package webv4

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// XML is written from the same model as JSON and with the same names: an object
// is an element with one child a field, a list an element with one child an
// item, called item unless the field's xml tag says xml:"list>name"; a map's
// children are <entry key="…">; null and absent are no element.

const xmlHeader = `<?xml version="1.0" encoding="UTF-8"?>` + "\n"

// rootName is the name of the root element: that of a field XMLName's xml tag,
// else other.
func (m *model) rootName(other string) string {
	t := m.typ
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Struct {
		if f, ok := t.FieldByName("XMLName"); ok {
			if name := f.Tag.Get("xml"); name != "" {
				return xmlName(name)
			}
		}
	}
	return other
}

// xmlName makes a field's name one that an element may have.
func xmlName(s string) string {
	b := []byte(s)
	for i, c := range b {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= utf8.RuneSelf
		if !letter && (i == 0 || c != '-' && c != '.' && (c < '0' || c > '9')) {
			b[i] = '_'
		}
	}
	if len(b) == 0 {
		return "_"
	}
	return string(b)
}

func open(b []byte, name string) []byte { return append(append(append(b, '<'), name...), '>') }

func shut(b []byte, name string) []byte { return append(append(append(b, "</"...), name...), '>') }

// appendXML appends the variable as an element of that name, or nothing.
func (m *model) appendXML(b []byte, name string, at unsafe.Pointer, depth int) ([]byte, error) {
	return m.appendElement(b, name, "item", at, depth)
}

func (m *model) appendElement(b []byte, name, item string, at unsafe.Pointer, depth int) ([]byte, error) {
	if depth++; depth > maxWriteDepth {
		return b, errTooDeep
	}
	var err error
	switch m.kind {
	case modelOpt:
		if !*(*bool)(unsafe.Add(at, m.set)) || *(*bool)(unsafe.Add(at, m.null)) {
			return b, nil
		}
		return m.elem.appendElement(b, name, item, unsafe.Add(at, m.value), depth)
	case modelPointer:
		p := *(*unsafe.Pointer)(at)
		if p == nil {
			return b, nil
		}
		return m.elem.appendElement(b, name, item, p, depth)
	case modelStruct:
		b = open(b, name)
		for i := range m.fields {
			f := &m.fields[i]
			p := f.present(at)
			if f.goName == "XMLName" || p == nil {
				continue
			}
			if b, err = f.model.appendElement(b, f.element, f.item, p, depth); err != nil {
				return b, err
			}
		}
		return shut(b, name), nil
	case modelList, modelArray:
		data, n := at, m.length
		if m.kind == modelList {
			h := (*sliceHeader)(at)
			if h.data == nil {
				return b, nil
			}
			data, n = h.data, h.len
		}
		b = open(b, name)
		for i := range n {
			if b, err = m.elem.appendElement(b, item, "item", unsafe.Add(data, uintptr(i)*m.elem.typ.Size()), depth); err != nil {
				return b, err
			}
		}
		return shut(b, name), nil
	case modelMap:
		v := reflect.NewAt(m.typ, at).Elem()
		if v.IsNil() {
			return b, nil
		}
		b = open(b, name)
		entries, err := m.entries(v)
		if err != nil {
			return b, err
		}
		for _, e := range entries {
			if b, err = m.elem.appendEntry(b, e.name, addressOf(v.MapIndex(e.key)), depth); err != nil {
				return b, err
			}
		}
		return shut(b, name), nil
	case modelAny:
		v := *(*any)(at)
		if v == nil {
			return b, nil
		}
		dynamic, p := variable(v)
		return dynamic.appendElement(b, name, item, p, depth)
	case modelText, modelForeign:
		return m.appendForeign(b, name, item, at, depth)
	}
	b = open(b, name)
	switch m.kind {
	case modelBool:
		b = strconv.AppendBool(b, *(*bool)(at))
	case modelInt:
		b = strconv.AppendInt(b, loadInt(at, m.size), 10)
	case modelUint:
		b = strconv.AppendUint(b, loadUint(at, m.size), 10)
	case modelFloat:
		b, err = appendFloat(b, at, m.size)
	case modelString:
		b = appendXMLText(b, *(*string)(at))
	case modelBytes:
		b = base64.StdEncoding.AppendEncode(b, *(*[]byte)(at))
	case modelTime:
		b = (*time.Time)(at).AppendFormat(b, time.RFC3339Nano)
	}
	return shut(b, name), err
}

// appendEntry appends one entry of a map.
func (m *model) appendEntry(b []byte, key string, at unsafe.Pointer, depth int) ([]byte, error) {
	start := len(b)
	b, err := m.appendElement(b, "entry", "item", at, depth)
	if err != nil || len(b) == start {
		return b, err
	}
	// The attribute goes where the element's own tag ends.
	rest := string(b[start+len("<entry"):])
	b = append(b[:start], `<entry key="`...)
	b = appendXMLText(b, key)
	b = append(b, '"')
	return append(b, rest...), nil
}

// appendForeign asks a type for its JSON and writes that.
func (m *model) appendForeign(b []byte, name, item string, at unsafe.Pointer, depth int) ([]byte, error) {
	data, err := json.Marshal(reflect.NewAt(m.typ, at).Interface())
	if err != nil {
		return b, err
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil || v == nil {
		return b, err
	}
	dynamic, p := variable(v)
	return dynamic.appendElement(b, name, item, p, depth)
}

// appendXMLText escapes s. Characters that XML 1.0 does not have become U+FFFD.
func appendXMLText(b []byte, s string) []byte {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '<':
			b = append(b, "&lt;"...)
		case r == '>':
			b = append(b, "&gt;"...)
		case r == '&':
			b = append(b, "&amp;"...)
		case r == '"':
			b = append(b, "&#34;"...)
		case r == '\t' || r == '\n' || r == '\r':
			b = append(append(append(b, "&#"...), strconv.Itoa(int(r))...), ';')
		case r < ' ' || r == utf8.RuneError || r == 0xfffe || r == 0xffff:
			b = append(b, "\ufffd"...)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return b
}
