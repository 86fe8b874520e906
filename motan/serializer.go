package motan

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// Serializer turns values into bodies and back. The rules:
//
//  1. Append appends v's form to dst and returns the result. It keeps neither.
//  2. Decode stores what b holds in the value that v points to. It keeps no
//     reference to b.
//  3. Both are safe for concurrent use and return an error for what they
//     cannot handle; they do not panic on any input.
//  4. ID is the number in the frame header, 0 to 31, and never changes.
type Serializer interface {
	ID() byte
	Append(dst []byte, v any) ([]byte, error)
	Decode(b []byte, v any) error
}

// Serialization numbers of the frame header.
const (
	idMsgpack  = 3
	idProtobuf = 5
	idSimple   = 6
)

// ErrSerialization is wrapped by errors about a body that cannot be encoded or decoded.
var ErrSerialization = errors.New("motan: serialization")

// serializers are the ones a server understands, by number.
var serializers = [32]Serializer{idSimple: Simple{}, idMsgpack: Msgpack{}, idProtobuf: Protobuf{}}

func serializerFor(id byte) (Serializer, error) {
	if s := serializers[id&31]; s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: number %d is not supported", ErrSerialization, id)
}

// inflate unpacks a gzip body of at most limit bytes.
func inflate(b []byte, limit int) ([]byte, error) {
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("%w: gzip body: %w", ErrSerialization, err)
	}
	out, err := io.ReadAll(io.LimitReader(zr, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("%w: gzip body: %w", ErrSerialization, err)
	}
	if len(out) > limit {
		return nil, fmt.Errorf("%w: gzip body inflates beyond %d bytes", errTooLarge, limit)
	}
	return out, nil
}
