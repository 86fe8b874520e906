package watchman

import "time"

// phaseMark is where a phase of a span begins.
type phaseMark struct {
	name string
	at   int64
}

// Phase is a part of a span's time: encode, queue, send. Phases follow one
// another without gaps.
type Phase struct {
	Name     string        `json:"name"`
	Offset   time.Duration `json:"offset_ns"` // from the beginning of the span
	Duration time.Duration `json:"duration_ns"`
}

// maxPhases bounds the phases of a span; further ones are part of the last.
const maxPhases = 16

// Phase says that the named phase of the span begins now. It lasts until the
// next phase, or the end of the span. At most 16 are told apart. It costs a
// clock reading; the first fact of a span also an allocation or two.
func (s *Span) Phase(name string) {
	if s == nil {
		return
	}
	x := s.extras().withMore()
	if len(x.phases) < maxPhases {
		x.phases = append(x.phases, phaseMark{name, s.op.w.now()})
	}
}

func phasesOf(marks []phaseMark, start, took int64) []Phase {
	if len(marks) == 0 {
		return nil
	}
	list := make([]Phase, len(marks))
	for i, m := range marks {
		end := start + took
		if i+1 < len(marks) {
			end = marks[i+1].at
		}
		list[i] = Phase{Name: m.name, Offset: time.Duration(m.at - start), Duration: time.Duration(max(end-m.at, 0))}
	}
	return list
}

// Link names a span of another trace that this one has to do with: the sender
// of each message of a batch, the attempt that a retry repeats.
type Link struct {
	TraceID TraceID `json:"trace_id"`
	SpanID  SpanID  `json:"span_id"`
}

// maxLinks bounds the links of a span; further ones are dropped.
const maxLinks = 64

// AddLink links the span to another one; an invalid sc and links beyond the
// 64th are ignored.
func (s *Span) AddLink(sc SpanContext) {
	if s == nil || !sc.IsValid() {
		return
	}
	if x := s.extras().withMore(); len(x.links) < maxLinks {
		x.links = append(x.links, Link{sc.TraceID, sc.SpanID})
	}
}
