package webv4

import (
	"context"
	"fmt"
	"net/http"
	"slices"
)

// Call is one call of an interface as interceptors and filters see it. It
// belongs to them until they return.
type Call struct {
	op    *operation
	r     *http.Request
	input any
}

// Interface is the method and path of the interface as registered.
func (c *Call) Interface() string { return c.op.name }

// Request is the request itself. Its body has been read if the interface takes
// parameters from it and the call is an Interceptor's.
func (c *Call) Request() *http.Request { return c.r }

// Input is the request struct that the handler will get, a *Req: nil for a Filter.
func (c *Call) Input() any { return c.input }

// Tag returns a tag of the interface's declaration, whatever its name: "" if
// there is none. So an interceptor can have annotations of its own.
func (c *Call) Tag(name string) string { return c.op.plan.tag.Get(name) }

// Filter decides on a call when it is known who calls, before the parameters
// are read: an error refuses it. PrincipalFrom and ClientIP work on ctx.
type Filter func(ctx context.Context, call *Call) error

// Next goes on with a call: it calls the next interceptor or the handler, and
// returns the reply, a *Resp, or the error.
type Next func(ctx context.Context) (any, error)

// Interceptor stands around handlers. It sees the typed input before it calls
// next, and output or error after; it may return others, or not call next. The
// output may be of any type.
type Interceptor func(ctx context.Context, call *Call, next Next) (any, error)

// interceptor is one of either kind.
type interceptor struct {
	name   string
	filter Filter
	around Interceptor
}

// Intercept makes an interceptor known under a name. Interfaces have it whose
// with tag names it, and those of groups with it in GroupOptions.With. Whatever
// the order of names there, interceptors stand in the order of their
// registration, the first outermost. It panics if the name is taken.
func (a *API) Intercept(name string, f Interceptor) {
	a.step(interceptor{name: name, around: f}, f != nil)
}

// Filter makes a filter known under a name, in the same way as Intercept.
func (a *API) Filter(name string, f Filter) {
	a.step(interceptor{name: name, filter: f}, f != nil)
}

func (c *core) step(s interceptor, ok bool) {
	if !ok || s.name == "" || slices.ContainsFunc(c.steps, func(o interceptor) bool { return o.name == s.name }) {
		panic(fmt.Sprintf("webv4: interceptor %q: want a name that is not taken, and a function", s.name))
	}
	c.steps = append(c.steps, s)
}

// attach gives an operation the interceptors and filters of its group and its tag.
func (a *API) attach(op *operation, own []string) {
	names := slices.Concat(a.with, own)
	for _, s := range a.steps {
		switch {
		case !slices.Contains(names, s.name):
		case s.filter != nil:
			op.filters = append(op.filters, s.filter)
		default:
			op.around = append(op.around, s.around)
		}
	}
}

// unknownSteps are the names that no interceptor or filter has.
func (a *API) unknownSteps(own []string) []string {
	return slices.DeleteFunc(slices.Concat(a.with, own), func(name string) bool {
		return slices.ContainsFunc(a.steps, func(s interceptor) bool { return s.name == name })
	})
}

// intercepted calls the handler through what stands around it.
func intercepted(ctx context.Context, around []Interceptor, call *Call, fn handler) (any, error) {
	if len(around) == 0 {
		return fn(ctx, call.input)
	}
	return around[0](ctx, call, func(ctx context.Context) (any, error) { return intercepted(ctx, around[1:], call, fn) })
}

// wrap builds the middleware of an operation, nil if there is none. What it
// wraps finds its call in the request's context.
func (a *API) wrap(op *operation) http.Handler {
	if len(a.middleware) == 0 {
		return nil
	}
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := callFrom(r.Context())
		if c == nil {
			panic("webv4: middleware lost the request's context")
		}
		c.caller.inside.Lock()
		defer c.caller.inside.Unlock()
		if c.caller.closed {
			return // nobody waits for it any more
		}
		c.w, c.r, c.out.w = w, r, w
		err, abort := a.respond(r.Context(), c, op, r)
		c.out.err, c.out.abort = err, abort
	})
	for _, m := range slices.Backward(a.middleware) {
		h = m(h)
	}
	return h
}

// through serves a call by way of its middleware, and ends when all that this set
// going has ended: a handler has its call to itself.
func (a *API) through(c *call, op *operation, r *http.Request) (err error, abort bool) {
	front := &reply{w: c.out.w, replyState: replyState{format: c.out.format, head: c.out.head, style: c.out.style}}
	defer func() {
		p := recover()
		if !c.caller.inside.TryLock() {
			// The client need not wait as well.
			_ = http.NewResponseController(front.w).Flush()
			c.caller.inside.Lock()
		}
		defer c.caller.inside.Unlock()
		c.caller.closed = true
		if p != nil {
			err = a.recovered(op, p)
			abort = front.begun || err == http.ErrAbortHandler
			if !abort {
				front.error(r.URL.Path, op.codes.seen(a.errorFor(c, err)))
			}
		} else {
			err, abort = c.out.err, c.out.abort
		}
		c.out.status, c.out.bytes = front.status, front.bytes
		if !front.begun && !abort {
			c.out.status = http.StatusOK
		}
	}()
	op.outer.ServeHTTP(front, r.WithContext(c))
	return nil, false // as the inner one ended
}
