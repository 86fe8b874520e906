package otelbridge

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/heddle-go/heddle/watchman"
)

// Propagator carries watchman's context in OpenTelemetry's carriers: it reads
// W3C Trace Context, B3 in both forms and baggage, and writes Trace Context and
// baggage, the lane and the debug flag with it.
//
//	otel.SetTextMapPropagator(otelbridge.Propagator{})
type Propagator struct{}

var _ propagation.TextMapPropagator = Propagator{}

// fields are what Extract reads. Inject writes the first three.
var fields = []string{"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled", "x-b3-flags"}

// Fields are the names of the fields that Inject writes.
func (Propagator) Fields() []string { return fields[:3:3] }

// Inject writes the span that ctx belongs to, and the baggage of it and of
// OpenTelemetry; where both have a member, OpenTelemetry's.
func (Propagator) Inject(ctx context.Context, carrier propagation.TextMapCarrier) {
	sc := watchman.FromContext(ctx).SpanContext()
	if current := trace.SpanContextFromContext(ctx); current.IsValid() && current.IsRemote() {
		sc = fromOTel(current) // not begun here: it is passed on
	}
	for _, m := range baggage.FromContext(ctx).Members() {
		if next, err := sc.WithMember(m.Key(), m.Value()); err == nil { // what does not fit any more stays here
			sc = next
		}
	}
	if sc.IsValid() {
		carrier.Set("traceparent", string(sc.AppendTraceparent(nil)))
		if sc.State != "" {
			carrier.Set("tracestate", sc.State)
		}
	}
	if sc.Baggage != "" {
		carrier.Set("baggage", sc.Baggage)
	}
}

// Extract reads what the caller sent, by watchman's strict rules, into
// OpenTelemetry's places in the context, where Provider and the application
// find it.
func (Propagator) Extract(ctx context.Context, carrier propagation.TextMapCarrier) context.Context {
	h := http.Header{}
	for _, f := range fields {
		if v := carrier.Get(f); v != "" {
			h.Set(f, v)
		}
	}
	sc := watchman.FromHeader(h)
	if sc.Baggage != "" {
		var members []baggage.Member
		for k, v := range sc.Members() {
			if m, err := baggage.NewMemberRaw(k, v); err == nil { // OpenTelemetry is stricter
				members = append(members, m)
			}
		}
		if bag, err := baggage.New(members...); err == nil {
			ctx = baggage.ContextWithBaggage(ctx, bag)
		}
	}
	if sc.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, toOTel(sc))
	}
	return ctx
}
