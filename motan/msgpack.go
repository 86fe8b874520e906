package motan

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// Msgpack is serialization 3: one msgpack value. Structs follow the msgpack tag.
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
	if err := e.enc.Encode(v); err != nil {
		return dst, fmt.Errorf("%w: msgpack: %T: %w", ErrSerialization, v, err)
	}
	dst = append(dst, e.buf.Bytes()...)
	if e.buf.Cap() <= keepBuf {
		msgpackEncoders.Put(e)
	}
	return dst, nil
}

// Decode reads one msgpack value into v. An empty body leaves v as it is.
func (Msgpack) Decode(b []byte, v any) error {
	if len(b) == 0 {
		return nil
	}
	if err := checkMsgpackDepth(b); err != nil {
		return err
	}
	if err := msgpack.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%w: msgpack: %T: %w", ErrSerialization, v, err)
	}
	return nil
}

// checkMsgpackDepth refuses a body nested deeper than maxDepth or with lengths
// beyond its end before the decoder, which recurses and trusts them, sees it.
func checkMsgpackDepth(b []byte) error {
	var open [maxDepth + 1]uint64 // values still to come at each level
	depth := 0
	open[0] = 1
	at := 0
	bad := func(why string) error {
		return fmt.Errorf("%w: msgpack: %s at byte %d", ErrSerialization, why, at)
	}
	for {
		for open[depth] == 0 {
			if depth == 0 {
				return nil
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
