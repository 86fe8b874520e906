package watchman

import (
	"context"
	"encoding/binary"
	"math"
	"sync"
)

// localRoot is the first span of a trace in this process, together with what all
// spans below it share. They hold it, so it cannot be pooled.
type localRoot struct {
	Span
	traceID TraceID
	more    *carried

	mu     sync.Mutex
	below  *part // the spans below that have ended, nil if there are none
	fate   fate
	failed bool // one of the spans below
	forced bool // below.force says why to keep the trace

	flags Flags
}

// fate is what has become of a local root's trace.
type fate uint8

const (
	undecided fate = iota // the root is under way
	recent                // it went into the ring
	decided               // the store has it, or nobody
)

// openLocal begins a local root that does not know its trace yet.
func (o *Operation) openLocal(ctx context.Context, began int64) *localRoot {
	l := &localRoot{Span: Span{Context: ctx, op: o, figures: &o.own, start: began, spanID: o.w.nextSpanID()}}
	l.local = l
	if binary.LittleEndian.Uint64(l.spanID[:])%adaptEvery == 0 {
		o.adaptSlow()
	}
	return l
}

// continueFrom has l go on with the trace of a parent from elsewhere; an invalid
// one begins a new trace that still has its baggage.
func (l *localRoot) continueFrom(parent *SpanContext) {
	if !parent.IsValid() {
		l.more = carry("", parent.Baggage) // the state is of a trace that does not go on here
		l.begin()
		return
	}
	l.traceID, l.parent, l.flags = parent.TraceID, parent.SpanID, parent.Flags
	state := parent.State
	if state != "" {
		caller, alone := callerOf(state)
		if caller != "" {
			l.figures = l.op.remoteEdge(caller)
		}
		if alone {
			state = "" // what goes on names this service instead
		}
	}
	l.more = carry(state, parent.Baggage)
}

// begin has l begin a new trace.
func (l *localRoot) begin() {
	w := l.op.w
	l.traceID, l.flags = w.traceID(l.spanID, l.start), FlagRandom
	if l.op.sampled(&l.traceID, l.start) {
		l.flags |= FlagSampled
	}
}

// addLocked files a span below l that has ended.
func (l *localRoot) addLocked(r spanEnd, x rareEnd) {
	l.failed = l.failed || x.err != nil
	if l.below == nil {
		l.below = takePart()
	}
	if len(l.below.spans) == maxLocalSpans {
		l.below.over++
		x.free()
		return
	}
	l.below.append(r, x)
}

// finishLocked decides about the trace when l itself has ended with r.
func (l *localRoot) finishLocked(r spanEnd, x rareEnd) {
	w, p := l.op.w, l.below
	l.below = nil
	n := 1
	if p != nil {
		n += len(p.spans)
		if p.over > 0 {
			w.dropped.Add(p.over)
		}
	}
	why := l.keepFor(p, l.failed || x.err != nil, r.took)
	switch {
	case why != "" && w.opt.KeepTraces > 0:
		l.op.exemplar(l.traceID, r.took, r.start)
		if p == nil {
			p = takePart()
		}
		p.append(r, x)
		p.rootFirst()
		w.store.add(p, l.traceID, why)
		l.fate = decided
		return
	case w.ring == nil:
		x.free()
		w.dropped.Add(uint64(n))
		l.fate = decided
	default:
		w.ring.push(l.traceID, r, x, p)
		l.fate = recent
	}
	if p != nil {
		p.release()
	}
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
func (l *localRoot) keepFor(below *part, failed bool, took int64) string {
	if l.flags&FlagSampled != 0 {
		return KeepSampled
	}
	slow := took >= l.op.slowAfter.Load()
	if !failed && !slow && !l.forced && (l.more == nil || l.more.lane == "" && !l.more.debug) {
		return ""
	}
	if !l.op.keeps.take(l.start + took) {
		l.op.w.overBudget.Add(1)
		return ""
	}
	switch {
	case failed:
		return KeepError
	case slow:
		return KeepSlow
	case l.forced:
		return below.force
	case l.more.debug:
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
