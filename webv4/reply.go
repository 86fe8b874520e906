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

// reply writes one answer and remembers what it was. It is used again unless it
// was lent to others.
type reply struct {
	w     http.ResponseWriter
	buf   []byte   // for the body; nil if lent
	path  []string // the values of the path's parameters, by place
	leaf  *leaf    // what httprouter found
	own   *codecs  // of the interface; nil for none
	codes ErrorCodes

	placed *call // not nil: it has a place in a limiter, until it begins to send
	replyState

	// Few replies have these.
	tagged *http.Request                           // not nil: the reply has an ETag
	cache  []string                                // the Cache-Control header; nil: none
	claim  *claim                                  // not nil: the reply is kept under the request's Idempotency-Key
	unkept error                                   // why it could not be
	keep   func(contentType []string, body []byte) // nil: the reply need not be kept
	err    error                                   // how it ended behind the middleware
}

// replyState is what of a reply refers to nothing.
type replyState struct {
	pooled   bool
	format   format
	head     bool
	begun    bool
	degraded bool
	abort    bool   // how it ended behind the middleware
	zip      coding // that the client takes
	style    ErrorStyle
	status   int
	bytes    int
	code     int // the error's
	zipFrom  int
}

// freeReplies are those that can be used again.
var freeReplies = sync.Pool{New: func() any { return new(reply) }}

func newReply() *reply {
	o := freeReplies.Get().(*reply)
	o.pooled = true
	return o
}

// lent is the same reply for others to see: they may hold on to it.
func (o *reply) lent() *reply {
	if !o.pooled {
		return o
	}
	own := *o
	own.pooled, own.buf = false, nil
	o.path = nil
	o.free()
	return &own
}

// free gives the reply up, which only its caller may have, to be used again.
func (o *reply) free() {
	if !o.pooled {
		return
	}
	if cap(o.buf) > maxPooled {
		o.buf = nil
	}
	if o.tagged != nil || o.cache != nil || o.claim != nil || o.unkept != nil || o.keep != nil || o.err != nil {
		*o = reply{buf: o.buf}
	} else { // the rest is the API's, and set anew
		clear(o.path)
		o.w, o.path, o.placed = nil, o.path[:0], nil
		o.replyState = replyState{}
	}
	freeReplies.Put(o)
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

// result writes what a handler returned by the model m, if it is what the
// interface promises.
func (o *reply) result(op *operation, m *model, v any) error {
	switch reflect.TypeOf(v) {
	case nil:
		return o.value(nil, nil)
	case op.promised:
		return o.value(m, reflect.ValueOf(v).UnsafePointer())
	}
	m, at := variable(v)
	return o.value(m, at)
}

// encode appends the variable that m is the model of, at an address; nil is an
// empty object.
func (f format) encode(b []byte, m *model, at unsafe.Pointer) ([]byte, error) {
	switch {
	case f == asMsgpack && at == nil:
		return append(b, 0x80), nil
	case f == asMsgpack:
		return m.appendMsgpack(b, at, 0)
	case f == asXML && at == nil:
		return append(b, xmlHeader+"<result></result>\n"...), nil
	case f == asXML:
		b, err := m.appendXML(append(b, xmlHeader...), m.rootName("result"), at, 0)
		return append(b, '\n'), err
	case at == nil:
		return append(b, "{}\n"...), nil
	}
	b, err := m.appendJSON(b, at, 0)
	return append(b, '\n'), err
}

// value writes a successful reply.
func (o *reply) value(m *model, at unsafe.Pointer) error {
	var err error
	if o.own == nil {
		o.buf, err = o.format.encode(o.buf[:0], m, at)
	} else {
		o.buf, err = o.own.encode(o.format, o.buf[:0], m, at)
	}
	if err != nil {
		return Wrap(CodeSystem, err)
	}
	o.body(o.own.contentType(o.format), o.buf)
	return nil
}

// body writes a successful reply's body.
func (o *reply) body(contentType []string, b []byte) {
	status := http.StatusOK
	if o.status != 0 {
		status = o.status
	}
	if o.claim != nil {
		o.unkept = o.claim.keep(o.w.Header(), status, contentType[0], b)
	}
	if status == http.StatusNoContent {
		o.WriteHeader(status)
		return
	}
	if o.keep != nil && status == http.StatusOK {
		o.keep(contentType, b)
	}
	if h := o.w.Header(); o.cache != nil && status == http.StatusOK && h["Cache-Control"] == nil && h["Set-Cookie"] == nil {
		h["Cache-Control"] = o.cache
	}
	if o.tagged != nil && status == http.StatusOK && o.notModified(o.tagged, b) {
		return
	}
	if o.zip != identity && len(b) >= o.zipFrom {
		buf := buffers.Get().(*[]byte)
		defer putBuffer(buf)
		*buf = o.zip.compressed((*buf)[:0], b)
		o.w.Header()["Content-Encoding"] = codingNames[o.zip]
		b = *buf
	}
	o.send(status, contentType, b)
}

// putBuffer gives a buffer back, unless it has grown large.
func putBuffer(buf *[]byte) {
	if cap(*buf) <= maxPooled {
		buffers.Put(buf)
	}
}

// send writes status, headers and body at once. Its call needs no place for that:
// how long it takes is up to the client.
func (o *reply) send(status int, contentType []string, body []byte) {
	if o.placed != nil {
		o.placed.leave()
	}
	h := o.w.Header()
	h["Content-Type"] = contentType
	h["X-Content-Type-Options"] = nosniff
	if len(body) >= countsItself || o.head {
		h["Content-Length"] = numberHeader(len(body))
	}
	o.WriteHeader(status)
	if !o.head {
		// What goes wrong now has no one to be told: the client is gone.
		_, _ = o.Write(body)
	}
}

// countsItself is how long a body is at least of which net/http does not find the
// length by itself: it does when all of it is in its buffer at the end.
const countsItself = 2 << 10

// numberHeader is a header of a number.
func numberHeader(n int) []string { return []string{strconv.Itoa(n)} }

// staticReply is a reply made beforehand.
type staticReply struct {
	bodies [][]byte // by format
}

func newStatic(own *codecs, m *model, at unsafe.Pointer) (*staticReply, error) {
	s := staticReply{make([][]byte, own.formats())}
	for f := range s.bodies {
		var err error
		if s.bodies[f], err = own.encode(format(f), nil, m, at); err != nil {
			return nil, err
		}
	}
	return &s, nil
}

func (s *staticReply) send(o *reply) { o.body(o.own.contentType(o.format), s.bodies[o.format]) }
