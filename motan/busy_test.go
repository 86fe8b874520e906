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
// for what has arrived. A connection that many calls share must not wait for that.
func TestBusyProcessors(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "same", func(_ context.Context, n *int64) (*int64, error) { return n, nil })
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Connections: 1})
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
	var done atomic.Int64
	for range 64 {
		callers.Go(func() {
			for n := int64(1); !stop.Load(); n++ {
				if _, err := motan.Call[int64](context.Background(), c, "same", &n); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	defer func() {
		stop.Store(true)
		others.Wait()
		callers.Wait()
	}()
	// Woken every 10 ms on both sides, each caller gets through 25 calls in half a
	// second. The machine may have more to do than this: some of ten times will do.
	const window, want = 500 * time.Millisecond, 64 * 25 * 3 / 2
	var got int64
	for range 10 {
		before := done.Load()
		time.Sleep(window)
		if got = done.Load() - before; got >= want {
			return
		}
	}
	t.Errorf("%d calls in %v beside busy goroutines, want %d", got, window, want)
}
