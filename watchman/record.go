package watchman

import (
	"fmt"
	"slices"
	"time"
)

// SpanRecord is a span that has ended and was kept. It is written as JSON and
// can be read back, so that spans of several processes can be put together.
type SpanRecord struct {
	TraceID  TraceID       `json:"trace_id"`
	SpanID   SpanID        `json:"span_id"`
	Parent   SpanID        `json:"parent"` // invalid for the root of a trace
	Service  string        `json:"service"`
	Kind     Kind          `json:"kind"`
	Name     string        `json:"name"`
	Start    time.Time     `json:"start"`
	Duration time.Duration `json:"duration_ns"`
	Error    string        `json:"error,omitempty"` // the first 1024 bytes of the error's text
	Attrs    []Attr        `json:"attrs,omitempty"`
	Phases   []Phase       `json:"phases,omitempty"`
	Links    []Link        `json:"links,omitempty"`
	Keep     string        `json:"keep,omitempty"` // on a local root: why its trace was kept
}

const maxErrorText = 1024

// record makes a record of a part's i-th span; the first is the local root.
func (w *Watchman) record(p *part, i int) SpanRecord {
	r, x := &p.spans[i], p.rareOf(i)
	op := w.handle(r.op)
	rec := SpanRecord{
		TraceID: p.traceID, SpanID: r.spanID, Parent: r.parent,
		Service: w.service, Kind: op.kind, Name: op.name,
		Start: w.wall(r.start), Duration: time.Duration(max(r.took, 0)),
	}
	if i == 0 {
		rec.Keep = p.why
	}
	if x.extra != nil {
		rec.Attrs = slices.Clone(x.extra.attrs)
		if more := x.extra.more; more != nil {
			rec.Phases, rec.Links = phasesOf(more.phases, r.start, r.took), slices.Clone(more.links)
		}
	}
	if x.err != nil {
		rec.Error = errorText(x.err)
	}
	return rec
}

// settled is what is kept of an error: its text. The error itself may hold a
// request, or change.
type settled string

func (s settled) Error() string { return string(s) }

func (x *rareEnd) settle() {
	if x.err != nil {
		x.err = settled(errorText(x.err))
	}
}

// errorText survives an error whose Error method panics: a tracing hook must
// not be what brings a process down.
func errorText(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("%T (its Error method panicked)", err)
		}
	}()
	text = err.Error()
	if len(text) > maxErrorText {
		text = text[:maxErrorText]
	}
	return text
}

// size estimates the memory that a settled span takes, in bytes.
func (x rareEnd) size() int64 {
	n := 48
	if x.err != nil {
		n += 40 + len(x.err.Error())
	}
	if e := x.extra; e != nil {
		n += 184
		for _, a := range e.attrs {
			n += 32 + len(a.Key) + len(a.Value)
		}
		if more := e.more; more != nil {
			n += 240 + 24*len(more.links)
			for _, p := range more.phases {
				n += 24 + len(p.name)
			}
		}
	}
	return int64(n)
}

func badKind(b []byte) error {
	return fmt.Errorf("watchman: span kind %.20q: want one of %v", b, kindNames)
}
