package motan

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Raw is a body that is, or stays, encoded: for gateways, which pass calls on
// without knowing their types. A *Raw can be the argument of Call and Send, Raw
// the Resp of Call, and both types of Handle.
type Raw struct {
	Serialization byte   // the number in the frame header, 0 to 31
	Body          []byte // several arguments stand one behind the other
}

// encode appends the whole request with id 0.
func (c *Client) encode(b []byte, o *outgoingCall, left time.Duration) ([]byte, error) {
	if err := answerable(c.opt.Serializer, o.resp); err != nil {
		return b, err
	}
	h := header{serialization: c.opt.Serializer.ID()}
	if o.oneWay {
		h.kind = bitOneWay
	}
	raw, isRaw := o.req.(*Raw)
	if isRaw {
		h.serialization = raw.Serialization & 31
	}
	b = appendHeader(b, h)
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b = append(b, o.m.meta...)
	b = append(b, "\n"+keyTimeout+"\n"...)
	b = strconv.AppendInt(b, max(left.Milliseconds(), 1), 10)
	if sc := &o.trace; sc.IsValid() {
		b = append(b, "\n"+keyTraceparent+"\n"...)
		b = sc.AppendTraceparent(b)
		b = appendMeta(b, start, keyTracestate, sc.State)
		b = appendMeta(b, start, keyBaggage, sc.Baggage)
	}
	if o.meta != nil {
		b = append(append(b, '\n'), o.meta.pairs...)
	}
	if n := len(b) - start; n > c.opt.MaxFrame {
		return b, fmt.Errorf("%w: %d bytes of metadata, limit %d", errTooLarge, n, c.opt.MaxFrame)
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	b = append(b, 0, 0, 0, 0)
	body := len(b)
	var err error
	switch {
	case isRaw:
		b = append(b, raw.Body...)
	case o.req != nil:
		if b, err = c.opt.Serializer.Append(b, argument(c.opt.Serializer, o.req)); err != nil {
			return b, err
		}
	}
	if over := c.opt.GzipOver; over > 0 && len(b)-body > over && !isRaw {
		if b, err = deflate(b, body); err != nil {
			return b, err
		}
		b[2] |= bitGzip
	}
	n := len(b) - body
	if n > c.opt.MaxFrame {
		return b, fmt.Errorf("%w: %d bytes of body, limit %d", errTooLarge, n, c.opt.MaxFrame)
	}
	binary.BigEndian.PutUint32(b[body-4:], uint32(n))
	if o.x != nil {
		o.x.RequestBytes = n
	}
	return b, nil
}

// decode reads an answer.
func (c *Client) decode(f *frame, o *outgoingCall) error {
	if o.x != nil {
		o.x.ResponseBytes = len(f.body)
	}
	if o.span != nil && metaValue(f.meta, keyKeep) != nil {
		o.span.Keep(watchman.KeepRemote)
	}
	if f.status != statusNormal {
		return decodeError(metaValue(f.meta, keyException))
	}
	body, err := f.body, error(nil)
	if f.kind&bitGzip != 0 {
		body, err = inflate(body, c.opt.MaxFrame, new(reservation))
	}
	if raw, ok := o.resp.(*Raw); ok && err == nil {
		*raw = Raw{f.serialization, slices.Clone(body)}
		return nil
	}
	s := c.opt.Serializer
	if f.serialization != s.ID() && err == nil {
		s, err = serializerFor(f.serialization)
	}
	if err == nil && len(body) > 0 {
		err = s.Decode(body, o.resp)
	}
	return answerError(err)
}

var deflaters = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is one of the package's own
	}
	return w
}}

// deflate compresses what b holds from a place on.
func deflate(b []byte, from int) ([]byte, error) {
	var out bytes.Buffer
	w := deflaters.Get().(*gzip.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	if _, err := w.Write(b[from:]); err != nil {
		return b, err
	}
	if err := w.Close(); err != nil {
		return b, err
	}
	return append(b[:from], out.Bytes()...), nil
}

// assign stores what an interceptor answered in what the caller waits for.
func assign(to, from any) error {
	src, dst := reflect.ValueOf(from), reflect.ValueOf(to).Elem()
	if src.IsValid() && src.Kind() == reflect.Pointer && !src.IsNil() && src.Type().Elem().AssignableTo(dst.Type()) {
		dst.Set(src.Elem())
		return nil
	}
	if src.IsValid() && src.Type().AssignableTo(dst.Type()) {
		dst.Set(src)
		return nil
	}
	return &Error{Code: CodeInternal, Message: fmt.Sprintf("an interceptor answered with %T, want %s", from, dst.Type())}
}
