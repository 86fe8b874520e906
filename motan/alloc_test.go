//go:build !race

package motan_test

import (
	"context"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// Client and server together allocate for a call of a simple kind only what crosses
// to the user: on the client the answer; on the server the argument and the context
// of the handler. With watchman, the span of each side and, as long as a trace
// comes with a tracestate, what watchman keeps of that. Metadata, interceptors,
// deadlines and frames cost none.
func TestCallAllocations(t *testing.T) {
	for _, tc := range []struct {
		name  string
		w     *watchman.Watchman
		int64 float64 // an *int64 each way
		bytes float64 // a *[]byte each way: each is a header and its bytes
	}{
		{"plain", nil, 3, 5},
		{"watched", newWatchman(t, "alloc", &watchman.Options{Sample: -1}), 6, 8},
	} {
		for _, full := range []bool{false, true} {
			so, co := &motan.ServerOptions{Watchman: tc.w}, &motan.ClientOptions{Timeout: time.Hour, Watchman: tc.w, Application: "test"}
			ctx := context.Background()
			if full {
				pass := func(next motan.Invoker) motan.Invoker {
					return func(ctx context.Context, x *motan.Exchange) error { return next(ctx, x) }
				}
				so.Interceptors, co.Interceptors = []motan.Interceptor{pass}, []motan.Interceptor{pass}
				ctx = motan.WithMetadata(motan.WithMetadata(ctx, "tenant", "a"), "region", "b")
			}
			srv := newServer(t, so)
			motan.Handle(srv, "s", "double", func(_ context.Context, n *int64) (*int64, error) {
				*n *= 2
				return n, nil
			})
			motan.Handle(srv, "s", "same", func(_ context.Context, b *[]byte) (*[]byte, error) { return b, nil })
			c := newClient(t, "s", motan.Static(startServer(t, srv)), co)
			number, text := int64(21), make([]byte, 100)
			for _, m := range []struct {
				name string
				most float64
				call func() error
			}{
				{"int64", tc.int64, func() error {
					_, err := motan.Call[int64](ctx, c, "double", &number)
					return err
				}},
				{"bytes", tc.bytes, func() error {
					_, err := motan.Call[[]byte](ctx, c, "same", &text)
					return err
				}},
			} {
				one := func() {
					if err := m.call(); err != nil {
						t.Fatal(err)
					}
				}
				for range 2000 {
					one()
				}
				if got := testing.AllocsPerRun(2000, one); got > m.most {
					t.Errorf("%s, with metadata and interceptors %v, %s: %v allocations a call, want at most %v", tc.name, full, m.name, got, m.most)
				}
			}
		}
	}
}
