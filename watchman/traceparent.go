package watchman

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrTraceparent is wrapped by every error of ParseTraceparent.
var ErrTraceparent = errors.New("watchman: malformed traceparent")

// traceparentLen is the length of version 00: 2-32-16-2 hex digits and three dashes.
const traceparentLen = 55

// ParseTraceparent reads a traceparent field by the rules of W3C Trace Context
// Level 2: lower-case hex only, version ff and all-zero ids are invalid,
// version 00 has exactly 55 characters, a later version may be longer if a dash
// follows. It allocates nothing unless it fails.
func ParseTraceparent(s string) (SpanContext, error) {
	var sc SpanContext
	if len(s) < traceparentLen || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return SpanContext{}, badTraceparent(s, "wrong shape")
	}
	var version, flags [1]byte
	if !lowerHex(version[:], s[0:2]) || !lowerHex(sc.TraceID[:], s[3:35]) ||
		!lowerHex(sc.SpanID[:], s[36:52]) || !lowerHex(flags[:], s[53:55]) {
		return SpanContext{}, badTraceparent(s, "not lower-case hex")
	}
	switch {
	case version[0] == 0xff:
		return SpanContext{}, badTraceparent(s, "version ff")
	case version[0] == 0 && len(s) != traceparentLen:
		return SpanContext{}, badTraceparent(s, "longer than version 00 allows")
	case len(s) > traceparentLen && s[traceparentLen] != '-':
		return SpanContext{}, badTraceparent(s, "no dash after the flags")
	case !sc.IsValid():
		return SpanContext{}, badTraceparent(s, "all-zero id")
	}
	sc.Flags = Flags(flags[0])
	if version[0] == 0 {
		sc.Flags &= FlagSampled | FlagRandom
	} else {
		sc.Flags &= FlagSampled // all that a later version promises to mean the same
	}
	return sc, nil
}

func badTraceparent(s, why string) error {
	return fmt.Errorf("%w %.80q: %s", ErrTraceparent, s, why)
}

// AppendTraceparent appends sc as a version 00 traceparent: 55 bytes.
func (sc SpanContext) AppendTraceparent(dst []byte) []byte {
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, sc.TraceID[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, sc.SpanID[:])
	dst = append(dst, '-')
	return hex.AppendEncode(dst, []byte{byte(sc.Flags)})
}

// hexValue is the value of a lower-case hex digit, 0xff for everything else.
var hexValue = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range []byte("0123456789abcdef") {
		t[c] = byte(i)
	}
	return t
}()

func lowerHex(dst []byte, s string) bool {
	var bad byte
	for i := range dst {
		hi, lo := hexValue[s[2*i]], hexValue[s[2*i+1]]
		bad |= hi | lo
		dst[i] = hi<<4 | lo&0x0f
	}
	return bad < 0x10
}
