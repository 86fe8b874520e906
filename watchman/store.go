package watchman

import (
	"slices"
	"sync"
	"time"
)

// store keeps the spans of local roots that are worth it in memory, bounded by
// number and bytes; the oldest goes first. It is a circle without an index:
// keeping happens all the time and must cost next to nothing, looking for a
// trace happens now and then and goes through all of them.
type store struct {
	mu       sync.Mutex
	parts    []*part // a circle of at most maxParts; nil: evicted for its bytes
	next     int     // where the next part goes
	oldest   int     // the first one that is not nil, if there is one
	live     int     // parts that are not nil
	maxParts int
	maxBytes int64
	bytes    int64
	kept     uint64
	evicted  uint64
	log      []addition // the newest, a circle from logAt on
	logAt    int
	fromRing [64]TraceID // of the traces that were taken from the ring the last ones, by the last byte of their id
}

// partsPerTrace is how many local roots a trace may have in one process on
// average before Options.KeepTraces holds fewer traces than it says.
const partsPerTrace = 4

// maxPartSpans bounds what late spans add to a part.
const maxPartSpans = 512

func (st *store) init(traces int, bytes int64) {
	st.maxParts, st.maxBytes = traces*partsPerTrace, bytes
}

// add keeps p, whose first span is the local root and which belongs to the store
// from now on. What it pushes out goes back to the pool.
func (st *store) add(p *part, id TraceID, why string) {
	bytes := int64(0)
	for i := range p.rare {
		p.rare[i].settle()
	}
	for i := range p.spans {
		bytes += p.rareOf(i).size()
	}
	n := len(p.spans)
	st.mu.Lock()
	defer st.mu.Unlock()
	p.traceID, p.why, p.bytes = id, why, bytes
	switch {
	case len(st.parts) < st.maxParts:
		st.parts = append(st.parts, p)
	default:
		if st.parts[st.next] != nil {
			st.evictLocked(st.next)
		}
		st.parts[st.next] = p
	}
	st.next++
	if st.next == st.maxParts {
		st.next = 0
	}
	st.live++
	st.bytes += p.bytes
	st.kept += uint64(n)
	st.logLocked(p, 0, n)
	for st.bytes > st.maxBytes && st.live > 1 {
		for st.parts[st.oldest] == nil {
			st.oldest = (st.oldest + 1) % len(st.parts)
		}
		st.evictLocked(st.oldest)
	}
}

func (st *store) evictLocked(i int) {
	p := st.parts[i]
	st.parts[i] = nil
	st.live--
	st.bytes -= p.bytes
	st.evicted++
	st.oldest = (i + 1) % len(st.parts)
	p.keptAs++ // for the log: these are other spans from now on
	p.release()
}

// append adds a late span to the newest part of a trace that was kept; it
// reports false if there is none.
func (st *store) append(id TraceID, r spanEnd, x rareEnd) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	for i := range st.newestLocked() {
		p := st.parts[i]
		if p.traceID != id {
			continue
		}
		if len(p.spans) >= maxPartSpans {
			return false
		}
		n := x.size()
		p.append(r, x)
		p.bytes += n
		st.bytes += n
		st.kept++
		st.logLocked(p, len(p.spans)-1, 1)
		return true
	}
	return false
}

// noteFromRing remembers that a trace was taken from the ring, so that
// tookFromRing tells its late spans to go after it.
func (st *store) noteFromRing(id TraceID) {
	st.mu.Lock()
	st.fromRing[id[15]%64] = id
	st.mu.Unlock()
}

func (st *store) tookFromRing(id TraceID) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.fromRing[id[15]%64] == id
}

// newestLocked iterates over the indexes of the parts, newest first.
func (st *store) newestLocked() func(yield func(int) bool) {
	return func(yield func(int) bool) {
		n := len(st.parts)
		for k := 1; k <= n; k++ {
			i := (st.next - k + 2*n) % n
			if st.parts[i] != nil && !yield(i) {
				return
			}
		}
	}
}

// spans is how many spans of a trace are kept.
func (st *store) spans(id TraceID) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := 0
	for i := range st.newestLocked() {
		if st.parts[i].traceID == id {
			n += len(st.parts[i].spans)
		}
	}
	return n
}

// addition remembers which spans were kept when, for KeptSince.
type addition struct {
	part   *part
	keptAs uint64 // of the part, then
	from   int    // of the part's spans
	n      int
	upTo   uint64 // spans kept until then, these included
}

// maxLog bounds how far KeptSince can look back.
const maxLog = 4096

func (st *store) logLocked(p *part, from, n int) {
	a := addition{p, p.keptAs, from, n, st.kept}
	if len(st.log) < maxLog {
		st.log = append(st.log, a)
		return
	}
	st.log[st.logAt] = a
	if st.logAt++; st.logAt == maxLog {
		st.logAt = 0
	}
}

// KeptSince is for exporters: it returns the spans that were kept after the
// first `after` ones, at most about limit, and what to pass the next time.
// missed is how many of them have been pushed out of memory already.
func (w *Watchman) KeptSince(after uint64, limit int) (spans []SpanRecord, next, missed uint64) {
	if w == nil {
		return nil, after, 0
	}
	st := &w.store
	st.mu.Lock()
	defer st.mu.Unlock()
	next = after
	for i := range st.log {
		a := &st.log[(st.logAt+i)%len(st.log)]
		if a.upTo <= after {
			continue
		}
		if len(spans) >= limit {
			break
		}
		if a.part.keptAs == a.keptAs {
			for k := range a.n {
				spans = append(spans, w.record(a.part, a.from+k))
			}
		}
		next = a.upTo
	}
	return spans, next, next - after - uint64(len(spans))
}

func (st *store) stats() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return Stats{Kept: st.kept, Traces: st.live, Bytes: st.bytes, Evicted: st.evicted}
}

// Trace returns the kept spans of one trace in this process, in the order in
// which they were kept; nil if there are none. It looks through all that is
// kept: some 10 µs.
func (w *Watchman) Trace(id TraceID) []SpanRecord {
	if w == nil {
		return nil
	}
	st := &w.store
	st.mu.Lock()
	defer st.mu.Unlock()
	var found []*part
	for i := range st.newestLocked() {
		if st.parts[i].traceID == id {
			found = append(found, st.parts[i])
		}
	}
	var list []SpanRecord
	for _, p := range slices.Backward(found) {
		for i := range p.spans {
			list = append(list, w.record(p, i))
		}
	}
	return list
}

// TraceSummary is a kept trace in a list.
type TraceSummary struct {
	TraceID  TraceID       `json:"trace_id"`
	Name     string        `json:"name"` // of the first local root kept
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"`
	Spans    int           `json:"spans"`
	Errors   int           `json:"errors"` // spans that failed
	Keep     string        `json:"keep"`
}

// Traces returns up to limit of the kept traces, newest first.
func (w *Watchman) Traces(limit int) []TraceSummary {
	if w == nil {
		return nil
	}
	st := &w.store
	st.mu.Lock()
	defer st.mu.Unlock()
	var list []TraceSummary
	known := map[TraceID]int{}
	for i := range st.newestLocked() {
		p := st.parts[i]
		at, ok := known[p.traceID]
		if !ok {
			if len(list) >= limit {
				continue // older parts of those listed may still come
			}
			at = len(list)
			known[p.traceID] = at
			list = append(list, TraceSummary{TraceID: p.traceID})
		}
		root, sum := &p.spans[0], &list[at]
		sum.Name, sum.Start, sum.Duration, sum.Keep = w.handle(root.op).name, w.wall(root.start), time.Duration(max(root.took, 0)), p.why
		sum.Spans += len(p.spans)
		for k := range p.rare {
			if p.rare[k].err != nil {
				sum.Errors++
			}
		}
	}
	return list
}
