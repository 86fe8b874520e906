package webv4

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"unsafe"
)

// Codec is a format of replies and bodies besides those that are built in, or in
// the place of JSON, for the types that it is for. The rules:
//
//  1. For is asked at registration, with the type of a reply or body struct; the
//     others get pointers to such types only.
//  2. MediaTypes are in lower case, the first is what replies say. application/json
//     among them means that the codec writes and reads the type's JSON; XML and
//     MessagePack are then made of it.
//  3. Suffix is what a path has for the format instead of .json, such as .pb; ""
//     if there is no such path.
//  4. Append appends the whole value: the tags select and trim are about the formats
//     that are built in, and refused if those are made of the codec's JSON. Read reads
//     all of data, which it may keep, and fails for what is not well-formed, with an
//     error that a client may see.
//  5. It is called by many goroutines at once.
type Codec interface {
	For(t reflect.Type) bool
	MediaTypes() []string
	Suffix() string
	Append(b []byte, v any) ([]byte, error)
	Read(data []byte, v any) error
}

// codecs are those for one type.
type codecs struct {
	json Codec // in the place of the built-in one; nil for that
	more []Codec
}

// codecs are those for a type; nil if there are none.
func (c *core) codecs(t reflect.Type) *codecs {
	var s codecs
	for _, codec := range c.opt.Codecs {
		switch {
		case !codec.For(t):
		case slices.Contains(codec.MediaTypes(), "application/json"):
			s.json = codec
		default:
			s.more = append(s.more, codec)
		}
	}
	if s.json == nil && len(s.more) == 0 {
		return nil
	}
	return &s
}

// The methods work on nil, which is no codecs.

// format finds the format of a media type.
func (s *codecs) format(kind string) (format, bool) {
	f, ok := acceptable[kind]
	if s == nil {
		return f, ok
	}
	for i := 0; i < len(s.more) && !ok; i++ {
		if slices.Contains(s.more[i].MediaTypes(), kind) {
			f, ok = asCodec+format(i), true
		}
	}
	return f, ok
}

// contentType is what replies in a format say.
func (s *codecs) contentType(f format) []string {
	if f >= asCodec {
		return s.more[f-asCodec].MediaTypes()[:1]
	}
	return formatTypes[f]
}

// formats is how many there are.
func (s *codecs) formats() int {
	if s == nil {
		return len(formatTypes)
	}
	return len(formatTypes) + len(s.more)
}

// encode appends the variable that m is the model of in a format; nil is a reply
// without anything in it.
func (s *codecs) encode(f format, b []byte, m *model, at unsafe.Pointer) ([]byte, error) {
	switch {
	case at == nil && f >= asCodec:
		return b, nil
	case at == nil || s == nil || f < asCodec && s.json == nil:
		return f.encode(b, m, at)
	}
	v := reflect.NewAt(m.typ, at).Interface()
	if f >= asCodec {
		return s.more[f-asCodec].Append(b, v)
	}
	if f == asJSON {
		b, err := s.json.Append(b, v)
		return append(b, '\n'), err
	}
	text, err := s.json.Append(nil, v)
	if err != nil {
		return b, err
	}
	var plain any
	if err := json.Unmarshal(text, &plain); err != nil {
		return b, fmt.Errorf("webv4: codec wrote JSON that is none: %w", err)
	}
	if f == asXML {
		b = appendPlainXML(append(b, xmlHeader...), m.rootName("result"), plain)
		return append(b, '\n'), nil
	}
	pm, p := variable(plain)
	return f.encode(b, pm, p)
}

// appendPlainXML appends what came of JSON as an element: an object's members
// are its children, as a struct's fields would be.
func appendPlainXML(b []byte, name string, v any) []byte {
	switch v := v.(type) {
	case nil:
		return b
	case map[string]any:
		b = open(b, name)
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b = appendPlainXML(b, xmlName(key), v[key])
		}
	case []any:
		b = open(b, name)
		for _, item := range v {
			b = appendPlainXML(b, "item", item)
		}
	case string:
		b = appendXMLText(open(b, name), v)
	default: // a number or a boolean
		b, _ = appendAny(open(b, name), v, 0)
	}
	return shut(b, name)
}

// reader is one that may read a body; nil if none does.
func (s *codecs) reader() Codec {
	switch {
	case s == nil:
		return nil
	case s.json != nil:
		return s.json
	}
	return s.more[0]
}

// readBody reads a body by the codec for its media type; false if there is none.
func (s *codecs) readBody(kind, data string, to unsafe.Pointer, t reflect.Type) (bool, error) {
	if s == nil {
		return false, nil
	}
	codec := s.json
	switch f, ok := s.format(kind); {
	case !ok:
		return false, nil
	case f >= asCodec:
		codec = s.more[f-asCodec]
	case f != asJSON || codec == nil:
		return false, nil
	}
	if err := codec.Read([]byte(data), reflect.NewAt(t, to).Interface()); err != nil {
		return true, Errorf(CodeParameter, "the body is not %s: %s", codec.MediaTypes()[0], shorten(strings.ToValidUTF8(err.Error(), "\ufffd")))
	}
	return true, nil
}

// bodyTypes are the media types that a body may have, the usual one of each format.
func (s *codecs) bodyTypes() []string {
	list := []string{mediaType(s, asJSON)}
	if s == nil || s.json == nil { // a codec's JSON is read from JSON only
		list = append(list, mediaType(s, asXML), mediaType(s, asMsgpack))
	}
	if s != nil {
		for i := range s.more {
			list = append(list, mediaType(s, asCodec+format(i)))
		}
	}
	return list
}

// suffixes are what paths have instead of .json, in order.
func (s *codecs) suffixes() iter.Seq2[string, format] {
	return func(yield func(string, format) bool) {
		if !yield(".xml", asXML) || !yield(".msgpack", asMsgpack) || s == nil {
			return
		}
		for i, codec := range s.more {
			if suffix := codec.Suffix(); suffix != "" && !yield(suffix, asCodec+format(i)) {
				return
			}
		}
	}
}
