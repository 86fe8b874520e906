package watchman

import (
	"math"
	"sync"
	"sync/atomic"
)

// localTrace collects the ended spans below one local root until the root ends
// and their fate is decided. It is pooled: the generation tells a span of an
// earlier use that it came too late. No user code sees one.
type localTrace struct {
	mu         sync.Mutex
	generation uint32
	failed     bool
	n          int
	spans      [maxLocalSpans]spanEnd
	over       uint64 // spans that found the buffer full
}

// maxLocalSpans bounds how many spans below one local root can be kept.
const maxLocalSpans = 32

// spanEnd is what is left of a span that has ended.
type spanEnd struct {
	op          *Operation
	traceID     TraceID
	spanID      SpanID
	parent      SpanID
	start, took int64
	attrs       []Attr
	err         error
}

var locals = sync.Pool{New: func() any { return new(localTrace) }}

func takeLocal() *localTrace { return locals.Get().(*localTrace) }

// add files an ended span; it reports false if the local root was faster.
func (l *localTrace) add(generation uint32, r spanEnd) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.generation != generation {
		return false
	}
	l.failed = l.failed || r.err != nil
	if l.n == len(l.spans) {
		l.over++
		return true
	}
	l.spans[l.n] = r
	l.n++
	return true
}

// finish decides about the trace when its local root s has ended with r, and
// gives the buffer back.
func (l *localTrace) finish(s *Span, r spanEnd) {
	w, op := s.op.w, s.op
	l.mu.Lock()
	why := op.keepFor(s.flags, l.failed || r.err != nil, r.took)
	n, over := l.n, l.over
	if why != "" && w.opt.KeepTraces > 0 {
		records := make([]SpanRecord, 0, n+1)
		records = append(records, w.record(&r, why))
		for i := range n {
			records = append(records, w.record(&l.spans[i], ""))
		}
		w.store.add(s.traceID, records)
		w.dropped.Add(over)
	} else {
		w.dropped.Add(uint64(n) + over + 1)
	}
	clear(l.spans[:n])
	l.n, l.over, l.failed = 0, 0, false
	l.generation++
	l.mu.Unlock()
	locals.Put(l)
}

// The reasons for which a trace is kept.
const (
	KeepSampled = "sampled"
	KeepError   = "error"
	KeepSlow    = "slow"
)

// keepFor names the reason to keep a trace, "" to drop it.
func (o *Operation) keepFor(flags Flags, failed bool, took int64) string {
	if flags&FlagSampled != 0 {
		return KeepSampled
	}
	slow := took >= o.slowAfter.Load()
	if o.keeps.tick() {
		o.adaptSlow()
	}
	if !failed && !slow {
		return ""
	}
	if !o.keeps.take(o.w.now()) {
		return ""
	}
	if failed {
		return KeepError
	}
	return KeepSlow
}

// adaptSlow follows an operation that is slower by nature: what counts as slow
// is three times its 99th percentile, at least Options.Slow.
func (o *Operation) adaptSlow() {
	if o.w.opt.Slow < 0 {
		return
	}
	p99 := int64(o.red.figures().P99)
	o.slowAfter.Store(max(int64(o.w.opt.Slow), min(3*p99, math.MaxInt64)))
}

// keepBudget lets an operation keep at most keepBurst failed and slow traces at
// once and keepRate a second after that, so that an outage does not push
// everything else out of the store.
type keepBudget struct {
	ended atomic.Uint32
	mu    sync.Mutex
	left  float64
	at    int64
	begun bool
}

const (
	keepBurst  = 50
	keepRate   = 10
	adaptEvery = 4096 // local roots between two looks at the percentile
)

// tick counts local roots; every adaptEvery-th it reports true.
func (b *keepBudget) tick() bool { return b.ended.Add(1)%adaptEvery == 0 }

func (b *keepBudget) take(now int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.begun {
		b.left, b.begun = keepBurst, true
	} else {
		b.left = min(keepBurst, b.left+float64(now-b.at)/1e9*keepRate)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
