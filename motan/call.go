package motan

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Call calls a method and waits for its answer. req is encoded by the client's
// Serializer: it is the argument or a pointer to it, an [Args] for several, a
// [*Raw] for a body that is encoded already, or nil for none. Resp is what the
// answer decodes into: any takes whatever comes, [Raw] takes it undecoded.
//
// The call ends at ctx's deadline or after Options.Timeout, whichever is earlier;
// the time left travels with the request. A failed call returns a [*Error], which
// wraps context.DeadlineExceeded or context.Canceled where that was the cause. A
// deadline or cancellation is noticed within some milliseconds.
func Call[Resp any](ctx context.Context, c *Client, method string, req any) (*Resp, error) {
	resp := new(Resp)
	if err := c.call(ctx, method, req, resp, false); err != nil {
		return nil, err
	}
	return resp, nil
}

// Send makes a one-way call: it returns once the request is on its way, and
// nobody learns what became of it. A request that could not be sent is tried
// elsewhere like one of Call.
func Send(ctx context.Context, c *Client, method string, req any) error {
	return c.call(ctx, method, req, nil, true)
}

// Future is the answer to a call made with Go, now or later.
type Future[Resp any] struct {
	done chan struct{}
	resp *Resp
	err  error
}

// Go is Call without the waiting. req must not be changed before the future is
// done.
func Go[Resp any](ctx context.Context, c *Client, method string, req any) *Future[Resp] {
	f := &Future[Resp]{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.resp, f.err = Call[Resp](ctx, c, method, req)
	}()
	return f
}

// Done is closed when the answer is there.
func (f *Future[Resp]) Done() <-chan struct{} { return f.done }

// Wait waits for the answer and returns what Call would have. Any number of
// goroutines may wait.
func (f *Future[Resp]) Wait() (*Resp, error) {
	<-f.done
	return f.resp, f.err
}

// outgoingCall is one call with all its tries.
type outgoingCall struct {
	m        *clientMethod
	span     *watchman.Span
	trace    watchman.SpanContext // the span's
	phases   phases
	started  time.Time
	sent     time.Time // the last try; zero: none was
	answered time.Time // about; zero: it was not
	req      any
	resp     any // nil for a one-way call
	oneWay   bool
	began    time.Time // zero once a try has been made
	deadline time.Time
	meta     *outgoing // what WithMetadata added
	reply    *Metadata // what WithReply asks for
	x        *Exchange // what interceptors see; nil for a call of the client's own
}

// exchange is an Exchange with what only this package sees. It is pooled, for
// interceptors do not keep it, and so that the stack of a goroutine that waits for
// its answer stays small: the collector looks at all of these stacks.
type exchange struct {
	Exchange
	call outgoingCall
}

var exchanges = sync.Pool{New: func() any { return new(exchange) }}

func (c *Client) call(ctx context.Context, name string, req, resp any, oneWay bool) (err error) {
	c.stats.calls.Add(1)
	m, err := c.method(name)
	if err != nil {
		c.stats.errors.Add(1)
		return err
	}
	began := now()
	ctx, span := m.op.StartAt(ctx, began)
	x := exchanges.Get().(*exchange) // all zero
	x.Service, x.Method, x.Request, x.Response, x.self = c.service, m.name, req, resp, x
	o := &x.call
	o.m, o.span, o.resp, o.oneWay, o.x = m, span, resp, oneWay, &x.Exchange
	o.began, o.started, o.deadline = began, began, began.Add(c.opt.Timeout)
	o.reply, _ = ctx.Value(replyKey{}).(*Metadata)
	if span != nil {
		o.trace = span.SpanContext()
		o.phases.init(span, o.trace.Sampled())
		o.phases.begin("queue")
	}
	err = c.invoke(ctx, &x.Exchange)
	if err == nil && resp != nil && x.Response != resp {
		err = assign(resp, x.Response)
	}
	if err != nil {
		c.stats.errors.Add(1)
	}
	if span != nil {
		o.tell(err)
		span.End(err)
	}
	*x = exchange{}
	exchanges.Put(x)
	return err
}

// run makes the tries of a call. It is what the innermost interceptor calls.
func (c *Client) run(ctx context.Context, x *Exchange) error {
	full, ok := x.self.(*exchange)
	if !ok {
		return &Error{Code: CodeEncode, Message: "an interceptor passed on an exchange that it had made itself"}
	}
	o := &full.call
	o.req = x.Request
	if raw, ok := o.req.(*Raw); ok && raw == nil {
		return &Error{Code: CodeEncode, Message: "the argument is a nil *motan.Raw"}
	}
	if d, ok := ctx.Deadline(); ok && d.Before(o.deadline) {
		o.deadline = d
	}
	o.meta, _ = ctx.Value(outgoingKey{}).(*outgoing)
	if o.meta != nil && o.meta.err != nil {
		return &Error{Code: CodeEncode, Message: o.meta.err.Error(), cause: o.meta.err}
	}
	c.budget.call()
	p, err := c.endpoints(ctx, o.deadline)
	if err != nil {
		return err
	}
	var room [4]*endpoint
	tried, misses := room[:0], 0
	turn := c.turns.Add(1)
	for {
		e, none := c.choose(ctx, p, turn, tried, o.deadline)
		if e == nil {
			// What went wrong at the last endpoint says more than that there is no other.
			if err == nil {
				err = none
			}
			return err
		}
		switch backup := c.opt.HA == Backup && o.m.idempotent && !o.oneWay; {
		case backup && len(e.conns) > 0:
			e, err = c.tryTwo(ctx, p, e, tried, o)
		case backup && e.server == nil:
			e, err = c.tryTwoOthers(ctx, p, e, tried, o)
		default:
			err = c.try(ctx, e, o, c.tryUntil(o, len(tried)))
		}
		if missed(err) && misses < maxMisses && ctx.Err() == nil {
			// Not even Failfast has made its try.
			misses++
			if turn != noTurn {
				turn++ // the next one's, for it may take a moment to be seen as unusable
			}
			if p = c.picker.Load(); p == nil {
				return err
			}
			continue
		}
		if err == nil || c.opt.HA == Failfast || len(tried) >= c.opt.Retries || !retry(err, o.m.idempotent) ||
			ctx.Err() != nil || !time.Now().Before(o.deadline) {
			return err
		}
		if !c.budget.take() {
			c.stats.overBudget.Add(1)
			return err
		}
		c.stats.retries.Add(1)
		o.span.SetAttr("motan.retry", e.addr+": "+err.Error())
		tried, turn = append(tried, e), noTurn
		if p = c.picker.Load(); p == nil {
			return err
		}
	}
}

// maxMisses is how often a call chooses again because the endpoint had just become
// unusable.
const maxMisses = 16

func missed(err error) bool {
	e, ok := err.(*Error)
	return ok && e.missed
}

// tryUntil is when one try is given up.
func (c *Client) tryUntil(o *outgoingCall, tries int) time.Time {
	if c.opt.TryTimeout == 0 || !o.m.idempotent || c.opt.HA == Failfast || tries >= c.opt.Retries {
		return o.deadline
	}
	if until := time.Now().Add(c.opt.TryTimeout); until.Before(o.deadline) {
		return until
	}
	return o.deadline
}

// retry reports whether a call that failed with err may go to another endpoint.
func retry(err error, idempotent bool) bool {
	var e *Error
	if !errors.As(err, &e) || e.Type == Business || e.Code == CodeEncode || e.Code == CodeDecode {
		return false
	}
	if e.Type == Service {
		// What it refused to begin goes elsewhere, and what it failed at if that may
		// be done twice.
		return e.Code == CodeReject || e.Code == CodeNotFound || idempotent && !e.ofTheCall()
	}
	return idempotent || !e.sent
}

// choose picks an endpoint. Before the first connections are up it waits for
// them instead of failing.
func (c *Client) choose(ctx context.Context, p *picker, turn uint64, tried []*endpoint, deadline time.Time) (*endpoint, error) {
	e := p.pick(ctx, turn, tried)
	if e == nil && len(tried) > 0 {
		e = p.pick(ctx, turn, nil) // better the same endpoint again than none
	}
	if e != nil {
		return e, nil
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	e, ended := c.first(ctx, p, turn, tried, timer.C)
	if e != nil {
		return e, nil
	}
	err := c.none(p)
	if err.cause == nil {
		err.cause = ended
	}
	return nil, err
}

// first waits for the first dials, which are under way when a client is new, until
// one has made an endpoint usable: a node that swallows what is sent to it must not
// keep the call from the next. It fails when all dials have ended or the time has.
func (c *Client) first(ctx context.Context, p *picker, turn uint64, tried []*endpoint, timeout <-chan time.Time) (*endpoint, error) {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(timeout)},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
	}
	for _, e := range p.endpoints[:min(len(p.endpoints), firstMost)] {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(e.tried)})
	}
	for left := len(cases) - 2; left > 0; left-- {
		i, _, _ := reflect.Select(cases)
		switch i {
		case 0:
			return nil, context.DeadlineExceeded
		case 1:
			return nil, ctx.Err()
		}
		if e := p.pick(ctx, turn, tried); e != nil {
			return e, nil
		}
		cases[i].Chan = reflect.Value{} // has ended
	}
	return nil, nil
}

// firstMost bounds the dials that a call waits for at once.
const firstMost = 1000

// none is the error for no endpoint, with the reason of each.
func (c *Client) none(p *picker) *Error {
	if len(p.endpoints) == 0 {
		return &Error{Code: CodeNoEndpoint, Message: "no endpoint of " + c.service + ": " + c.whyEmpty()}
	}
	const most = 16 // that are told one by one
	var why strings.Builder
	resting := true // all of them
	for _, e := range p.endpoints {
		if resting = e.unavailable() == errResting; !resting {
			break
		}
	}
	for i, e := range p.endpoints[:min(len(p.endpoints), most)] {
		if i > 0 {
			why.WriteString("; ")
		}
		reason := e.unavailable()
		if reason == nil {
			reason = errors.New("just came back")
		}
		fmt.Fprintf(&why, "%s: %v", e.addr, reason)
	}
	if n := len(p.endpoints) - most; n > 0 {
		fmt.Fprintf(&why, "; and %d more", n)
	}
	err := &Error{Code: CodeNoEndpoint, Message: "no endpoint of " + c.service + ": " + why.String()}
	if resting {
		err.cause = errResting
	}
	return err
}

// whyEmpty says why no endpoint is listed.
func (c *Client) whyEmpty() string {
	orders, _ := c.orders()
	_, degrade := orders.of(c.service)
	if degrade == nil {
		return "none is registered"
	}
	why := "degraded by a command of group " + c.opt.Group
	if degrade.Remark != "" {
		why += ": " + degrade.Remark
	}
	return why
}
