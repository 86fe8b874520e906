package webv4

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unsafe"
)

// bind fills the request struct at base from r. Only the plan's sources are
// looked at, each once.
func (p *plan) bind(r *http.Request, path []string, base unsafe.Pointer, maxBody int64) error {
	var seen uint64
	if len(p.query) > 0 && r.URL.RawQuery != "" {
		if err := p.pairs(r.URL.RawQuery, p.query, base, &seen); err != nil {
			return err
		}
	}
	for _, i := range p.others {
		f := &p.fields[i]
		var err error
		switch f.source {
		case fromPath:
			err = f.take(base, path[f.place], &seen)
		case fromHeader:
			err = f.takeHeader(base, r, &seen)
		case fromCookie:
			for _, c := range r.CookiesNamed(f.name) {
				if err = f.take(base, c.Value, &seen); err != nil {
					break
				}
			}
		}
		if err != nil {
			return err
		}
	}
	if p.hasBody() {
		if err := p.bindBody(r, base, maxBody, &seen); err != nil {
			return err
		}
	}
	for _, i := range p.late {
		f := &p.fields[i]
		switch {
		case seen&f.bit != 0:
			if len(f.rules.list) > 0 {
				if err := f.checkList(base); err != nil {
					return err
				}
			}
		case f.required:
			return Errorf(CodeMissing, "(%s)", f.label())
		case f.hasDef:
			if err := f.take(base, f.def, &seen); err != nil {
				return err
			}
		}
	}
	return nil
}

// takeHeader takes the lines of a header; net/http keeps Host elsewhere.
func (f *field) takeHeader(base unsafe.Pointer, r *http.Request, seen *uint64) error {
	if f.name == "Host" && r.Host != "" {
		return f.take(base, r.Host, seen)
	}
	for _, line := range r.Header[f.name] {
		if err := f.take(base, line, seen); err != nil {
			return err
		}
	}
	return nil
}

// label is what errors call the parameter.
func (f *field) label() string {
	if f.source == fromBody {
		return "body"
	}
	return f.name
}

// checkList checks what concerns a list as a whole.
func (f *field) checkList(base unsafe.Pointer) error {
	if f.source == fromBody {
		return nil // its reader has
	}
	if err := check(f.rules.list, unsafe.Add(base, f.offset)); err != nil {
		return Errorf(CodeInvalid, "(%s) %v", f.name, err)
	}
	return nil
}

// pairs goes over name=value pairs joined by & and takes those that fields
// name. Like url.ParseQuery it refuses semicolons and bad escapes, but only
// where somebody wants to know.
func (p *plan) pairs(raw string, fields []int, base unsafe.Pointer, seen *uint64) error {
	for raw != "" {
		pair, rest, equal, plain := cutPair(raw)
		raw = rest
		if pair == "" {
			continue
		}
		name, value := pair, ""
		if equal >= 0 {
			name, value = pair[:equal], pair[equal+1:]
		}
		if !plain {
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
			if !plain {
				if strings.IndexByte(pair, ';') >= 0 {
					return Errorf(CodeInvalid, "(%s) has a semicolon that is not escaped", name)
				}
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

// cutPair cuts the first pair off and finds its =, -1 if there is none, and
// whether nothing in it is escaped or has to be.
func cutPair(raw string) (pair, rest string, equal int, plain bool) {
	equal, plain = -1, true
	for i := range min(len(raw), 64) { // sooner done than five calls
		c := raw[i]
		switch {
		case c > '=': // letters
		case c == '&':
			return raw[:i], raw[i+1:], equal, plain
		case c == '=':
			if equal < 0 {
				equal = i
			}
		case c == '%' || c == '+' || c == ';':
			plain = false
		}
	}
	if len(raw) <= 64 {
		return raw, "", equal, plain
	}
	pair, rest, _ = strings.Cut(raw, "&")
	plain = strings.IndexByte(pair, '%') < 0 && strings.IndexByte(pair, '+') < 0 && strings.IndexByte(pair, ';') < 0
	return pair, rest, strings.IndexByte(pair, '='), plain
}

// bindBody reads the body as the form or the value that the plan wants.
func (p *plan) bindBody(r *http.Request, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	if limit := maxBody + p.room; r.ContentLength > limit {
		return Errorf(CodeTooLong, "%d bytes, limit %d", r.ContentLength, limit)
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
	case p.body >= 0:
		if header == "" {
			kind = "application/json"
		}
		return p.bindValue(r, kind, base, maxBody, seen)
	case p.body < 0 && kind == formType:
		data, err := readBody(r, maxBody)
		if err != nil {
			return err
		}
		return p.pairs(data, p.form, base, seen)
	case p.body < 0 && kind == "multipart/form-data":
		return p.bindMultipart(r, attrs["boundary"], base, maxBody+p.room, seen)
	case header == "" && r.ContentLength == 0:
		return nil
	}
	return Errorf(CodeMediaType, "%.60s", kind)
}

// bindValue reads a body that is one value.
func (p *plan) bindValue(r *http.Request, kind string, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	if strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json") { // RFC 6839
		kind = "application/json"
	}
	asked, known := p.own.format(kind)
	if !known || p.own != nil && p.own.json != nil && (asked == asXML || asked == asMsgpack) {
		return Errorf(CodeMediaType, "%.60s", kind)
	}
	data, err := readBody(r, maxBody)
	if err != nil {
		return err
	}
	if data == "" {
		return nil // no body
	}
	f := &p.fields[p.body]
	to := unsafe.Add(base, f.offset)
	if done, err := p.own.readBody(kind, data, to, f.typ); done {
		*seen |= f.bit
		return err
	}
	switch asked {
	case asXML:
		if data, err = xmlToJSON(data, f.body); err != nil {
			return Errorf(CodeParameter, "the body is not XML: %v", err)
		}
	case asMsgpack:
		if data, err = msgpackToJSON(data); err != nil {
			return Errorf(CodeParameter, "the body is not MessagePack: %v", err)
		}
	}
	if strings.TrimSpace(data) == "null" {
		return nil
	}
	if err := f.body.readJSON(data, to, &f.rules); err != nil {
		return f.bodyError(err)
	}
	*seen |= f.bit
	return nil
}

const formType = "application/x-www-form-urlencoded"

// isForm reports whether a Content-Type is that of a form, with parameters or
// without.
func isForm(header string) bool {
	n := len(formType)
	return len(header) >= n && strings.EqualFold(header[:n], formType) && (len(header) == n || strings.IndexByte("; \t", header[n]) >= 0)
}

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
	body, done, err := decoded(r)
	if err != nil {
		return "", err
	}
	defer done()
	for {
		n, err := body.Read(scratch)
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
	if e := asError(err); e != nil {
		return e // the body's signature is wrong
	}
	what := "the body cannot be read"
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		what = "the body ended early"
	}
	e := Errorf(CodeParameter, "%s", what)
	e.cause = err
	return e
}
