package otelbridge

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/heddle-go/heddle/watchman"
)

// Provider is a trace.TracerProvider whose spans are a Watchman's. It is safe
// for concurrent use.
type Provider struct {
	embedded.TracerProvider
	w *watchman.Watchman
}

// New returns a Provider of w, which must not be nil, and makes w's spans
// OpenTelemetry's current ones in their contexts.
func New(w *watchman.Watchman) (*Provider, error) {
	if w == nil {
		return nil, errors.New("otelbridge: no Watchman")
	}
	p := &Provider{w: w}
	key := currentSpanKey()
	if key == nil {
		return nil, errors.New("otelbridge: this version of go.opentelemetry.io/otel/trace keeps its current span elsewhere")
	}
	w.SetBridge(func(s *watchman.Span, k any) any {
		if k != key {
			return nil
		}
		return &span{p: p, s: s}
	})
	return p, nil
}

// currentSpanKey is the key under which the API keeps the current span, which
// it does not export: it is whatever SpanFromContext looks up.
func currentSpanKey() any {
	c := &listening{Context: context.Background()}
	trace.SpanFromContext(c)
	return c.key
}

type listening struct {
	context.Context
	key any
}

func (c *listening) Value(key any) any {
	c.key = key
	return nil
}

// Tracer returns a tracer; the name of the library is not kept.
func (p *Provider) Tracer(string, ...trace.TracerOption) trace.Tracer { return &tracer{p: p} }

type tracer struct {
	embedded.Tracer
	p *Provider
}

var kinds = map[trace.SpanKind]watchman.Kind{
	trace.SpanKindServer: watchman.Server, trace.SpanKindClient: watchman.Client,
	trace.SpanKindProducer: watchman.Producer, trace.SpanKindConsumer: watchman.Consumer,
}

// Start begins a span below the current one of ctx, ours or a remote one that a
// propagator put there.
func (t *tracer) Start(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx == nil {
		ctx = context.Background()
	}
	cfg := trace.NewSpanStartConfig(opts...)
	op := t.p.w.Operation(kinds[cfg.SpanKind()], name)
	parent := trace.SpanContextFromContext(ctx)
	own := watchman.FromContext(ctx)
	at := cfg.Timestamp() // zero: now
	var s *watchman.Span
	switch {
	case cfg.NewRoot():
		ctx, s = op.StartRemoteAt(ctx, watchman.SpanContext{}, at)
	case parent.IsRemote() && (own == nil || parent.SpanID() != trace.SpanID(own.SpanContext().SpanID)):
		from := fromOTel(parent)
		from.Baggage = baggage.FromContext(ctx).String() // it may name a lane
		ctx, s = op.StartRemoteAt(ctx, from, at)
	case own == nil:
		ctx, s = op.StartRemoteAt(ctx, watchman.SpanContext{Baggage: baggage.FromContext(ctx).String()}, at)
	default:
		ctx, s = op.StartAt(ctx, at)
	}
	sp := &span{p: t.p, s: s}
	sp.SetAttributes(cfg.Attributes()...)
	for _, l := range cfg.Links() {
		sp.AddLink(l)
	}
	return trace.ContextWithSpan(ctx, sp), sp
}

func fromOTel(sc trace.SpanContext) watchman.SpanContext {
	out := watchman.SpanContext{TraceID: watchman.TraceID(sc.TraceID()), SpanID: watchman.SpanID(sc.SpanID()), State: sc.TraceState().String()}
	out.Flags = watchman.Flags(sc.TraceFlags()) & (watchman.FlagSampled | watchman.FlagRandom)
	return out
}

func toOTel(sc watchman.SpanContext) trace.SpanContext {
	cfg := trace.SpanContextConfig{TraceID: trace.TraceID(sc.TraceID), SpanID: trace.SpanID(sc.SpanID), TraceFlags: trace.TraceFlags(sc.Flags)}
	if state, err := trace.ParseTraceState(sc.State); err == nil { // ours is stricter; an empty state if not
		cfg.TraceState = state
	}
	return trace.NewSpanContext(cfg)
}

// span is a watchman span as OpenTelemetry sees it. Several may stand for one.
type span struct {
	embedded.Span
	p *Provider
	s *watchman.Span

	mu     sync.Mutex
	failed error
}

func (sp *span) End(opts ...trace.SpanEndOption) {
	sp.mu.Lock()
	err := sp.failed
	sp.mu.Unlock()
	sp.s.End(err)
}

func (sp *span) SpanContext() trace.SpanContext { return toOTel(sp.s.SpanContext()) }

// IsRecording is true: what is set is there if the trace turns out to be worth keeping.
func (sp *span) IsRecording() bool { return true }

func (sp *span) AddEvent(name string, _ ...trace.EventOption) { sp.s.Phase(name) }

func (sp *span) AddLink(l trace.Link) { sp.s.AddLink(fromOTel(l.SpanContext)) }

// RecordError notes a fact; whether the span failed is for SetStatus to say.
func (sp *span) RecordError(err error, _ ...trace.EventOption) {
	if err == nil {
		return
	}
	sp.s.SetAttr("exception.message", err.Error())
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if f, ok := sp.failed.(*statusError); ok && f.cause == nil {
		f.cause = err
	}
}

// statusError is a span's error status.
type statusError struct {
	text  string
	cause error
}

func (e *statusError) Error() string {
	if e.cause != nil && e.text == "" {
		return e.cause.Error()
	}
	return e.text
}

func (e *statusError) Unwrap() error { return e.cause }

func (sp *span) SetStatus(code codes.Code, text string) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	switch code {
	case codes.Error:
		sp.failed = &statusError{text: text}
	case codes.Ok:
		sp.failed = nil
	}
}

// SetName notes a fact: an operation counts under the name it began with.
func (sp *span) SetName(name string) { sp.s.SetAttr("otel.name", name) }

func (sp *span) SetAttributes(list ...attribute.KeyValue) {
	for _, a := range list {
		sp.s.SetAttr(string(a.Key), a.Value.String())
	}
}

func (sp *span) TracerProvider() trace.TracerProvider { return sp.p }

// String names the span for debugging.
func (sp *span) String() string {
	sc := sp.s.SpanContext()
	return fmt.Sprintf("%s/%s", sc.TraceID, sc.SpanID)
}
