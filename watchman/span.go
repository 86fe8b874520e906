package watchman

import (
	"context"
	"sync/atomic"
	"time"
)

// Span is one piece of work under way. It is also the context to do that work
// in. A span belongs to the goroutine that began it, except that End and
// SpanContext may be called from any. The methods of a nil *Span do nothing.
type Span struct {
	context.Context // the one that the span was begun in

	op         *Operation
	local      *localTrace // where ended spans of this trace wait for the local root
	generation uint32      // which use of local this span belongs to
	isRoot     bool        // this is the local root
	ended      atomic.Bool
	flags      Flags
	traceID    TraceID
	spanID     SpanID
	parent     SpanID
	start      int64
	edge       *red
	more       *carried
	attrs      []Attr
}

// carried is what few spans have, kept out of the others' way.
type carried struct{ state, baggage string }

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
	return s.Context.Value(key)
}

// FromContext returns the span that ctx belongs to, nil if there is none.
func FromContext(ctx context.Context) *Span {
	if s, ok := ctx.(*Span); ok {
		return s
	}
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

func (s *Span) begin() {
	w := s.op.w
	s.spanID = newSpanID()
	w.begun.Add(1)
	s.start = w.now()
}

// openLocal makes s a local root with a buffer for the spans below it.
func (s *Span) openLocal() {
	s.isRoot = true
	s.local = takeLocal()
	s.generation = s.local.generation
}

// SetAttr adds a fact to the span. It is kept if the trace is; it must not be
// a secret. At most 16 are.
func (s *Span) SetAttr(key, value string) {
	if s != nil && len(s.attrs) < maxAttrs {
		s.attrs = append(s.attrs, Attr{key, value})
	}
}

// SpanContext is what to put on the wire so that the other side's span becomes
// a child of s. It names this service in tracestate.
func (s *Span) SpanContext() SpanContext {
	if s == nil {
		return SpanContext{}
	}
	sc := SpanContext{TraceID: s.traceID, SpanID: s.spanID, Flags: s.flags, State: s.op.w.callerState}
	if s.more != nil {
		sc.Baggage = s.more.baggage
		if s.more.state != "" {
			sc.State = withCaller(s.more.state, s.op.w.service)
		}
	}
	return sc
}

// End ends the span: nil err means success. A second End does nothing. When the
// local root ends, the spans of its trace in this process are kept or dropped.
func (s *Span) End(err error) {
	if s == nil || !s.ended.CompareAndSwap(false, true) {
		return
	}
	w := s.op.w
	took := w.now() - s.start
	s.op.red.observe(took, err != nil)
	if s.edge != nil {
		s.edge.observe(took, err != nil)
	}
	r := spanEnd{
		op: s.op, traceID: s.traceID, spanID: s.spanID, parent: s.parent,
		start: s.start, took: took, attrs: s.attrs, err: err,
	}
	if s.isRoot {
		s.local.finish(s, r)
		return
	}
	if s.local.add(s.generation, r) {
		return
	}
	// The local root has ended: the trace's fate is known to the store only.
	w.late.Add(1)
	if !w.store.append(s.traceID, w.record(&r, "")) {
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

// Backdate moves the beginning of the span d into the past, for work that is
// known to have been worth a span only when it is done.
func (s *Span) Backdate(d time.Duration) {
	if s != nil {
		s.start -= int64(d)
	}
}
