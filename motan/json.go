package motan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// JSON is serialization 2, Java's fastjson: arguments are an array, an answer is
// the value itself. Structs follow the json tag, []byte is base64; numbers become
// float64 in an any. A decoder also reads what Motan Java adds to JSON: class
// names, which it drops, suffixes of numbers, and bytes in hexadecimal.
type JSON struct{}

// ID returns 2.
func (JSON) ID() byte { return idJSON }

// Append appends v; several arguments, and Args of one, as an array.
func (JSON) Append(dst []byte, v any) ([]byte, error) {
	if args, ok := v.(*Args); ok && args != nil {
		v = *args
	}
	limit := maxDepth
	if args, ok := arguments(v); ok {
		if args == nil {
			args = Args{}
		}
		v = []any(args)
		limit++ // the list of them
	}
	b, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("%w: json: %T: %w", ErrSerialization, v, err)
	}
	if _, err := checkJSON(b, limit); err != nil {
		return dst, err
	}
	return append(dst, b...), nil
}

// Decode reads b into what v points to, or an array into several arguments. An
// empty body leaves v as it is, and is no arguments.
func (JSON) Decode(b []byte, v any) error {
	limit := maxDepth
	args, several := arguments(v)
	if _, into := v.(*Args); into || several {
		limit++ // the list of arguments
	}
	java, err := checkJSON(b, limit)
	if err != nil {
		return err
	}
	if java {
		b = plainJSON(b)
	}
	if args, ok := v.(*Args); ok {
		*args = nil
		if len(b) == 0 {
			return nil
		}
		return decodeJSON(b, (*[]any)(args))
	}
	if !several {
		if len(b) == 0 {
			return nil
		}
		return decodeJSON(b, v)
	}
	var parts []json.RawMessage
	if len(b) > 0 {
		if err := decodeJSON(b, &parts); err != nil {
			return err
		}
	}
	if len(parts) != len(args) {
		return fmt.Errorf("%w: json: %d arguments, want %d", ErrSerialization, len(parts), len(args))
	}
	for i, p := range parts {
		if err := decodeJSON(p, args[i]); err != nil {
			return fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return nil
}

func decodeJSON(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: json: %T: %w", ErrSerialization, v, err)
	}
	return nil
}

// checkJSON refuses a text nested deeper than limit. java reports that the
// text may hold what only Java writes.
func checkJSON(b []byte, limit int) (java bool, err error) {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
			java = java || inString && i+1 < len(b) && b[i+1] == '@'
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return false, fmt.Errorf("%w: json: nested deeper than %d at byte %d", ErrSerialization, maxDepth, i)
			}
		case c == ']' || c == '}':
			depth--
		case c == 'x' || c >= 'B' && c <= 'T' && c != 'E':
			java = true
		}
	}
	return java, nil
}

var classKey = []byte(`"@type":"`)

// plainJSON returns the text without what Java's fastjson adds when it writes
// class names: "@type" keys, 1L, 1.5D and the like, Set[…], and x'dead'.
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
		default:
			out = append(out, c)
			i++
		}
	}
	return out
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
