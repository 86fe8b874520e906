package motan

import (
	"encoding/binary"
	"fmt"
	"math"

	protov1 "github.com/golang/protobuf/proto" //nolint // old generated types still come through here
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Protobuf is serialization 5: a null flag, then a message with its length, or
// a plain value in protobuf's own encodings. It takes messages of
// google.golang.org/protobuf and of golang/protobuf, and bool, int32, int64,
// float32, float64 and string, each by pointer or value.
type Protobuf struct{}

// ID returns 5.
func (Protobuf) ID() byte { return idProtobuf }

// message finds the protobuf message in v, nil if v is none.
func message(v any) proto.Message {
	switch m := v.(type) {
	case proto.Message:
		return m
	case protov1.Message:
		return protov1.MessageV2(m)
	}
	return nil
}

// Append appends v with its null flag.
func (Protobuf) Append(dst []byte, v any) ([]byte, error) {
	if m := message(v); m != nil {
		if !m.ProtoReflect().IsValid() { // a nil pointer
			return append(dst, 1), nil
		}
		opts := proto.MarshalOptions{}
		dst = append(dst, 0)
		dst = binary.AppendUvarint(dst, uint64(opts.Size(m)))
		opts.UseCachedSize = true
		out, err := opts.MarshalAppend(dst, m)
		if err != nil {
			return dst, fmt.Errorf("%w: protobuf: %T: %w", ErrSerialization, v, err)
		}
		return out, nil
	}
	switch x := v.(type) {
	case nil:
		return append(dst, 1), nil
	case *bool:
		v = *x
	case *int32:
		v = *x
	case *int64:
		v = *x
	case *float32:
		v = *x
	case *float64:
		v = *x
	case *string:
		v = *x
	}
	dst = append(dst, 0)
	switch x := v.(type) {
	case bool:
		return binary.AppendUvarint(dst, protowire.EncodeBool(x)), nil
	case int32:
		return protowire.AppendVarint(dst, uint64(uint32(x)<<1^uint32(x>>31))), nil
	case int64:
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(x)), nil
	case float32:
		return protowire.AppendFixed32(dst, math.Float32bits(x)), nil
	case float64:
		return protowire.AppendFixed64(dst, math.Float64bits(x)), nil
	case string:
		return protowire.AppendString(dst, x), nil
	}
	return dst, fmt.Errorf("%w: protobuf: %T is no message and no plain value", ErrSerialization, v)
}

// Decode reads one value. A null or an empty body leaves v as it is.
func (Protobuf) Decode(b []byte, v any) error {
	if len(b) == 0 || b[0] == 1 {
		return nil
	}
	if b[0] != 0 {
		return fmt.Errorf("%w: protobuf: null flag %d", ErrSerialization, b[0])
	}
	b = b[1:]
	n := 0
	if m := message(v); m != nil {
		var body []byte
		if body, n = protowire.ConsumeBytes(b); n >= 0 {
			if err := proto.Unmarshal(body, m); err != nil {
				return fmt.Errorf("%w: protobuf: %T: %w", ErrSerialization, v, err)
			}
		}
	} else {
		var u uint64
		switch x := v.(type) {
		case *bool:
			u, n = protowire.ConsumeVarint(b)
			*x = protowire.DecodeBool(u)
		case *int32:
			u, n = protowire.ConsumeVarint(b)
			*x = int32(uint32(u)>>1) ^ -int32(u&1)
		case *int64:
			u, n = protowire.ConsumeVarint(b)
			*x = protowire.DecodeZigZag(u)
		case *float32:
			var f uint32
			f, n = protowire.ConsumeFixed32(b)
			*x = math.Float32frombits(f)
		case *float64:
			u, n = protowire.ConsumeFixed64(b)
			*x = math.Float64frombits(u)
		case *string:
			*x, n = protowire.ConsumeString(b)
		default:
			return fmt.Errorf("%w: protobuf: %T is no message and no plain value", ErrSerialization, v)
		}
	}
	if n < 0 {
		return fmt.Errorf("%w: protobuf: %T: %w", ErrSerialization, v, protowire.ParseError(n))
	}
	if n != len(b) {
		return fmt.Errorf("%w: protobuf: %d bytes after the value", ErrSerialization, len(b)-n)
	}
	return nil
}
