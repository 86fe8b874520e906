//go:build !race

package watchman_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// The race detector makes pools lose what they hold, so these counts are
// checked without it.
func TestAllocations(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	op, sub := w.Operation(watchman.Server, "op"), w.Operation(watchman.Client, "sub")
	ctx := context.Background()
	h := http.Header{"Traceparent": {good}}
	c, _ := op.Start(ctx)
	refused := fmt.Errorf("quota: %w", watchman.ErrRejected)
	for _, tc := range []struct {
		name string
		most float64
		f    func()
	}{
		{"figures", 0, func() { op.Observe(c, time.Millisecond, nil) }},
		{"inbound", 0, func() { watchman.FromHeader(h) }},
		{"span", 1, func() { _, s := op.Start(ctx); s.End(nil) }},
		{"span with three facts", 1, func() {
			_, s := op.Start(ctx)
			s.SetAttr("a", "1")
			s.SetAttr("b", "2")
			s.SetAttr("c", "3")
			s.End(nil)
		}},
		{"refused span", 1, func() { _, s := op.Start(ctx); s.End(watchman.ErrRejected) }},
		{"refused span, wrapped", 1, func() { _, s := op.Start(ctx); s.End(refused) }},
		{"one server and three client spans", 4, func() {
			c, root := op.Start(ctx)
			for range 3 {
				_, s := sub.Start(c)
				s.End(nil)
			}
			root.End(nil)
		}},
	} {
		for range 2000 { // makes the edge and fills the ring
			tc.f()
		}
		// The pool may lose a buffer to the collector now and then.
		if got := testing.AllocsPerRun(1000, tc.f); got > tc.most+0.1 {
			t.Errorf("%s: %v allocations, want %v", tc.name, got, tc.most)
		}
	}
}
