package watchman

import (
	"math"
	"sync"
)

// localTrace collects the ended spans below one local root until the root ends
// and their fate is decided. It is pooled: the generation tells a span of an
// earlier use that it came too late. No user code sees one.
type localTrace struct {
	// What every trace needs is in one cache line.
	mu         sync.Mutex
	generation uint32
	failed     bool
	done       bool // the root has ended; this is in the ring
	forced     bool // force is set
	isRare     bool // rare is not empty
	spans      []spanEnd
	traceID    TraceID // once done
	over       uint64  // spans that found the buffer full

	first [firstLocalSpans]spanEnd // the first spans, so that few cost no allocation
	rare  []rareEnd                // of the spans that have something rare
	force string                   // why the trace is kept whatever happens

	// These belong to the store's mutex once it has l.
	why    string // it was kept
	bytes  int64  // estimated
	keptAs uint64 // tells apart the times that l was kept
}

func newLocal() *localTrace {
	l := &localTrace{}
	l.spans = l.first[:0]
	return l
}

// maxLocalSpans bounds how many spans below one local root can be kept;
// firstLocalSpans is what a new buffer has room for.
const (
	maxLocalSpans   = 64
	firstLocalSpans = 4
)

// spanEnd is what is left of a span that has ended. It holds no pointers, so
// that moving it about costs no write barriers and the collector passes it by.
type spanEnd struct {
	op          uint32 // its operation's number
	rare        uint32 // 1 + its place in localTrace.rare, 0 if it has none
	spanID      SpanID
	parent      SpanID
	start, took int64
}

// rareEnd is what few spans leave.
type rareEnd struct {
	extra *extra
	err   error
}

func (l *localTrace) appendLocked(r spanEnd, x rareEnd) {
	if x.extra != nil || x.err != nil {
		l.rare, l.isRare = append(l.rare, x), true
		r.rare = uint32(len(l.rare))
	}
	l.spans = append(l.spans, r)
}

// rareOf is what is rare about the i-th span.
func (l *localTrace) rareOf(i int) rareEnd {
	if at := l.spans[i].rare; at > 0 {
		return l.rare[at-1]
	}
	return rareEnd{}
}

var locals = sync.Pool{New: func() any { return newLocal() }}

func takeLocal() *localTrace { return locals.Get().(*localTrace) }

// addLocked files an ended span; late says that the local root was faster and
// the span went into the ring, !ok that the buffer has gone.
func (l *localTrace) addLocked(generation uint32, r spanEnd, x rareEnd) (late, ok bool) {
	if l.generation != generation || l.done && len(l.spans) > maxLocalSpans {
		return false, false
	}
	l.failed = l.failed || x.err != nil
	if !l.done && len(l.spans) == maxLocalSpans {
		l.over++
		return false, true
	}
	l.appendLocked(r, x)
	return l.done, true
}

// finishLocked decides about the trace when its local root s has ended with r.
// It unlocks l.
func (l *localTrace) finishLocked(s *Span, r spanEnd, x rareEnd) {
	w, op := s.op.w, s.op
	why := op.keepFor(s, l, l.failed || x.err != nil, r.took)
	if l.over > 0 {
		w.dropped.Add(l.over)
	}
	l.traceID = s.traceID
	l.appendLocked(r, x)
	n := len(l.spans)
	if n > 1 {
		l.spans[0], l.spans[n-1] = l.spans[n-1], l.spans[0] // the root goes first
	}
	switch {
	case why != "" && w.opt.KeepTraces > 0:
		op.exemplar(s.traceID, r.took, r.start)
		l.keepLocked(w, why)
		l.mu.Unlock()
		return
	case w.ring == nil:
		w.dropped.Add(uint64(n))
		l.resetLocked()
	default:
		l.done = true
		l.mu.Unlock()
		w.pushRecent(l, n)
		return
	}
	l.mu.Unlock()
	locals.Put(l)
}

// keepLocked gives l to the store. Late spans find the next generation and go
// to the store too.
func (l *localTrace) keepLocked(w *Watchman, why string) {
	l.why = why
	l.failed, l.done, l.over = false, false, 0
	l.unforceLocked()
	l.generation++
	if l.isRare {
		for i := range l.rare {
			l.rare[i].settle()
		}
	}
	w.store.add(l)
}

func (l *localTrace) resetLocked() {
	l.over, l.failed, l.done = 0, false, false
	l.unforceLocked()
	l.generation++
	l.clear()
}

func (l *localTrace) unforceLocked() {
	if l.forced {
		l.force, l.forced = "", false
	}
}

func (l *localTrace) clear() {
	if l.isRare {
		for i := range l.rare {
			if x := l.rare[i].extra; x != nil {
				x.free()
			}
		}
		clear(l.rare)
		l.rare, l.isRare = l.rare[:0], false
	}
	l.spans = l.spans[:0]
	if cap(l.spans) > 2*maxLocalSpans {
		l.rare, l.spans = nil, l.first[:0] // grown by late spans
	}
	l.traceID = TraceID{}
}

// The reasons for which a trace is kept, besides those that Keep is given.
const (
	KeepSampled = "sampled"
	KeepError   = "error"
	KeepSlow    = "slow"
	KeepDebug   = "debug"  // its baggage asks for it
	KeepLane    = "lane"   // its baggage names a lane
	KeepRemote  = "remote" // the other side of a call kept its part
)

// keepFor names the reason to keep a trace, "" not to.
func (o *Operation) keepFor(s *Span, l *localTrace, failed bool, took int64) string {
	if s.flags&FlagSampled != 0 {
		return KeepSampled
	}
	slow := took >= o.slowAfter.Load()
	if !failed && !slow && !l.forced && (s.more == nil || s.more.lane == "" && !s.more.debug) {
		return ""
	}
	if !o.keeps.take(s.start + took) {
		o.w.overBudget.Add(1)
		return ""
	}
	switch {
	case failed:
		return KeepError
	case slow:
		return KeepSlow
	case l.forced:
		return l.force
	case s.more.debug:
		return KeepDebug
	default:
		return KeepLane
	}
}

// adaptSlow follows an operation that is slower by nature: what counts as slow
// is three times its 99th percentile, at least Options.Slow.
func (o *Operation) adaptSlow() {
	if o.w.opt.Slow < 0 {
		return
	}
	var d Distribution
	o.read(&d)
	p99 := int64(d.Quantile(0.99))
	o.slowAfter.Store(max(int64(o.w.opt.Slow), min(3*p99, math.MaxInt64)))
}

// adaptEvery is how many local roots pass between two looks at the percentile,
// on average: the random span id says when, which costs no counter.
const adaptEvery = 4096

// keepBudget lets an operation keep at most keepBurst unsampled traces at once
// and keepRate a second after that, so that an outage does not push everything
// else out of the store.
type keepBudget struct {
	mu    sync.Mutex
	left  float64
	at    int64
	begun bool
}

const (
	keepBurst = 50
	keepRate  = 10
)

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
