package motan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// request is one frame on its way through the server; it is pooled.
type request struct {
	frame
	conn *serverConn
	at   time.Time // when it had been read
	out  []byte    // the answer being built
}

var requests = sync.Pool{New: func() any { return new(request) }}

func takeRequest(c *serverConn) *request {
	q := requests.Get().(*request)
	q.conn = c
	return q
}

func (q *request) release() {
	if cap(q.buf) > keepBuf {
		q.buf = nil
	}
	if cap(q.out) > keepBuf {
		q.out = nil
	}
	q.conn, q.meta, q.body = nil, nil, nil
	requests.Put(q)
}

// dispatch answers what needs no handler and gives the rest to a worker.
func (s *Server) dispatch(q *request) {
	switch {
	case q.response():
		q.release() // not ours to answer
		return
	case q.heartbeat():
		id := q.id
		q.conn.out.Append(func(b []byte) []byte { return appendHeartbeat(b, id, true) })
		q.release()
		return
	}
	q.at = time.Now()
	if s.inFlight.Add(1) > int64(s.opt.MaxInFlight) {
		s.inFlight.Add(-1)
		s.stats.rejected.Add(1)
		q.fail(&Error{Code: CodeReject, Type: Service, Message: fmt.Sprintf("more than %d calls in flight", s.opt.MaxInFlight)})
		q.release()
		return
	}
	select {
	case s.work <- q: // a worker was waiting
	default:
		s.workers.Add(1)
		go s.worker(q)
	}
}

// worker works on q and then on whatever comes, so that its stack, once grown,
// is used again.
func (s *Server) worker(q *request) {
	defer s.workers.Done()
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		s.serve(q)
		s.inFlight.Add(-1)
		// The timer is set anew only when it has run, so a busy worker pays nothing.
		select {
		case q = <-s.work:
			continue
		case <-s.stop:
			return
		case <-idle.C:
			idle.Reset(workerIdle)
		}
		select {
		case q = <-s.work:
		default:
			return
		}
	}
}

// workerIdle is about how often a worker looks whether it is still needed.
const workerIdle = 10 * time.Second

// callMeta is what a server wants to know of a request's metadata.
type callMeta struct {
	service, method                  []byte
	timeout                          time.Duration
	traceparent, tracestate, baggage []byte
	application                      []byte
	framework                        bool
}

func (m *callMeta) read(meta []byte) {
	pairs(meta, func(k, v []byte) {
		switch string(k) {
		case keyService:
			m.service = v
		case keyMethod:
			m.method = v
		case keyTimeout:
			if ms, err := strconv.ParseUint(string(v), 10, 31); err == nil {
				m.timeout = time.Duration(ms) * time.Millisecond
			}
		case keyTraceparent:
			m.traceparent = v
		case keyTracestate:
			m.tracestate = v
		case keyBaggage:
			m.baggage = v
		case keyApplication:
			m.application = v
		case keyFramework:
			m.framework = true
		}
	})
}

// serve answers one call.
func (s *Server) serve(q *request) {
	defer q.release()
	var m callMeta
	m.read(q.meta)
	method, err := s.find(&m)
	if err != nil {
		s.stats.calls.Add(1)
		s.stats.errors.Add(1)
		q.fail(err)
		return
	}
	ctx := s.ctx
	if m.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.at.Add(m.timeout))
		defer cancel()
	}
	parent := watchman.SpanContext{}
	if len(m.traceparent) > 0 || len(m.baggage) > 0 {
		parent = watchman.FromFields(string(m.traceparent), string(m.tracestate), string(m.baggage))
	}
	ctx, span := method.op.StartRemote(ctx, parent)
	q.out = appendHeader(q.out[:0], header{kind: bitResponse, serialization: q.serialization, id: q.id})
	err = s.run(ctx, method, q)
	s.stats.calls.Add(1)
	if err != nil {
		s.stats.errors.Add(1)
		q.fail(err)
	} else if !q.oneWay() {
		q.conn.out.Write(q.out)
	}
	span.End(err)
}

// find looks the method up. The two messages about what is missing are part of
// the protocol: clients act on them.
func (s *Server) find(m *callMeta) (*serverMethod, error) {
	methods := s.services[string(m.service)]
	if methods == nil {
		if m.framework {
			return nil, &Error{Code: CodeUnsupported, Type: Service, Message: "service not support"}
		}
		return nil, &Error{Code: CodeNotFound, Type: Service, Message: "provider not exist serviceKey=" + string(m.service)}
	}
	if method := methods[string(m.method)]; method != nil {
		return method, nil
	}
	return nil, &Error{Code: CodeInternal, Type: Service, Message: "method " + string(m.method) + " is not found in provider."}
}

// run calls the handler and builds the answer in q.out behind the header.
func (s *Server) run(ctx context.Context, method *serverMethod, q *request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.opt.Logger.Error("motan: handler panicked", "method", method.op.Name(), "panic", p, "stack", string(debug.Stack()))
			err = &Error{Code: CodeInternal, Type: Service, Message: "provider call panic"}
		}
	}()
	if err := ctx.Err(); err != nil { // expired on the way: nobody waits for it
		return &Error{Code: CodeTimeout, Type: Service, Message: "deadline passed before the call began", cause: err}
	}
	ser, err := serializerFor(q.serialization)
	if err != nil {
		return &Error{Code: CodeInternal, Type: Service, Message: err.Error()}
	}
	body := q.body
	if q.kind&bitGzip != 0 {
		if body, err = inflate(body, s.opt.MaxFrame); err != nil {
			return &Error{Code: CodeInternal, Type: Service, Message: err.Error()}
		}
	}
	b := append(q.out, 0, 0, 0, 0)
	meta := len(b)
	b = append(b, keyProcessTime+"\n"...)
	// The processing time comes before the body but is known after it: three
	// digits are room enough, longer ones are cut to 999.
	pt := len(b)
	b = append(b, '0', '0', '0')
	binary.BigEndian.PutUint32(b[meta-4:], uint32(len(b)-meta))
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b, err = method.serve(ctx, ser, body, b)
	q.out = b[:headLen]
	if err != nil {
		var e *Error
		if !errors.As(err, &e) && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = &Error{Code: CodeTimeout, Type: Service, Message: err.Error(), cause: err}
		}
		return err
	}
	if len(b)-start > s.opt.MaxFrame {
		return &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("answer of %d bytes, limit %d", len(b)-start, s.opt.MaxFrame)}
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	ms := min(time.Since(q.at).Milliseconds(), 999)
	b[pt], b[pt+1], b[pt+2] = byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10)
	q.out = b
	return nil
}

// fail answers with an exception.
func (q *request) fail(err error) {
	if q.oneWay() {
		return
	}
	text := encodeError(err)
	h := header{serialization: q.serialization, id: q.id}
	q.conn.out.Append(func(b []byte) []byte { return appendException(b, h, text) })
}

// appendException appends an exception answer; text is the value of M_e.
func appendException(b []byte, h header, text string) []byte {
	h.kind, h.status = bitResponse, statusException
	b = appendHeader(b, h)
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b = appendMeta(b, start, keyProcessTime, "0")
	b = appendMeta(b, start, keyException, text)
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return append(b, 0, 0, 0, 0)
}
