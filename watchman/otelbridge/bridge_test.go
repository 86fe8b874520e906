package otelbridge_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/trace"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/otelbridge"
)

func bridge(t testing.TB) (*watchman.Watchman, *otelbridge.Provider) {
	t.Helper()
	w, err := watchman.New("shop", &watchman.Options{Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	p, err := otelbridge.New(w)
	if err != nil {
		t.Fatal(err)
	}
	return w, p
}

// framework → OpenTelemetry → framework is one trace of three.
func TestOneTrace(t *testing.T) {
	w, p := bridge(t)
	ctx, root := w.Operation(watchman.Server, "GET /cart").Start(t.Context())
	if sc := trace.SpanContextFromContext(ctx); watchman.SpanID(sc.SpanID()) != root.SpanContext().SpanID || !sc.IsSampled() {
		t.Errorf("the framework's span is not OpenTelemetry's: %+v", sc)
	}
	type key struct{}
	ctx, mid := p.Tracer("app").Start(context.WithValue(ctx, key{}, 1), "price",
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.Int("items", 3)))
	mid.AddEvent("ask")
	mid.AddLink(trace.Link{SpanContext: mid.SpanContext()})
	if trace.SpanFromContext(ctx) != mid || ctx.Value(key{}) != 1 {
		t.Error("the OpenTelemetry span is not current in its context, or a value is lost")
	}
	inner, leaf := w.Operation(watchman.Client, "db").Start(ctx)
	if sc := trace.SpanContextFromContext(inner); watchman.SpanID(sc.SpanID()) != leaf.SpanContext().SpanID {
		t.Error("below an OpenTelemetry span the framework's is not current")
	}
	leaf.End(nil)
	mid.RecordError(errors.New("no price"))
	mid.SetStatus(codes.Error, "failed")
	mid.End()
	root.End(nil)
	spans := w.Trace(root.SpanContext().TraceID)
	byName := map[string]watchman.SpanRecord{}
	for _, s := range spans {
		byName[s.Name] = s
	}
	price := byName["price"]
	if len(spans) != 3 || price.Parent != byName["GET /cart"].SpanID || byName["db"].Parent != price.SpanID {
		t.Fatalf("spans %+v", spans)
	}
	if price.Kind != watchman.Client || price.Error != "failed" || len(price.Phases) != 1 || len(price.Links) != 1 ||
		fmt.Sprint(price.Attrs) != "[{items 3} {exception.message no price}]" {
		t.Errorf("price %+v", price)
	}
}

// What OpenTelemetry's propagators read is continued, and what they write is
// the framework's span.
func TestPropagators(t *testing.T) {
	w, p := bridge(t)
	prop := propagation.TraceContext{}
	in := propagation.MapCarrier{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1"}
	ctx, s := p.Tracer("").Start(prop.Extract(t.Context(), in), "in", trace.WithSpanKind(trace.SpanKindServer))
	inner, call := w.Operation(watchman.Client, "call").Start(ctx)
	out := propagation.MapCarrier{}
	prop.Inject(inner, out)
	sc := call.SpanContext()
	if want := string(sc.AppendTraceparent(nil)); out["traceparent"] != want || out["tracestate"] != "heddle=shop,a=1" {
		t.Errorf("written %v, want %s", out, want)
	}
	call.End(nil)
	s.End()
	got := w.Trace(sc.TraceID)
	if len(got) != 2 || got[0].Name != "in" || got[0].Parent.String() != "00f067aa0ba902b7" || got[1].Parent != got[0].SpanID {
		t.Errorf("kept %+v", got)
	}
	_, root := p.Tracer("").Start(inner, "new", trace.WithNewRoot())
	if root.SpanContext().TraceID() == trace.TraceID(sc.TraceID) {
		t.Error("a new root continues the old trace")
	}
	root.SetStatus(codes.Error, "x")
	root.SetStatus(codes.Ok, "")
	root.SetName("other")
	root.End()
	if got := w.Trace(watchman.TraceID(root.SpanContext().TraceID())); len(got) != 1 || got[0].Error != "" || root.TracerProvider() != p || !root.IsRecording() {
		t.Errorf("kept %+v", got)
	}
}

// A lane that came with an OpenTelemetry carrier is counted, found by the
// application and handed on, together with what the application added.
func TestPropagatorCarriesLanes(t *testing.T) {
	w, p := bridge(t)
	for _, tc := range []struct {
		name string
		in   propagation.MapCarrier
		same bool // the trace goes on
	}{
		{"W3C", propagation.MapCarrier{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "a=1", "baggage": "heddle.lane=blue"}, true},
		{"B3", propagation.MapCarrier{"b3": "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1", "baggage": "heddle.lane=blue"}, true},
		{"baggage alone", propagation.MapCarrier{"baggage": "heddle.lane=blue"}, false},
		{"nonsense", propagation.MapCarrier{"traceparent": "x", "b3": "y", "baggage": "heddle.lane=blue,\x00"}, false},
	} {
		ctx := otelbridge.Propagator{}.Extract(t.Context(), tc.in)
		ctx, sp := p.Tracer("t").Start(ctx, "work "+tc.name, trace.WithSpanKind(trace.SpanKindServer))
		m, err := baggage.NewMemberRaw("user", "7 8")
		if err != nil {
			t.Fatal(err)
		}
		bag, err := baggage.FromContext(ctx).SetMember(m)
		if err != nil {
			t.Fatal(err)
		}
		ctx = baggage.ContextWithBaggage(ctx, bag)
		out := propagation.MapCarrier{}
		otelbridge.Propagator{}.Inject(ctx, out)
		sp.End()
		sc := watchman.FromFields(out["traceparent"], out["tracestate"], out["baggage"])
		if sc.SpanID != watchman.SpanID(sp.SpanContext().SpanID()) || (sc.TraceID.String() == "4bf92f3577b34da6a3ce929d0e0e4736") != tc.same {
			t.Errorf("%s: handed on %v", tc.name, out)
		}
		if tc.name != "nonsense" && (sc.Member(watchman.BaggageLane) != "blue" || sc.Member("user") != "7 8" || w.Operation(watchman.Server, "work "+tc.name).Stats().Lanes == nil) {
			t.Errorf("%s: lane and user are %v", tc.name, out)
		}
	}
	// What only passes through keeps its ids.
	ctx := otelbridge.Propagator{}.Extract(t.Context(), propagation.MapCarrier{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03"})
	out := propagation.MapCarrier{}
	otelbridge.Propagator{}.Inject(ctx, out)
	if out["traceparent"] != "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03" {
		t.Errorf("passed on %v", out)
	}
	out = propagation.MapCarrier{}
	if (otelbridge.Propagator{}).Inject(t.Context(), out); len(out) != 0 {
		t.Errorf("of nothing: %v", out)
	}
}

func TestProducer(t *testing.T) {
	w, p := bridge(t)
	_, s := w.Operation(watchman.Server, "op").Start(t.Context())
	s.End(errors.New("x"))
	reader := metric.NewManualReader(metric.WithProducer(p.Producer()))
	mp := metric.NewMeterProvider(metric.WithReader(reader))
	defer mp.Shutdown(t.Context())
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	if len(rm.ScopeMetrics) != 1 {
		t.Fatalf("collected %+v", rm)
	}
	hist := rm.ScopeMetrics[0].Metrics[0].Data.(metricdata.ExponentialHistogram[float64])
	failed := rm.ScopeMetrics[0].Metrics[1].Data.(metricdata.Sum[int64])
	if p := hist.DataPoints[0]; p.Count != 1 || len(p.PositiveBucket.Counts) != 1 || len(p.Exemplars) != 1 || failed.DataPoints[0].Value != 1 {
		t.Errorf("histogram %+v, errors %+v", p, failed)
	}
}

func TestNewRejects(t *testing.T) {
	if _, err := otelbridge.New(nil); err == nil {
		t.Error("no Watchman was taken")
	}
}

func Example() {
	w, err := watchman.New("shop", &watchman.Options{Sample: 1})
	if err != nil {
		panic(err)
	}
	provider, err := otelbridge.New(w)
	if err != nil {
		panic(err)
	}
	ctx, root := w.Operation(watchman.Server, "GET /cart").Start(context.Background())
	_, price := provider.Tracer("app").Start(ctx, "price") // code that knows OpenTelemetry only
	price.End()
	root.End(nil)
	for _, s := range w.Trace(root.SpanContext().TraceID) {
		fmt.Println(s.Kind, s.Name)
	}
	// Output:
	// server GET /cart
	// internal price
}
