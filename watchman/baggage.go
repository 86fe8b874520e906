package watchman

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
)

// Limits of W3C Baggage that every carrier honours.
const (
	maxBaggageMembers = 64
	maxBaggageBytes   = 8192
)

// ErrBaggage is wrapped by every error about a baggage list.
var ErrBaggage = errors.New("watchman: malformed baggage")

// joinBaggage combines the lines of a baggage field; "" if they are too long or
// hold bytes that no header may. Parsing waits until somebody asks.
func joinBaggage(lines []string) string {
	total := 0
	for _, l := range lines {
		total += len(l) + 1
		for i := range len(l) {
			if c := l[i]; c < 0x20 && c != '\t' || c >= 0x7f {
				return ""
			}
		}
	}
	if total > maxBaggageBytes+1 {
		return ""
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return strings.Join(lines, ",")
}

// Members iterates over the baggage's keys and decoded values, leaving out
// properties. A malformed member is skipped; at most 64 are read.
func (sc SpanContext) Members() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		n := 0
		for m := range strings.SplitSeq(sc.Baggage, ",") {
			if n == maxBaggageMembers {
				return
			}
			m, _, _ = strings.Cut(m, ";")
			key, value, ok := strings.Cut(m, "=")
			key, value = strings.Trim(key, " \t"), strings.Trim(value, " \t")
			if !ok || !token(key) {
				continue
			}
			value, err := url.PathUnescape(value)
			if err != nil {
				continue
			}
			n++
			if !yield(key, value) {
				return
			}
		}
	}
}

// Member returns one baggage value, "" if there is none.
func (sc SpanContext) Member(key string) string {
	for k, v := range sc.Members() {
		if k == key {
			return v
		}
	}
	return ""
}

// WithMember returns sc with one more baggage member, replacing one of the same
// key. It fails if key is no token or the list would exceed 64 members or 8192 bytes.
func (sc SpanContext) WithMember(key, value string) (SpanContext, error) {
	if !token(key) {
		return sc, fmt.Errorf("%w: key %.40q is not a token", ErrBaggage, key)
	}
	var b strings.Builder
	n := 1
	b.WriteString(key + "=" + escapeBaggage(value))
	for m := range strings.SplitSeq(sc.Baggage, ",") {
		k, _, ok := strings.Cut(m, "=")
		if k = strings.Trim(k, " \t"); !ok || k == key {
			continue
		}
		n++
		b.WriteString("," + m)
	}
	if n > maxBaggageMembers || b.Len() > maxBaggageBytes {
		return sc, fmt.Errorf("%w: %d members in %d bytes, want at most %d in %d", ErrBaggage, n, b.Len(), maxBaggageMembers, maxBaggageBytes)
	}
	sc.Baggage = b.String()
	return sc, nil
}

// escapeBaggage percent-encodes what a baggage value may not hold as it is.
func escapeBaggage(v string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(v) {
		c := v[i]
		if c > 0x20 && c < 0x7f && c != '"' && c != ',' && c != ';' && c != '\\' && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

// token checks a key by RFC 7230.
func token(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(lowerOrDigit(c) || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return true
}
