package motan_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

type benchRequest struct {
	UID  int64  `motan:"uid"`
	Text string `motan:"text"`
	Key  string `motan:"key"`
}

// startServer serves srv on a loopback port until the test ends.
func startServer(t testing.TB, srv *motan.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	return ln.Addr().String()
}

func newServer(t testing.TB, opts *motan.ServerOptions) *motan.Server {
	t.Helper()
	srv, err := motan.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

func newClient(t testing.TB, service string, reg motan.Registry, opts *motan.ClientOptions) *motan.Client {
	t.Helper()
	c, err := motan.NewClient(service, reg, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// BenchmarkCall is a request and its echo over two connections on loopback, with
// a deadline, metadata, tracing and an interceptor; cpu-µs/op is client and server
// together.
func BenchmarkCall(b *testing.B) {
	w, err := watchman.New("bench", nil)
	if err != nil {
		b.Fatal(err)
	}
	pass := func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error { return next(ctx, x) }
	}
	srv := newServer(b, &motan.ServerOptions{Watchman: w, Interceptors: []motan.Interceptor{pass}})
	motan.Handle(srv, "bench.Echo", "echo", func(_ context.Context, q *benchRequest) (*benchRequest, error) { return q, nil })
	addr := startServer(b, srv)
	for _, size := range []struct {
		name  string
		bytes int
	}{{"128B", 128}, {"1KB", 1 << 10}, {"64KB", 64 << 10}} {
		for _, callers := range []int{1, 16, 100, 1000} {
			b.Run(fmt.Sprintf("size=%s/callers=%d", size.name, callers), func(b *testing.B) {
				c := newClient(b, "bench.Echo", motan.Static(addr), &motan.ClientOptions{
					Watchman: w, Timeout: 10 * time.Second, Application: "bench", Interceptors: []motan.Interceptor{pass},
				})
				benchCalls(b, c, callers, &benchRequest{UID: 1, Text: strings.Repeat("x", size.bytes), Key: "newyear-123456"})
			})
		}
	}
}

func benchCalls(b *testing.B, c *motan.Client, callers int, req *benchRequest) {
	ctx := motan.WithMetadata(b.Context(), "tenant", "bench")
	if _, err := motan.Call[benchRequest](ctx, c, "echo", req); err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	took := make([][]time.Duration, callers)
	b.ReportAllocs()
	b.ResetTimer()
	cpu, began := cputime.Process(), time.Now()
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		wg.Go(func() {
			for range n {
				t := time.Now()
				if _, err := motan.Call[benchRequest](ctx, c, "echo", req); err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(t))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Concat(took...)
	slices.Sort(all)
	b.ReportMetric(float64((cputime.Process()-cpu).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "qps")
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
}
