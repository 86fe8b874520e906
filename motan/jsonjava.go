package motan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"time"
)

var classKey = []byte(`"@type":"`)

// plainJSON returns the text without what Java's fastjson adds when it writes
// class names: "@type" keys, 1L, 1.5D and the like, Set[…], x'dead' and
// new Date(1388505600123).
func plainJSON(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		c := b[i]
		switch {
		case bytes.HasPrefix(b[i:], classKey):
			i += len(classKey) - 1
			i += stringLen(b[i:])
			if i < len(b) && b[i] == ',' {
				i++
			}
		case c == '"':
			n := stringLen(b[i:])
			out = append(out, b[i:i+n]...)
			i += n
		case c == 'x' && i+1 < len(b) && b[i+1] == '\'':
			digits, _, _ := bytes.Cut(b[i+2:], []byte{'\''})
			raw := make([]byte, hex.DecodedLen(len(digits)))
			if _, err := hex.Decode(raw, digits); err != nil {
				return b // the decoder says what is wrong
			}
			out = base64.StdEncoding.AppendEncode(append(out, '"'), raw)
			out = append(out, '"')
			i = min(i+3+len(digits), len(b))
		case len(out) > 0 && (out[len(out)-1] >= '0' && out[len(out)-1] <= '9' || out[len(out)-1] == '.') && bytes.IndexByte([]byte("LDFSB"), c) >= 0:
			i++
		case bytes.HasPrefix(b[i:], []byte("Set[")):
			i += len("Set")
		case bytes.HasPrefix(b[i:], []byte("TreeSet[")):
			i += len("TreeSet")
		case bytes.HasPrefix(b[i:], newDate):
			digits, _, closed := bytes.Cut(b[i+len(newDate):], []byte{')'})
			text, ok := dateText(digits)
			if !closed || !ok {
				return b
			}
			out = append(out, text...)
			i += len(newDate) + len(digits) + 1
		default:
			out = append(out, c)
			i++
		}
	}
	return out
}

var newDate = []byte("new Date(")

// dateText returns milliseconds since 1970 as a time in JSON.
func dateText(ms []byte) (text []byte, ok bool) {
	n, err := strconv.ParseInt(string(ms), 10, 64)
	if err != nil {
		return nil, false
	}
	text, err = time.UnixMilli(n).UTC().MarshalJSON()
	return text, err == nil // there are years that have no text
}

// stringLen returns the length of the string that b begins with, quotes included.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
