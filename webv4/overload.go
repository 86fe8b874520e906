package webv4

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Overload protects the process from more calls than it can serve. Each cost
// class (the tag cost, "" by default) has a limit of calls at a time that
// follows what the class can do:
//
//	limit = 2 × throughput × base latency + 2
//
// Throughput is the best of the last second's windows of 100 ms in which the
// limit was in use. Base latency is measured when it cannot contain waiting: while
// little is going on, or in a probe, which cuts the limit for up to half a
// second every ten seconds of saturation, and at once when throughput falls by
// a third. Beyond the limit calls wait in a short queue, critical ones first; one
// that has waited too long is refused: after half of Patience if it is critical, else
// by the CoDel rule, 10 ms once the queue has stood for 100 ms and else a quarter
// of Patience. All of that is before the body is read and before anybody is asked
// who calls. A call that is let in yields its processor once when more are in than
// there are processors, so that the queue is here and not in the scheduler.
type Overload struct {
	// Queue is how many calls of a class may wait. 0 means 200, negative none.
	Queue int

	// Patience is how long clients wait for an answer. 0 means 250 ms.
	Patience time.Duration

	// Max is the largest limit. 0 means 1000. Watchman's dial webv4.limit, or
	// webv4.limit.COST for another cost class than "", lowers it at run time.
	Max int

	// Degrade is how far interfaces of a class with refusals are degraded by
	// themselves, at most: a level more for three windows of 100 ms in a row in
	// which 5 % of the calls were refused, a level less for ten in a row with at
	// most 1 %, or for up to 300 if calls are soon refused again. Normal, the
	// default, means not at all.
	Degrade Level

	// DegradeDry only tells in Stats how far interfaces would be degraded.
	DegradeDry bool
}

func (o *Overload) filled() (Overload, error) {
	out := *o
	if out.Queue == 0 {
		out.Queue = 200
	}
	out.Queue = max(out.Queue, 0)
	if out.Patience == 0 {
		out.Patience = 250 * time.Millisecond
	}
	if out.Max == 0 {
		out.Max = 1000
	}
	var errs []error
	if out.Patience < 0 {
		errs = append(errs, fmt.Errorf("webv4: Options.Overload.Patience %v: negative", out.Patience))
	}
	if out.Max < minLimit {
		errs = append(errs, fmt.Errorf("webv4: Options.Overload.Max %d: want at least %d", out.Max, minLimit))
	}
	if out.Degrade < Normal || out.Degrade > Off {
		errs = append(errs, fmt.Errorf("webv4: Options.Overload.Degrade %v: want normal to off", out.Degrade))
	}
	return out, errors.Join(errs...)
}

const (
	minLimit      = 2
	firstLimit    = 20
	window        = 100 * time.Millisecond
	windowCalls   = 10 // that a window needs at least
	rateWindows   = 10 // over which the best throughput counts
	probeEvery    = 10 * time.Second
	probeLasts    = 500 * time.Millisecond
	probeCalls    = 150
	probeShare    = 0.3
	codelTarget   = 10 * time.Millisecond
	codelStanding = 100 * time.Millisecond
)

// limiter admits the calls of one cost class. Times are nanoseconds since any
// fixed moment.
type limiter struct {
	opt Overload

	admitted, queued, refused atomic.Uint64
	crowded                   atomic.Bool // more calls are in than there are processors

	strain strain

	mu       sync.Mutex
	limit    float64
	most     float64 // opt.Max, or less by a dial
	inflight int
	queue    [Low + 1]fifo
	waiting  int
	standing int64 // since when the queue has not been empty; 0: it is

	// The window under way.
	start     int64
	done      int
	latency   int64 // summed over done
	peak      int   // most in flight
	saturated bool

	rates    [rateWindows]float64 // throughput of saturated windows, calls a second; 0: none
	at       int
	smoothed float64
	base     float64 // base latency in seconds; 0: not known yet

	probing   bool
	forced    bool
	probeFrom int64
	probed    int
	probeSum  int64
	lastProbe int64
}

// waiter is a call in the queue.
type waiter struct {
	verdict chan bool // capacity 1
	since   int64
	class   Class
	gone    bool // nobody waits any more
}

func newLimiter(o Overload, now int64) *limiter {
	return &limiter{opt: o, limit: min(firstLimit, float64(o.Max)), most: float64(o.Max), start: now, lastProbe: now, strain: strain{now: now, start: now}}
}

// cap is what a dial says.
func (l *limiter) cap(most float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most = most
	l.limit = min(l.limit, most)
}

// admit lets a call in, queues it, or refuses it: then both results are zero.
func (l *limiter) admit(now int64, class Class) (w *waiter, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rollLocked(now)
	l.strain.asked++
	if l.waiting == 0 && l.inflight < int(l.limit) {
		l.enterLocked()
		return nil, true
	}
	l.saturated = true
	if l.waiting >= l.opt.Queue && !l.pushOutLocked(class) {
		l.refuseLocked(class)
		return nil, false
	}
	if l.waiting == 0 {
		l.standing = now
	}
	w = &waiter{verdict: make(chan bool, 1), since: now, class: class}
	l.queue[class].push(w)
	l.waiting++
	l.queued.Add(1)
	l.dispatchLocked(now)
	return w, true
}

func (l *limiter) enterLocked() {
	l.inflight++
	l.crowd()
	l.admitted.Add(1)
	l.peak = max(l.peak, l.inflight)
	if float64(l.inflight) >= 0.9*float64(int(l.limit)) {
		l.saturated = true
	}
}

// crowd notes whether more calls are in than there are processors.
func (l *limiter) crowd() {
	if crowded := l.inflight >= processors; crowded != l.crowded.Load() {
		l.crowded.Store(crowded)
	}
}

// pushOutLocked refuses the waiting call that matters least, if it matters less
// than class; of several the one that came last.
func (l *limiter) pushOutLocked(class Class) bool {
	for c := Low; c > class; c-- {
		if w := l.queue[c].popBack(); w != nil {
			l.dropLocked(w)
			return true
		}
	}
	return false
}

func (l *limiter) dropLocked(w *waiter) {
	l.waiting--
	if !w.gone {
		l.refuseLocked(w.class)
		w.verdict <- false
	}
}

func (l *limiter) refuseLocked(class Class) {
	l.refused.Add(1)
	l.strain.refused(class)
}

// patience is how long a call may wait: critical ones longest, since those that
// stand before them are few.
func (l *limiter) patience(class Class) time.Duration {
	if class == Critical {
		return l.opt.Patience / 2
	}
	return l.opt.Patience / 4
}

// dispatchLocked lets waiting calls in, as far as the limit goes, and refuses
// those that have waited too long.
func (l *limiter) dispatchLocked(now int64) {
	for l.waiting > 0 && l.inflight < int(l.limit) {
		var w *waiter
		for c := range l.queue {
			if w = l.queue[c].pop(); w != nil {
				break
			}
		}
		patience := l.patience(w.class)
		if w.class != Critical && now-l.standing > int64(codelStanding) {
			patience = codelTarget
		}
		switch {
		case w.gone:
			l.waiting--
		case now-w.since > int64(patience):
			l.dropLocked(w)
		default:
			l.waiting--
			l.enterLocked()
			w.verdict <- true
		}
	}
	if l.waiting == 0 {
		l.standing = 0
	}
}

// leave ends a call that was let in at began.
func (l *limiter) leave(began, now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	l.crowd()
	l.done++
	l.latency += now - began
	if l.probing && began >= l.probeFrom {
		l.probed++
		l.probeSum += now - began
	}
	l.rollLocked(now)
	l.dispatchLocked(now)
}

// pause gives a place back for a while, as its call waits for its client.
func (l *limiter) pause(now int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight--
	l.crowd()
	l.dispatchLocked(now)
}

// resume takes the place back, over the limit if need be: the call was let in.
func (l *limiter) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inflight++
	l.crowd()
	l.peak = max(l.peak, l.inflight)
}

// rollLocked ends the window if it is time, and sets the limit.
func (l *limiter) rollLocked(now int64) {
	l.strain.roll(now, l.opt.Degrade)
	if l.probing && (l.probed >= probeCalls || now-l.probeFrom >= int64(probeLasts)) {
		l.endProbeLocked(now)
	}
	took := now - l.start
	if took < int64(window) || l.done < windowCalls && took < 10*int64(window) {
		return
	}
	rate := float64(l.done) / (float64(took) / 1e9)
	switch {
	case l.probing:
	case l.saturated && l.done > 0:
		l.saturatedLocked(now, rate)
	case l.done > 0 && float64(l.peak) < l.limit/3:
		mean := float64(l.latency) / float64(l.done) / 1e9
		if l.base == 0 {
			l.base = mean
		}
		l.base = 0.6*l.base + 0.4*mean
	}
	l.start, l.done, l.latency, l.peak, l.saturated = now, 0, 0, l.inflight, l.waiting > 0
}

// saturatedLocked learns from a window in which the limit was in use.
func (l *limiter) saturatedLocked(now int64, rate float64) {
	if l.smoothed == 0 {
		l.smoothed = rate
	}
	l.smoothed = 0.5*l.smoothed + 0.5*rate
	best := l.bestRate()
	l.rates[l.at] = l.smoothed
	l.at = (l.at + 1) % rateWindows
	switch {
	case l.base == 0 || l.smoothed < 0.7*best:
		l.beginProbeLocked(now, true)
	case now-l.lastProbe >= int64(probeEvery):
		l.beginProbeLocked(now, false)
	default:
		l.setLimitLocked()
	}
}

func (l *limiter) bestRate() (best float64) {
	for _, r := range l.rates {
		best = max(best, r)
	}
	return best
}

func (l *limiter) setLimitLocked() {
	next := 2*l.bestRate()*l.base + 2
	next = min(max(next, 0.7*l.limit), 1.4*l.limit+1)
	l.limit = min(max(next, minLimit), l.most)
}

func (l *limiter) beginProbeLocked(now int64, forced bool) {
	l.probing, l.forced, l.probeFrom = true, forced, now
	l.probed, l.probeSum = 0, 0
	l.limit = max(l.limit*probeShare, minLimit)
}

func (l *limiter) endProbeLocked(now int64) {
	l.probing, l.lastProbe = false, now
	if l.probed > 0 {
		mean := float64(l.probeSum) / float64(l.probed) / 1e9
		if l.forced || l.base == 0 {
			l.base = mean
			// What the throughput was before is history.
			l.rates = [rateWindows]float64{l.smoothed}
		} else {
			l.base = 0.6*l.base + 0.4*mean
		}
	}
	l.limit = min(max(l.limit/probeShare, minLimit), l.most)
	l.start, l.done, l.latency, l.peak, l.saturated = now, 0, 0, l.inflight, false
}

// limiter returns the limiter of a cost class, nil without Options.Overload.
func (c *core) limiter(cost string) *limiter {
	if c.opt.Overload == nil {
		return nil
	}
	l := c.limits[cost]
	if l == nil {
		l = newLimiter(*c.opt.Overload, int64(now()))
		c.limits[cost] = l
		name := "webv4.limit"
		if cost != "" {
			name += "." + cost
		}
		most := float64(c.opt.Overload.Max)
		if d := c.opt.Watchman.Dial(name, most, minLimit, most); d != nil {
			l.cap(d.Value())
			c.opt.Watchman.OnDial(d, l.cap)
		}
	}
	return l
}

// processors is how many goroutines can compute at a time.
var processors = runtime.GOMAXPROCS(0)

// enter waits until the call may go on; false means that it is refused.
// A call that waits until its own deadline is refused then.
func (l *limiter) enter(ctx context.Context, class Class) (began int64, ok bool) {
	asked := int64(now())
	w, ok := l.admit(asked, class)
	if !ok {
		return 0, false
	}
	if w == nil {
		l.yield()
		return asked, true
	}
	patience := l.patience(class)
	if d, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(d))
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case ok = <-w.verdict:
	case <-timer.C:
		ok = l.giveUp(w)
	case <-ctx.Done():
		ok = l.giveUp(w)
	}
	began = int64(now())
	if ok {
		l.yield()
	}
	return began, ok
}

// yield lets other goroutines run before a call that was let in. Calls that
// compute would otherwise run to their end, one after the other, before the
// scheduler comes to those that have arrived meanwhile: those would wait where
// nobody counts, orders or refuses them.
func (l *limiter) yield() {
	if l.crowded.Load() {
		runtime.Gosched()
	}
}

// giveUp takes a call back that waited; true if it has been let in meanwhile.
func (l *limiter) giveUp(w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case ok := <-w.verdict:
		return ok
	default:
	}
	// It stays in the queue, to be passed over: removing it would cost a search.
	w.gone = true
	l.refuseLocked(w.class)
	return false
}

// LimiterStats is what overload protection does for one cost class.
type LimiterStats struct {
	Cost     string `json:"cost"`      // the class
	Limit    int    `json:"limit"`     // calls at a time that are let in now
	InFlight int    `json:"in_flight"` // calls that are in now
	Waiting  int    `json:"waiting"`   // calls that wait now
	Admitted uint64 `json:"admitted"`  // calls let in; only grows, as the next two
	Queued   uint64 `json:"queued"`    // calls that had to wait
	Refused  uint64 `json:"refused"`   // calls refused
	Admits   Class  `json:"admits"`    // the least class of which nothing was refused in the last second
	Degraded Level  `json:"degraded"`  // how far Overload.Degrade has degraded, or would have in a dry run
}

func (l *limiter) stats(cost string) LimiterStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LimiterStats{
		Cost: cost, Limit: int(l.limit), InFlight: l.inflight, Waiting: l.waiting,
		Admitted: l.admitted.Load(), Queued: l.queued.Load(), Refused: l.refused.Load(),
		Admits: l.strain.admits(), Degraded: Level(l.strain.level.Load()),
	}
}

// fifo is a queue that can also lose its last.
type fifo struct {
	items []*waiter
	head  int
}

func (q *fifo) push(w *waiter) { q.items = append(q.items, w) }

func (q *fifo) pop() *waiter {
	if q.head == len(q.items) {
		return nil
	}
	w := q.items[q.head]
	q.items[q.head] = nil
	if q.head++; q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	} else if q.head > 256 {
		q.items, q.head = append(q.items[:0], q.items[q.head:]...), 0
	}
	return w
}

func (q *fifo) popBack() *waiter {
	if q.head == len(q.items) {
		return nil
	}
	last := len(q.items) - 1
	w := q.items[last]
	q.items[last] = nil
	q.items = q.items[:last]
	return w
}
