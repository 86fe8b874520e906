package webv4

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"time"

	"github.com/julienschmidt/httprouter"

	"github.com/heddle-go/heddle/watchman"
)

// ServeHTTP answers one request. In this order: find the interface; look at its
// switch; ask who calls; count against the quotas; bind the parameters; call
// the handler; write the reply; log.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	op, params := a.router.find(r.Method, r.URL.Path)
	if op == nil {
		op = a.none
	}
	ctx, span := op.watch.StartRemote(r.Context(), watchman.FromHeader(r.Header))
	call := &callContext{Context: ctx, ip: a.clientIP(r)}
	out := &reply{w: w, xml: op.xml, head: r.Method == http.MethodHead}
	if sc := span.SpanContext(); sc.Sampled() {
		w.Header()["Traceresponse"] = []string{string(sc.AppendTraceparent(nil))}
	}
	err := a.answer(call, out, op, params, r)
	if err != nil && !out.begun {
		out.error(r.URL.Path, errorFor(err))
	}
	a.finish(r, op, call, out, span, err, began)
}

// answer does everything between routing and writing an error.
func (a *API) answer(call *callContext, out *reply, op *operation, params httprouter.Params, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			a.stats.panics.Add(1)
			a.opt.Logger.Error("webv4: handler panicked", "interface", op.name, "panic", p, "stack", string(debug.Stack()))
			err = Wrap(CodeSystem, fmt.Errorf("handler panicked: %v", p))
		}
	}()
	switch {
	case op == a.none:
		return a.notFound(out, r)
	case op.mounted != nil:
		for _, p := range params {
			r.SetPathValue(p.Key, strings.TrimPrefix(p.Value, "/"))
		}
		op.mounted.ServeHTTP(out, r.WithContext(call))
		return nil
	}
	p := op.plan
	invoke := op.call
	if op.level.On() {
		out.degraded = true
		a.stats.degraded.Add(1)
		out.w.Header()["X-Degraded"] = []string{p.degrade}
		if op.fallback == nil {
			out.w.Header()["Retry-After"] = []string{"10"}
			return Errorf(CodeUnavailable, "")
		}
		invoke = op.fallback
	}
	if p.auth {
		if err := a.authenticate(call, p, r); err != nil {
			return err
		}
	}
	if !p.noQuota {
		if err := a.count(call, p, out.w.Header()); err != nil {
			return err
		}
	}
	timeout := p.timeout
	if timeout == 0 {
		timeout = a.opt.Timeout
	}
	// The deadline goes below the call, so that asking for the principal stays
	// one step away.
	ctx, cancel := context.WithTimeout(call.Context, timeout)
	defer cancel()
	call.Context = ctx
	result, err := invoke(call, r, params, a.opt.MaxBody)
	if err != nil {
		return err
	}
	return out.value(result)
}

// notFound answers what has no interface: OPTIONS, a wrong method, or nothing
// there.
func (a *API) notFound(out *reply, r *http.Request) error {
	allow := a.router.allowed(r.URL.Path)
	if allow == "" {
		return Errorf(CodeNoAPI, "")
	}
	out.w.Header()["Allow"] = []string{allow}
	if r.Method == http.MethodOptions {
		out.WriteHeader(http.StatusNoContent)
		return nil
	}
	return Errorf(CodeMethod, "")
}

func (a *API) authenticate(call *callContext, p *plan, r *http.Request) error {
	if len(p.form) > 0 && r.Header.Get("Authorization") == "" && r.Header.Get("Content-Type") == formType && r.Body != nil {
		if _, inQuery := pairValue(r.URL.RawQuery, "access_token"); !inQuery {
			text, err := readBody(r, a.opt.MaxBody)
			if err != nil {
				return err
			}
			r.Body = newFormBody(text)
		}
	}
	principal, err := a.opt.Authenticator.Authenticate(r)
	if err != nil {
		a.stats.unauthorized.Add(1)
		var e *Error
		if !errors.As(err, &e) {
			e = Wrap(CodeTokenInvalid, err)
		}
		return e
	}
	call.principal, call.authed = principal, true
	if !principal.allows(p.scopes) {
		return Errorf(CodePermission, "")
	}
	return nil
}

// count spends one call of each quota. The headers show the tightest.
func (a *API) count(call *callContext, p *plan, h http.Header) error {
	if len(a.quotas)+len(p.quotas) == 0 {
		return nil
	}
	now := time.Now()
	var tightest standing
	for _, list := range [2][]*quota{a.quotas, p.quotas} {
		for _, q := range list {
			key, ok := call.quotaKey(q)
			if !ok {
				continue
			}
			s := q.spend(key, now, 1)
			if tightest.quota == nil || !s.ok || s.remaining < tightest.remaining {
				tightest = s
			}
			if !s.ok {
				a.stats.limited.Add(1)
				s.writeHeaders(h)
				return Errorf(q.code(), "")
			}
		}
	}
	if tightest.quota != nil {
		tightest.writeHeaders(h)
	}
	return nil
}

// quotaKey is whom a quota counts for in this call; false if it cannot tell.
func (c *callContext) quotaKey(q *quota) (string, bool) {
	switch q.by {
	case byUser:
		return c.principal.ID, c.authed
	case byApp:
		return c.principal.App, c.authed && c.principal.App != ""
	case byIP:
		return c.ip, c.ip != ""
	}
	return "", true
}

// clientIP is who is at the other end, behind the proxies that are trusted.
func (a *API) clientIP(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	if len(a.opt.TrustedProxies) == 0 || !a.trusted(host) {
		return host
	}
	// Right to left: each trusted proxy vouches for the one before it.
	chain := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for i := len(chain) - 1; i >= 0; i-- {
		hop := strings.TrimSpace(chain[i])
		if _, err := netip.ParseAddr(hop); err != nil {
			return host
		}
		host = hop
		if !a.trusted(hop) {
			break
		}
	}
	return host
}

func (a *API) trusted(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range a.opt.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}

// errorFor is what the client sees of err.
func errorFor(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(CodeUnavailable, err)
	}
	return Wrap(CodeSystem, err)
}

// finish counts, logs and ends the span.
func (a *API) finish(r *http.Request, op *operation, call *callContext, out *reply, span *watchman.Span, err error, began time.Time) {
	a.stats.requests.Add(1)
	if out.status >= http.StatusBadRequest {
		a.stats.errors.Add(1)
	}
	if a.log != nil {
		e := entry{
			at: began, took: time.Since(began), method: r.Method, path: r.URL.Path, ip: call.ip, user: call.principal.ID,
			status: out.status, bytes: out.bytes, code: out.code, degraded: out.degraded,
		}
		if err != nil {
			e.err = errors.Unwrap(err)
		}
		if sc := span.SpanContext(); sc.Sampled() {
			e.trace = sc.TraceID.String()
		}
		a.log.add(&e)
	}
	// What the client got wrong is no error of this service.
	if err != nil && out.status < http.StatusInternalServerError {
		span.SetAttr("refused", fmt.Sprint(out.code))
		err = nil
	}
	span.End(err)
}
