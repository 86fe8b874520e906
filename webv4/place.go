package webv4

import (
	"context"
	"io"
	"net/http"
	"time"
)

// place is a call's place in the limiter of its cost class, for calls that may have
// to wait for their clients. While one does it has no place: neither slow bodies
// nor open streams may keep others out, and their time says nothing about load. It
// stands in the place of the request's body.
type place struct {
	api   *API
	call  *call
	ctx   context.Context
	body  io.ReadCloser
	began int64 // without what was waited for
	held  bool
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

// placed is limited for a call that may have to wait for its client.
func (a *API) placed(ctx context.Context, c *call, op *operation, r *http.Request, step Level, began int64) error {
	p := &place{api: a, call: c, ctx: ctx, body: r.Body, began: began, held: true}
	c.place = p
	if p.body != nil && p.body != http.NoBody {
		r.Body = p
	}
	defer p.leave()
	return a.admit(ctx, c, op, r, step)
}

// leave gives the place up for good: what is still to be done is up to the client.
func (p *place) leave() {
	if p != nil && p.held {
		p.held = false
		p.call.op.limiter.leave(p.began, int64(now()))
	}
}

// Read implements io.Reader: it reads the body, without a place meanwhile.
func (p *place) Read(b []byte) (int, error) {
	if !p.held {
		return p.body.Read(b)
	}
	l := p.call.op.limiter
	asked := int64(now())
	l.pause(asked)
	n, err := p.body.Read(b)
	came := int64(now())
	if came-asked <= promptly {
		l.resume()
		p.began += came - asked
		return n, err
	}
	again, ok := l.enter(p.ctx, p.call.op.plan.class)
	p.began += again - asked
	if p.held = ok; !ok {
		return n, p.api.busy(p.call)
	}
	return n, err
}

func (p *place) Close() error { return p.body.Close() }
