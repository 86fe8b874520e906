package webv4

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"strings"
	"unsafe"

	"github.com/julienschmidt/httprouter"
)

// bind fills the request struct at base from r. Only the plan's sources are
// looked at, each once.
func (p *plan) bind(r *http.Request, params httprouter.Params, base unsafe.Pointer, maxBody int64) error {
	var seen uint64
	if len(p.query) > 0 && r.URL.RawQuery != "" {
		if err := p.pairs(r.URL.RawQuery, p.query, base, &seen); err != nil {
			return err
		}
	}
	for _, i := range p.others {
		f := &p.fields[i]
		value, ok := "", false
		switch f.source {
		case fromPath:
			value = params.ByName(f.name)
			value, ok = strings.TrimPrefix(value, "/"), value != ""
		case fromHeader:
			if v := r.Header[f.name]; len(v) > 0 {
				value, ok = v[0], true
			}
		case fromCookie:
			if c, err := r.Cookie(f.name); err == nil {
				value, ok = c.Value, true
			}
		}
		if ok {
			if err := f.take(base, value, &seen); err != nil {
				return err
			}
		}
	}
	if p.hasBody() {
		if err := p.bindBody(r, base, maxBody, &seen); err != nil {
			return err
		}
	}
	for i := range p.fields {
		f := &p.fields[i]
		switch {
		case seen&f.bit != 0:
		case f.required:
			return Errorf(CodeMissing, "(%s)", f.name)
		case f.hasDef:
			if err := f.take(base, f.def, &seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// take stores one value. Of several values for one parameter the first counts,
// unless the parameter is a list.
func (f *field) take(base unsafe.Pointer, value string, seen *uint64) error {
	if *seen&f.bit != 0 && !f.list {
		return nil
	}
	if err := f.apply(unsafe.Add(base, f.offset), value); err != nil {
		if len(value) > 40 {
			value = strings.ToValidUTF8(value[:40], "") + "…"
		}
		return Errorf(CodeInvalid, "(%s) %v, but get (%s)", f.name, err, value)
	}
	if f.isOpt {
		*(*bool)(unsafe.Add(base, f.optional)) = true
	}
	*seen |= f.bit
	return nil
}

// pairs goes over name=value pairs joined by & and takes those that fields
// name. Like url.ParseQuery it refuses semicolons and bad escapes, but only
// where somebody wants to know.
func (p *plan) pairs(raw string, fields []int, base unsafe.Pointer, seen *uint64) error {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if escaped(name) {
			var err error
			if name, err = url.QueryUnescape(name); err != nil {
				return Errorf(CodeParameter, "a parameter's name is not well escaped")
			}
		}
		for _, i := range fields {
			f := &p.fields[i]
			if f.name != name {
				continue
			}
			if strings.IndexByte(pair, ';') >= 0 {
				return Errorf(CodeInvalid, "(%s) has a semicolon that is not escaped", name)
			}
			if escaped(value) {
				var err error
				if value, err = url.QueryUnescape(value); err != nil {
					return Errorf(CodeInvalid, "(%s) is not well escaped", name)
				}
			}
			if err := f.take(base, value, seen); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func escaped(s string) bool {
	return strings.IndexByte(s, '%') >= 0 || strings.IndexByte(s, '+') >= 0
}

// bindBody reads the body as the form or the value that the plan wants.
func (p *plan) bindBody(r *http.Request, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	if r.ContentLength > maxBody {
		return Errorf(CodeTooLong, "%d bytes, limit %d", r.ContentLength, maxBody)
	}
	header := r.Header.Get("Content-Type")
	kind := header
	var attrs map[string]string
	if header != formType { // the usual one needs no parsing
		var err error
		if kind, attrs, err = mime.ParseMediaType(header); err != nil && header != "" {
			return Errorf(CodeMediaType, "Content-Type not readable")
		}
	}
	switch {
	case p.body >= 0 && (kind == "application/json" || header == ""):
		data, err := readBody(r, maxBody)
		if err != nil {
			return err
		}
		return p.bindJSON(data, base, seen)
	case p.body < 0 && kind == formType:
		data, err := readBody(r, maxBody)
		if err != nil {
			return err
		}
		return p.pairs(data, p.form, base, seen)
	case p.body < 0 && kind == "multipart/form-data":
		return p.bindMultipart(r, attrs["boundary"], base, maxBody, seen)
	case header == "" && r.ContentLength == 0:
		return nil
	}
	return Errorf(CodeMediaType, "%.60s", kind)
}

const formType = "application/x-www-form-urlencoded"

// readBody reads the whole body, at most limit bytes. A string, because form
// values are cut out of it.
func readBody(r *http.Request, limit int64) (string, error) {
	if r.Body == nil {
		return "", nil
	}
	if form, ok := r.Body.(*formBody); ok {
		return form.text, nil
	}
	var b strings.Builder
	if n := r.ContentLength; n > 0 {
		b.Grow(int(min(n, 64<<10)))
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	scratch := (*buf)[:cap(*buf)]
	for {
		n, err := r.Body.Read(scratch)
		if int64(b.Len()+n) > limit {
			return "", Errorf(CodeTooLong, "more than %d bytes", limit)
		}
		b.Write(scratch[:n])
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", bodyError(err, limit)
		}
	}
}

func bodyError(err error, limit int64) error {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		return Errorf(CodeTooLong, "more than %d bytes", limit)
	}
	e := Errorf(CodeParameter, "the body ended early")
	e.cause = err
	return e
}

// maxJSONDepth bounds the nesting of a JSON body.
const maxJSONDepth = 100

func (p *plan) bindJSON(data string, base unsafe.Pointer, seen *uint64) error {
	f := &p.fields[p.body]
	if data == "" {
		return nil
	}
	if err := checkDepth(data); err != nil {
		return err
	}
	dst := reflect.NewAt(f.typ, unsafe.Add(base, f.offset)).Interface()
	if err := json.Unmarshal([]byte(data), dst); err != nil {
		var syntax *json.SyntaxError
		var typ *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return Errorf(CodeParameter, "the body is not JSON: %v at byte %d", err, syntax.Offset)
		case errors.As(err, &typ):
			return Errorf(CodeInvalid, "(%s) expect (%s), but get (%s) at byte %d", typ.Field, typ.Type, typ.Value, typ.Offset)
		}
		return Errorf(CodeParameter, "the body is not JSON: %v", err)
	}
	*seen |= f.bit
	return nil
}

// checkDepth refuses deep nesting in one pass, before a decoder that recurses
// sees it.
func checkDepth(data string) error {
	depth, inString := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxJSONDepth {
				return Errorf(CodeParameter, "the body is nested deeper than %d", maxJSONDepth)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// maxParts bounds the parts of a multipart body.
const maxParts = 128

func (p *plan) bindMultipart(r *http.Request, boundary string, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	if boundary == "" {
		return Errorf(CodeMediaType, "multipart without a boundary")
	}
	if r.Body == nil {
		return nil
	}
	mr := multipart.NewReader(http.MaxBytesReader(nil, r.Body, maxBody), boundary)
	for n := 0; ; n++ {
		part, err := mr.NextPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return bodyError(err, maxBody)
		}
		if n == maxParts {
			return Errorf(CodeParameter, "more than %d parts", maxParts)
		}
		if err := p.bindPart(part, base, maxBody, seen); err != nil {
			return err
		}
	}
}

func (p *plan) bindPart(part *multipart.Part, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	name := part.FormName()
	for _, i := range p.files {
		f := &p.fields[i]
		if f.name != name || *seen&f.bit != 0 {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(part, f.maxSize+1))
		if err != nil {
			return bodyError(err, maxBody)
		}
		if int64(len(data)) > f.maxSize {
			return Errorf(CodeTooLong, "(%s) more than %d bytes", f.name, f.maxSize)
		}
		*(**File)(unsafe.Add(base, f.offset)) = &File{
			Name: fileName(part.FileName()), ContentType: part.Header.Get("Content-Type"), data: data,
		}
		*seen |= f.bit
		return nil
	}
	for _, i := range p.form {
		if f := &p.fields[i]; f.name == name {
			data, err := io.ReadAll(part)
			if err != nil {
				return bodyError(err, maxBody)
			}
			return f.take(base, string(data), seen)
		}
	}
	return nil // nobody asked for it
}

// fileName keeps directories and control bytes of a client's file name out.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, path.Base(strings.ReplaceAll(s, "\\", "/")))
	if s == "." || s == "/" || s == ".." {
		return ""
	}
	return s
}
