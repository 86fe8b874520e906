package motan_test

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// Where processors always have something to run, the runtime looks every 10 ms only
// for what has arrived. A connection that many calls share should not wait for
// that: 64 callers woken every 10 ms on both sides make 3,200 calls a second.
func BenchmarkBusyProcessors(b *testing.B) {
	srv := newServer(b, nil)
	motan.Handle(srv, "s", "same", func(_ context.Context, n *int64) (*int64, error) { return n, nil })
	c := newClient(b, "s", motan.Static(startServer(b, srv)), &motan.ClientOptions{Connections: 1})
	var stop atomic.Bool
	var others, callers sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		others.Go(func() {
			for !stop.Load() {
				for began := time.Now(); time.Since(began) < 50*time.Microsecond; {
				}
				runtime.Gosched()
			}
		})
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ResetTimer()
	for range 64 {
		callers.Go(func() {
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				if _, err := motan.Call[int64](context.Background(), c, "same", &n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	callers.Wait()
	b.StopTimer()
	stop.Store(true)
	others.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
