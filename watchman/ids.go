package watchman

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
)

// TraceID names one trace: 16 bytes; all zero is invalid.
type TraceID [16]byte

// SpanID names one span of a trace: 8 bytes; all zero is invalid.
type SpanID [8]byte

// Flags is the trace-flags byte of W3C trace context.
type Flags byte

const (
	FlagSampled Flags = 1 << 0 // the caller records this trace
	FlagRandom  Flags = 1 << 1 // Level 2: the last 7 bytes of the trace id are random
)

// IsValid reports whether id is not all zero.
func (id TraceID) IsValid() bool { return id != TraceID{} }

// IsValid reports whether id is not all zero.
func (id SpanID) IsValid() bool { return id != SpanID{} }

// String returns 32 lower-case hex digits.
func (id TraceID) String() string { return hex.EncodeToString(id[:]) }

// String returns 16 lower-case hex digits.
func (id SpanID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText writes the id as hex digits.
func (id TraceID) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, id[:]), nil }

// MarshalText writes the id as hex digits, an invalid one as nothing.
func (id SpanID) MarshalText() ([]byte, error) {
	if !id.IsValid() {
		return nil, nil
	}
	return hex.AppendEncode(nil, id[:]), nil
}

// UnmarshalText reads 32 hex digits.
func (id *TraceID) UnmarshalText(b []byte) error { return unhex("trace id", id[:], b) }

// UnmarshalText reads 16 hex digits, or nothing for the invalid id.
func (id *SpanID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = SpanID{}
		return nil
	}
	return unhex("span id", id[:], b)
}

// ParseTraceID reads 32 hex digits that are not all zero.
func ParseTraceID(s string) (TraceID, error) {
	var id TraceID
	if err := id.UnmarshalText([]byte(s)); err != nil {
		return TraceID{}, err
	}
	if !id.IsValid() {
		return TraceID{}, fmt.Errorf("watchman: trace id %q: all zero", s)
	}
	return id, nil
}

func unhex(what string, dst, b []byte) error {
	if len(b) == 2*len(dst) {
		if _, err := hex.Decode(dst, b); err == nil {
			return nil
		}
	}
	if len(b) > 40 {
		b = b[:40]
	}
	return fmt.Errorf("watchman: %s %q: want %d hex digits", what, b, 2*len(dst))
}

// Ids need not be unguessable, only unique, and Level 2 wants the last seven
// bytes of a trace id random. The first half is the time and the last the root's
// span id, made random-looking from the process's seeds: cheaper than random
// numbers and as rare.
func (w *Watchman) traceID(root SpanID, now int64) (id TraceID) {
	hi, lo := splitMix(w.seed^uint64(now)), splitMix(w.traceSeed+binary.LittleEndian.Uint64(root[:]))
	if hi|lo == 0 {
		hi = 1
	}
	binary.LittleEndian.PutUint64(id[:8], hi)
	binary.LittleEndian.PutUint64(id[8:], lo)
	return id
}

// nextSpanID counts a span that begins and gives it an id: the n-th gets
// SplitMix64's n-th number from a random seed. No two spans of a process share
// one, spans of different processes do as rarely as random numbers would, and it
// is cheaper than one.
func (w *Watchman) nextSpanID() (id SpanID) {
	z := splitMix(w.seed + w.begun.Add(1)*0x9e3779b97f4a7c15)
	if z == 0 { // the one number of 2^64 that is no id
		z = rand.Uint64() | 1
	}
	binary.LittleEndian.PutUint64(id[:], z)
	return id
}

func splitMix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
