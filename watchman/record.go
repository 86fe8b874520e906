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
func (w *Watchman) record(l *localTrace, i int) SpanRecord {
	r := &l.spans[i]
	rec := SpanRecord{
		TraceID: l.traceID, SpanID: r.spanID, Parent: r.parent,
		Service: w.service, Kind: r.op.kind, Name: r.op.name,
		Start: w.wall(r.start), Duration: time.Duration(r.took),
	}
	if i == 0 {
		rec.Keep = l.why
	}
	if x := r.extra; x != nil {
		rec.Attrs, rec.Phases, rec.Links = slices.Clone(x.attrs), phasesOf(x.phases, r.start, r.took), slices.Clone(x.links)
	}
	if r.err != nil {
		rec.Error = errorText(r.err)
	}
	return rec
}

// settled is what is kept of an error: its text. The error itself may hold a
// request, or change.
type settled string

func (s settled) Error() string { return string(s) }

func (r *spanEnd) settle() {
	if r.err != nil {
		r.err = settled(errorText(r.err))
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
func (r *spanEnd) size() int64 {
	n := 80
	if r.err != nil {
		n += 16 + len(r.err.Error())
	}
	if x := r.extra; x != nil {
		n += 208 + 16*len(x.links)
		for _, a := range x.attrs {
			n += 32 + len(a.Key) + len(a.Value)
		}
		for _, p := range x.phases {
			n += 24 + len(p.name)
		}
	}
	return int64(n)
}

func badKind(b []byte) error {
	return fmt.Errorf("watchman: span kind %.20q: want one of %v", b, kindNames)
}
