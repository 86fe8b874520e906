package webv4

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// maxReadDepth bounds the nesting of a JSON body.
const maxReadDepth = 100

// jsonReader reads one JSON text (RFC 8259) into a variable by its model, in
// one pass. It is stricter than encoding/json: names are case-sensitive, a name
// given twice, invalid UTF-8 and lone surrogates are refused. Strings without
// escapes share the text's memory.
type jsonReader struct {
	s     string
	at    int
	depth int
}

// valueError is a well-formed value that is not what was expected at a path.
type valueError struct {
	path    string // such as user.emails[2]
	missing bool
	reason  error
	got     string
}

func (e *valueError) Error() string {
	if e.missing {
		return "(" + e.path + ") is missing"
	}
	return fmt.Sprintf("(%s) %v, but get (%s)", e.path, e.reason, e.got)
}

// under puts a step before the path of a valueError on its way up.
func under(step string, err error) error {
	if v, ok := err.(*valueError); ok {
		switch {
		case v.path == "":
			v.path = step
		case v.path[0] == '[':
			v.path = step + v.path
		default:
			v.path = step + "." + v.path
		}
	}
	return err
}

// readJSON reads all of s into the variable.
func (m *model) readJSON(s string, to unsafe.Pointer, rules *constraints) error {
	r := jsonReader{s: s}
	r.space()
	if err := r.value(m, to, rules); err != nil {
		return err
	}
	r.space()
	if r.at < len(r.s) {
		return r.syntax("more text after the value")
	}
	return nil
}

func (r *jsonReader) syntax(what string) error {
	return fmt.Errorf("%s at byte %d", what, r.at)
}

func (r *jsonReader) wrong(from int, reason error) error {
	return &valueError{reason: reason, got: shorten(r.s[from:r.at])}
}

// shorten keeps what a reply quotes of a request small.
func shorten(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "…"
	}
	return s
}

func (r *jsonReader) space() {
	for r.at < len(r.s) {
		switch r.s[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// peek is the next byte, 0 at the end.
func (r *jsonReader) peek() byte {
	if r.at < len(r.s) {
		return r.s[r.at]
	}
	return 0
}

func (r *jsonReader) literal(word string) bool {
	if strings.HasPrefix(r.s[r.at:], word) {
		r.at += len(word)
		return true
	}
	return false
}

var (
	errString = expect("string")
	errObject = expect("object")
	errArray  = expect("array")
	errBase64 = expect("base64")
	errTime   = expect("time such as 2006-01-02T15:04:05Z")
	errNull   = expect("a value")
)

// value reads one value. A null leaves what cannot be nil as it is.
func (r *jsonReader) value(m *model, to unsafe.Pointer, rules *constraints) error {
	from := r.at
	if m.kind == modelOpt {
		return r.opt(m, to, rules)
	}
	if r.peek() == 'n' && m.kind != modelForeign {
		if !r.literal("null") {
			return r.syntax("not JSON")
		}
		if k := m.typ.Kind(); k == reflect.Pointer || k == reflect.Slice || k == reflect.Map || k == reflect.Interface {
			reflect.NewAt(m.typ, to).Elem().SetZero()
		}
		return nil
	}
	var err error
	switch m.kind {
	case modelPointer:
		p := *(*unsafe.Pointer)(to)
		if p == nil {
			v := reflect.New(m.elem.typ)
			reflect.NewAt(m.typ, to).Elem().Set(v)
			p = v.UnsafePointer()
		}
		return r.value(m.elem, p, rules)
	case modelStruct:
		return r.object(m, to)
	case modelList:
		err = r.list(m, to, rules)
		if err == nil && rules != nil {
			if broken := check(rules.list, to); broken != nil {
				return r.wrong(from, broken)
			}
		}
		return err
	case modelArray:
		return r.array(m, to)
	case modelMap:
		return r.mapping(m, to)
	case modelAny, modelText, modelForeign:
		if m.kind == modelText {
			err = r.scalar(m, to)
		} else {
			err = r.foreign(m, to)
		}
		if err == nil && rules != nil {
			if broken := rules.check(m.typ, to); broken != nil {
				return r.wrong(from, broken)
			}
		}
		return err
	default:
		err = r.scalar(m, to)
	}
	if err == nil && rules != nil {
		if broken := check(rules.value, to); broken != nil {
			return r.wrong(from, broken)
		}
	}
	return err
}

func (r *jsonReader) opt(m *model, to unsafe.Pointer, rules *constraints) error {
	*(*bool)(unsafe.Add(to, m.set)) = true
	if r.peek() == 'n' {
		if !r.literal("null") {
			return r.syntax("not JSON")
		}
		*(*bool)(unsafe.Add(to, m.null)) = true
		return nil
	}
	return r.value(m.elem, unsafe.Add(to, m.value), rules)
}

// scalar reads what is no container.
func (r *jsonReader) scalar(m *model, to unsafe.Pointer) error {
	from := r.at
	switch m.kind {
	case modelBool:
		switch {
		case r.literal("true"):
			*(*bool)(to) = true
		case r.literal("false"):
			*(*bool)(to) = false
		default:
			return r.mismatch(from, errBool)
		}
		return nil
	case modelInt, modelUint, modelFloat:
		return r.number(m, to)
	}
	if r.peek() != '"' {
		return r.mismatch(from, errString)
	}
	text, err := r.str()
	if err != nil {
		return err
	}
	switch m.kind {
	case modelString:
		*(*string)(to) = text
	case modelBytes:
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return r.wrong(from, errBase64)
		}
		*(*[]byte)(to) = data
	case modelTime:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return r.wrong(from, errTime)
		}
		*(*time.Time)(to) = t
	case modelText:
		if reflect.NewAt(m.typ, to).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)) != nil {
			return r.wrong(from, expect(m.typ.String()))
		}
	}
	return nil
}

// mismatch reports a value of another type, after checking that it is one.
func (r *jsonReader) mismatch(from int, want error) error {
	if err := r.skip(); err != nil {
		return err
	}
	return r.wrong(from, want)
}

func (r *jsonReader) number(m *model, to unsafe.Pointer) error {
	from := r.at
	if c := r.peek(); c != '-' && (c < '0' || c > '9') {
		return r.mismatch(from, errNumber)
	}
	integer, err := r.skipNumber()
	if err != nil {
		return err
	}
	text := r.s[from:r.at]
	switch m.kind {
	case modelInt:
		if !integer {
			return r.wrong(from, errInteger)
		}
		n, err := strconv.ParseInt(text, 10, m.size*8)
		if err != nil {
			return r.wrong(from, numberError(err, errInteger))
		}
		storeInt(to, m.size, uint64(n))
	case modelUint:
		n, err := strconv.ParseUint(text, 10, m.size*8)
		if err != nil {
			return r.wrong(from, numberError(err, errUnsigned))
		}
		storeInt(to, m.size, n)
	default:
		f, err := strconv.ParseFloat(text, m.size*8)
		if err != nil {
			return r.wrong(from, numberError(err, errNumber))
		}
		storeFloat(to, m.size, f)
	}
	return nil
}

// skipNumber goes over a number by RFC 8259's grammar.
func (r *jsonReader) skipNumber() (integer bool, err error) {
	integer = true
	if r.peek() == '-' {
		r.at++
	}
	digits := func() bool {
		from := r.at
		for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
			r.at++
		}
		return r.at > from
	}
	if r.peek() == '0' {
		r.at++
	} else if !digits() {
		return false, r.syntax("number not well formed")
	}
	if r.peek() == '.' {
		integer = false
		r.at++
		if !digits() {
			return false, r.syntax("number not well formed")
		}
	}
	if c := r.peek(); c == 'e' || c == 'E' {
		integer = false
		r.at++
		if c := r.peek(); c == '+' || c == '-' {
			r.at++
		}
		if !digits() {
			return false, r.syntax("number not well formed")
		}
	}
	return integer, nil
}

// str reads a string. Without escapes it is part of the text.
func (r *jsonReader) str() (string, error) {
	r.at++ // the quote
	from := r.at
	ascii := true
	for r.at < len(r.s) {
		switch c := r.s[r.at]; {
		case c == '"':
			text := r.s[from:r.at]
			if !ascii && !utf8.ValidString(text) {
				return "", r.syntax("string not valid UTF-8")
			}
			r.at++
			return text, nil
		case c == '\\':
			return r.escaped(from)
		case c < ' ':
			return "", r.syntax("control character in a string")
		case c >= utf8.RuneSelf:
			ascii = false
		}
		r.at++
	}
	return "", r.syntax("string without an end")
}

// escaped reads the rest of a string that has escapes.
func (r *jsonReader) escaped(from int) (string, error) {
	b := append(make([]byte, 0, 2*(r.at-from)+16), r.s[from:r.at]...)
	for r.at < len(r.s) {
		c := r.s[r.at]
		r.at++
		switch {
		case c == '"':
			if !utf8.Valid(b) {
				return "", r.syntax("string not valid UTF-8")
			}
			return string(b), nil
		case c < ' ':
			return "", r.syntax("control character in a string")
		case c != '\\':
			b = append(b, c)
			continue
		}
		c = r.peek()
		r.at++
		switch c {
		case '"', '\\', '/':
			b = append(b, c)
		case 'b':
			b = append(b, '\b')
		case 'f':
			b = append(b, '\f')
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case 't':
			b = append(b, '\t')
		case 'u':
			ch, err := r.hex4()
			if err != nil {
				return "", err
			}
			if utf16.IsSurrogate(ch) {
				if !r.literal(`\u`) {
					return "", r.syntax("half of a surrogate pair")
				}
				low, err := r.hex4()
				if err != nil {
					return "", err
				}
				if ch = utf16.DecodeRune(ch, low); ch == utf8.RuneError {
					return "", r.syntax("half of a surrogate pair")
				}
			}
			b = utf8.AppendRune(b, ch)
		default:
			return "", r.syntax("unknown escape")
		}
	}
	return "", r.syntax("string without an end")
}

func (r *jsonReader) hex4() (rune, error) {
	if len(r.s)-r.at < 4 {
		return 0, r.syntax("escape not well formed")
	}
	n, err := strconv.ParseUint(r.s[r.at:r.at+4], 16, 32)
	if err != nil {
		return 0, r.syntax("escape not well formed")
	}
	r.at += 4
	return rune(n), nil
}

func (r *jsonReader) enter() error {
	if r.depth++; r.depth > maxReadDepth {
		return r.syntax(fmt.Sprintf("nested deeper than %d", maxReadDepth))
	}
	r.at++
	r.space()
	return nil
}

// more goes from one member of a container to the next; false at its end.
func (r *jsonReader) more(end byte) (bool, error) {
	r.space()
	switch r.peek() {
	case ',':
		r.at++
		r.space()
		return true, nil
	case end:
		r.at++
		r.depth--
		return false, nil
	}
	return false, r.syntax("want , or " + string(end))
}

// name reads a member's name and the colon behind it.
func (r *jsonReader) name() (string, error) {
	if r.peek() != '"' {
		return "", r.syntax("want a name in quotes")
	}
	name, err := r.str()
	if err != nil {
		return "", err
	}
	r.space()
	if r.peek() != ':' {
		return "", r.syntax("want a colon")
	}
	r.at++
	r.space()
	return name, nil
}

// foreign finds the end of a value and leaves the rest to encoding/json.
func (r *jsonReader) foreign(m *model, to unsafe.Pointer) error {
	from := r.at
	if err := r.skip(); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(r.s[from:r.at]), reflect.NewAt(m.typ, to).Interface()); err != nil {
		var typ *json.UnmarshalTypeError
		if errors.As(err, &typ) {
			return &valueError{path: typ.Field, reason: expect(typ.Type.String()), got: typ.Value}
		}
		return r.wrong(from, expect(m.typ.String()))
	}
	return nil
}

// skip goes over one value, checking that it is one.
func (r *jsonReader) skip() error {
	switch c := r.peek(); {
	case c == '"':
		_, err := r.str()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := r.skipNumber()
		return err
	case c == '{' || c == '[':
		end := c + 2 // } and ] follow their opening ones in ASCII, one apart
		if err := r.enter(); err != nil {
			return err
		}
		if r.peek() == end {
			r.at++
			r.depth--
			return nil
		}
		for more := true; more; {
			if c == '{' {
				if _, err := r.name(); err != nil {
					return err
				}
			}
			if err := r.skip(); err != nil {
				return err
			}
			var err error
			if more, err = r.more(end); err != nil {
				return err
			}
		}
		return nil
	case r.literal("true") || r.literal("false") || r.literal("null"):
		return nil
	case r.at >= len(r.s):
		return r.syntax("text ended early")
	}
	return r.syntax("not a value")
}
