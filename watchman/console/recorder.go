package console

import (
	"math/bits"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// recorder keeps what the charts show: a point an interval for the busiest
// operations, and the figures of a minute ago.
type recorder struct {
	w  *watchman.Watchman
	mu sync.Mutex

	series map[*watchman.Operation]*series
	began  time.Time
	last   time.Time
	past   []figures // one an interval, oldest first, a minute's worth
}

const (
	maxPoints = 360
	maxSeries = 256
	heatRows  = 24 // octaves from 4 µs to 68 s
	heatFirst = 12 // log2 of the first one's upper end in ns
	minute    = time.Minute
)

// series is an operation's recent past.
type series struct {
	before watchman.Distribution
	points []point // oldest first from next on
	next   int
}

// point is one interval.
type point struct {
	at       int64 // Unix seconds
	calls    uint32
	errors   uint32
	p50, p99 float32 // seconds
	heat     [heatRows]uint16
}

// figures are all operations' counters at a time.
type figures struct {
	at  time.Time
	ops []watchman.OperationStats
}

func (r *recorder) init(w *watchman.Watchman) {
	r.w, r.series = w, map[*watchman.Operation]*series{}
	r.began = time.Now()
	r.last = r.began
	r.past = []figures{{r.began, w.Operations()}}
	for o := range w.Handles() {
		if len(r.series) < maxSeries {
			r.series[o] = &series{before: o.Distribution()}
		}
	}
}

// tick takes a point of every operation.
func (r *recorder) tick(now time.Time) {
	ops := r.w.Operations()
	r.mu.Lock()
	defer r.mu.Unlock()
	for o := range r.w.Handles() {
		s := r.series[o]
		if s == nil {
			if len(r.series) >= maxSeries {
				continue
			}
			s = &series{}
			r.series[o] = s
		}
		s.take(o, now)
	}
	r.last = now
	r.past = append(r.past, figures{now, ops})
	for len(r.past) > 2 && now.Sub(r.past[1].at) >= minute {
		r.past[0] = figures{}
		r.past = r.past[1:]
	}
}

func (s *series) take(o *watchman.Operation, now time.Time) {
	d := o.Distribution()
	delta := d
	delta.Sub(&s.before)
	s.before = d
	p := point{at: now.Unix(), calls: clamp32(delta.Calls()), errors: clamp32(delta.Errors),
		p50: float32(delta.Quantile(0.5).Seconds()), p99: float32(delta.Quantile(0.99).Seconds())}
	for upper, n := range delta.Buckets() {
		row := min(max(bits.Len64(uint64(upper-1))-heatFirst, 0), heatRows-1)
		p.heat[row] = uint16(min(uint64(p.heat[row])+n, 1<<16-1))
	}
	if len(s.points) < maxPoints {
		s.points = append(s.points, p)
		return
	}
	s.points[s.next] = p
	s.next = (s.next + 1) % maxPoints
}

func clamp32(n uint64) uint32 { return uint32(min(n, 1<<32-1)) }

// history is an operation's points, oldest first.
func (r *recorder) history(o *watchman.Operation) []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.series[o]
	if s == nil {
		return nil
	}
	return append(append([]point(nil), s.points[s.next:]...), s.points[:s.next]...)
}

// minuteAgo is the figures of about a minute ago, and how long that is.
func (r *recorder) minuteAgo(now time.Time) ([]watchman.OperationStats, time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.past[0].ops, max(now.Sub(r.past[0].at), time.Second)
}
