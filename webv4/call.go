package webv4

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// call is one request on its way through the API: the context that its handler
// gets, and what is known through it. It is never used again, so a context that a
// handler's goroutine kept stays valid; what only this package sees is in reply,
// which is.
//
// The deadline costs nothing until somebody asks for Done: then a timer is
// started. A handler that only computes never pays for one.
type call struct {
	context.Context // what the request came with, and the span

	op     *operation
	r      *http.Request
	w      http.ResponseWriter
	out    *reply  // for this package's own use, until the call has ended
	caller *caller // one of its own if operation.asks

	began   moment
	entered int64         // when it got its place in the limiter, plus what it waited since; 0: it has none
	timeout time.Duration // 0: the request's own deadline
	timer   atomic.Pointer[timer]

	status   int16 // that the handler set, 0 for none
	level    int8
	rejected bool // the handler was not asked, because of load, a quota or a degradation
	ended    atomic.Bool
}

// caller is what is known of who makes a call.
type caller struct {
	principal Principal
	authed    bool
	refused   bool // with 401 or 403
	ip        string
	rateLimit [1]string // the header
	id        string    // of the request; "" without Options.RequestIDs

	// inside is held while what the middleware wraps has the call; some middleware,
	// http.TimeoutHandler for one, returns before that does.
	inside sync.Mutex
	closed bool // the middleware has returned
}

// nobody is the caller of calls of which nobody asks who makes them; it stays empty.
var nobody caller

// newCall makes the call of an operation. Each field is set here: to what is new
// that costs no write barrier.
func (a *API) newCall(op *operation, began moment, w http.ResponseWriter, r *http.Request, out *reply) *call {
	if !op.asks {
		return &call{Context: r.Context(), op: op, began: began, w: w, r: r, out: out, caller: &nobody}
	}
	both := &struct {
		call
		caller
	}{
		call{Context: r.Context(), op: op, began: began, w: w, r: r, out: out},
		caller{ip: a.clientIP(r)},
	}
	both.call.caller = &both.caller
	return &both.call
}

// ip is the address of the client, "" if it is not known.
func (c *call) ip() string {
	if c.caller == &nobody { // there are neither proxies nor middleware to change it
		return hostOf(c.r)
	}
	return c.caller.ip
}

// timer is the deadline when somebody waits for it.
type timer struct {
	context.Context
	cancel context.CancelFunc
}

// Deadline returns the earlier of the interface's and the request's.
func (c *call) Deadline() (time.Time, bool) {
	d, ok := c.Context.Deadline()
	if c.timeout == 0 {
		return d, ok
	}
	if own := (c.began + moment(c.timeout)).time(); !ok || own.Before(d) {
		return own, true
	}
	return d, true
}

// Done is closed at the deadline, when the client is gone, or when the handler
// has returned.
func (c *call) Done() <-chan struct{} { return c.timed().Done() }

// Err tells why Done is closed.
func (c *call) Err() error {
	if t := c.timer.Load(); t != nil {
		return t.Err()
	}
	if err := c.Context.Err(); err != nil {
		return err
	}
	if c.ended.Load() || c.timeout != 0 && now().sub(c.began) >= c.timeout {
		return c.timed().Err() // settles it: from now on the answer is the same
	}
	return nil
}

// timed starts the timer, the first time.
func (c *call) timed() *timer {
	if t := c.timer.Load(); t != nil {
		return t
	}
	t := &timer{}
	if c.timeout == 0 {
		t.Context, t.cancel = context.WithCancel(c.Context)
	} else {
		t.Context, t.cancel = context.WithTimeout(c.Context, c.timeout-now().sub(c.began))
	}
	if !c.timer.CompareAndSwap(nil, t) {
		t.cancel()
		return c.timer.Load()
	}
	if c.ended.Load() {
		t.cancel()
	}
	return t
}

// end cancels the context: the handler has returned.
func (c *call) end() {
	c.ended.Store(true)
	if t := c.timer.Load(); t != nil {
		t.cancel()
	}
}

type callKey struct{}

// Value finds the call itself, and below it what the request's context has. The
// timer is asked if there is one, so that contexts made from this one hang on
// to it without a goroutine of their own.
func (c *call) Value(key any) any {
	if _, ok := key.(callKey); ok {
		return c
	}
	if t := c.timer.Load(); t != nil {
		return t.Value(key)
	}
	return c.Context.Value(key)
}

func callFrom(ctx context.Context) *call {
	if c, ok := ctx.(*call); ok {
		return c
	}
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// PrincipalFrom returns who makes the call that ctx belongs to; false if nobody
// was asked to say.
func PrincipalFrom(ctx context.Context) (Principal, bool) {
	c := callFrom(ctx)
	if c == nil || !c.caller.authed {
		return Principal{}, false
	}
	return c.caller.principal, true
}

// ClientIP returns the address of the client of the call that ctx belongs to, ""
// outside a call and for one without an address: that comes over a unix socket, not
// from a proxy that Options.TrustUnix believes.
func ClientIP(ctx context.Context) string {
	if c := callFrom(ctx); c != nil {
		return c.ip()
	}
	return ""
}

// RequestID returns the id of the request that ctx belongs to, "" outside a
// call or without Options.RequestIDs.
func RequestID(ctx context.Context) string {
	if c := callFrom(ctx); c != nil {
		return c.caller.id
	}
	return ""
}

// Request returns the request that ctx belongs to, for what the tags do not
// reach; nil outside a call. Its body has been read if the interface takes
// parameters from it.
func Request(ctx context.Context) *http.Request {
	if c := callFrom(ctx); c != nil {
		return c.r
	}
	return nil
}

// SetStatus sets the status of a successful reply, such as 201 or 202, for the
// handler of the call that ctx belongs to. It panics if status is no success.
func SetStatus(ctx context.Context, status int) {
	if status < 200 || status > 299 {
		panic(fmt.Sprintf("webv4: SetStatus %d: want a success; errors are returned", status))
	}
	if c := callFrom(ctx); c != nil {
		c.status = int16(status)
	}
}

// CheckMatch compares the request's If-Match header with the current entity tag
// of what a handler is about to change (such as `"5"`, quotes included). It
// returns the error to return, of status 412, if the client has seen another
// version, and nil if the header is not there.
func CheckMatch(ctx context.Context, etag string) error {
	c := callFrom(ctx)
	if c == nil || len(c.r.Header["If-Match"]) == 0 || matches(c.r.Header["If-Match"], etag, false) {
		return nil
	}
	return &Error{Status: http.StatusPreconditionFailed, Code: CodeIllegal, Message: "precondition failed: it has changed"}
}

// Header returns the header of the reply to the call that ctx belongs to, for
// a handler to add to; outside a call, one that goes nowhere. Values are
// written as they are: never put a client's bytes into one unchecked. It
// belongs to the goroutine of the handler, until that returns.
func Header(ctx context.Context) http.Header {
	if c := callFrom(ctx); c != nil {
		return c.w.Header()
	}
	return http.Header{}
}
