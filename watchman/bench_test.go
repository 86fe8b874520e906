package watchman_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/watchman"
)

// measure runs f b.N times and reports the process's CPU time besides the
// wall's: the budgets are in CPU time, collector included.
func measure(b *testing.B, f func()) {
	for range 5000 { // edges, pools and the ring
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

// BenchmarkTraceClock is two readings of the clock, which no span does without:
// a measure to compare machines by.
func BenchmarkTraceClock(b *testing.B) {
	measure(b, func() {
		began := time.Now()
		took = time.Since(began)
	})
}

var took time.Duration // where the compiler cannot leave it out

func BenchmarkTraceFigures(b *testing.B) {
	op := newWatchman(b, "s", nil).Operation(watchman.Internal, "get")
	ctx := context.Background()
	measure(b, func() {
		began := time.Now()
		op.Observe(ctx, time.Since(began), nil)
	})
}

func BenchmarkTraceSpan(b *testing.B) {
	for _, tc := range []struct {
		name string
		opts watchman.Options
		err  error
	}{
		{"recent", watchman.Options{Sample: -1}, nil},
		{"dropped", watchman.Options{Sample: -1, RecentTraces: -1}, nil},
		{"budget", watchman.Options{Sample: 1, TracesPerMinute: 60}, nil},
		{"kept", watchman.Options{Sample: 1}, nil},
		{"failed", watchman.Options{Sample: -1}, errors.New("no")},
		{"refused", watchman.Options{Sample: -1}, watchman.ErrRejected},
	} {
		b.Run(tc.name, func(b *testing.B) {
			op := newWatchman(b, "s", &tc.opts).Operation(watchman.Server, "op")
			ctx := context.Background()
			measure(b, func() {
				_, span := op.Start(ctx)
				span.End(tc.err)
			})
		})
	}
}

// BenchmarkTraceFacts is a span with three facts.
func BenchmarkTraceFacts(b *testing.B) {
	op := newWatchman(b, "s", &watchman.Options{Sample: -1}).Operation(watchman.Server, "op")
	ctx := context.Background()
	measure(b, func() {
		_, span := op.Start(ctx)
		span.SetAttr("http.request.method", "GET")
		span.SetAttr("http.route", "/2/statuses/show.json")
		span.SetAttr("http.response.status_code", "200")
		span.End(nil)
	})
}

// BenchmarkTraceRequest is a server span with three client spans below it.
func BenchmarkTraceRequest(b *testing.B) {
	w := newWatchman(b, "s", &watchman.Options{Sample: -1})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	ctx := context.Background()
	measure(b, func() {
		c, root := op.Start(ctx)
		for range 3 {
			_, s := sub.Start(c)
			s.End(nil)
		}
		root.End(nil)
	})
}

// BenchmarkTraceServer is all that a server does for a request over HTTP: read
// the headers, begin the span, put it into the request, ask for the keep bit, end.
func BenchmarkTraceServer(b *testing.B) {
	op := newWatchman(b, "s", &watchman.Options{Sample: -1}).Operation(watchman.Server, "op")
	r, err := http.NewRequest("GET", "/", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header["Traceparent"] = []string{good[:53] + "02"}
	measure(b, func() {
		ctx, span := op.StartRemote(r.Context(), watchman.FromHeader(r.Header))
		served = r.WithContext(ctx)
		if span.Keeping(nil) {
			b.Fatal("nothing to keep")
		}
		span.End(nil)
	})
}

// served is where a handler would see its request, which has to be on the heap.
var served *http.Request

func BenchmarkTraceInbound(b *testing.B) {
	h := http.Header{"Traceparent": {good}}
	measure(b, func() {
		if !watchman.FromHeader(h).IsValid() {
			b.Fatal("not read")
		}
	})
}

func BenchmarkTraceOutbound(b *testing.B) {
	_, span := newWatchman(b, "s", nil).Operation(watchman.Client, "op").Start(context.Background())
	buf := make([]byte, 0, 64)
	measure(b, func() { buf = span.SpanContext().AppendTraceparent(buf[:0]) })
}
