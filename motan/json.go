package motan

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
)

// JSON is serialization 2, Java's fastjson: arguments are an array, an answer is
// the value itself. Structs follow the json tag, []byte is base64; numbers become
// float64 in an any. time.Time is text in RFC 3339 with milliseconds, and no more,
// which Java reads as a Date. A decoder also reads what Motan Java adds to JSON:
// class names, which it drops, suffixes of numbers, bytes in hexadecimal, and a Date,
// which is text in an any; in a bean it may come as milliseconds since 1970, which
// time.Time takes too.
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
	_, times, err := checkJSON(b, limit)
	if err != nil {
		return dst, err
	}
	if times {
		b = timesForJava(b, v)
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
	java, _, err := checkJSON(b, limit)
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
	err := json.Unmarshal(b, v)
	if err != nil {
		if again := timesFromJava(b, reflect.TypeOf(v)); !bytes.Equal(again, b) {
			err = json.Unmarshal(again, v)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: json: %T: %w", ErrSerialization, v, err)
	}
	return nil
}

// checkJSON refuses a text nested deeper than limit. java reports that the
// text may hold what only Java writes, and times that it may hold times with fractions
// of a second.
func checkJSON(b []byte, limit int) (java, times bool, err error) {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
			java = java || inString && i+1 < len(b) && b[i+1] == '@'
			times = times || inString && i+20 < len(b) && b[i+11] == 'T' && b[i+20] == '.'
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return false, false, fmt.Errorf("%w: json: nested deeper than %d at byte %d", ErrSerialization, maxDepth, i)
			}
		case c == ']' || c == '}':
			depth--
		case c == 'x' || c >= 'B' && c <= 'T' && c != 'E':
			java = true
		}
	}
	return java, times, nil
}
