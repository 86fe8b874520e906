package watchman

import "sync"

// spanEnd is what is left of a span that has ended. It holds no pointers, so
// that moving it about costs no write barriers and the collector passes it by.
type spanEnd struct {
	op          uint32 // its operation's number
	rare        uint32 // 1 + its place in spanEnds.rare, 0 if it has none
	spanID      SpanID
	parent      SpanID
	start, took int64
}

// rareEnd is what few spans leave.
type rareEnd struct {
	extra *extra
	err   error
}

// spanEnds is a list of spans that have ended.
type spanEnds struct {
	spans []spanEnd
	rare  []rareEnd // of those that have something rare
}

func (e *spanEnds) append(r spanEnd, x rareEnd) {
	r.rare = 0
	if x.extra != nil || x.err != nil {
		e.rare = append(e.rare, x)
		r.rare = uint32(len(e.rare))
	}
	e.spans = append(e.spans, r)
}

// rareOf is what is rare about the i-th span.
func (e *spanEnds) rareOf(i int) rareEnd {
	if at := e.spans[i].rare; at > 0 {
		return e.rare[at-1]
	}
	return rareEnd{}
}

// move appends n of from's spans, from the i-th on, and what is rare about them.
func (e *spanEnds) move(from *spanEnds, i, n int) {
	if len(from.rare) == 0 {
		e.spans = append(e.spans, from.spans[i:i+n]...)
		return
	}
	for ; n > 0; i, n = i+1, n-1 {
		e.append(from.spans[i], from.rareOf(i))
		if at := from.spans[i].rare; at > 0 {
			from.rare[at-1] = rareEnd{} // it has moved
		}
	}
}

// clear empties e and gives back what it holds of its spans.
func (e *spanEnds) clear() {
	if len(e.rare) > 0 {
		for i := range e.rare {
			e.rare[i].free()
		}
		clear(e.rare)
		e.rare = e.rare[:0]
	}
	e.spans = e.spans[:0]
}

func (x *rareEnd) free() {
	if x.extra != nil {
		x.extra.free()
	}
}

// part is what a trace has left in this process under one local root: before the
// root ends the spans below it, and once it is kept all of them, the root first.
// It is pooled and has one owner at a time: the local root, then the store.
type part struct {
	spanEnds
	over  uint64 // spans that found it full
	force string // why the trace is kept whatever happens

	// These belong to the store's mutex.
	traceID TraceID
	why     string // it was kept
	bytes   int64  // estimated
	keptAs  uint64 // tells apart the times that it was kept

	first [firstSpans]spanEnd // the first spans, so that few cost no allocation
}

// maxLocalSpans bounds how many spans below one local root can be kept;
// firstSpans is what a new part has room for.
const (
	maxLocalSpans = 64
	firstSpans    = 4
)

var parts = sync.Pool{New: func() any {
	p := &part{}
	p.spans = p.first[:0]
	return p
}}

func takePart() *part { return parts.Get().(*part) }

// release empties p and gives it back.
func (p *part) release() {
	p.clear()
	p.over, p.force = 0, ""
	if cap(p.spans) > 2*maxLocalSpans {
		p.rare, p.spans = nil, p.first[:0] // grown by late spans
	}
	parts.Put(p)
}

// rootFirst swaps the local root, which came last, to the front.
func (p *part) rootFirst() {
	n := len(p.spans)
	p.spans[0], p.spans[n-1] = p.spans[n-1], p.spans[0]
}
