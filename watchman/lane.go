package watchman

import "strings"

// The baggage members that watchman itself understands.
const (
	BaggageLane  = "heddle.lane"  // the lane of the request: canary, blue, load-test
	BaggageDebug = "heddle.debug" // 1: keep this trace everywhere
)

const baggagePrefix = "heddle."

// maxLane bounds a lane's name; a longer one is ignored.
const maxLane = 64

// carry is what the spans of a trace share, nil if there is nothing.
func carry(state, baggage string) *carried {
	if state == "" && baggage == "" {
		return nil
	}
	c := &carried{state: state, baggage: baggage}
	if strings.Contains(baggage, baggagePrefix) {
		for k, v := range (SpanContext{Baggage: baggage}).Members() {
			switch k {
			case BaggageLane:
				if v != "" && len(v) <= maxLane && printableASCII(v) {
					c.lane = v
				}
			case BaggageDebug:
				c.debug = v == "1"
			}
		}
	}
	return c
}

// Lane is the lane that the trace's baggage names, "" if none. Its calls are
// counted apart too, so that a canary can be compared with the rest.
func (s *Span) Lane() string {
	if s == nil || s.local.more == nil {
		return ""
	}
	return s.local.more.lane
}

// Debug reports whether the trace's baggage asks to be kept everywhere.
func (s *Span) Debug() bool { return s != nil && s.local.more != nil && s.local.more.debug }

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}
