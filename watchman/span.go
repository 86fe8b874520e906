package watchman

import (
	"context"
	"encoding/binary"
	"time"
)

// Span is one piece of work under way. It is also the context to do that work
// in. A span belongs to the goroutine that began it, except that End, Keep and
// SpanContext may be called from any. The methods of a nil *Span do nothing.
type Span struct {
	context.Context // the one that the span was begun in

	op         *Operation
	local      *localTrace // where ended spans of this trace wait for the local root
	figures    *red        // where it counts: the caller's edge, or the operation's own
	more       *carried
	extra      *extra
	start      int64
	traceID    TraceID
	spanID     SpanID
	parent     SpanID
	generation uint32 // which use of local this span belongs to
	ended      bool   // guarded by local's mutex
	flags      Flags
	isRoot     bool // this is the local root
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

// span makes a span of o that does not know its trace yet.
func (w *Watchman) span(ctx context.Context, o *Operation, began int64) *Span {
	return &Span{Context: ctx, op: o, figures: &o.own, start: began, spanID: w.spanID(w.begun.Add(1))}
}

// openLocal makes s a local root with a buffer for the spans below it.
func (s *Span) openLocal() {
	if binary.LittleEndian.Uint64(s.spanID[:])%adaptEvery == 0 {
		s.op.adaptSlow()
	}
	s.isRoot = true
	s.local = takeLocal()
	s.generation = s.local.generation // nobody changes it while the buffer is ours
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
	sc := SpanContext{TraceID: s.traceID, SpanID: s.spanID, Flags: s.flags, State: s.op.w.callerState}
	if s.more != nil {
		sc.Baggage = s.more.baggage
		if s.more.state != "" {
			sc.State = withCaller(s.more.state, s.op.w.service)
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
	l.mu.Lock() // the span's alone if its trace has only one, and then uncontended
	if s.ended {
		l.mu.Unlock()
		return
	}
	s.ended = true
	x := rareEnd{s.extra, err}
	if x.extra != nil {
		s.extra = nil // another span's one day
	}
	if s.isRoot {
		l.finishLocked(s, r, x)
	} else {
		late, ok := l.addLocked(s.generation, r, x)
		l.mu.Unlock()
		if late || !ok {
			s.late(r, x, ok)
		}
	}
	s.figures.observe(took, s.op.target.Load(), err)
	if s.more != nil && s.more.lane != "" {
		s.op.laneEdge(s.more.lane).observe(took, s.op.target.Load(), err)
	}
	if err != nil {
		w.errors.note(s, err)
	}
}

// late accounts for a span that ended after its local root.
func (s *Span) late(r spanEnd, x rareEnd, inRing bool) {
	w := s.op.w
	w.late.Add(1)
	if inRing {
		w.inRing.Add(1)
		return
	}
	// The buffer has gone: the trace's fate is known to the store only.
	x.settle()
	if !w.store.append(s.traceID, r, x) {
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
