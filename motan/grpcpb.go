package motan

import (
	"fmt"
	"reflect"

	"google.golang.org/protobuf/proto"
)

// GRPCPb is serialization 1: exactly one protobuf message, bare. It takes
// messages of google.golang.org/protobuf and of golang/protobuf; there is no
// form of nil or of several arguments. A message of zero values is an empty body,
// which motan-go's server takes for no argument at all: it answers with error 500.
type GRPCPb struct{}

// ID returns 1.
func (GRPCPb) ID() byte { return idGRPCPb }

// Append appends the message v.
func (GRPCPb) Append(dst []byte, v any) ([]byte, error) {
	m, err := soleMessage(v)
	if err != nil {
		return dst, err
	}
	out, err := proto.MarshalOptions{}.MarshalAppend(dst, m)
	if err != nil {
		return dst, fmt.Errorf("%w: grpc-pb: %T: %w", ErrSerialization, v, err)
	}
	return out, nil
}

// Decode reads b into the message v. An empty body is a message of zero values.
func (GRPCPb) Decode(b []byte, v any) error {
	m, err := soleMessage(v)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: grpc-pb: %T: %w", ErrSerialization, v, err)
	}
	return nil
}

func soleMessage(v any) (proto.Message, error) {
	if args, ok := arguments(v); ok {
		if len(args) != 1 {
			return nil, fmt.Errorf("%w: grpc-pb: %d arguments, want one message", ErrSerialization, len(args))
		}
		v = args[0]
	}
	m := message(v)
	if m == nil || !m.ProtoReflect().IsValid() {
		if v != nil && m == nil {
			return nil, fmt.Errorf("%w: grpc-pb: %T is no message", ErrSerialization, v)
		}
		return nil, fmt.Errorf("%w: grpc-pb: nil %s, which has no form", ErrSerialization, reflect.TypeOf(v))
	}
	return m, nil
}
