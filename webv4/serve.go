package webv4

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"runtime/debug"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// ServeHTTP answers one request. In this order: find the interface; look at its
// degrade point and at the load; ask who calls; count against the quotas; bind the parameters; call
// the handler; write the reply; log.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := now()
	out := newReply()
	out.w, out.head = w, r.Method == http.MethodHead
	var op *operation
	if r.URL.RawPath == "" {
		op = a.router.find(out, r.Method, r.URL.Path)
	} else {
		op = a.router.findEscaped(out, r.Method, r.URL)
	}
	if op == nil {
		op = a.none
	}
	if op.lends {
		out = out.lent()
	}
	out.style, out.own, out.codes = op.style, op.own, op.codes
	if out.format = op.format; op.accepts {
		out.format = negotiate(r.Header["Accept"], op.own)
	}
	c := a.newCall(op, began, w, r, out)
	var span *watchman.Span
	if op.watch != nil {
		c.Context, span = op.watch.StartRemote(c.Context, watchman.FromHeader(r.Header))
		if sc := span.SpanContext(); sc.Sampled() {
			w.Header()["Traceresponse"] = []string{string(sc.AppendTraceparent(nil))}
		}
	}
	if a.opt.RequestIDs {
		c.caller.id = a.requestID(r)
		w.Header()["X-Request-Id"] = []string{c.caller.id}
	}
	var err error
	var abort bool
	if op.outer != nil {
		err, abort = a.through(c, op, r)
	} else {
		err, abort = a.respond(c, c, op, r)
	}
	c.end()
	a.finish(r, c, span, err)
	if abort {
		// What was written is not the whole reply: the client must not take it for one.
		panic(http.ErrAbortHandler)
	}
	c.out.free()
}

// respond answers and, if that fails, writes the error. abort says that the
// reply is broken off.
func (a *API) respond(ctx context.Context, c *call, op *operation, r *http.Request) (err error, abort bool) {
	err = a.answer(ctx, c, op, r)
	out := c.out
	abort = err == http.ErrAbortHandler || err != nil && out.begun
	switch {
	case out.begun:
	case abort:
		out.status = statusGone
	case err != nil:
		e := a.errorFor(c, err)
		seen := out.codes.seen(e)
		if seen.Status == http.StatusUnauthorized {
			op.challenge(out.w.Header(), r, e)
		}
		out.error(r.URL.Path, seen)
	default:
		out.status = http.StatusOK // a mounted handler that wrote nothing
	}
	return err, abort
}

// answer does everything between routing and writing an error. Each stage that
// undoes something at its end is a function of its own, with one return: the
// compiler makes such a defer cost nothing.
func (a *API) answer(ctx context.Context, c *call, op *operation, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = a.recovered(op, p)
		}
	}()
	err = a.enter(ctx, c, op, r)
	return err
}

// enter decides by what is known without asking anybody: the address, the path,
// the degrade points and the load.
func (a *API) enter(ctx context.Context, c *call, op *operation, r *http.Request) error {
	if a.deny != nil && a.deny.denies(c.caller.ip) {
		a.stats.denied.Add(1)
		return refusal(CodeIPDenied)
	}
	if a.opt.CORS != nil && a.opt.CORS.apply(c.out, r, &a.router) {
		return nil
	}
	switch {
	case op == a.none:
		return a.notFound(c.out, r)
	case op.mounted != nil:
		for i, value := range c.out.path {
			r.SetPathValue(op.names[i], value)
		}
		op.mounted.ServeHTTP(c.out, r.WithContext(ctx))
		return nil
	}
	p := op.plan
	step := Normal
	if len(op.points) > 0 {
		if step = a.degrade(c, op); step >= Shed {
			return c.unavailable()
		}
	}
	if p.timeout > 0 {
		c.timeout = p.timeout
	} else if !op.streams {
		c.timeout = a.opt.Timeout
	}
	if sent := r.Header["X-Deadline-Ms"]; len(sent) == 1 && !c.hurry(sent[0]) {
		c.rejected = true
		return refusal(CodeExpired)
	}
	a.prepare(c, op, r)
	l := op.limiter
	if l == nil || a.batches && l == c.within(r.Context()) {
		return a.admit(ctx, c, op, r, step)
	}
	began, ok := l.enter(ctx, p.class)
	if left := l.strain.refuse.Load(); left != 0 {
		c.w.Header()["X-Admission"] = admissions[left]
	}
	if !ok {
		return a.busy(c)
	}
	c.entered, c.out.placed = began, c
	if op.waits(r) {
		return a.placed(ctx, c, op, r, step)
	}
	return a.limited(ctx, c, op, r, step)
}

// busy refuses what there is no place for.
func (a *API) busy(c *call) error {
	a.stats.shed.Add(1)
	c.rejected = true
	c.w.Header()["Retry-After"] = retryNow
	return refusal(CodeBusy)
}

// limited is admit for a call that has a place in the limiter.
func (a *API) limited(ctx context.Context, c *call, op *operation, r *http.Request, step Level) (err error) {
	defer c.leave()
	err = a.admit(ctx, c, op, r, step)
	return err
}

// admit asks who calls and counts against the quotas, and answers in the handler's
// place what is to be answered so.
func (a *API) admit(ctx context.Context, c *call, op *operation, r *http.Request, step Level) error {
	p := op.plan
	if p.auth {
		if full := a.full(c, op); full != nil {
			return full
		}
		if err := a.authenticate(c, op, r); err != nil {
			if e := asError(err); !c.caller.authed && e != nil && e.Code == CodeTokenMissing {
				return err
			}
			// Those who guess, or try what they may not, use up their own quotas.
			c.caller.refused = true
			if full := a.count(ctx, c, op, c.began); full != nil {
				return full
			}
			return err
		}
	}
	if len(op.quotas) > 0 {
		if err := a.count(ctx, c, op, c.began); err != nil {
			return err
		}
	}
	invoke := op.call
	switch {
	case step == Stale:
		if kept := a.kept.get(replyKey(c, r), c.began, p.steps.stale); kept != nil {
			c.rejected = true
			kept.send(c.out, c.began)
			return nil
		}
	case step == Static && op.static != nil:
		c.rejected = true
		op.static.send(c.out)
		return nil
	case step == Static:
		if op.fallback == nil {
			return c.unavailable()
		}
		c.rejected = true
		invoke = op.fallback
	}
	var seen *Call
	if len(op.filters)+len(op.around) > 0 {
		seen = &Call{op: op, r: r}
		for _, f := range op.filters {
			if err := f(ctx, seen); err != nil {
				return err
			}
		}
	}
	if p.once > 0 && !c.rejected {
		done, err := a.once(ctx, c, op, r)
		if done || err != nil {
			return err
		}
		if c.out.claim != nil {
			return a.claimed(ctx, c, op, r, step, invoke, seen)
		}
	}
	return a.handle(ctx, c, op, r, step, invoke, seen)
}

// claimed is handle for a call that holds an Idempotency-Key.
func (a *API) claimed(ctx context.Context, c *call, op *operation, r *http.Request, step Level, invoke handler, seen *Call) (err error) {
	cl := c.out.claim
	defer func() {
		if err := errors.Join(c.out.unkept, cl.release()); err != nil {
			a.stats.onceFailed.Add(1)
			a.opt.Logger.Warn("webv4: idempotency store", "interface", op.name, "error", err)
		}
	}()
	err = a.handle(ctx, c, op, r, step, invoke, seen)
	return err
}

// handle binds the parameters, calls the handler and writes the reply.
func (a *API) handle(ctx context.Context, c *call, op *operation, r *http.Request, step Level, invoke handler, seen *Call) error {
	p := op.plan
	if p.hasBody() {
		if _, known := codingOf(r); !known {
			c.w.Header()["Accept-Encoding"] = acceptCodings
		}
	}
	req, err := op.bind(r, c.out.path, a.opt.MaxBody)
	if err != nil {
		return err
	}
	m, err := op.view(step, r)
	if err != nil {
		return err
	}
	var result any
	if len(op.around) == 0 {
		result, err = invoke(ctx, req)
	} else {
		seen.input = req
		result, err = intercepted(ctx, op.around, seen, invoke)
	}
	if err != nil && op.breaker != nil && errors.Is(err, errBroken) {
		var done bool
		if done, result, err = a.broke(ctx, c, op, r, req); done {
			return nil
		}
	}
	if err != nil {
		return err
	}
	if p.steps.has[Stale] && (step == Normal || step == Stale) && !c.rejected {
		c.out.keep = func(contentType []string, body []byte) {
			a.kept.put(replyKey(c, r), contentType, body, c.began, p.steps.stale)
		}
	}
	if op.streams || reflect.TypeOf(result) != op.promised { // an interceptor's may be of any type
		if w, ok := result.(replier); ok {
			c.out = c.out.lent()
			c.leave()
			return w.reply(ctx, c, r)
		}
	}
	if p.cache != nil && step == Normal && !c.rejected {
		c.out.cache = p.cache
		if h := c.w.Header(); p.varies != nil {
			h["Vary"] = addVary(h["Vary"], p.varies)
		}
	}
	c.out.status = int(c.status)
	return c.out.result(op, m, result)
}

// unavailable refuses what is switched off.
func (c *call) unavailable() error {
	c.rejected = true
	c.w.Header()["Retry-After"] = retrySoon
	return refusal(CodeUnavailable)
}

// broke answers in the place of a handler that the breaker keeps calls away
// from, by the softest of the interface's steps that can; done says that the
// reply is written.
func (a *API) broke(ctx context.Context, c *call, op *operation, r *http.Request, req any) (done bool, result any, err error) {
	c.rejected = true
	c.out.claim = nil // the next try may be done
	s := &op.plan.steps
	if s.has[Stale] {
		if kept := a.kept.get(replyKey(c, r), c.began, s.stale); kept != nil {
			c.level = int8(Stale)
			a.degraded(c, op, Stale, byBreaker)
			kept.send(c.out, c.began)
			return true, nil, nil
		}
	}
	switch {
	case op.static != nil:
		c.level = int8(Static)
		a.degraded(c, op, Static, byBreaker)
		op.static.send(c.out)
		return true, nil, nil
	case op.fallback != nil:
		c.level = int8(Static)
		a.degraded(c, op, Static, byBreaker)
		result, err = op.fallback(ctx, req)
		return false, result, err
	}
	a.degraded(c, op, Off, byBreaker)
	return false, nil, c.unavailable()
}

// The Retry-After of what is switched off, and of what is too much now.
var (
	retrySoon = []string{"10"}
	retryNow  = []string{"1"}
)

// recovered isolates a handler's panic.
func (a *API) recovered(op *operation, p any) error {
	if p == http.ErrAbortHandler {
		return http.ErrAbortHandler
	}
	a.stats.panics.Add(1)
	a.opt.Logger.Error("webv4: handler panicked", "interface", op.name, "panic", p, "stack", string(debug.Stack()))
	return Wrap(CodeSystem, fmt.Errorf("handler panicked: %v", p))
}

// requestID is the one that a trusted proxy sent, or a new one.
func (a *API) requestID(r *http.Request) string {
	if sent := r.Header["X-Request-Id"]; len(sent) == 1 && validID(sent[0]) {
		if _, trusted := a.peer(r); trusted {
			return sent[0]
		}
	}
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	return hex.EncodeToString(raw[:])
}

// validID reports whether a request id is short and of harmless characters.
func validID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '-' && c != '_' && c != '.' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// notFound answers what has no interface: OPTIONS, a wrong method, or nothing
// there.
func (a *API) notFound(out *reply, r *http.Request) error {
	out.style, out.codes = a.looksOf(r.URL.Path)
	allow := a.router.allowed(out, pathOf(r.URL))
	if allow == "" {
		return refusal(CodeNoAPI)
	}
	out.w.Header()["Allow"] = []string{allow}
	if r.Method == http.MethodOptions {
		out.WriteHeader(http.StatusNoContent)
		return nil
	}
	return refusal(CodeMethod)
}

func (a *API) authenticate(c *call, op *operation, r *http.Request) error {
	p := op.plan
	if r.Body != nil && r.Header.Get("Authorization") == "" && isForm(r.Header.Get("Content-Type")) {
		if _, inQuery := pairValue(r.URL.RawQuery, "access_token"); !inQuery {
			text, err := readBody(r, a.opt.MaxBody)
			if err != nil {
				return err
			}
			r.Body = newFormBody(text)
		}
	}
	principal, err := op.auth.of(r)
	if err != nil {
		a.stats.unauthorized.Add(1)
		if e := asError(err); e != nil {
			return e
		}
		return Wrap(CodeTokenInvalid, err)
	}
	c.caller.principal, c.caller.authed = principal, true
	if a.deny != nil {
		if code := a.deny.deniesPrincipal(&c.caller.principal); code != 0 {
			a.stats.denied.Add(1)
			return refusal(code)
		}
	}
	if principal.Level < p.level {
		return refusal(CodeAppPermission)
	}
	if !principal.allows(p.scopes) {
		if len(op.unscoped) > 0 && hasToken(r) {
			c.w.Header()["Www-Authenticate"] = op.unscoped
		}
		return refusal(CodePermission)
	}
	return nil
}

// errorFor is what the client sees of err.
func (a *API) errorFor(c *call, err error) *Error {
	if e, ok := err.(*Error); ok && e.cause == nil {
		return e
	}
	e := asError(err)
	switch {
	case errors.Is(err, context.Canceled) && c.Context.Err() != nil:
		// The client is gone; this is for the access log.
		return &Error{Status: statusGone, Code: CodeExpired, Message: errorTable[CodeExpired].text, cause: err}
	case e != nil:
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(CodeExpired, err)
	}
	return Wrap(CodeSystem, err)
}

// statusGone is what the access log shows when the client closed the
// connection before there was an answer (nginx's convention).
const statusGone = 499

// finish counts, logs and ends the span.
func (a *API) finish(r *http.Request, c *call, span *watchman.Span, err error) {
	out := c.out
	a.stats.requests.Add(1)
	if out.status >= http.StatusBadRequest {
		a.stats.errors.Add(1)
	}
	if out.status == statusGone {
		a.stats.gone.Add(1)
	}
	if a.log != nil && (a.opt.LogSample == 0 || out.status >= http.StatusBadRequest || rand.Float64() < a.opt.LogSample) {
		end := time.Now()
		took := end.Sub(c.began.mono())
		e := entry{
			at: end.Add(-took), took: took, method: r.Method, path: r.URL.Path, ip: c.caller.ip, user: c.caller.principal.ID,
			status: out.status, bytes: out.bytes, code: out.code, degraded: out.degraded, id: c.caller.id, err: err,
			proto: r.Proto, referer: r.Referer(), agent: r.UserAgent(),
		}
		if own := asError(err); own != nil {
			e.err = own.cause // the rest is what the client saw
		}
		if sc := span.SpanContext(); sc.Sampled() {
			e.trace = sc.TraceID.String()
		}
		a.log.add(&e)
	}
	if c.rejected {
		// The handler was not asked: a control loop learns nothing from this call.
		if err != nil {
			span.SetAttr("refused", codeText(out.code))
		} else {
			span.SetAttr("degraded", Level(c.level).String())
		}
		span.End(watchman.ErrRejected)
		return
	}
	// What the client got wrong is no error of this service.
	if err != nil && out.status >= http.StatusBadRequest && out.status < http.StatusInternalServerError {
		span.SetAttr("refused", codeText(out.code))
		err = nil
	}
	span.End(err)
}
