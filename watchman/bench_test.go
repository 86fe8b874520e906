package watchman_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

func BenchmarkTraceFigures(b *testing.B) {
	op := newWatchman(b, "s", nil).Operation(watchman.Internal, "get")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		began := time.Now()
		op.Observe(ctx, time.Since(began), nil)
	}
}

func BenchmarkTraceSpan(b *testing.B) {
	for _, tc := range []struct {
		name   string
		sample float64
	}{{"dropped", -1}, {"kept", 1}} {
		b.Run(tc.name, func(b *testing.B) {
			op := newWatchman(b, "s", &watchman.Options{Sample: tc.sample}).Operation(watchman.Server, "op")
			ctx := context.Background()
			b.ReportAllocs()
			for b.Loop() {
				_, span := op.Start(ctx)
				span.End(nil)
			}
		})
	}
}

// BenchmarkTraceRequest is a server span with three client spans below it.
func BenchmarkTraceRequest(b *testing.B) {
	w := newWatchman(b, "s", &watchman.Options{Sample: -1})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		c, root := op.Start(ctx)
		for range 3 {
			_, s := sub.Start(c)
			s.End(nil)
		}
		root.End(nil)
	}
}

func BenchmarkTraceInbound(b *testing.B) {
	h := http.Header{"Traceparent": {good}}
	b.ReportAllocs()
	for b.Loop() {
		if !watchman.FromHeader(h).IsValid() {
			b.Fatal("not read")
		}
	}
}

func BenchmarkTraceOutbound(b *testing.B) {
	_, span := newWatchman(b, "s", nil).Operation(watchman.Client, "op").Start(context.Background())
	buf := make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		buf = span.SpanContext().AppendTraceparent(buf[:0])
	}
}
