package webv4

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
	"sync"
)

// buffers are byte slices for building and reading bodies.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// maxPooled is the largest buffer that is kept.
const maxPooled = 64 << 10

// Header values that every reply shares; nobody changes them.
var (
	jsonType = []string{"application/json; charset=utf-8"}
	xmlType  = []string{"application/xml; charset=utf-8"}
	nosniff  = []string{"nosniff"}
)

// reply writes one answer and remembers what it was.
type reply struct {
	w        http.ResponseWriter
	xml      bool
	head     bool
	begun    bool
	degraded bool
	status   int
	bytes    int
	code     int // the error's
}

// Header, Write and WriteHeader serve mounted handlers.
func (o *reply) Header() http.Header { return o.w.Header() }

func (o *reply) WriteHeader(status int) {
	if status >= 200 && !o.begun {
		o.begun, o.status = true, status
	}
	o.w.WriteHeader(status)
}

func (o *reply) Write(p []byte) (int, error) {
	if !o.begun {
		o.begun, o.status = true, http.StatusOK
	}
	n, err := o.w.Write(p)
	o.bytes += n
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (o *reply) Unwrap() http.ResponseWriter { return o.w }

// encoders pool a JSON encoder with its buffer.
type jsonEncoder struct {
	buf bytes.Buffer
	enc *json.Encoder
}

var jsonEncoders = sync.Pool{New: func() any {
	e := &jsonEncoder{}
	e.enc = json.NewEncoder(&e.buf)
	return e
}}

// xmlReply wraps a value in the root element.
type xmlReply struct {
	XMLName xml.Name `xml:"result"`
	Value   any
}

// value writes a successful reply; nil has an empty object as its body.
func (o *reply) value(v any) error {
	if v == nil {
		v = struct{}{}
	}
	if o.xml {
		body, err := xml.Marshal(xmlReply{Value: v})
		if err != nil {
			return Wrap(CodeSystem, err)
		}
		o.send(http.StatusOK, xmlType, append([]byte(xml.Header), body...))
		return nil
	}
	e := jsonEncoders.Get().(*jsonEncoder)
	e.buf.Reset()
	if err := e.enc.Encode(v); err != nil {
		return Wrap(CodeSystem, err)
	}
	o.send(http.StatusOK, jsonType, e.buf.Bytes())
	if e.buf.Cap() <= maxPooled {
		jsonEncoders.Put(e)
	}
	return nil
}

// send writes status, headers and body at once.
func (o *reply) send(status int, contentType []string, body []byte) {
	h := o.w.Header()
	h["Content-Type"] = contentType
	h["X-Content-Type-Options"] = nosniff
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	o.WriteHeader(status)
	if !o.head {
		o.Write(body)
	}
}

// xmlError is an error's body as XML.
type xmlError struct {
	XMLName xml.Name `xml:"error"`
	Request string   `xml:"request"`
	Code    int      `xml:"error_code"`
	Text    string   `xml:"error_text"`
}

// error writes an error reply.
func (o *reply) error(path string, e *Error) {
	o.code = e.Code
	if e.Status == http.StatusUnauthorized {
		o.w.Header()["Www-Authenticate"] = []string{`Bearer error="invalid_token"`}
	}
	if o.xml {
		body, err := xml.Marshal(xmlError{Request: path, Code: e.Code, Text: e.Message})
		if err == nil {
			o.send(e.Status, xmlType, append([]byte(xml.Header), body...))
			return
		}
	}
	buf := buffers.Get().(*[]byte)
	b := append((*buf)[:0], `{"request":`...)
	b = appendQuoted(b, path)
	b = append(b, `,"error_code":`...)
	b = strconv.AppendInt(b, int64(e.Code), 10)
	b = append(b, `,"error":`...)
	b = appendQuoted(b, e.Message)
	b = append(b, "}\n"...)
	o.send(e.Status, jsonType, b)
	if cap(b) <= maxPooled {
		*buf = b
		buffers.Put(buf)
	}
}
