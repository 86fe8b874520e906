package motan

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"github.com/heddle-go/heddle/watchman"
)

// job is one request on its way through the server; it is pooled.
type job struct {
	header
	conn   *serverConn
	method *serverMethod
	ctx    *callContext
	parent watchman.SpanContext
	began  time.Time // when it was its turn
	ended  time.Time // when the handler had returned
	body   []byte
	buf    []byte // backs body of a job that was handed over
	out    []byte // the answer being built
	room   reservation
	err    error // with which the call ended
	keep   bool  // the trace is worth keeping
	phases phases

	exchange Exchange // what interceptors see
}

var jobs = sync.Pool{New: func() any { return new(job) }}

func (j *job) release() {
	most := keepBuf
	if j.room.n > 0 && !j.room.of.keeps() {
		most = countOver
	}
	if cap(j.buf) > most {
		j.buf = nil
	}
	if cap(j.out) > most {
		j.out = nil
	}
	j.room.hold(0)
	*j = job{buf: j.buf, out: j.out}
	jobs.Put(j)
}

// stageMost is how many bytes of answers gather before they are written though
// more requests are there to be read.
const stageMost = 64 << 10

// dispatch sees to the frame that was just read. It returns false if it lost the
// reading.
func (c *serverConn) dispatch() bool {
	f, s := &c.frame, c.srv
	switch {
	case f.response():
		return true // not ours to answer
	case f.heartbeat():
		c.stage(appendHeartbeat(nil, f.id, true))
		return true
	}
	received := now()
	metaRoom := reservation{of: &s.memory}
	m, metaErr := c.last.read(f.meta, &metaRoom)
	method, err := s.find(&m)
	switch {
	case f.refused || metaErr != nil:
		err = s.reject(s.ctx, method, s.noRoom())
	case err == nil:
		err = s.admit(s.ctx, method, &m)
	}
	if err != nil {
		s.stats.calls.Add(1)
		s.stats.errors.Add(1)
		metaRoom.hold(0)
		c.fail(f.header, err)
		return true
	}
	j := jobs.Get().(*job)
	j.header, j.conn, j.method, j.body, j.room = f.header, c, method, f.body, metaRoom
	j.ctx = c.context(method, &m, received)
	if len(m.traceparent) > 0 || len(m.baggage) > 0 {
		j.parent = watchman.FromFields(view(m.traceparent), text(&c.last.tracestate, m.tracestate), text(&c.last.baggage, m.baggage))
	}
	if !method.pace.quick() {
		if f.backed {
			j.buf, f.buf = f.buf, j.buf
			j.room.n += f.room.n
			f.room.n = 0
			f.room.hold(counted(cap(f.buf)))
		} else {
			j.buf = append(j.buf[:0], f.body...)
			j.body = j.buf
			j.room.hold(j.room.n + counted(cap(j.buf)))
		}
		s.handOver(j)
		return true
	}
	s.stats.inline.Add(1)
	s.monitored()
	if !j.serve(true) {
		return false
	}
	if !j.oneWay() || s.opt.AnswerOneWay {
		c.stage(j.out)
	}
	s.done(j)
	return true
}

// view is b as a string that is good as long as b is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// stage puts an answer where the next read, or soon enough, finds it.
func (c *serverConn) stage(b []byte) {
	if c.out.stage(b) > stageMost {
		c.out.flush()
	}
}

// admit decides whether a call may begin, and counts it if so.
func (s *Server) admit(ctx context.Context, m *serverMethod, meta *callMeta) error {
	reject := func(format string, args ...any) error { return s.reject(ctx, m, fmt.Errorf(format, args...)) }
	full := func(format string, args ...any) error {
		s.relieve(&s.lookedForSlots, true)
		return reject(format, args...)
	}
	switch {
	case len(s.opt.Tokens) > 0 && !s.authorized(meta.token):
		s.stats.rejected.Add(1)
		return &Error{Code: CodeUnauthorized, Type: Service, Message: "no valid token"}
	case s.refusing.Load():
		return reject("the server is shutting down")
	case m.switched.On() || m.service.switched.On():
		return reject("%s/%s is switched off", m.names[0], m.names[1])
	case m.service.limit != nil && !m.service.limit.Allow():
		return reject("more calls of %s than %v a second", m.names[0], float64(m.service.limit.Limit()))
	case m.limit != nil && !m.limit.Allow():
		return reject("more calls of %s/%s than %v a second", m.names[0], m.names[1], float64(m.limit.Limit()))
	}
	all, of := s.inFlight.Add(1), m.inFlight.Add(1)
	most := int64(s.opt.MaxInFlight)
	var err error
	switch {
	case all > most:
		err = full("more than %d calls in flight", most)
	case s.most != nil && float64(all) > s.most.Value():
		err = full("more than %v calls in flight, as %s says", s.most.Value(), InFlightDial)
	case s.opt.MaxPerMethod > 0 && of > int64(s.opt.MaxPerMethod):
		err = full("more than %d calls of %s/%s in flight", s.opt.MaxPerMethod, m.names[0], m.names[1])
	case s.opt.MaxPerMethod == 0 && s.methods > 1 && of > most/2 && all > most/4*3:
		err = full("%d calls in flight, more than half of them of %s/%s", all, m.names[0], m.names[1])
	case m.answers.Load() > 0 && !s.answersFit(m.answers.Load(), of):
		err = s.reject(ctx, m, s.noRoom())
	}
	if err == nil && s.opt.Limiter != nil {
		if lerr := s.opt.Limiter.Acquire(); lerr != nil {
			err = reject("%v", lerr)
		}
	}
	if err != nil {
		s.inFlight.Add(-1)
		m.inFlight.Add(-1)
	}
	return err
}

// reject refuses a call of m, which may be nil.
func (s *Server) reject(ctx context.Context, m *serverMethod, reason error) error {
	err := s.rejected(reason)
	if m != nil {
		m.op.Observe(ctx, 0, err) // no span: refusing must stay cheap
	}
	return err
}

// ended gives back what admit gave. What the application itself answers is no
// failure to the limiter.
func (s *Server) ended(m *serverMethod, received time.Time, err error) {
	if s.opt.Limiter != nil {
		var e *Error
		if !errors.As(err, &e) || e.Type == Business {
			err = nil
		}
		s.opt.Limiter.Release(time.Since(received), err)
	}
	s.inFlight.Add(-1)
	m.inFlight.Add(-1)
}

// authorized compares in a time that says nothing about the tokens.
func (s *Server) authorized(token []byte) bool {
	given := sha256.Sum256(token)
	ok := 0
	for _, t := range s.opt.Tokens {
		want := sha256.Sum256([]byte(t))
		ok |= subtle.ConstantTimeCompare(given[:], want[:])
	}
	return ok == 1
}

// done ends an admitted job.
func (s *Server) done(j *job) {
	s.ended(j.method, j.ctx.received, j.err)
	j.release()
}

// handOver gives a job to a worker.
func (s *Server) handOver(j *job) {
	select {
	case s.work <- j: // a worker was waiting
	default:
		s.all.Go(func() { s.worker(j) })
	}
}

// workerIdle is about how often a worker looks whether it is still needed.
const workerIdle = 10 * time.Second

// worker works on j and then on whatever comes, so that its stack, once grown,
// is used again.
func (s *Server) worker(j *job) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		j.serve(false)
		j.send()
		s.done(j)
		// The timer is set anew only when it has run, so a busy worker pays nothing.
		select {
		case j = <-s.work:
			continue
		case <-s.ctx.Done():
			return
		case <-idle.C:
			idle.Reset(workerIdle)
		}
		select {
		case j = <-s.work:
		default:
			return
		}
	}
}

func (j *job) send() {
	if !j.oneWay() || j.conn.srv.opt.AnswerOneWay {
		// It fails only with the connection, and then nobody waits.
		j.conn.out.send(j.out, true, time.Time{}, nil)
	}
}

// serve runs the handler and builds the answer. An inline one has the reading; if
// it loses that, serve sends the answer itself, ends the job and returns false.
func (j *job) serve(inline bool) (kept bool) {
	s, c, method := j.conn.srv, j.conn, j.method
	j.began = j.ctx.received
	if !inline { // it has waited for a goroutine to run on
		j.began = now()
	}
	ctx, span := method.op.StartRemoteAt(j.ctx, j.parent, j.ctx.received)
	if span != nil {
		j.phases.init(span, j.parent.Sampled() || !j.parent.IsValid() && span.SpanContext().Sampled())
		j.phases.begin("decode")
	}
	resp, kept, err := j.run(ctx, inline)
	if err == nil {
		j.phases.begin("encode")
		err = j.answer(resp, span)
	}
	if j.room.n > 0 {
		j.requestGone()
	}
	if n := len(j.out); err == nil && (n > countOver || method.answers.Load() > 0) {
		err = j.answerRoom(n)
	}
	if err != nil {
		j.keep = span.Keeping(err)
		j.out = appendException(j.out[:0], j.header, encodeError(err), j.keep)
		s.stats.errors.Add(1)
	}
	j.err = err
	s.stats.calls.Add(1)
	j.ctx.end()
	if span != nil {
		if j.keep {
			j.tell(span, err)
		}
		span.End(err)
	}
	if !kept {
		c.srv.opt.Logger.Debug("motan: a quick handler was not", "method", method.names[0]+"/"+method.names[1])
		j.send()
		s.done(j)
	}
	return kept
}

// requestGone gives up the room of the request, whose handler has returned.
func (j *job) requestGone() {
	if cap(j.buf) > keepBuf {
		j.buf = nil
	}
	j.body, j.exchange = nil, Exchange{}
	j.room.hold(counted(cap(j.buf)))
}

// answerRoom makes room for the answer. Its call has been executed: the error must
// not be one that says the contrary.
func (j *job) answerRoom(n int) error {
	j.method.answered(n)
	more := int64(0)
	if n > countOver {
		more = int64(cap(j.out))
	}
	if j.room.askForAnswer(j.room.n + more) {
		return nil
	}
	s := j.conn.srv
	reason := s.noRoom()
	if j.room.askForAnswer(j.room.n + more) { // those who do not read have lost theirs
		return nil
	}
	j.out = nil
	return &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("executed, but an answer of %d bytes has %v", n, reason)}
}

// run decodes the argument and calls the handler.
func (j *job) run(ctx context.Context, inline bool) (resp any, kept bool, err error) {
	s, method := j.conn.srv, j.method
	kept = true
	turn := uint64(0) // not 0 while the handler runs inline
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, s.panicked(method, p)
		}
		if turn != 0 && !j.conn.turn.CompareAndSwap(turn, turn+1) {
			kept = false
			method.pace.delayed()
		}
	}()
	if !inline {
		if d := j.ctx.deadline; !d.IsZero() && !j.began.Before(d) {
			s.stats.expired.Add(1) // nobody waits for it
			return nil, kept, &Error{Code: CodeTimeout, Type: Service, Message: "deadline passed before the call began", cause: context.DeadlineExceeded}
		}
	}
	req, err := j.argument()
	if err != nil {
		return nil, kept, err
	}
	j.phases.begin("handle")
	if inline {
		turn = j.conn.turn.Add(1)
	}
	if method.invoke == nil {
		resp, err = method.call(ctx, req)
	} else {
		j.exchange = Exchange{
			Service: method.names[0], Method: method.names[1], Peer: j.conn.peer, Request: req, RequestBytes: len(j.body),
		}
		err = method.invoke(ctx, &j.exchange)
		resp = j.exchange.Response
	}
	j.ended = now()
	method.pace.took(j.ended.Sub(j.began))
	if err != nil {
		err = serverError(ctx, err)
	}
	return resp, kept, err
}

// argument decodes the body.
func (j *job) argument() (any, error) {
	bad := func(err error) error {
		return &Error{Code: CodeInternal, Type: Service, Message: badArgument + err.Error()}
	}
	s, body := j.conn.srv, j.body
	if j.kind&bitGzip != 0 {
		var err error
		switch body, err = inflate(body, s.opt.MaxFrame, &j.room); {
		case err == errNoRoom:
			return nil, s.rejected(s.noRoom())
		case err != nil:
			return nil, bad(err)
		}
	}
	req := j.method.request()
	if len(body) > countOver && !j.room.ask(j.room.n+valuesOf(req, len(body))) {
		return nil, s.rejected(s.noRoom())
	}
	if raw, ok := req.(*Raw); ok {
		*raw = Raw{j.serialization, slices.Clone(body)}
		return req, nil
	}
	ser, err := serializerFor(j.serialization)
	if err != nil {
		return nil, bad(err)
	}
	if err := decodeArgument(ser, body, req); err != nil {
		return nil, bad(err)
	}
	return req, nil
}

// panicked is the error of a call that panicked with p.
func (s *Server) panicked(m *serverMethod, p any) error {
	s.opt.Logger.Error("motan: handler panicked", "method", m.names[0]+"/"+m.names[1], "panic", p, "stack", string(debug.Stack()))
	return &Error{Code: CodeInternal, Type: Service, Message: "provider call panic"}
}

// answer builds the frame of a normal answer. The application may have written
// methods that encode it.
func (j *job) answer(resp any, span *watchman.Span) (err error) {
	s := j.conn.srv
	defer func() {
		if p := recover(); p != nil {
			err = s.panicked(j.method, p)
		}
	}()
	h := header{kind: bitResponse, serialization: j.serialization, id: j.id}
	raw, isRaw := resp.(*Raw)
	if isRaw {
		h.serialization = raw.Serialization & 31
	}
	b := appendHeader(j.out[:0], h)
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b = append(b, keyProcessTime+"\n"...)
	b = strconv.AppendInt(b, j.ended.Sub(j.ctx.received).Milliseconds(), 10)
	b = j.ctx.appendReply(b)
	if j.keep = span.KeepingAt(j.ended, nil); j.keep {
		b = appendMeta(b, start, keyKeep, "1")
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	bad := func(err error) error {
		return &Error{Code: CodeInternal, Type: Service, Message: badAnswer + err.Error(), cause: err}
	}
	if n := len(b) - start; n > s.opt.MaxFrame {
		return bad(fmt.Errorf("%w: %d bytes of metadata, limit %d", errTooLarge, n, s.opt.MaxFrame))
	}
	b = append(b, 0, 0, 0, 0)
	body := len(b)
	switch {
	case isRaw:
		b = append(b, raw.Body...)
	case resp != nil:
		ser, err := serializerFor(j.serialization)
		if err == nil {
			b, err = ser.Append(b, resp)
		}
		if err != nil {
			return bad(err)
		}
	}
	if over := s.opt.GzipOver; over > 0 && len(b)-body > over && !isRaw {
		var err error
		if b, err = deflate(b, body); err != nil {
			return bad(err)
		}
		b[2] |= bitGzip
	}
	if n := len(b) - body; n > s.opt.MaxFrame {
		return bad(fmt.Errorf("%w: %d bytes of body, limit %d", errTooLarge, n, s.opt.MaxFrame))
	}
	binary.BigEndian.PutUint32(b[body-4:], uint32(len(b)-body))
	j.out = b
	return nil
}

// fail answers with an exception from the goroutine that has the reading.
func (c *serverConn) fail(h header, err error) {
	if h.oneWay() && !c.srv.opt.AnswerOneWay {
		return
	}
	c.stage(appendException(nil, h, encodeError(err), false))
}

// appendException appends an exception answer to a request with header h; text is
// the value of M_e. With keep set the caller is told to keep its part of the trace.
func appendException(b []byte, h header, text string, keep bool) []byte {
	b = appendHeader(b, header{kind: bitResponse, status: statusException, serialization: h.serialization, id: h.id})
	b = append(b, 0, 0, 0, 0)
	start := len(b)
	b = appendMeta(b, start, keyProcessTime, "0")
	b = appendMeta(b, start, keyException, text)
	if keep {
		b = appendMeta(b, start, keyKeep, "1")
	}
	binary.BigEndian.PutUint32(b[start-4:], uint32(len(b)-start))
	return append(b, 0, 0, 0, 0)
}

// context makes the context of a handler.
func (c *serverConn) context(method *serverMethod, m *callMeta, received time.Time) *callContext {
	ctx := &callContext{Context: c.srv.ctx, method: method, caller: c.last.from(c.peer, m), id: c.frame.id, received: received, meta: m.added}
	if m.timeout > 0 {
		ctx.deadline = received.Add(m.timeout)
	}
	return ctx
}
