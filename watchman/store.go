package watchman

import (
	"slices"
	"sync"
	"time"
)

// store keeps traces in memory, bounded by number and bytes; the oldest goes first.
type store struct {
	mu        sync.Mutex
	maxTraces int
	maxBytes  int64
	traces    map[TraceID]*keptTrace
	order     []TraceID // oldest first, from head on
	head      int
	bytes     int64
	kept      uint64
	log       []addition // the newest, a circle from logAt on
	logAt     int
	evicted   uint64
}

type keptTrace struct {
	spans []SpanRecord
	bytes int64
}

// maxTraceSpans bounds one kept trace, which may gather many local roots.
const maxTraceSpans = 2048

func (st *store) init(traces int, bytes int64) {
	st.maxTraces, st.maxBytes = traces, bytes
	st.traces = make(map[TraceID]*keptTrace)
}

// add keeps spans under their trace, next to what is already there, and
// returns how many: a trace that is full takes no more.
func (st *store) add(id TraceID, spans []SpanRecord) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	t := st.traces[id]
	if t == nil {
		t = &keptTrace{}
		st.traces[id] = t
		st.order = append(st.order, id)
	}
	if room := maxTraceSpans - len(t.spans); len(spans) > room {
		spans = spans[:room]
	}
	for i := range spans {
		n := spans[i].size()
		t.bytes += n
		st.bytes += n
	}
	st.kept += uint64(len(spans))
	st.logLocked(id, len(t.spans), len(spans))
	t.spans = append(t.spans, spans...)
	for len(st.order)-st.head > 1 && (len(st.order)-st.head > st.maxTraces || st.bytes > st.maxBytes) {
		st.evictLocked()
	}
	return len(spans)
}

// spans is how many spans of a trace are kept.
func (st *store) spans(id TraceID) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	if t := st.traces[id]; t != nil {
		return len(t.spans)
	}
	return 0
}

// append adds a late span to a trace that was kept; it reports false if it was not.
func (st *store) append(id TraceID, rec SpanRecord) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	t := st.traces[id]
	if t == nil || len(t.spans) >= maxTraceSpans {
		return false
	}
	st.kept++
	st.logLocked(id, len(t.spans), 1)
	t.bytes += rec.size()
	st.bytes += rec.size()
	t.spans = append(t.spans, rec)
	return true
}

// addition remembers which spans were kept when, for KeptSince.
type addition struct {
	id      TraceID
	from, n int    // of the trace's spans
	upTo    uint64 // spans kept until then, these included
}

// maxLog bounds how far KeptSince can look back.
const maxLog = 4096

func (st *store) logLocked(id TraceID, from, n int) {
	if n == 0 {
		return
	}
	a := addition{id, from, n, st.kept}
	if len(st.log) < maxLog {
		st.log = append(st.log, a)
		return
	}
	st.log[st.logAt] = a
	st.logAt = (st.logAt + 1) % maxLog
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
		if t := st.traces[a.id]; t != nil && a.from+a.n <= len(t.spans) {
			spans = append(spans, t.spans[a.from:a.from+a.n]...)
		}
		next = a.upTo
	}
	return spans, next, next - after - uint64(len(spans))
}

func (st *store) evictLocked() {
	id := st.order[st.head]
	st.head++
	st.bytes -= st.traces[id].bytes
	delete(st.traces, id)
	st.evicted++
	if st.head > 1024 && st.head > len(st.order)/2 {
		st.order = slices.Delete(st.order, 0, st.head)
		st.head = 0
	}
}

func (st *store) stats() Stats {
	st.mu.Lock()
	defer st.mu.Unlock()
	return Stats{Kept: st.kept, Traces: len(st.traces), Bytes: st.bytes, Evicted: st.evicted}
}

// Trace returns the kept spans of one trace in this process, in the order in
// which they were kept; nil if there are none.
func (w *Watchman) Trace(id TraceID) []SpanRecord {
	if w == nil {
		return nil
	}
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	if t := w.store.traces[id]; t != nil {
		return slices.Clone(t.spans)
	}
	return nil
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
	for i := len(st.order) - 1; i >= st.head && len(list) < limit; i-- {
		t := st.traces[st.order[i]]
		if len(t.spans) == 0 {
			continue
		}
		root := &t.spans[0]
		sum := TraceSummary{
			TraceID: root.TraceID, Name: root.Name, Start: root.Start, Duration: root.Duration,
			Spans: len(t.spans), Keep: root.Keep,
		}
		for i := range t.spans {
			if t.spans[i].Error != "" {
				sum.Errors++
			}
		}
		list = append(list, sum)
	}
	return list
}
