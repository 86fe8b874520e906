package motan

import (
	"bytes"
	"strconv"
	"strings"
	"unsafe"
)

// The metadata keys that have a meaning here; every other key is an attachment
// of the application.
const (
	keyService     = "M_p"
	keyMethod      = "M_m"
	keyGroup       = "M_g"
	keyVersion     = "M_v"
	keyApplication = "M_s"
	keyProcessTime = "M_pt"
	keyException   = "M_e"
	keyTimeout     = "M_tmo"
	keyFramework   = "M_fws"
	keyAuth        = "M_a"
	keyTraceparent = "traceparent"
	keyTracestate  = "tracestate"
	keyBaggage     = "baggage"
)

// appendMeta appends one pair. Metadata has no escaping: a pair that is empty
// or holds a line feed cannot be sent and is left out.
func appendMeta(b []byte, start int, key, value string) []byte {
	if key == "" || value == "" || strings.IndexByte(value, '\n') >= 0 || strings.IndexByte(key, '\n') >= 0 {
		return b
	}
	if len(b) > start {
		b = append(b, '\n')
	}
	b = append(b, key...)
	b = append(b, '\n')
	return append(b, value...)
}

// nextPair cuts the first pair off encoded metadata; a key without a value at the
// end is ignored, as Java does.
func nextPair(meta []byte) (key, value, rest []byte, ok bool) {
	k := bytes.IndexByte(meta, '\n')
	if k < 0 {
		return nil, nil, nil, false
	}
	v := bytes.IndexByte(meta[k+1:], '\n')
	if v < 0 {
		return meta[:k], meta[k+1:], nil, true
	}
	v += k + 1
	return meta[:k], meta[k+1 : v], meta[v+1:], true
}

// metaValue finds one value; the last of several wins. nil means that there is none.
func metaValue(meta []byte, key string) (value []byte) {
	for {
		k, v, rest, ok := nextPair(meta)
		if !ok {
			return value
		}
		if string(k) == key {
			value = v
		}
		meta = rest
	}
}

// decodeMeta returns all pairs.
func decodeMeta(meta []byte) (m Metadata) {
	for {
		k, v, rest, ok := nextPair(meta)
		if !ok {
			return m
		}
		m = append(m, struct{ Key, Value string }{string(k), string(v)})
		meta = rest
	}
}

// appendApplicationMeta appends the pairs that are the application's, each ending
// in a line feed.
func appendApplicationMeta(b, meta []byte) []byte {
	for {
		k, v, rest, ok := nextPair(meta)
		if !ok {
			return b
		}
		meta = rest
		switch string(k) {
		case keyService, keyMethod, keyGroup, keyVersion, keyTimeout, keyTraceparent, keyTracestate, keyBaggage, keyApplication, keyAuth, keyFramework:
		default:
			b = append(append(b, k...), '\n')
			b = append(append(b, v...), '\n')
		}
	}
}

// pairSize is what a pair takes besides its text.
const pairSize = int(unsafe.Sizeof(struct{ Key, Value string }{}))

// textMeta makes metadata of pairs that each end in a line feed; its strings are
// parts of text.
func textMeta(text string) Metadata {
	m := make(Metadata, 0, strings.Count(text, "\n")/2)
	for text != "" {
		k, rest, _ := strings.Cut(text, "\n")
		v, rest, _ := strings.Cut(rest, "\n")
		m = append(m, struct{ Key, Value string }{k, v})
		text = rest
	}
	return m
}

func quote(s string) string { return strconv.Quote(s) }
