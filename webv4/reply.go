package webv4

import (
	"net/http"
	"reflect"
	"strconv"
	"sync"
	"unsafe"
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
	style    ErrorStyle
	begun    bool
	degraded bool
	status   int
	bytes    int
	code     int // the error's

	keep   func(contentType []string, body []byte) // nil: the reply need not be kept
	leaf   *leaf                                   // what the router found
	length [1]string                               // the Content-Length header
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

// result writes what a handler returned by the model m. promised is the model of
// the type that it should have.
func (o *reply) result(promised, m *model, v any) error {
	if v == nil {
		return o.value(nil, nil)
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && rv.Type().Elem() == promised.typ {
		return o.value(m, rv.UnsafePointer())
	}
	m, at := variable(v)
	return o.value(m, at)
}

// value writes a successful reply: the variable that m is the model of, at an
// address; nil has an empty object as its body.
func (o *reply) value(m *model, at unsafe.Pointer) error {
	buf := buffers.Get().(*[]byte)
	defer putBuffer(buf)
	b := (*buf)[:0]
	contentType := jsonType
	var err error
	switch {
	case o.xml:
		contentType = xmlType
		b = append(b, xmlHeader...)
		if at == nil {
			b = append(b, "<result></result>"...)
		} else {
			b, err = m.appendXML(b, m.rootName("result"), at, 0)
		}
	case at == nil:
		b = append(b, "{}"...)
	default:
		b, err = m.appendJSON(b, at, 0)
	}
	*buf = b
	if err != nil {
		return Wrap(CodeSystem, err)
	}
	b = append(b, '\n')
	*buf = b
	o.send(http.StatusOK, contentType, b)
	if o.keep != nil {
		o.keep(contentType, b)
	}
	return nil
}

// staticReply is a reply made beforehand.
type staticReply struct {
	contentType []string
	body        []byte
}

func newStatic(m *model, at unsafe.Pointer, xml bool) (*staticReply, error) {
	w := recorder{header: http.Header{}}
	o := reply{w: &w, xml: xml}
	err := o.value(m, at)
	return &staticReply{w.header["Content-Type"], w.body}, err
}

func (s *staticReply) send(o *reply) { o.send(http.StatusOK, s.contentType, s.body) }

// recorder is a http.ResponseWriter that keeps what is written.
type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	r.body = append(r.body, p...)
	return len(p), nil
}

// putBuffer gives a buffer back, unless it has grown large.
func putBuffer(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		buffers.Put(buf)
	}
}

// send writes status, headers and body at once.
func (o *reply) send(status int, contentType []string, body []byte) {
	h := o.w.Header()
	h["Content-Type"] = contentType
	h["X-Content-Type-Options"] = nosniff
	o.length[0] = strconv.Itoa(len(body))
	h["Content-Length"] = o.length[:]
	o.WriteHeader(status)
	if !o.head {
		// What goes wrong now has no one to be told: the client is gone.
		_, _ = o.Write(body)
	}
}
