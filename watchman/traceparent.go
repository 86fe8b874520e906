package watchman

import (
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
	version, bad := lowerHex1(s[0], s[1])
	flags, bad1 := lowerHex1(s[53], s[54])
	bad |= bad1 | lowerHex8(sc.TraceID[:8], s[3:19]) | lowerHex8(sc.TraceID[8:], s[19:35]) | lowerHex8(sc.SpanID[:], s[36:52])
	if bad != 0 {
		return SpanContext{}, badTraceparent(s, "not lower-case hex")
	}
	switch {
	case version == 0xff:
		return SpanContext{}, badTraceparent(s, "version ff")
	case version == 0 && len(s) != traceparentLen:
		return SpanContext{}, badTraceparent(s, "longer than version 00 allows")
	case len(s) > traceparentLen && s[traceparentLen] != '-':
		return SpanContext{}, badTraceparent(s, "no dash after the flags")
	case !sc.IsValid():
		return SpanContext{}, badTraceparent(s, "all-zero id")
	}
	sc.Flags = Flags(flags)
	if version == 0 {
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
	dst = append(dst, "00-TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT-SSSSSSSSSSSSSSSS-FF"...)
	b := dst[len(dst)-traceparentLen:]
	putHex8(b[3:19], sc.TraceID[:8])
	putHex8(b[19:35], sc.TraceID[8:])
	putHex8(b[36:52], sc.SpanID[:])
	b[53], b[54] = hexDigits[sc.Flags>>4], hexDigits[sc.Flags&15]
	return dst
}
