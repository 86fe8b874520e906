package queue_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A peer is one server with one policy of writing to the disk.
type peer struct {
	name, sync string
	take       bool // it has the take operation
	start      func(t testing.TB) *server
}

// peers says who takes part: mcq is Heddle's, memcached the ceiling.
var peers = []peer{
	{"mcq", "always", true, startMCQ("always")},
	{"redis", "always", true, startRedis("always")},
	{"beanstalkd", "always", false, startBeanstalkd("-f0")},
	{"jetstream", "always", false, startJetStream},
	{"mcq", "interval", true, startMCQ("interval")},
	{"redis", "everysec", true, startRedis("everysec")},
	{"beanstalkd", "50ms", false, startBeanstalkd("-f50")},
	{"mcq", "never", true, startMCQ("never")},
	{"memcached", "none", true, startMemcached},
}

// A client is one connection. Each method sends n requests at once where the
// peer's protocol can; got may be nil, and must not keep the body.
type client interface {
	enqueue(n int) error
	take(n int, got func(body []byte)) error
	dequeue(n int, got func(body []byte)) error
	close()
}

// bodies makes the messages of one client, of which no two are alike.
type bodies struct {
	body []byte
	n    uint64
}

const hex = "0123456789abcdef"

func newBodies(client, size int) *bodies {
	return &bodies{body: []byte(strings.Repeat(hex, (size+15)/16)[:size]), n: uint64(client) << 40}
}

// next returns the next message; it is valid until the one after.
func (b *bodies) next() []byte {
	for i, v := 0, b.n; i < 16; i, v = i+1, v>>4 {
		b.body[i] = hex[v&15]
	}
	b.n++
	return b.body
}

// check says whether body may be a message of that size.
func (b *bodies) check(body []byte) error {
	if n := len(b.body); len(body) != n || string(body[16:]) != string(b.body[16:]) {
		return fmt.Errorf("got a message of %d bytes that nobody put", len(body))
	}
	return nil
}

var operations = []struct {
	name    string
	prefill bool
	run     func(c client, n int) (done int, err error)
}{
	{"enqueue", false, func(c client, n int) (int, error) { return n, c.enqueue(n) }},
	{"take", true, func(c client, n int) (int, error) { return n, c.take(n, nil) }},
	{"dequeue", true, func(c client, n int) (int, error) { return n, c.dequeue(n, nil) }},
	{"mixed", false, func(c client, n int) (int, error) {
		if err := c.enqueue(n); err != nil {
			return n, err
		}
		return 2 * n, c.dequeue(n, nil)
	}},
}

// BenchmarkQueue puts the same load on every peer. Peers to be compared follow
// each other, so that the machine's moods meet them alike.
func BenchmarkQueue(b *testing.B) {
	for _, size := range []int{256, 1024} {
		for _, clients := range []int{1, 50, 500} {
			for _, op := range operations {
				for _, pipeline := range []int{1, 16} {
					for _, p := range peers {
						if op.name == "take" && !p.take {
							continue
						}
						sizeName := strconv.Itoa(size) + "B"
						if size == 1024 {
							sizeName = "1KB"
						}
						name := fmt.Sprintf("peer=%s/sync=%s/size=%s/clients=%d/op=%s/pipeline=%d", p.name, p.sync, sizeName, clients, op.name, pipeline)
						b.Run(name, func(b *testing.B) {
							crowd := startCrowd(b, p, size, clients)
							if op.prefill {
								crowd.run(b, b.N, 16, func(c client, n int) (int, error) { return n, c.enqueue(n) })
							}
							crowd.measure(b, pipeline, op.run)
						})
					}
				}
			}
		}
	}
}

// crowd is a server and its clients.
type crowd struct {
	server  *server
	clients []client
	took    [][]time.Duration // by client: for each batch the time of one
}

func startCrowd(b *testing.B, p peer, size, clients int) *crowd {
	c := &crowd{server: p.start(b), took: make([][]time.Duration, clients)}
	for i := range clients {
		k, err := c.server.dial(i, size)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(k.close)
		c.clients = append(c.clients, k)
	}
	return c
}

// run has the clients do total operations, in batches of pipeline.
func (c *crowd) run(b *testing.B, total, pipeline int, op func(c client, n int) (int, error)) {
	var wg sync.WaitGroup
	for i, k := range c.clients {
		mine := total / len(c.clients)
		if i < total%len(c.clients) {
			mine++
		}
		took := make([]time.Duration, 0, mine/pipeline+1)
		wg.Go(func() {
			for mine > 0 {
				began := time.Now()
				done, err := op(k, min(pipeline, mine))
				if err != nil {
					b.Error(err)
					return
				}
				took = append(took, time.Since(began))
				mine -= done
			}
			c.took[i] = took
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

func (c *crowd) measure(b *testing.B, pipeline int, op func(c client, n int) (int, error)) {
	b.ResetTimer()
	cpu, began := c.server.processorTime(b), time.Now()
	c.run(b, b.N, pipeline, op)
	elapsed, spent := time.Since(began), c.server.processorTime(b)-cpu
	b.StopTimer()
	all := slices.Concat(c.took...)
	slices.Sort(all)
	µs := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "ops/s")
	b.ReportMetric(µs(all[len(all)/2]), "p50-µs")
	b.ReportMetric(µs(all[len(all)*99/100]), "p99-µs")
	b.ReportMetric(µs(spent)/float64(b.N), "cpu-µs/op")
}
