package watchman

// SpanContext is the part of a span that crosses a wire. It is a plain value:
// copy it freely.
type SpanContext struct {
	TraceID TraceID
	SpanID  SpanID
	Flags   Flags
	State   string // the tracestate list as received, already checked
	Baggage string // the baggage list as received; Members parses it
}

// IsValid reports whether both ids are set.
func (sc SpanContext) IsValid() bool { return sc.TraceID.IsValid() && sc.SpanID.IsValid() }

// Sampled reports whether the caller records this trace.
func (sc SpanContext) Sampled() bool { return sc.Flags&FlagSampled != 0 }

// The field names, as http.Header spells them and as text carriers do.
const (
	headerTraceparent = "Traceparent"
	headerTracestate  = "Tracestate"
	headerBaggage     = "Baggage"
)

// FromHeader reads the W3C fields of an http.Header (or any map with canonical
// keys). A missing, repeated or malformed traceparent gives an invalid
// SpanContext, which starts a new trace; a malformed tracestate is dropped
// alone. Without a traceparent, B3 in either form is read instead. Baggage is
// kept even without a trace. It allocates only when a field
// arrives in several lines.
func FromHeader(h map[string][]string) SpanContext {
	var sc SpanContext
	if v := h[headerTraceparent]; len(v) == 0 {
		sc = fromB3Header(h)
	} else if len(v) == 1 {
		if parsed, err := ParseTraceparent(v[0]); err == nil {
			sc = parsed
			if v := h[headerTracestate]; len(v) > 0 {
				sc.State = joinTracestate(v)
			}
		}
	}
	if v := h[headerBaggage]; len(v) > 0 {
		sc.Baggage = joinBaggage(v)
	}
	return sc
}

// FromFields is FromHeader for carriers that hold each field once, such as RPC
// metadata under the names traceparent, tracestate and baggage.
func FromFields(traceparent, tracestate, baggage string) SpanContext {
	sc, err := ParseTraceparent(traceparent)
	if err == nil && tracestate != "" {
		sc.State = joinTracestate([]string{tracestate})
	}
	if baggage != "" {
		sc.Baggage = joinBaggage([]string{baggage})
	}
	return sc
}

// ToHeader writes sc into an http.Header, replacing what is there. An invalid
// sc writes no trace fields.
func (sc SpanContext) ToHeader(h map[string][]string) {
	if sc.IsValid() {
		h[headerTraceparent] = []string{string(sc.AppendTraceparent(nil))}
		if sc.State != "" {
			h[headerTracestate] = []string{sc.State}
		} else {
			delete(h, headerTracestate)
		}
	}
	if sc.Baggage != "" {
		h[headerBaggage] = []string{sc.Baggage}
	}
}
