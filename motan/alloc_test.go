//go:build !race

package motan_test

import (
	"context"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// A call of a simple kind allocates, on both sides together, only what crosses to
// the user: the answer on the client; the argument and the context of the handler
// on the server, and the answer that the handler makes. With watchman, a span each.
func TestCallAllocations(t *testing.T) {
	w, err := watchman.New("alloc", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		w    *watchman.Watchman
		most float64
	}{
		{"plain", nil, 3},
		{"watched", w, 6},
	} {
		srv := newServer(t, &motan.ServerOptions{Watchman: tc.w})
		motan.Handle(srv, "s", "double", func(_ context.Context, n *int64) (*int64, error) {
			*n *= 2
			return n, nil
		})
		c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: time.Hour, Watchman: tc.w, Application: "test"})
		arg := int64(21)
		ctx := context.Background()
		one := func() {
			if n, err := motan.Call[int64](ctx, c, "double", &arg); err != nil || *n != 42 {
				t.Fatal(err)
			}
		}
		for range 2000 {
			one()
		}
		if got := testing.AllocsPerRun(2000, one); got > tc.most {
			t.Errorf("%s: %v allocations a call, want at most %v", tc.name, got, tc.most)
		}
	}
}
