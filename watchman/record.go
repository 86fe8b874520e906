package watchman

import (
	"fmt"
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

func (w *Watchman) record(r *spanEnd, id TraceID, keep string) SpanRecord {
	rec := SpanRecord{
		TraceID: id, SpanID: r.spanID, Parent: r.parent,
		Service: w.service, Kind: r.op.kind, Name: r.op.name,
		Start: w.wall(r.start), Duration: time.Duration(r.took), Keep: keep,
	}
	if x := r.extra; x != nil {
		rec.Attrs, rec.Phases, rec.Links = x.attrs, phasesOf(x.phases, r.start, r.took), x.links
	}
	if r.err != nil {
		rec.Error = errorText(r.err)
	}
	return rec
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

// size estimates the memory a record takes, in bytes.
func (r *SpanRecord) size() int64 {
	n := 260 + len(r.Error) + len(r.Links)*24
	for _, p := range r.Phases {
		n += 32 + len(p.Name)
	}
	for _, a := range r.Attrs {
		n += 32 + len(a.Key) + len(a.Value)
	}
	return int64(n)
}

func badKind(b []byte) error {
	return fmt.Errorf("watchman: span kind %.20q: want one of %v", b, kindNames)
}
