package motan

import (
	"encoding/json"
	"fmt"
)

// JSON is serialization 2, which Java's fastjson reads and writes: arguments are
// an array, an answer is the value itself. Structs follow the json tag, []byte is
// base64; numbers become float64 in an any.
type JSON struct{}

// ID returns 2.
func (JSON) ID() byte { return idJSON }

// Append appends v; several arguments, and Args of one, as an array.
func (JSON) Append(dst []byte, v any) ([]byte, error) {
	if args, ok := v.(*Args); ok && args != nil {
		v = *args
	}
	if args, ok := arguments(v); ok {
		if args == nil {
			args = Args{}
		}
		v = []any(args)
	}
	b, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("%w: json: %T: %w", ErrSerialization, v, err)
	}
	return append(dst, b...), nil
}

// Decode reads b into what v points to, or an array into several arguments. An
// empty body leaves v as it is, and is no arguments.
func (JSON) Decode(b []byte, v any) error {
	if err := checkJSONDepth(b); err != nil {
		return err
	}
	if args, ok := v.(*Args); ok {
		*args = nil
		if len(b) == 0 {
			return nil
		}
		return decodeJSON(b, (*[]any)(args))
	}
	args, several := arguments(v)
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

// checkJSONDepth refuses a text nested deeper than maxDepth.
func checkJSONDepth(b []byte) error {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return fmt.Errorf("%w: json: nested deeper than %d at byte %d", ErrSerialization, maxDepth, i)
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}
