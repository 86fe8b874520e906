package watchman

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrBinary is wrapped by every error of ParseBinary.
var ErrBinary = errors.New("watchman: malformed binary span context")

// binaryVersion starts the form that message headers carry:
//
//	version 1 | trace id 16 | span id 8 | flags 1 | uvarint n, tracestate n | uvarint n, baggage n
const (
	binaryVersion = 1
	binaryMin     = 1 + 16 + 8 + 1 + 1 + 1
)

// AppendBinary appends sc in the form that message headers carry, 28 bytes
// without state and baggage. It never fails; the error is there for
// encoding.BinaryAppender.
func (sc SpanContext) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, binaryVersion)
	dst = append(dst, sc.TraceID[:]...)
	dst = append(dst, sc.SpanID[:]...)
	dst = append(dst, byte(sc.Flags))
	for _, s := range [...]string{sc.State, sc.Baggage} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst, nil
}

// ParseBinary reads what AppendBinary wrote; it keeps no reference to b.
// State and baggage are checked as if they came in a header.
func ParseBinary(b []byte) (SpanContext, error) {
	if len(b) < binaryMin {
		return SpanContext{}, fmt.Errorf("%w: %d bytes, want at least %d", ErrBinary, len(b), binaryMin)
	}
	if b[0] != binaryVersion {
		return SpanContext{}, fmt.Errorf("%w: version %d, want %d", ErrBinary, b[0], binaryVersion)
	}
	var sc SpanContext
	copy(sc.TraceID[:], b[1:17])
	copy(sc.SpanID[:], b[17:25])
	sc.Flags = Flags(b[25]) & (FlagSampled | FlagRandom)
	rest := b[26:]
	var fields [2]string
	for i, limit := range [...]uint64{maxStateBytes, maxBaggageBytes} {
		n, k := binary.Uvarint(rest)
		if k <= 0 || n > limit || n > uint64(len(rest)-k) {
			return SpanContext{}, fmt.Errorf("%w: bad length at byte %d", ErrBinary, len(b)-len(rest))
		}
		fields[i], rest = string(rest[k:k+int(n)]), rest[k+int(n):]
	}
	if len(rest) != 0 {
		return SpanContext{}, fmt.Errorf("%w: %d bytes after the end", ErrBinary, len(rest))
	}
	if fields[0] != "" {
		sc.State = joinTracestate(fields[:1])
	}
	if fields[1] != "" {
		sc.Baggage = joinBaggage(fields[1:])
	}
	return sc, nil
}
