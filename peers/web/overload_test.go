package web

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/adaptivelimiter"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/zeromicro/go-zero/core/load"
	"github.com/zeromicro/go-zero/core/stat"
	"github.com/zeromicro/go-zero/rest/handler"
	"golang.org/x/time/rate"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/webv4"
)

// Two services are asked for more than they can do, each behind each protection.
// Their work varies as it does at random (exponentially).
//
//	io     waits for one of 16 workers and then 20 ms on average, as before a database
//	cpu    computes for 4 ms on average, on a processor that has nothing else to do
//
// Clients come at random (Poisson) whatever happens to those before them, and
// go away after 250 ms. One in ten is critical, three are normal, six are low.

const (
	patience   = 250 * time.Millisecond
	ioWorkers  = 16
	ioTime     = 20 * time.Millisecond
	cpuTime    = 4 * time.Millisecond
	cpuAtATime = 8 // of the client that measures the capacity
	warmUp     = 2 * time.Second
	skipped    = time.Second // of measured, for the goodput
	settleSpan = 500 * time.Millisecond
	settleStep = 50 * time.Millisecond
	drifts     = time.Minute // of measured: the capacity is measured again
	settled    = 0.8         // of the capacity, over a settleSpan
)

// measured is for how long clients come: HEDDLE_OVERLOAD is another time, such as
// 10m to see whether anything drifts.
var measured = func() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("HEDDLE_OVERLOAD")); err == nil {
		return d
	}
	return 5 * time.Second
}()

// work is a service; false if the client has gone before it began.
type work func(ctx context.Context) bool

var works = map[string]func() work{
	"io": func() work {
		workers := make(chan struct{}, ioWorkers)
		return func(ctx context.Context) bool {
			select {
			case workers <- struct{}{}:
			case <-ctx.Done():
				return false
			}
			defer func() { <-workers }()
			time.Sleep(time.Duration(min(rand.ExpFloat64(), 8) * float64(ioTime)))
			return true
		}
	},
	"cpu": func() work {
		rounds, err := strconv.ParseFloat(os.Getenv(roundsVariable), 64)
		if err != nil {
			panic(err)
		}
		return func(context.Context) bool { return compute(int(min(rand.ExpFloat64(), 8) * rounds)) }
	},
}

func compute(rounds int) bool {
	x := rand.Uint64() | 1
	for range rounds {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	return x != 0
}

// cpuRounds is how much can be computed in cpuTime here. Machines differ by a
// factor of two, and with the work would what refusals cost beside it.
var cpuRounds = sync.OnceValue(func() int {
	const tries, rounds = 5, 20_000_000
	least := time.Duration(1<<63 - 1)
	for range tries {
		began := time.Now()
		compute(rounds)
		least = min(least, time.Since(began))
	}
	return int(rounds * cpuTime / least)
})

// startOverloaded starts the service of a model behind a protection, which is
// told the capacity in calls a second.
func startOverloaded(tb testing.TB, model, protection string, capacity float64) *process {
	tb.Helper()
	return startServer(tb, "overload/"+model+"/"+protection,
		fmt.Sprintf("%s=%f", capacityVariable, capacity), fmt.Sprintf("%s=%d", roundsVariable, cpuRounds()))
}

func serveWork(do work) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !do(r.Context()) {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "done\n")
	}
}

// protections stand before a service, in the order of the report. Those that
// know no classes treat all alike; that of x/time/rate is told the capacity.
var protections = []struct {
	name string
	wrap func(work) http.Handler
}{
	{"nothing", func(do work) http.Handler { return serveWork(do) }},
	{"webv4", webv4Protection},
	{"go-zero", func(do work) http.Handler {
		load.DisableLog()
		return handler.SheddingHandler(load.NewAdaptiveShedder(), stat.NewMetrics("bench"))(serveWork(do))
	}},
	{"failsafe", func(do work) http.Handler {
		return failsafehttp.NewHandler(serveWork(do), failsafe.Policy[*http.Response](adaptivelimiter.NewWithDefaults[*http.Response]()))
	}},
	{"failsafe-priority", func(do work) http.Handler {
		p := adaptivelimiter.NewPrioritizer()
		p.ScheduleCalibrations(context.Background(), 500*time.Millisecond)
		limiter := adaptivelimiter.NewBuilder[*http.Response]().BuildPrioritized(p)
		return failsafehttp.NewHandlerWithLevel(failsafehttp.NewHandler(serveWork(do), failsafe.Policy[*http.Response](limiter)), true)
	}},
	{"x-time-rate", func(do work) http.Handler {
		capacity, err := strconv.ParseFloat(os.Getenv(capacityVariable), 64)
		if err != nil {
			panic(err)
		}
		l := rate.NewLimiter(rate.Limit(capacity), int(capacity/10)+1)
		next := serveWork(do)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !l.Allow() {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			next(w, r)
		})
	}},
}

// What the process of a server is told.
const (
	capacityVariable = "HEDDLE_PEERS_WEB_CAPACITY"
	roundsVariable   = "HEDDLE_PEERS_WEB_ROUNDS"
)

type (
	criticalWork struct {
		_ struct{} `route:"GET /critical" class:"critical"`
	}
	normalWork struct {
		_ struct{} `route:"GET /normal"`
	}
	lowWork struct {
		_ struct{} `route:"GET /low" class:"low"`
	}
	workDone struct {
		Done bool `json:"done"`
	}
)

func webv4Protection(do work) http.Handler {
	a, err := webv4.New(&webv4.Options{Overload: &webv4.Overload{Patience: patience}})
	if err != nil {
		panic(err)
	}
	run := func(ctx context.Context) (*workDone, error) {
		if !do(ctx) {
			return nil, context.Cause(ctx)
		}
		return &workDone{true}, nil
	}
	webv4.Handle(a, func(ctx context.Context, _ *criticalWork) (*workDone, error) { return run(ctx) })
	webv4.Handle(a, func(ctx context.Context, _ *normalWork) (*workDone, error) { return run(ctx) })
	webv4.Handle(a, func(ctx context.Context, _ *lowWork) (*workDone, error) { return run(ctx) })
	return a
}

func init() {
	for model, make := range works {
		for _, p := range protections {
			servers["overload/"+model+"/"+p.name] = serves(func() http.Handler { return p.wrap(make()) })
		}
	}
}

// The classes of clients and their requests; the priorities are failsafe-go's.
var classes = [...][]byte{
	get("/critical", "X-Failsafe-Priority: 4"),
	get("/normal", "X-Failsafe-Priority: 2"),
	get("/low", "X-Failsafe-Priority: 1"),
}

const critical = 0

func anyClass() int {
	switch n := rand.IntN(10); {
	case n == 0:
		return critical
	case n < 4:
		return 1
	}
	return 2
}

// attempt is a client that came.
type attempt struct {
	came  time.Duration // since the beginning
	took  time.Duration
	class int
	good  bool
	shed  bool // told so at once, or soon
}

// crowd is clients that come and go; those that are content leave their
// connection to the next.
type crowd struct {
	addr string
	mu   sync.Mutex
	idle []*client
}

func (c *crowd) connection() (*client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		one := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return one, nil
	}
	c.mu.Unlock()
	defer c.mu.Lock()
	return dial(c.addr)
}

// call is one client's whole business.
func (c *crowd) call(a *attempt, began time.Time) {
	came := began.Add(a.came)
	one, err := c.connection()
	if err != nil {
		return
	}
	_ = one.conn.SetDeadline(came.Add(patience))
	status, done, err := one.exchange(classes[a.class])
	a.took = time.Since(came)
	a.good = err == nil && status == http.StatusOK && a.took <= patience
	a.shed = err == nil && status != http.StatusOK
	if err != nil || done {
		one.drop()
		return
	}
	c.mu.Lock()
	c.idle = append(c.idle, one)
	c.mu.Unlock()
}

// come sends clients for a while at a rate a second and returns what became of
// them when the last has gone.
func (c *crowd) come(perSecond float64, lasting time.Duration) []*attempt {
	var all []*attempt
	var wg sync.WaitGroup
	began := time.Now()
	for next := time.Duration(0); ; {
		next += time.Duration(rand.ExpFloat64() / perSecond * 1e9)
		if next > lasting {
			break
		}
		time.Sleep(time.Until(began.Add(next)))
		a := &attempt{came: next, class: anyClass()}
		all = append(all, a)
		wg.Go(func() { c.call(a, began) })
	}
	wg.Wait()
	return all
}

// leave closes what connections are left.
func (c *crowd) leave() {
	for _, one := range c.idle {
		one.conn.Close()
	}
}

// capacity is what the model serves a second at most, to clients that come back
// as soon as they are served.
func capacity(b *testing.B, model string) float64 {
	s := startOverloaded(b, model, "nothing", 0)
	atATime := ioWorkers
	if model == "cpu" {
		atATime = cpuAtATime
	}
	done := make([]int, atATime)
	var wg sync.WaitGroup
	began := time.Now()
	for i := range done {
		wg.Go(func() {
			c, err := dial(s.addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.conn.Close()
			for time.Since(began) < 3*time.Second {
				if status, _, err := c.exchange(classes[1]); err != nil || status != http.StatusOK {
					b.Errorf("status %d, %v", status, err)
					return
				}
				done[i]++
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	sum := 0
	for _, n := range done {
		sum += n
	}
	return float64(sum) / took.Seconds()
}

// BenchmarkOverload reports, for each load in times the capacity:
//
//	goodput-%     answers in time, of what the service can do, from a second after the step on
//	end-%         the same of the last tenth of the time
//	critical-%    of the critical calls that were answered in time
//	critical-shed-%  of them that were refused; the rest was late
//	p99-ms        of the answers in time
//	server-cpu-%  of all processors that the server took, and clients-cpu-% the clients
//	capacity-after-%  what the service can do afterwards, of capacity/s, if that is a minute
//	              later; then the mean of both is what the others are in per cent of
//	settle-ms     from the step until the goodput of half a second is 80 % of the capacity
func BenchmarkOverload(b *testing.B) {
	for _, model := range []string{"io", "cpu"} {
		most := sync.OnceValue(func() float64 { return capacity(b, model) })
		for _, times := range []int{1, 2, 5, 10} {
			for _, p := range protections {
				b.Run(fmt.Sprintf("%s/%dx/%s", model, times, p.name), func(b *testing.B) {
					for range b.N {
						overload(b, model, p.name, most(), float64(times))
					}
				})
			}
		}
	}
}

func overload(b *testing.B, model, protection string, most, times float64) {
	s := startOverloaded(b, model, protection, most)
	c := &crowd{addr: s.addr}
	defer c.leave()
	c.come(0.7*most, warmUp)
	server, clients := s.cpu(b), cputime.Process()
	all := c.come(times*most, measured)
	share := func(cpu time.Duration) float64 {
		return 100 * cpu.Seconds() / measured.Seconds() / float64(runtime.NumCPU())
	}
	b.ReportMetric(share(s.cpu(b)-server), "server-cpu-%")
	b.ReportMetric(share(cputime.Process()-clients), "clients-cpu-%")
	if measured >= drifts {
		// The machine itself may have become faster or slower meanwhile.
		after := capacity(b, model)
		b.ReportMetric(100*after/most, "capacity-after-%")
		most = (most + after) / 2
	}
	var good, end, criticals, goodCriticals, shedCriticals int
	var took []time.Duration
	for _, a := range all {
		if a.came < skipped {
			continue
		}
		if a.good {
			good++
			if a.came >= measured-measured/10 {
				end++
			}
			took = append(took, a.took)
		}
		if a.class == critical {
			criticals++
			if a.good {
				goodCriticals++
			}
			if a.shed {
				shedCriticals++
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(most, "capacity/s")
	b.ReportMetric(100*float64(good)/(measured-skipped).Seconds()/most, "goodput-%")
	b.ReportMetric(100*float64(end)/(measured/10).Seconds()/most, "end-%")
	b.ReportMetric(100*float64(goodCriticals)/float64(max(criticals, 1)), "critical-%")
	b.ReportMetric(100*float64(shedCriticals)/float64(max(criticals, 1)), "critical-shed-%")
	if len(took) > 0 {
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
	b.ReportMetric(float64(settling(all, most).Milliseconds()), "settle-ms")
}

// settling is when the goodput has come to what it should be; all of the time
// that was measured if it never has.
func settling(all []*attempt, most float64) time.Duration {
	// By when the answers were there, not by who asked when.
	var answers []time.Duration
	for _, a := range all {
		if a.good {
			answers = append(answers, a.came+a.took)
		}
	}
	slices.Sort(answers)
	for from := time.Duration(0); from+settleSpan <= measured; from += settleStep {
		first, _ := slices.BinarySearchFunc(answers, from, cmp.Compare[time.Duration])
		last, _ := slices.BinarySearchFunc(answers, from+settleSpan, cmp.Compare[time.Duration])
		if float64(last-first) >= settled*most*settleSpan.Seconds() {
			return from
		}
	}
	return measured
}

// Every protection lets a service answer while little is asked of it.
func TestProtectionsServe(t *testing.T) {
	for model := range works {
		for _, p := range protections {
			t.Run(model+"/"+p.name, func(t *testing.T) {
				s := startOverloaded(t, model, p.name, 1000)
				c, err := dial(s.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer c.conn.Close()
				for _, request := range classes {
					if status, _, err := c.exchange(request); err != nil || status != http.StatusOK {
						t.Errorf("status %d, %v", status, err)
					}
				}
			})
		}
	}
}
