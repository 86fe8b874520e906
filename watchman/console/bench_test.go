package console_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/console"
	"github.com/heddle-go/heddle/watchman/control"
)

// BenchmarkOpen is 20,000 requests a second, each a server span continued from
// a header with three client spans below it, while a control loop runs and
// somebody looks at the console, which asks for a page every three seconds. It
// reports the share of one processor that all of it takes, and the heap.
func BenchmarkOpen(b *testing.B) {
	w, err := watchman.New("shop", nil)
	if err != nil {
		b.Fatal(err)
	}
	op, sub := w.Operation(watchman.Server, "GET /cart"), w.Operation(watchman.Client, "db")
	loop, err := control.New(w, []control.Objective{{Name: "cart", Kind: watchman.Server, Operation: "GET /cart", Latency: time.Second, Target: 0.99}},
		[]control.Policy{{Name: "cached", Objective: "cart", Switch: w.Switch("cart.cached", false)}}, nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := console.New(w, &console.Options{Loop: loop})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go loop.Run(ctx)
	go func() {
		pages := []string{"/", "/topology", "/operation?kind=server&name=GET+%2Fcart", "/traces"}
		for i := 0; ctx.Err() == nil; i++ {
			get(c, pages[i%len(pages)])
			time.Sleep(3 * time.Second)
		}
	}()
	header := map[string][]string{"Traceparent": {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}}
	before := cputime.Process()
	began, n := time.Now(), 0
	for b.Loop() { // a tenth of a second an operation
		for range 10 {
			for range 200 {
				ctx, s := op.StartRemote(context.Background(), watchman.FromHeader(header))
				for range 3 {
					_, c := sub.Start(ctx)
					c.End(nil)
				}
				s.End(nil)
			}
			n += 200
			time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / 20000)))
		}
	}
	took := time.Since(began)
	cpu := cputime.Process() - before
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(100*float64(cpu)/float64(took), "%cpu")
	b.ReportMetric(float64(n)/took.Seconds(), "req/s")
	b.ReportMetric(float64(m.HeapInuse)/(1<<20), "MiB-heap")
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-sys")
}
