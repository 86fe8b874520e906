package ssdcache

import "encoding/json"

// Codec turns values into bytes and back. An implementation keeps these rules:
//
//  1. It is safe for concurrent use.
//  2. Append appends the encoding of *v to dst and keeps neither.
//  3. Decode sets *v, which is zero before, from what Append appended, or fails.
//  4. data belongs to the caller after Decode: v must not refer to it.
//  5. Decode takes any bytes without panic: what was cached may be of an older program.
//
// v is a pointer to the value type of the Tiered.
type Codec interface {
	Append(dst []byte, v any) ([]byte, error)
	Decode(data []byte, v any) error
}

// JSON is the default Codec, encoding/json.
type JSON struct{}

// Append implements Codec.
func (JSON) Append(dst []byte, v any) ([]byte, error) {
	b, err := json.Marshal(v)
	return append(dst, b...), err
}

// Decode implements Codec.
func (JSON) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }
