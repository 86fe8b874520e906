package trace_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/DataDog/dd-trace-go/v2/ddtrace/tracer"
	zipkingo "github.com/openzipkin/zipkin-go"
	"github.com/openzipkin/zipkin-go/model"
	"github.com/openzipkin/zipkin-go/reporter"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	otelmetric "go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/watchman"
)

// measure reports the process's CPU time besides the wall's.
func measure(b *testing.B, f func()) {
	for range 5000 {
		f()
	}
	b.ReportAllocs()
	b.ResetTimer()
	began := cputime.Process()
	for range b.N {
		f()
	}
	b.ReportMetric(float64(cputime.Process()-began)/float64(b.N), "cpu-ns/op")
}

// peer is a tracer: span is one server span, request one with three client
// spans below it, facts one with three facts.
type peer struct {
	name                 string
	span, request, facts func(ctx context.Context)
}

func heddle(b *testing.B, name string, opts watchman.Options) peer {
	w, err := watchman.New("bench", &opts)
	if err != nil {
		b.Fatal(err)
	}
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	return peer{name,
		func(ctx context.Context) {
			_, s := op.Start(ctx)
			s.End(nil)
		},
		func(ctx context.Context) {
			ctx, root := op.Start(ctx)
			for range 3 {
				_, s := sub.Start(ctx)
				s.End(nil)
			}
			root.End(nil)
		},
		func(ctx context.Context) {
			_, s := op.Start(ctx)
			s.SetAttr("http.request.method", "GET")
			s.SetAttr("http.route", "/2/statuses/show.json")
			s.SetAttr("http.response.status_code", "200")
			s.End(nil)
		},
	}
}

// dropping is an exporter that takes everything and keeps nothing.
type dropping struct{}

func (dropping) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (dropping) Shutdown(context.Context) error                             { return nil }

func otelProvider(b *testing.B, sampler sdktrace.Sampler) *sdktrace.TracerProvider {
	tp := sdktrace.NewTracerProvider(sdktrace.WithSampler(sampler), sdktrace.WithBatcher(dropping{}))
	b.Cleanup(func() { _ = tp.Shutdown(context.Background()) })
	return tp
}

func otel(name string, tp oteltrace.TracerProvider) peer {
	t := tp.Tracer("bench")
	return peer{name,
		func(ctx context.Context) {
			_, s := t.Start(ctx, "op", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
			s.End()
		},
		func(ctx context.Context) {
			ctx, root := t.Start(ctx, "op", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
			for range 3 {
				_, s := t.Start(ctx, "sub", oteltrace.WithSpanKind(oteltrace.SpanKindClient))
				s.End()
			}
			root.End()
		},
		func(ctx context.Context) {
			_, s := t.Start(ctx, "op", oteltrace.WithSpanKind(oteltrace.SpanKindServer), oteltrace.WithAttributes(
				attribute.String("http.request.method", "GET"), attribute.String("http.route", "/2/statuses/show.json"),
				attribute.Int("http.response.status_code", 200)))
			s.End()
		},
	}
}

// measured is otel with a duration histogram beside it, which is what it takes
// to know about the calls that are not sampled. The attribute sets are made once.
func measured(b *testing.B, name string, tp oteltrace.TracerProvider) peer {
	t := tp.Tracer("bench")
	mp := metric.NewMeterProvider(metric.WithReader(metric.NewManualReader()))
	b.Cleanup(func() { _ = mp.Shutdown(context.Background()) })
	h, err := mp.Meter("bench").Float64Histogram("duration")
	if err != nil {
		b.Fatal(err)
	}
	set := otelmetric.WithAttributeSet(attribute.NewSet(attribute.String("operation", "op")))
	end := func(ctx context.Context, s oteltrace.Span, began time.Time) {
		h.Record(ctx, time.Since(began).Seconds(), set)
		s.End()
	}
	return peer{name,
		func(ctx context.Context) {
			began := time.Now()
			ctx, s := t.Start(ctx, "op", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
			end(ctx, s, began)
		},
		func(ctx context.Context) {
			began := time.Now()
			ctx, root := t.Start(ctx, "op", oteltrace.WithSpanKind(oteltrace.SpanKindServer))
			for range 3 {
				began := time.Now()
				ctx, s := t.Start(ctx, "sub", oteltrace.WithSpanKind(oteltrace.SpanKindClient))
				end(ctx, s, began)
			}
			end(ctx, root, began)
		},
		func(ctx context.Context) {
			began := time.Now()
			ctx, s := t.Start(ctx, "op", oteltrace.WithSpanKind(oteltrace.SpanKindServer), oteltrace.WithAttributes(
				attribute.String("http.request.method", "GET"), attribute.String("http.route", "/2/statuses/show.json"),
				attribute.Int("http.response.status_code", 200)))
			end(ctx, s, began)
		},
	}
}

func zipkin(b *testing.B, name string, sampler zipkingo.Sampler) peer {
	t, err := zipkingo.NewTracer(reporter.NewNoopReporter(), zipkingo.WithSampler(sampler), zipkingo.WithNoopSpan(true))
	if err != nil {
		b.Fatal(err)
	}
	return peer{name,
		func(ctx context.Context) {
			s, _ := t.StartSpanFromContext(ctx, "op", zipkingo.Kind(model.Server))
			s.Finish()
		},
		func(ctx context.Context) {
			root, ctx := t.StartSpanFromContext(ctx, "op", zipkingo.Kind(model.Server))
			for range 3 {
				s, _ := t.StartSpanFromContext(ctx, "sub", zipkingo.Kind(model.Client))
				s.Finish()
			}
			root.Finish()
		},
		func(ctx context.Context) {
			s, _ := t.StartSpanFromContext(ctx, "op", zipkingo.Kind(model.Server))
			s.Tag("http.request.method", "GET")
			s.Tag("http.route", "/2/statuses/show.json")
			s.Tag("http.response.status_code", "200")
			s.Finish()
		},
	}
}

// datadog sends to an agent that takes everything and keeps nothing.
func datadog(b *testing.B) peer {
	agent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "{}")
	}))
	b.Cleanup(agent.Close)
	if err := tracer.Start(tracer.WithAgentURL(agent.URL), tracer.WithLogStartup(false), tracer.WithService("bench")); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(tracer.Stop)
	return peer{"dd-trace-go sampled",
		func(ctx context.Context) {
			s, _ := tracer.StartSpanFromContext(ctx, "op")
			s.Finish()
		},
		func(ctx context.Context) {
			root, ctx := tracer.StartSpanFromContext(ctx, "op")
			for range 3 {
				s, _ := tracer.StartSpanFromContext(ctx, "sub")
				s.Finish()
			}
			root.Finish()
		},
		func(ctx context.Context) {
			s, _ := tracer.StartSpanFromContext(ctx, "op", tracer.Tag("http.request.method", "GET"),
				tracer.Tag("http.route", "/2/statuses/show.json"), tracer.Tag("http.response.status_code", 200))
			s.Finish()
		},
	}
}

func each(b *testing.B, pick func(p peer) func(context.Context)) {
	for _, mk := range []func(b *testing.B) peer{
		func(b *testing.B) peer { return heddle(b, "watchman sampled", watchman.Options{Sample: 1}) },
		func(b *testing.B) peer { return heddle(b, "watchman unsampled", watchman.Options{Sample: -1}) },
		func(b *testing.B) peer {
			return heddle(b, "watchman unsampled, no ring", watchman.Options{Sample: -1, RecentTraces: -1})
		},
		func(b *testing.B) peer { return otel("otel sampled", otelProvider(b, sdktrace.AlwaysSample())) },
		func(b *testing.B) peer {
			return otel("otel unsampled", otelProvider(b, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0))))
		},
		func(b *testing.B) peer {
			return measured(b, "otel sampled, histogram", otelProvider(b, sdktrace.AlwaysSample()))
		},
		func(b *testing.B) peer {
			return measured(b, "otel unsampled, histogram", otelProvider(b, sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0))))
		},
		func(b *testing.B) peer { return otel("otel noop", noop.NewTracerProvider()) },
		func(b *testing.B) peer { return zipkin(b, "zipkin-go sampled", zipkingo.AlwaysSample) },
		func(b *testing.B) peer { return zipkin(b, "zipkin-go unsampled", zipkingo.NeverSample) },
		datadog,
	} {
		p := mk(b)
		f := pick(p)
		b.Run(p.name, func(b *testing.B) {
			ctx := context.Background()
			measure(b, func() { f(ctx) })
		})
	}
}

func BenchmarkTraceSpan(b *testing.B) {
	each(b, func(p peer) func(context.Context) { return p.span })
}

func BenchmarkTraceFacts(b *testing.B) {
	each(b, func(p peer) func(context.Context) { return p.facts })
}

func BenchmarkTraceRequest(b *testing.B) {
	each(b, func(p peer) func(context.Context) { return p.request })
}

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ h http.Header }

func (n *nowhere) Header() http.Header         { return n.h }
func (n *nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n *nowhere) WriteHeader(int)             {}

func BenchmarkTraceServer(b *testing.B) {
	empty := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	hook := func(b *testing.B, sample float64) http.Handler {
		w, err := watchman.New("bench", &watchman.Options{Sample: sample})
		if err != nil {
			b.Fatal(err)
		}
		op := w.Operation(watchman.Server, "GET /")
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			ctx, span := op.StartRemote(r.Context(), watchman.FromHeader(r.Header))
			empty.ServeHTTP(rw, r.WithContext(ctx))
			if span.Keeping(nil) {
				rw.Header().Set(watchman.HeaderKeep, "1")
			}
			span.End(nil)
		})
	}
	instrument := func(tp oteltrace.TracerProvider) http.Handler {
		return otelhttp.NewHandler(empty, "GET /", otelhttp.WithTracerProvider(tp), otelhttp.WithPropagators(propagation.TraceContext{}))
	}
	for _, tc := range []struct {
		name    string
		handler http.Handler
		flags   string
	}{
		{"none", empty, "00"},
		{"watchman sampled", hook(b, 1), "01"},
		{"watchman unsampled", hook(b, -1), "00"},
		{"otelhttp sampled", instrument(otelProvider(b, sdktrace.ParentBased(sdktrace.AlwaysSample()))), "01"},
		{"otelhttp unsampled", instrument(otelProvider(b, sdktrace.ParentBased(sdktrace.NeverSample()))), "00"},
		{"otelhttp noop", instrument(noop.NewTracerProvider()), "00"},
	} {
		b.Run(tc.name, func(b *testing.B) {
			r, err := http.NewRequest("GET", "http://x/", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-"+tc.flags)
			rw := &nowhere{http.Header{}}
			measure(b, func() { tc.handler.ServeHTTP(rw, r) })
		})
	}
}
