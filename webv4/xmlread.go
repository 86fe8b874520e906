package webv4

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A body in XML is turned into JSON by the model of what it is for, and read as
// that, so that the same rules hold for both. It has the form that replies have:
// an element a field, a list's items as children of any name, a map's as <entry
// key="…">. The root may have any name. There are no document types, no entities
// but XML's own five, and no encodings but UTF-8.

// xmlToJSON turns one document into JSON.
func xmlToJSON(s string, m *model) (string, error) {
	r := xmlReader{d: xml.NewDecoder(strings.NewReader(s))}
	root, err := r.child()
	if err == nil {
		err = r.element(m, root, false)
	}
	if err == nil {
		switch _, err = r.child(); {
		case err == errXMLEnd:
			err = nil
		case err == nil:
			err = errors.New("a second root element")
		}
	}
	if err != nil {
		return "", fmt.Errorf("%w at byte %d", err, r.d.InputOffset())
	}
	return string(r.out), nil
}

type xmlReader struct {
	d     *xml.Decoder
	depth int
	text  strings.Builder // of the element at hand
	out   []byte
}

var (
	errXMLEnd  = errors.New("it ended early")
	errXMLType = errors.New("a document type or other directive")
	errXMLText = errors.New("text where elements should be")
	errXMLDeep = fmt.Errorf("nested deeper than %d", maxReadDepth)
	errXMLKey  = errors.New(`want <entry key="…">`)
)

// open goes to the next element that begins; nil at the end of the one around
// it, whose text is then in r.text.
func (r *xmlReader) open() (*xml.StartElement, error) {
	r.text.Reset()
	for {
		token, err := r.d.Token()
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			return nil, nil
		case xml.CharData:
			r.text.Write(t)
		case xml.Directive:
			return nil, errXMLType
		}
	}
}

// child is open for elements that have no text besides their children.
func (r *xmlReader) child() (*xml.StartElement, error) {
	e, err := r.open()
	if err == nil && strings.TrimSpace(r.text.String()) != "" {
		err = errXMLText
	}
	if err == io.EOF {
		err = errXMLEnd
	}
	return e, err
}

// leaf is the text of an element without children.
func (r *xmlReader) leaf() (string, error) {
	e, err := r.open()
	switch {
	case err != nil:
		return "", err
	case e != nil:
		return "", fmt.Errorf("element %s where text should be", shorten(e.Name.Local))
	}
	return r.text.String(), nil
}

// element writes the element that began as JSON for m. quoted values are in a
// string.
func (r *xmlReader) element(m *model, start *xml.StartElement, quoted bool) error {
	if r.depth++; r.depth > maxReadDepth {
		return errXMLDeep
	}
	defer func() { r.depth-- }()
	switch m.kind {
	case modelOpt, modelPointer:
		return r.element(m.elem, start, quoted)
	case modelStruct:
		return r.members(func(e *xml.StartElement) error {
			for i := range m.fields {
				if f := &m.fields[i]; f.element == e.Name.Local && f.goName != "XMLName" {
					r.name(f.name)
					return r.element(f.model, e, f.quoted)
				}
			}
			return r.skip()
		})
	case modelMap:
		return r.members(func(e *xml.StartElement) error {
			for _, a := range e.Attr {
				if e.Name.Local == "entry" && a.Name.Local == "key" {
					r.name(a.Value)
					return r.element(m.elem, e, false)
				}
			}
			return errXMLKey
		})
	case modelList, modelArray:
		r.out = append(r.out, '[')
		for first := true; ; first = false {
			e, err := r.child()
			if err != nil {
				return err
			}
			if e == nil {
				break
			}
			if !first {
				r.out = append(r.out, ',')
			}
			if err := r.element(m.elem, e, false); err != nil {
				return err
			}
		}
		r.out = append(r.out, ']')
		return nil
	case modelAny, modelForeign:
		return r.anything(m.kind == modelForeign && !quoted)
	}
	text, err := r.leaf()
	if err != nil {
		return err
	}
	switch m.kind {
	case modelBool, modelInt, modelUint, modelFloat:
		r.literal(strings.TrimSpace(text), !quoted)
	case modelString:
		if quoted {
			text = string(appendJSONString(nil, text))
		}
		r.literal(text, false)
	case modelTime:
		r.literal(strings.TrimSpace(text), false)
	default:
		r.literal(text, false)
	}
	return nil
}

// skip goes over the rest of the element that began.
func (r *xmlReader) skip() error {
	for depth := r.depth + 1; depth > r.depth; {
		token, err := r.d.Token()
		if err != nil {
			return err
		}
		switch token.(type) {
		case xml.StartElement:
			if depth++; depth > maxReadDepth {
				return errXMLDeep
			}
		case xml.EndElement:
			depth--
		case xml.Directive:
			return errXMLType
		}
	}
	return nil
}

// members writes an object whose members f writes, if it knows them.
func (r *xmlReader) members(f func(*xml.StartElement) error) error {
	r.out = append(r.out, '{')
	for {
		e, err := r.child()
		if err != nil {
			return err
		}
		if e == nil {
			r.out = append(r.out, '}')
			return nil
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// name begins a member of an object.
func (r *xmlReader) name(name string) {
	if r.out[len(r.out)-1] != '{' {
		r.out = append(r.out, ',')
	}
	r.out = append(appendJSONString(r.out, name), ':')
}

// literal writes a value: a number or boolean as it is if bare, else a string.
func (r *xmlReader) literal(text string, bare bool) {
	if bare && (text == "true" || text == "false" || text != "" && strings.IndexByte("-0123456789", text[0]) >= 0 && json.Valid([]byte(text))) {
		r.out = append(r.out, text...)
		return
	}
	r.out = appendJSONString(r.out, text)
}

// anything writes an element whose type nobody knows: with children an object,
// else its text, which may be a number or boolean if bare.
func (r *xmlReader) anything(bare bool) error {
	if r.depth++; r.depth > maxReadDepth {
		return errXMLDeep
	}
	defer func() { r.depth-- }()
	e, err := r.open()
	if err != nil {
		return err
	}
	if e == nil {
		r.literal(r.text.String(), bare)
		return nil
	}
	if strings.TrimSpace(r.text.String()) != "" {
		return errXMLText
	}
	r.out = append(r.out, '{')
	for e != nil {
		r.name(e.Name.Local)
		if err := r.anything(bare); err != nil {
			return err
		}
		if e, err = r.child(); err != nil {
			return err
		}
	}
	r.out = append(r.out, '}')
	return nil
}
