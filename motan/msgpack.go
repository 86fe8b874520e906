package motan

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
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
		if err := e.enc.Encode(a); err != nil {
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
	n, err := checkMsgpack(b)
	if err != nil {
		return 0, err
	}
	if err := msgpack.Unmarshal(b[:n], v); err != nil {
		return 0, fmt.Errorf("%w: msgpack: %T: %w", ErrSerialization, v, err)
	}
	return n, nil
}

// checkMsgpack returns the length of the value that b begins with. It refuses one
// nested deeper than maxDepth or with lengths beyond the end before the decoder,
// which recurses and trusts them, sees it.
func checkMsgpack(b []byte) (int, error) {
	var open [maxDepth + 1]uint64 // values still to come at each level
	depth := 0
	open[0] = 1
	at := 0
	bad := func(why string) (int, error) {
		return 0, fmt.Errorf("%w: msgpack: %s at byte %d", ErrSerialization, why, at)
	}
	for {
		for open[depth] == 0 {
			if depth == 0 {
				return at, nil
			}
			depth--
		}
		open[depth]--
		if at >= len(b) {
			return bad("body ends early")
		}
		c := b[at]
		at++
		size := func(n int) (v uint64, ok bool) {
			if len(b)-at < n {
				return 0, false
			}
			for _, x := range b[at : at+n] {
				v = v<<8 | uint64(x)
			}
			at += n
			return v, true
		}
		var skip, children uint64
		ok := true
		nest := false
		switch {
		case c < 0x80 || c >= 0xe0: // small integers
		case c < 0x90:
			children, nest = 2*uint64(c&15), true
		case c < 0xa0:
			children, nest = uint64(c&15), true
		case c < 0xc0:
			skip = uint64(c & 31)
		case c == 0xc0 || c == 0xc2 || c == 0xc3: // nil, false, true
		case c == 0xc4 || c == 0xd9:
			skip, ok = size(1)
		case c == 0xc5 || c == 0xda:
			skip, ok = size(2)
		case c == 0xc6 || c == 0xdb:
			skip, ok = size(4)
		case c >= 0xc7 && c <= 0xc9: // ext
			skip, ok = size(1 << (c - 0xc7))
			skip++
		case c == 0xca || c == 0xce || c == 0xd2:
			skip = 4
		case c == 0xcb || c == 0xcf || c == 0xd3:
			skip = 8
		case c == 0xcc || c == 0xd0:
			skip = 1
		case c == 0xcd || c == 0xd1:
			skip = 2
		case c >= 0xd4 && c <= 0xd8:
			skip = 1 + 1<<(c-0xd4)
		case c == 0xdc || c == 0xdd:
			children, ok = size(2 << (c - 0xdc))
			nest = true
		case c == 0xde || c == 0xdf:
			children, ok = size(2 << (c - 0xde))
			children, nest = 2*children, true
		default:
			return bad("unknown type")
		}
		if !ok || skip > uint64(len(b)-at) || children > uint64(len(b)-at) {
			return bad("length beyond the end")
		}
		at += int(skip)
		if nest {
			if depth++; depth > maxDepth {
				return bad("nested too deep")
			}
			open[depth] = children
		}
	}
}
