package queue_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

// A peer is one server with one policy of writing to the disk.
type peer struct {
	name, sync string
	ops        []operation // of take, dequeue and mixed, those it has
	start      func(t testing.TB) *server
}

func (p *peer) has(op operation) bool { return op == enqueue || slices.Contains(p.ops, op) }

var (
	atMostOnce  = []operation{take}
	atLeastOnce = []operation{dequeue, mixed}
	both        = []operation{take, dequeue, mixed}
)

// peers says who takes part: mcq is Heddle's, memcached the ceiling.
var peers = []peer{
	{"mcq", "always", both, startMCQ("always")},
	{"redis", "always", both, startRedis("always")},
	{"beanstalkd", "always", atLeastOnce, startBeanstalkd("-f0")},
	{"jetstream", "always", atLeastOnce, startJetStream},
	{"mcq", "interval", both, startMCQ("interval")},
	{"redis", "everysec", both, startRedis("everysec")},
	{"beanstalkd", "50ms", atLeastOnce, startBeanstalkd("-f50")},
	{"mcq", "never", both, startMCQ("never")},
	{"memcached", "none", both, startMemcached},
}

// BenchmarkQueue puts the same load on every peer. Peers to be compared follow
// each other, so that the machine's moods meet them alike.
func BenchmarkQueue(b *testing.B) {
	for _, size := range []int{256, 1024} {
		for _, clients := range []int{1, 50, 500} {
			for _, op := range []operation{enqueue, take, dequeue, mixed} {
				for _, pipeline := range []int{1, 16} {
					for _, p := range peers {
						if !p.has(op) {
							continue
						}
						sizeName := strconv.Itoa(size) + "B"
						if size == 1024 {
							sizeName = "1KB"
						}
						name := fmt.Sprintf("peer=%s/sync=%s/size=%s/clients=%d/op=%s/pipeline=%d", p.name, p.sync, sizeName, clients, op.name, pipeline)
						b.Run(name, func(b *testing.B) {
							s := p.start(b)
							l := s.open(b, clients, size, nil)
							defer l.close()
							if op.prefill {
								if _, err := l.run(enqueue, b.N, 16); err != nil {
									b.Fatal(err)
								}
							}
							measure(b, s, l, op, pipeline)
						})
					}
				}
			}
		}
	}
}

func measure(b *testing.B, s *server, l load, op operation, pipeline int) {
	b.ResetTimer()
	cpu, own, began := s.processorTime(b), cputime.Process(), time.Now()
	took, err := l.run(op, b.N, pipeline)
	elapsed := time.Since(began)
	own, cpu = cputime.Process()-own, s.processorTime(b)-cpu
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	slices.Sort(took)
	µs := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "ops/s")
	b.ReportMetric(µs(took[len(took)/2]), "p50-µs")
	b.ReportMetric(µs(took[len(took)*99/100]), "p99-µs")
	b.ReportMetric(µs(cpu)/float64(b.N), "cpu-µs/op")
	b.ReportMetric(µs(own)/float64(b.N), "client-µs/op")
}
