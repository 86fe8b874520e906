package rpc_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// startHeddle runs motan with everything on that a service has on: a deadline
// that travels, metadata, tracing and, on both sides, an interceptor.
func startHeddle(t testing.TB) func([]byte) ([]byte, error) {
	w, err := watchman.New("bench", nil)
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	count := func(next motan.Invoker) motan.Invoker {
		return func(ctx context.Context, x *motan.Exchange) error {
			calls.Add(1)
			return next(ctx, x)
		}
	}
	srv, err := motan.NewServer(&motan.ServerOptions{Watchman: w, Interceptors: []motan.Interceptor{count}})
	if err != nil {
		t.Fatal(err)
	}
	motan.Handle(srv, "bench.Echo", "echo", func(_ context.Context, b *[]byte) (*[]byte, error) { return b, nil })
	ln := listen(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	c, err := motan.NewClient("bench.Echo", motan.Static(ln.Addr().String()), &motan.ClientOptions{
		Application: "bench", Connections: connections, Timeout: deadline, Watchman: w, Interceptors: []motan.Interceptor{count},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	ctx := motan.WithMetadata(context.Background(), "tenant", "bench")
	return func(payload []byte) ([]byte, error) {
		got, err := motan.Call[[]byte](ctx, c, "echo", &payload)
		if err != nil {
			return nil, err
		}
		return *got, nil
	}
}

// listen returns a listener on loopback; whoever serves on it closes it.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}
