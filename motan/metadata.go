package motan

import (
	"bytes"
	"strings"
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

// pairs calls see with each key and value of encoded metadata; a key without a
// value at the end is ignored, as Java does.
func pairs(meta []byte, see func(key, value []byte)) {
	for len(meta) > 0 {
		key, rest, ok := bytes.Cut(meta, newline)
		if !ok {
			return
		}
		value, rest, _ := bytes.Cut(rest, newline)
		see(key, value)
		meta = rest
	}
}

var newline = []byte{'\n'}

// metaValue finds one value; the last of several wins.
func metaValue(meta []byte, key string) (value []byte) {
	pairs(meta, func(k, v []byte) {
		if string(k) == key {
			value = v
		}
	})
	return value
}
