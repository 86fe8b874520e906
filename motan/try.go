package motan

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// try is one request to one endpoint.
type try struct {
	e     *endpoint
	conn  *clientConn
	k     *call
	id    uint64
	probe bool // of e's breaker
	began time.Time
	until time.Time
}

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// try makes one try at one endpoint.
func (c *Client) try(ctx context.Context, e *endpoint, o *outgoingCall, until time.Time) error {
	if len(e.conns) == 0 {
		return c.tryOther(ctx, e, o, until)
	}
	var t try
	if err := c.start(ctx, &t, e, o, until); err != nil || o.oneWay {
		return err
	}
	if t.conn.mayLead(t.id) {
		t.conn.readFor(t.k)
	}
	<-t.k.done
	return c.finish(&t, o)
}

// tryOther makes a try at an endpoint without connections of its own.
func (c *Client) tryOther(ctx context.Context, e *endpoint, o *outgoingCall, until time.Time) (err error) {
	probe, ok := e.breaker.allow()
	if !ok {
		return &Error{Code: CodeNoEndpoint, Message: e.addr + ": " + errResting.Error(), cause: errResting}
	}
	e.calls.Add(1)
	e.inFlight.Add(1)
	if o.x != nil {
		o.x.Peer = e.addr
	}
	switch {
	case e.server != nil:
		err = c.tryLocal(ctx, e, o, until)
	case e.mc != nil:
		err = c.tryMC(ctx, e, o, until)
	default:
		err = c.tryHTTP(ctx, e, o, until)
	}
	e.inFlight.Add(-1)
	e.done(probe, err)
	return err
}

// start sends a request. Without an error, t.k.done tells when the answer is
// there, and finish or abandon must be called; one-way calls are over.
func (c *Client) start(ctx context.Context, t *try, e *endpoint, o *outgoingCall, until time.Time) (err error) {
	began := o.began
	if began.IsZero() || len(c.opt.Interceptors) > 0 { // those take their time
		began = now()
	}
	o.began = time.Time{}
	probe, ok := e.breaker.allow()
	if !ok {
		return &Error{Code: CodeNoEndpoint, Message: e.addr + ": " + errResting.Error(), cause: errResting, missed: true}
	}
	e.calls.Add(1)
	if o.x != nil {
		o.x.Peer = e.addr
	}
	// In flight from before the look at leaving: drain does it the other way round.
	e.inFlight.Add(1)
	defer func() {
		if err != nil || o.oneWay {
			e.inFlight.Add(-1)
			e.done(probe, err)
		}
	}()
	conn := e.conn()
	if conn == nil || e.leaving.Load() {
		return &Error{Code: CodeConnection, Message: e.addr + ": not connected", missed: true}
	}
	left := until.Sub(began)
	if left <= 0 {
		return &Error{Code: CodeTimeout, Message: e.addr + ": no time left", cause: context.DeadlineExceeded}
	}
	if err := ctx.Err(); err != nil {
		return timeoutError(e.addr, 0, err, false)
	}
	o.phases.begin("encode")
	buf := scratch.Get().(*[]byte)
	b, err := c.encode((*buf)[:0], o, left)
	defer func() {
		if cap(b) <= keepBuf {
			*buf = b
			scratch.Put(buf)
		}
	}()
	if err != nil {
		// The caller's mistake, not the endpoint's.
		return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
	}
	o.phases.begin("write")
	if o.oneWay {
		id, err := conn.unanswered()
		if err == nil {
			binary.BigEndian.PutUint64(b[5:], id)
			err = conn.out.send(b, false, until, ctx.Done())
		}
		return sendError(ctx, e.addr, err)
	}
	k := calls.Get().(*call)
	k.ctx, k.deadline = ctx, until
	id, alone, err := conn.start(k)
	if err != nil {
		k.release()
		return &Error{Code: CodeConnection, Message: e.addr + ": " + err.Error(), cause: err, missed: true}
	}
	binary.BigEndian.PutUint64(b[5:], id)
	if err = conn.out.send(b, !alone, until, ctx.Done()); err != nil {
		if conn.claim(id) == nil {
			<-k.done // the failure has been delivered, or is about to be
		}
		k.release()
		return sendError(ctx, e.addr, err)
	}
	if o.span != nil {
		o.sent, o.answered = now(), time.Time{}
		o.phases.begin("wait")
	}
	*t = try{e: e, conn: conn, k: k, id: id, probe: probe, began: began, until: until}
	return nil
}

// sendError is for a request of which nothing has been sent.
func sendError(ctx context.Context, addr string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return timeoutError(addr, 0, ctx.Err(), false)
	}
	return &Error{Code: CodeConnection, Message: addr + ": " + err.Error(), cause: err}
}

// finish takes the answer; t.k.done has been received from.
func (c *Client) finish(t *try, o *outgoingCall) (err error) {
	t.e.inFlight.Add(-1)
	o.phases.begin("decode")
	switch k := t.k; {
	case k.err == nil:
		o.answered = k.arrived
		if o.reply != nil {
			*o.reply = decodeMeta(k.meta)
		}
		err = c.decode(&k.frame, o)
		if c.opt.HA == Backup {
			o.m.took.add(time.Since(t.began))
		}
	case errors.Is(k.err, context.DeadlineExceeded) || errors.Is(k.err, context.Canceled):
		err = timeoutError(t.e.addr, t.until.Sub(t.began), k.err, true)
	default:
		err = &Error{Code: CodeConnection, Message: t.e.addr + ": " + k.err.Error(), sent: true, cause: k.err}
	}
	t.k.release()
	t.e.done(t.probe, err)
	return err
}

// abandon gives up a try whose answer is not wanted any more.
func (t *try) abandon() {
	if t.conn.claim(t.id) == nil {
		<-t.k.done
	}
	t.k.release()
	t.e.inFlight.Add(-1)
	t.e.breaker.done(t.probe, ignored)
}

func timeoutError(addr string, after time.Duration, cause error, sent bool) error {
	if errors.Is(cause, context.Canceled) {
		return &Error{Code: CodeCancelled, Message: addr + ": the caller gave up", sent: sent, cause: cause}
	}
	if !sent {
		return &Error{Code: CodeTimeout, Message: addr + ": no time left", cause: cause}
	}
	return &Error{Code: CodeTimeout, Message: fmt.Sprintf("%s: no answer in %v", addr, after.Round(time.Millisecond)), sent: true, cause: cause}
}

// done tells the breaker how a try went. What the application or a busy server
// answers does not count against the endpoint, nor do mistakes of the caller; that it
// fails, or does not have the service, does.
func (e *endpoint) done(probe bool, err error) {
	if err == nil {
		e.breaker.done(probe, succeeded)
		return
	}
	o := failed
	var w *Error
	if errors.As(err, &w) {
		switch {
		case w.missed || w.Code == CodeCancelled || w.Code == CodeEncode || w.Code == CodeDecode || !w.sent && w.Code == CodeTimeout:
			o = ignored
		case w.Type == Business, w.Type == Service && !w.ofTheServer():
			o = succeeded
		}
	}
	if o == failed || w != nil && w.Type == Service {
		e.errors.Add(1)
	}
	e.breaker.done(probe, o)
}
