package motan

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// localCall is a call that does not come as a frame: from this process, or over
// HTTP.
type localCall struct {
	meta     callMeta
	from     caller
	added    Metadata // by the caller
	deadline time.Time
	parent   *watchman.SpanContext // nil: the span in the context is the parent
	bytes    int                   // length of the body, 0 if there is none
	keep     bool                  // set by answer: the caller should keep its part of the trace
	reply    Metadata              // set by answer: what the handler added with Reply

	// argument turns what came into what the method wants, of which it gets an
	// empty one.
	argument func(want any) (any, error)
}

// answer does for a local call what dispatch and serve do for a frame, on the
// goroutine that it is called on.
func (s *Server) answer(ctx context.Context, l *localCall) (resp any, err error) {
	defer func() {
		s.stats.calls.Add(1)
		if err != nil {
			s.stats.errors.Add(1)
		}
	}()
	m, err := s.find(&l.meta)
	if err == nil {
		err = s.admit(ctx, m, &l.meta)
	}
	if err != nil {
		return nil, err
	}
	cc := &callContext{Context: ctx, deadline: l.deadline, received: time.Now(), method: m, caller: &l.from}
	defer func() { s.ended(m, cc.received, err) }()
	if len(l.added) > 0 {
		cc.meta = &l.added
	}
	defer cc.end()
	stop := context.AfterFunc(s.ctx, cc.cut)
	defer stop()
	var span *watchman.Span
	if l.parent != nil {
		ctx, span = m.op.StartRemote(cc, *l.parent)
	} else {
		ctx, span = m.op.Start(cc)
	}
	defer func() {
		if p := recover(); p != nil {
			resp, err = nil, s.panicked(m, p)
		}
		l.keep = span.Keeping(err)
		span.End(err)
	}()
	if cc.Err() != nil {
		s.stats.expired.Add(1)
		return nil, &Error{Code: CodeTimeout, Type: Service, Message: "deadline passed before the call began", cause: cc.Err()}
	}
	req, err := l.argument(m.request())
	if errors.Is(err, watchman.ErrRejected) {
		return nil, err
	}
	if err != nil {
		return nil, &Error{Code: CodeInternal, Type: Service, Message: "argument: " + err.Error()}
	}
	if m.invoke == nil {
		resp, err = m.call(ctx, req)
	} else {
		x := &Exchange{Service: m.names[0], Method: m.names[1], Peer: l.from.peer, Request: req, RequestBytes: l.bytes}
		err = m.invoke(ctx, x)
		resp = x.Response
	}
	if err != nil {
		return nil, serverError(ctx, err)
	}
	l.reply = cc.replied()
	return resp, nil
}

// serverError makes of what a handler returned what the caller gets to see. It is
// called where panics are answered, for the methods of err are the application's.
func serverError(ctx context.Context, err error) error {
	var e *Error
	switch {
	case errors.As(err, &e) && e == nil:
		return &Error{Code: CodeInternal, Type: Service, Message: "the handler returned a nil *motan.Error"}
	case e != nil && e.Code != 0:
		return err
	case e != nil: // who names no code means one that others do not act on
		coded := &Error{Code: CodeBusiness, Type: Business, Message: e.Message, cause: err}
		if e.Type == Service {
			coded.Code, coded.Type = CodeInternal, Service
		}
		return coded
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return &Error{Code: CodeTimeout, Type: Service, Message: err.Error(), cause: err}
	}
	_ = err.Error() // if it panics, let it do so here
	return err
}

// InProcess is a Registry whose only endpoint is a server of this process. Calls
// go to its handlers directly: on the goroutine of the caller, without frames and
// connections, and, where the types of both sides are the same, without
// serialization: the handler gets the caller's argument itself, and the caller a
// shallow copy of the handler's answer. What [Send] is given is encoded always, for
// its handler may run when Send has returned. Everything else is as over the network:
// deadlines, metadata, errors, interceptors, protection and tracing. The server
// needs no Serve. A handler that ignores its context keeps its caller waiting.
func InProcess(s *Server) Registry { return inProcess{s} }

type inProcess struct{ server *Server }

// Watch implements Registry.
func (r inProcess) Watch(_ context.Context, _, _, _ string, update func([]Endpoint)) error {
	if r.server == nil {
		return errors.New("motan: InProcess: no server")
	}
	update([]Endpoint{{Addr: "in-process", server: r.server}})
	return nil
}

// tryLocal makes a try at a server of this process.
func (c *Client) tryLocal(ctx context.Context, e *endpoint, o *outgoingCall, until time.Time) error {
	given := o.req // the closure must not keep o, which would then be on the heap for all calls
	l := &localCall{
		meta:     callMeta{service: []byte(c.service), method: []byte(o.m.name), token: []byte(c.opt.Token)},
		from:     caller{"in-process", c.opt.Application, c.opt.Group, c.opt.Version},
		deadline: until,
		argument: func(want any) (any, error) { return c.pass(given, want) },
	}
	if o.meta != nil {
		l.added = decodeMeta(o.meta.pairs)
	}
	if o.oneWay {
		// The caller goes on: its context may end with it, and its argument change.
		raw, err := c.encoded(given)
		if err != nil {
			return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
		}
		l.argument = func(want any) (any, error) { return c.pass(raw, want) }
		ctx := context.WithoutCancel(ctx)
		if !e.server.background(func() { e.server.answer(ctx, l) }) {
			return localError(e.server.rejected(errors.New("the server is closed")))
		}
		return nil
	}
	resp, err := e.server.answer(ctx, l)
	if o.reply != nil {
		*o.reply = l.reply
	}
	if err != nil {
		return localError(err)
	}
	if resp == nil {
		return nil
	}
	if raw, ok := o.resp.(*Raw); ok {
		if r, ok := resp.(*Raw); ok {
			*raw = Raw{r.Serialization, slices.Clone(r.Body)}
			return nil
		}
		b, err := c.opt.Serializer.Append(nil, resp)
		*raw = Raw{c.opt.Serializer.ID(), b}
		return answerError(err)
	}
	if assign(o.resp, resp) == nil {
		return nil
	}
	if r, ok := resp.(*Raw); ok {
		s, err := serializerFor(r.Serialization)
		if err == nil && len(r.Body) > 0 {
			err = s.Decode(r.Body, o.resp)
		}
		return answerError(err)
	}
	b, err := c.opt.Serializer.Append(nil, resp)
	if err == nil {
		err = c.opt.Serializer.Decode(b, o.resp)
	}
	return answerError(err)
}

// localError is what the caller would have got over the wire, but with the cause.
func localError(err error) error {
	var e *Error
	if errors.As(err, &e) {
		w := *decodeError([]byte(encodeError(err)))
		w.cause = err
		return &w
	}
	return &Error{Code: CodeBusiness, Type: Business, Message: err.Error(), sent: true, cause: err}
}

// answerError is for an answer that the caller cannot have.
func answerError(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Code: CodeDecode, Message: "answer: " + err.Error(), sent: true, cause: err}
}

// pass gives an argument to a method of this process that wants another of the
// type of want: as it is if the types are the same, else encoded and decoded.
func (c *Client) pass(given, want any) (any, error) {
	if reflect.TypeOf(given) == reflect.TypeOf(want) {
		if _, several := want.(Args); !several {
			return given, nil
		}
	}
	raw, isRaw := given.(*Raw)
	if w := reflect.ValueOf(want); !isRaw && w.Kind() == reflect.Pointer && given != nil && reflect.TypeOf(given).AssignableTo(w.Type().Elem()) {
		w.Elem().Set(reflect.ValueOf(given))
		return want, nil
	}
	if !isRaw {
		var err error
		if raw, err = c.encoded(given); err != nil {
			return nil, err
		}
	}
	if w, ok := want.(*Raw); ok {
		*w = *raw
		return want, nil
	}
	// The client's own may be none that servers know.
	s := c.opt.Serializer
	if raw.Serialization != s.ID() {
		var err error
		if s, err = serializerFor(raw.Serialization); err != nil {
			return nil, err
		}
	}
	if err := decodeArgument(s, raw.Body, want); err != nil && !isRaw {
		return nil, fmt.Errorf("%T as %T: %w", given, want, err)
	} else if err != nil {
		return nil, err
	}
	return want, nil
}

// encoded returns an argument in a form that shares nothing with it.
func (c *Client) encoded(given any) (*Raw, error) {
	if raw, ok := given.(*Raw); ok {
		return &Raw{raw.Serialization, slices.Clone(raw.Body)}, nil
	}
	raw := &Raw{Serialization: c.opt.Serializer.ID()}
	if given == nil {
		return raw, nil
	}
	var err error
	raw.Body, err = c.opt.Serializer.Append(nil, argument(c.opt.Serializer, given))
	return raw, err
}
