package motan

import (
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// latency estimates a percentile of a method's recent response times. Its buckets
// are an eighth of a power of two wide.
type latency struct {
	count   atomic.Int64
	buckets [latencyBuckets]atomic.Uint32

	mu sync.Mutex // one halves or looks at a time
}

const (
	latencyBuckets = 8 * 36   // up to 2^39 ns, nine minutes
	latencyWindow  = 4096     // so many new times halve the weight of the old ones
	latencyFirst   = 32       // fewer say nothing
	latencyUnit    = 1 << 3   // buckets a power of two
	latencyFloor   = 10 * 1e6 // ns: no percentile is reported below
)

func bucketOf(d time.Duration) int {
	n := uint64(max(d, latencyUnit))
	exp := bits.Len64(n) - 4 // n>>exp is 8 to 15
	return min(exp*latencyUnit+int(n>>exp)-latencyUnit, latencyBuckets-1)
}

func (l *latency) add(d time.Duration) {
	l.buckets[bucketOf(d)].Add(1)
	if l.count.Add(1) < latencyWindow || !l.mu.TryLock() {
		return
	}
	defer l.mu.Unlock()
	left := int64(0)
	for i := range l.buckets {
		n := l.buckets[i].Load() / 2
		l.buckets[i].Store(n)
		left += int64(n)
	}
	l.count.Store(left)
}

// percentile returns the upper end of the bucket below which a share of the times
// lies; ok is false while too few are known.
func (l *latency) percentile(share float64) (d time.Duration, ok bool) {
	all := l.count.Load()
	if all < latencyFirst {
		return 0, false
	}
	want := int64(share * float64(all))
	for i := range l.buckets {
		if want -= int64(l.buckets[i].Load()); want < 0 {
			exp := i / latencyUnit
			top := time.Duration(uint64(i%latencyUnit+latencyUnit+1) << exp)
			return max(top, latencyFloor), true
		}
	}
	return 0, false
}
