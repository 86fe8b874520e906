package motan

import (
	"encoding/binary"
	"fmt"
	"math"

	//lint:ignore SA1019 types that its generator made still come through here
	protov1 "github.com/golang/protobuf/proto"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Protobuf is serialization 5: a null flag, then a message with its length, or
// a plain value in protobuf's own encodings. It takes messages of
// google.golang.org/protobuf and of golang/protobuf, and bool, byte, int16,
// int32, int64, int, float32, float64 and string, each by pointer or value.
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

// Append appends v, or each of several arguments, with its null flag.
func (p Protobuf) Append(dst []byte, v any) ([]byte, error) {
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
	if args, ok := v.(*Args); ok && args != nil {
		v = *args
	}
	if args, ok := arguments(v); ok {
		for i, a := range args {
			var err error
			if dst, err = p.Append(dst, a); err != nil {
				return dst, fmt.Errorf("argument %d: %w", i+1, err)
			}
		}
		return dst, nil
	}
	switch x := v.(type) {
	case nil:
		return append(dst, 1), nil
	case *byte:
		v = *x
	case *int16:
		v = *x
	case *int:
		v = *x
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
	case byte:
		return protowire.AppendVarint(dst, uint64(x)), nil
	case int16:
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(int64(x))), nil
	case int:
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(int64(x))), nil
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

// Decode reads one value, or several arguments. A null or an empty body leaves v
// as it is. A *Args is refused: the bytes do not tell what they are.
func (Protobuf) Decode(b []byte, v any) error {
	args, several := arguments(v)
	if !several {
		if len(b) == 0 {
			return nil
		}
		args = Args{v}
	}
	for i, a := range args {
		n, err := decodeProtobuf(b, a)
		if err != nil {
			if several {
				err = fmt.Errorf("argument %d: %w", i+1, err)
			}
			return err
		}
		b = b[n:]
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: protobuf: %d bytes after the value", ErrSerialization, len(b))
	}
	return nil
}

// decodeProtobuf decodes the value that b begins with and returns its length.
func decodeProtobuf(b []byte, v any) (int, error) {
	switch {
	case len(b) == 0:
		return 0, fmt.Errorf("%w: protobuf: body ends where a null flag should be", ErrSerialization)
	case b[0] == 1:
		return 1, nil
	case b[0] != 0:
		return 0, fmt.Errorf("%w: protobuf: null flag %d", ErrSerialization, b[0])
	}
	b = b[1:]
	var n int
	var u uint64
	fits := true
	switch x := v.(type) {
	case *bool:
		u, n = protowire.ConsumeVarint(b)
		*x = protowire.DecodeBool(u)
	case *byte:
		// Java writes the byte itself, which above 0x7f is no whole varint.
		if u, n = protowire.ConsumeVarint(b); len(b) > 0 && (n < 0 || u > math.MaxUint8) {
			u, n = uint64(b[0]), 1
		}
		*x = byte(u)
	case *int16:
		u, n = protowire.ConsumeVarint(b)
		z := protowire.DecodeZigZag(u)
		*x, fits = int16(z), z == int64(int16(z))
	case *int32:
		// Java sign-extends, so only the low half counts.
		u, n = protowire.ConsumeVarint(b)
		*x = int32(uint32(u)>>1) ^ -int32(u&1)
	case *int64:
		u, n = protowire.ConsumeVarint(b)
		*x = protowire.DecodeZigZag(u)
	case *int:
		u, n = protowire.ConsumeVarint(b)
		*x = int(protowire.DecodeZigZag(u))
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
		m := message(v)
		if m == nil {
			return 0, fmt.Errorf("%w: protobuf: %T is no message and no plain value", ErrSerialization, v)
		}
		var body []byte
		if body, n = protowire.ConsumeBytes(b); n >= 0 {
			if err := proto.Unmarshal(body, m); err != nil {
				return 0, fmt.Errorf("%w: protobuf: %T: %w", ErrSerialization, v, err)
			}
		}
	}
	if n < 0 {
		return 0, fmt.Errorf("%w: protobuf: %T: %w", ErrSerialization, v, protowire.ParseError(n))
	}
	if !fits {
		return 0, fmt.Errorf("%w: protobuf: %d does not fit into %T", ErrSerialization, u, v)
	}
	return 1 + n, nil
}
