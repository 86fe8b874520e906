package watchman

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrB3 is wrapped by every error of ParseB3.
var ErrB3 = errors.New("watchman: malformed b3")

// The B3 fields, as http.Header spells them.
const (
	headerB3        = "B3"
	headerB3Trace   = "X-B3-Traceid"
	headerB3Span    = "X-B3-Spanid"
	headerB3Sampled = "X-B3-Sampled"
	headerB3Flags   = "X-B3-Flags"
)

// ParseB3 reads a b3 field in the single form of Zipkin's B3:
// TRACEID-SPANID[-SAMPLED[-PARENT]], trace ids of 16 or 32 hex digits. A lone
// sampling state (0, 1 or d) is no trace and gives an invalid SpanContext with
// its flag. The debug state d counts as sampled.
func ParseB3(s string) (SpanContext, error) {
	if len(s) == 1 {
		flags, ok := b3State(s)
		if !ok {
			return SpanContext{}, badB3(s)
		}
		return SpanContext{Flags: flags}, nil
	}
	trace, rest, ok := strings.Cut(s, "-")
	if !ok {
		return SpanContext{}, badB3(s)
	}
	span, rest, more := strings.Cut(rest, "-")
	state, parent, hasParent := "", "", false
	if more {
		state, parent, hasParent = strings.Cut(rest, "-")
		if state == "" {
			return SpanContext{}, badB3(s)
		}
	}
	if hasParent {
		var id SpanID
		if len(parent) != 16 || !anyHex(id[:], parent) {
			return SpanContext{}, badB3(s)
		}
	}
	return b3Context(s, trace, span, state)
}

func b3Context(whole, trace, span, state string) (SpanContext, error) {
	var sc SpanContext
	switch {
	case len(trace) == 32 && anyHex(sc.TraceID[:], trace):
	case len(trace) == 16 && anyHex(sc.TraceID[8:], trace):
	default:
		return SpanContext{}, badB3(whole)
	}
	if len(span) != 16 || !anyHex(sc.SpanID[:], span) || !sc.IsValid() {
		return SpanContext{}, badB3(whole)
	}
	if state != "" {
		flags, ok := b3State(state)
		if !ok {
			return SpanContext{}, badB3(whole)
		}
		sc.Flags = flags
	}
	return sc, nil
}

func b3State(s string) (Flags, bool) {
	switch s {
	case "1", "d", "true":
		return FlagSampled, true
	case "0", "false":
		return 0, true
	}
	return 0, false
}

func badB3(s string) error { return fmt.Errorf("%w %.100q", ErrB3, s) }

// anyHex decodes hex of either case, which B3 leaves open.
func anyHex(dst []byte, s string) bool {
	n, err := hex.Decode(dst, []byte(s))
	return err == nil && n == len(dst)
}

// fromB3Header reads B3 in either form from a request without traceparent.
func fromB3Header(h map[string][]string) SpanContext {
	if v := h[headerB3]; len(v) == 1 {
		sc, err := ParseB3(v[0])
		if err != nil {
			return SpanContext{}
		}
		return sc
	}
	trace, span := h[headerB3Trace], h[headerB3Span]
	if len(trace) != 1 || len(span) != 1 {
		return SpanContext{}
	}
	state := ""
	if v := h[headerB3Sampled]; len(v) == 1 {
		state = v[0]
	}
	if v := h[headerB3Flags]; len(v) == 1 && v[0] == "1" {
		state = "d"
	}
	sc, err := b3Context(trace[0], trace[0], span[0], state)
	if err != nil {
		return SpanContext{}
	}
	return sc
}

// AppendB3 appends sc as a single b3 field: 51 bytes.
func (sc SpanContext) AppendB3(dst []byte) []byte {
	dst = append(dst, sc.TraceID.String()...)
	dst = append(dst, '-')
	dst = append(dst, sc.SpanID.String()...)
	if sc.Sampled() {
		return append(dst, "-1"...)
	}
	return append(dst, "-0"...)
}

// ToB3Header writes sc into an http.Header in B3's form of several fields, for
// callees that know nothing newer. An invalid sc writes nothing.
func (sc SpanContext) ToB3Header(h map[string][]string) {
	if !sc.IsValid() {
		return
	}
	h[headerB3Trace] = []string{sc.TraceID.String()}
	h[headerB3Span] = []string{sc.SpanID.String()}
	sampled := "0"
	if sc.Sampled() {
		sampled = "1"
	}
	h[headerB3Sampled] = []string{sampled}
}
