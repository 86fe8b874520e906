package motan

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/heddle-go/heddle/internal/unpack"
)

// Msgpack is serialization 3: a msgpack value for each argument. Structs follow
// the msgpack tag.
type Msgpack struct{}

// ID returns 3.
func (Msgpack) ID() byte { return idMsgpack }

type msgpackEncoder struct {
	buf bytes.Buffer
	enc *msgpack.Encoder
}

var msgpackEncoders = sync.Pool{New: func() any {
	e := &msgpackEncoder{}
	e.enc = msgpack.NewEncoder(&e.buf)
	e.enc.UseCompactInts(true)
	return e
}}

// Append appends v as msgpack.
func (Msgpack) Append(dst []byte, v any) ([]byte, error) {
	e := msgpackEncoders.Get().(*msgpackEncoder)
	e.buf.Reset()
	if args, ok := v.(*Args); ok && args != nil {
		v = *args
	}
	args, several := arguments(v)
	if !several {
		args = Args{v}
	}
	for _, a := range args {
		from := e.buf.Len()
		err := unpack.Nests(a, "", maxDepth)
		if err == nil {
			err = e.enc.Encode(a)
		}
		if err == nil {
			err = unpack.Check(e.buf.Bytes()[from:], maxDepth)
		}
		if err != nil {
			return dst, fmt.Errorf("%w: msgpack: %T: %w", ErrSerialization, a, err)
		}
	}
	dst = append(dst, e.buf.Bytes()...)
	if e.buf.Cap() <= keepBuf {
		msgpackEncoders.Put(e)
	}
	return dst, nil
}

// Decode reads one msgpack value into v, or several. An empty body leaves v as it is.
func (Msgpack) Decode(b []byte, v any) error {
	args, several := arguments(v)
	all, into := v.(*Args)
	switch {
	case into:
		for *all = nil; len(b) > 0; {
			var a any
			n, err := msgpackValue(b, &a)
			if err != nil {
				return err
			}
			*all = append(*all, a)
			b = b[n:]
		}
		return nil
	case !several:
		if len(b) == 0 {
			return nil
		}
		args = Args{v}
	}
	for _, a := range args {
		n, err := msgpackValue(b, a)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: msgpack: %d bytes after the value", ErrSerialization, len(b))
	}
	return nil
}

// msgpackValue decodes the value that b begins with and returns its length.
func msgpackValue(b []byte, v any) (int, error) {
	n, err := unpack.Value(b, v, "", maxDepth)
	if err != nil {
		return 0, fmt.Errorf("%w: msgpack: %T: %w", ErrSerialization, v, err)
	}
	return n, nil
}
