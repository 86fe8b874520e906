package watchman

import (
	"context"
	"time"
)

// Span is one piece of work under way. It is also the context to do that work
// in. A span belongs to the goroutine that began it, except that End, Keep and
// SpanContext may be called from any. The methods of a nil *Span do nothing.
type Span struct {
	context.Context // the one that the span was begun in

	op      *Operation
	local   *localRoot // the first span of this trace here, which may be this one
	figures *red       // where it counts: the caller's edge, or the operation's own
	extra   *extra
	start   int64
	spanID  SpanID
	parent  SpanID
	ended   bool // guarded by local's mutex
}

// carried is what few traces have, kept out of the others' way. It is shared
// by the spans of a trace and never changes.
type carried struct {
	state, baggage string
	lane           string
	debug          bool
}

// Attr is a fact about a span.
type Attr struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// maxAttrs bounds the facts a span takes; further ones are dropped.
const maxAttrs = 16

type spanKey struct{}

// Value makes the span findable in the contexts made from it.
func (s *Span) Value(key any) any {
	if _, ok := key.(spanKey); ok {
		return s
	}
	if f := s.op.w.bridge.Load(); f != nil {
		if v := (*f)(s, key); v != nil {
			return v
		}
	}
	return s.Context.Value(key)
}

// SetBridge lets another tracer find our spans in a context: f is asked, with
// the span, for every key that is looked up in a context that belongs to one,
// and returns nil for keys that are not its own. It must be fast. nil ends it.
// Sub-package otelbridge uses it.
func (w *Watchman) SetBridge(f func(s *Span, key any) any) {
	if w == nil {
		return
	}
	if f == nil {
		w.bridge.Store(nil)
		return
	}
	w.bridge.Store(&f)
}

// FromContext returns the span that ctx belongs to, nil if there is none.
func FromContext(ctx context.Context) *Span {
	if s, ok := ctx.(*Span); ok {
		return s
	}
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// SetAttr adds a fact to the span. It is kept if the trace is; it must not be
// a secret. At most 16 are, and none after End.
func (s *Span) SetAttr(key, value string) {
	if s == nil {
		return
	}
	if x := s.extras(); len(x.attrs) < maxAttrs {
		x.attrs = append(x.attrs, Attr{key, value})
	}
}

// SpanContext is what to put on the wire so that the other side's span becomes
// a child of s. It names this service in tracestate.
func (s *Span) SpanContext() SpanContext {
	if s == nil {
		return SpanContext{}
	}
	l := s.local
	sc := SpanContext{TraceID: l.traceID, SpanID: s.spanID, Flags: l.flags, State: s.op.w.callerState}
	if l.more != nil {
		sc.Baggage = l.more.baggage
		if l.more.state != "" {
			sc.State = withCaller(l.more.state, s.op.w.service)
		}
	}
	return sc
}

// End ends the span: nil err means success, an err that wraps ErrRejected that
// the work was refused rather than failed. A second End does nothing. When the
// local root ends, the spans of its trace in this process are kept, put into
// the ring of recent traces, or dropped.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	w, l := s.op.w, s.local
	took := w.now() - s.start
	r := spanEnd{op: s.op.number, spanID: s.spanID, parent: s.parent, start: s.start, took: took}
	l.mu.Lock()
	if s.ended {
		l.mu.Unlock()
		return
	}
	s.ended = true
	x := rareEnd{s.extra, err}
	if x.extra != nil {
		s.extra = nil // another span's one day
	}
	switch {
	case s == &l.Span:
		l.finishLocked(r, x)
		l.mu.Unlock()
	case l.fate == undecided:
		l.addLocked(r, x)
		l.mu.Unlock()
	default:
		fate := l.fate
		l.mu.Unlock()
		s.late(r, x, fate)
	}
	s.figures.observe(took, s.op.target.Load(), err)
	if l.more != nil && l.more.lane != "" {
		s.op.laneEdge(l.more.lane).observe(took, s.op.target.Load(), err)
	}
	if err != nil {
		w.errors.note(s, err, s.start+took)
	}
}

// late accounts for a span that ended after its local root.
func (s *Span) late(r spanEnd, x rareEnd, fate fate) {
	w, id := s.op.w, s.local.traceID
	w.late.Add(1)
	if fate == recent && !w.store.tookFromRing(id) {
		w.ring.pushLate(id, r, x)
		return
	}
	x.settle()
	if !w.store.append(id, r, x) {
		x.free()
		w.dropped.Add(1)
	}
}

// Elapsed is the time since the span began.
func (s *Span) Elapsed() time.Duration {
	if s == nil {
		return 0
	}
	return time.Duration(s.op.w.now() - s.start)
}
