package webv4

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// A body in MessagePack is turned into JSON and read as that, so that the same
// rules hold for both. bin becomes base64, the extension timestamp RFC 3339.

// msgpackToJSON turns one value into JSON, which is at most six times as long.
func msgpackToJSON(s string) (string, error) {
	r := msgpackReader{s: s, out: make([]byte, 0, len(s)+len(s)/2+16)}
	if err := r.value(); err != nil {
		return "", fmt.Errorf("%w at byte %d", err, r.at)
	}
	if r.at < len(s) {
		return "", fmt.Errorf("more bytes after the value at byte %d", r.at)
	}
	return string(r.out), nil
}

type msgpackReader struct {
	s     string
	at    int
	depth int
	out   []byte
}

var (
	errPackEnd   = errors.New("it ended early")
	errPackUTF8  = errors.New("string not valid UTF-8")
	errPackKey   = errors.New("want a string for a map's key")
	errPackDeep  = fmt.Errorf("nested deeper than %d", maxReadDepth)
	errPackExt   = errors.New("extension type not known")
	errPackFloat = errors.New("number that is not finite")
	errPackCode  = errors.New("no MessagePack")
)

// take returns the next n bytes.
func (r *msgpackReader) take(n int) (string, error) {
	if n < 0 || n > len(r.s)-r.at {
		return "", errPackEnd
	}
	r.at += n
	return r.s[r.at-n : r.at], nil
}

// number reads a big-endian number of n bytes.
func (r *msgpackReader) number(n int) (uint64, error) {
	text, err := r.take(n)
	if err != nil {
		return 0, err
	}
	var v uint64
	for i := range n {
		v = v<<8 | uint64(text[i])
	}
	return v, nil
}

func (r *msgpackReader) value() error {
	head, err := r.number(1)
	if err != nil {
		return err
	}
	c := byte(head)
	switch {
	case c < 0x80:
		r.out = strconv.AppendInt(r.out, int64(c), 10)
		return nil
	case c >= 0xe0:
		r.out = strconv.AppendInt(r.out, int64(int8(c)), 10)
		return nil
	case c < 0x90:
		return r.mapping(uint64(c & 0x0f))
	case c < 0xa0:
		return r.list(uint64(c & 0x0f))
	case c < 0xc0:
		return r.text(uint64(c & 0x1f))
	}
	// size is what follows the codes for 8, 16, 32 and 64 bits from first on.
	size := func(first byte) (uint64, error) { return r.number(1 << (c - first)) }
	var n uint64
	switch c {
	case 0xc0:
		r.out = append(r.out, "null"...)
	case 0xc2:
		r.out = append(r.out, "false"...)
	case 0xc3:
		r.out = append(r.out, "true"...)
	case 0xc4, 0xc5, 0xc6:
		if n, err = size(0xc4); err == nil {
			err = r.binary(n)
		}
	case 0xc7, 0xc8, 0xc9:
		if n, err = size(0xc7); err == nil {
			err = r.extension(n)
		}
	case 0xca:
		if n, err = r.number(4); err == nil {
			err = r.float(float64(math.Float32frombits(uint32(n))), 32)
		}
	case 0xcb:
		if n, err = r.number(8); err == nil {
			err = r.float(math.Float64frombits(n), 64)
		}
	case 0xcc, 0xcd, 0xce, 0xcf:
		n, err = size(0xcc)
		r.out = strconv.AppendUint(r.out, n, 10)
	case 0xd0, 0xd1, 0xd2, 0xd3:
		n, err = size(0xd0)
		shift := 64 - 8<<(c-0xd0)
		r.out = strconv.AppendInt(r.out, int64(n<<shift)>>shift, 10)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		err = r.extension(1 << (c - 0xd4))
	case 0xd9, 0xda, 0xdb:
		if n, err = size(0xd9); err == nil {
			err = r.text(n)
		}
	case 0xdc, 0xdd:
		if n, err = size(0xdb); err == nil {
			err = r.list(n)
		}
	case 0xde, 0xdf:
		if n, err = size(0xdd); err == nil {
			err = r.mapping(n)
		}
	default:
		return errPackCode
	}
	return err
}

func (r *msgpackReader) text(n uint64) error {
	text, err := r.take(int(n))
	switch {
	case err != nil:
		return err
	case !utf8.ValidString(text):
		return errPackUTF8
	}
	r.out = appendJSONString(r.out, text)
	return nil
}

func (r *msgpackReader) binary(n uint64) error {
	data, err := r.take(int(n))
	if err != nil {
		return err
	}
	r.out = append(r.out, '"')
	r.out = base64.StdEncoding.AppendEncode(r.out, []byte(data))
	r.out = append(r.out, '"')
	return nil
}

func (r *msgpackReader) float(f float64, bits int) error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return errPackFloat
	}
	r.out = strconv.AppendFloat(r.out, f, 'g', -1, bits)
	return nil
}

// extension takes a timestamp in any of its three forms.
func (r *msgpackReader) extension(n uint64) error {
	kind, err := r.number(1)
	if err != nil {
		return err
	}
	data, err := r.take(int(n))
	if err != nil {
		return err
	}
	if int8(kind) != -1 {
		return errPackExt
	}
	var seconds int64
	var nanos uint32
	switch b := []byte(data); n {
	case 4:
		seconds = int64(binary.BigEndian.Uint32(b))
	case 8:
		v := binary.BigEndian.Uint64(b)
		seconds, nanos = int64(v&(1<<34-1)), uint32(v>>34)
	case 12:
		nanos, seconds = binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint64(b[4:]))
	default:
		return errPackExt
	}
	t := time.Unix(seconds, int64(nanos)).UTC()
	if nanos >= 1e9 || t.Year() < 0 || t.Year() > 9999 {
		return errPackExt
	}
	r.out = append(r.out, '"')
	r.out = t.AppendFormat(r.out, time.RFC3339Nano)
	r.out = append(r.out, '"')
	return nil
}

func (r *msgpackReader) enter() error {
	if r.depth++; r.depth > maxReadDepth {
		return errPackDeep
	}
	return nil
}

// list and mapping believe no size: they end where the bytes do.
func (r *msgpackReader) list(n uint64) error {
	if err := r.enter(); err != nil {
		return err
	}
	r.out = append(r.out, '[')
	for i := range n {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if err := r.value(); err != nil {
			return err
		}
	}
	r.out = append(r.out, ']')
	r.depth--
	return nil
}

func (r *msgpackReader) mapping(n uint64) error {
	if err := r.enter(); err != nil {
		return err
	}
	r.out = append(r.out, '{')
	for i := range n {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		if r.at >= len(r.s) {
			return errPackEnd
		}
		if c := r.s[r.at]; c&0xe0 != 0xa0 && (c < 0xd9 || c > 0xdb) {
			return errPackKey
		}
		if err := r.value(); err != nil {
			return err
		}
		r.out = append(r.out, ':')
		if err := r.value(); err != nil {
			return err
		}
	}
	r.out = append(r.out, '}')
	r.depth--
	return nil
}
