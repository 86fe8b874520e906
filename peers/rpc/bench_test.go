package rpc_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

// What every peer gets alike.
const (
	connections = 2
	deadline    = 10 * time.Second
)

// A peer is one RPC implementation. start runs its server on loopback and
// returns a call, to be made by many goroutines at once, that sends the payload
// to the server's handler and returns what the handler gave back: the payload
// again. Each peer uses its own cheapest codec for bytes and, for the deadline,
// the cheapest way that it documents.
type peer struct {
	name  string
	start func(t testing.TB) func(payload []byte) ([]byte, error)
}

// peers says who takes part: motan is Heddle's.
var peers = []peer{
	{"motan", startHeddle},
	{"motan-go", startMotanGo},
	{"net-rpc", startNetRPC},
	{"grpc-go", startGRPC},
	{"rpcx", startRPCX},
	{"arpc", startARPC},
	{"kitex", startKitex},
}

var sizes = []struct {
	name string
	n    int
}{{"128B", 128}, {"1KB", 1 << 10}, {"64KB", 64 << 10}}

func payload(n int) []byte { return []byte(strings.Repeat("0123456789abcdef", n/16)) }

// Each peer answers rightly, or its figures would mean nothing.
func TestPeersAnswer(t *testing.T) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			call := p.start(t)
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() {
					for _, s := range sizes {
						sent := append(payload(s.n), byte(i))
						if got, err := call(sent); err != nil || !bytes.Equal(got, sent) {
							t.Errorf("%s: %d bytes, %v", s.name, len(got), err)
						}
					}
				})
			}
			wg.Wait()
		})
	}
}

// BenchmarkRPC makes the same calls through every peer: client and server in
// this process, two connections on loopback, a deadline of 10 s on each call.
func BenchmarkRPC(b *testing.B) {
	for _, p := range peers {
		for _, s := range sizes {
			for _, callers := range []int{1, 16, 100, 1000} {
				b.Run(fmt.Sprintf("peer=%s/size=%s/callers=%d", p.name, s.name, callers), func(b *testing.B) {
					run(b, p, payload(s.n), callers)
				})
			}
		}
	}
}

func run(b *testing.B, p peer, payload []byte, callers int) {
	call := p.start(b)
	took := make([][]time.Duration, callers)
	calls := func(n int, record bool) {
		var wg sync.WaitGroup
		for i := range callers {
			mine := n / callers
			if i < n%callers {
				mine++
			}
			if record {
				took[i] = make([]time.Duration, 0, mine)
			}
			wg.Go(func() {
				for range mine {
					t := time.Now()
					got, err := call(payload)
					if err != nil || len(got) != len(payload) {
						b.Errorf("%s: %d bytes, %v", p.name, len(got), err)
						return
					}
					if record {
						took[i] = append(took[i], time.Since(t))
					}
				}
			})
		}
		wg.Wait()
	}
	calls(max(2*callers, 200), false) // connections up, pools filled, stacks grown
	b.SetBytes(int64(2 * len(payload)))
	b.ReportAllocs()
	b.ResetTimer()
	cpu, began := cputime.Process(), time.Now()
	calls(b.N, true)
	elapsed, spent := time.Since(began), cputime.Process()-cpu
	b.StopTimer()
	all := slices.Concat(took...)
	if len(all) == 0 {
		return
	}
	slices.Sort(all)
	µs := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
	b.ReportMetric(float64(b.N)/elapsed.Seconds(), "qps")
	b.ReportMetric(µs(all[len(all)/2]), "p50-µs")
	b.ReportMetric(µs(all[len(all)*99/100]), "p99-µs")
	b.ReportMetric(µs(spent)/float64(b.N), "cpu-µs/op")
}
