package webv4

import (
	"context"
	"io"
	"net/http"
	"time"
)

// place stands in the place of a request's body while its call has a place in the
// limiter of its cost class, and gives that back while the body is waited for.
type place struct {
	api  *API
	call *call
	ctx  context.Context
	body io.ReadCloser
}

// promptly is what a body may keep a call waiting that has a place for certain. One
// that comes later asks to be let in again, since many may come at once.
const promptly = int64(10 * time.Millisecond)

// waits reports whether a call may have to wait for its client.
func (op *operation) waits(r *http.Request) bool {
	if op.streams {
		return true
	}
	_, read := r.Body.(*formBody)
	return !read && r.Body != nil && r.Body != http.NoBody
}

// placed is limited for a call that may have to wait for its client. While one does
// it has no place: neither slow bodies nor open streams may keep others out, and
// their time says nothing about load.
func (a *API) placed(ctx context.Context, c *call, op *operation, r *http.Request, step Level) error {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &place{a, c, ctx, r.Body}
	}
	return a.limited(ctx, c, op, r, step)
}

// leave gives the call's place up for good, if it has one: what is still to be done
// is up to the client.
func (c *call) leave() {
	if began := c.entered; began != 0 {
		c.entered = 0
		c.op.limiter.leave(began, int64(now()))
	}
}

// Read implements io.Reader: it reads the body, without a place meanwhile.
func (p *place) Read(b []byte) (int, error) {
	c := p.call
	if c.entered == 0 {
		return p.body.Read(b)
	}
	l := c.op.limiter
	asked := int64(now())
	l.pause(asked)
	n, err := p.body.Read(b)
	came := int64(now())
	if came-asked <= promptly {
		l.resume()
		c.entered += came - asked
		return n, err
	}
	again, ok := l.enter(p.ctx, c.op.plan.class)
	if !ok {
		c.entered = 0
		return n, p.api.busy(c)
	}
	c.entered += again - asked
	return n, err
}

func (p *place) Close() error { return p.body.Close() }
