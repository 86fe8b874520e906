package mcq

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Message is one message. ID, Enqueued and Attempts are set by the queue and
// ignored by Put.
type Message struct {
	ID       uint64    // within its queue; grows by one with each message, from 1
	Body     []byte    // the caller's; Put does not keep it
	Flags    uint32    // the memcached flags, for the application
	Enqueued time.Time // when the queue took it, to the millisecond
	Attempts int       // how often it has been handed out, this time included; counted since the store was opened

	// Trace is the span the message was put in. Put fills it in from ctx where
	// the caller left it empty.
	Trace watchman.SpanContext
}

// record is a message as it lies in the store:
//
//	format 1 | uvarint enqueued ms | uvarint flags | uvarint n, trace n | body
const recordFormat = 1

// appendRecord appends m's record.
func appendRecord(b []byte, m *Message, enqueuedMs int64) []byte {
	b = append(b, recordFormat)
	b = binary.AppendUvarint(b, uint64(max(enqueuedMs, 0)))
	b = binary.AppendUvarint(b, uint64(m.Flags))
	b = appendTrace(b, m.Trace)
	return append(b, m.Body...)
}

// parseRecord reads a record into m, copying the body.
func parseRecord(b []byte, m *Message) error {
	if len(b) == 0 || b[0] != recordFormat {
		return fmt.Errorf("mcq: record: unknown format")
	}
	rest := b[1:]
	ms, n := binary.Uvarint(rest)
	if n <= 0 || ms > 1<<62 {
		return fmt.Errorf("mcq: record: bad time")
	}
	rest = rest[n:]
	flags, n := binary.Uvarint(rest)
	if n <= 0 || flags > 1<<32-1 {
		return fmt.Errorf("mcq: record: bad flags")
	}
	trace, rest, err := parseTrace(rest[n:])
	if err != nil {
		return fmt.Errorf("mcq: record: %w", err)
	}
	m.Enqueued, m.Flags, m.Trace = time.UnixMilli(int64(ms)), uint32(flags), trace
	m.Body = append(make([]byte, 0, len(rest)), rest...)
	return nil
}

// appendTrace appends the span context with its length, 0 for none.
func appendTrace(b []byte, sc watchman.SpanContext) []byte {
	if !sc.IsValid() {
		return append(b, 0)
	}
	at := len(b)
	b = append(b, 0) // the usual length fits into one byte
	b, _ = sc.AppendBinary(b)
	if n := len(b) - at - 1; n < 0x80 {
		b[at] = byte(n)
		return b
	}
	long, _ := sc.AppendBinary(nil)
	return append(binary.AppendUvarint(b[:at], uint64(len(long))), long...)
}

func parseTrace(b []byte) (sc watchman.SpanContext, rest []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return sc, nil, fmt.Errorf("bad trace length")
	}
	if n > 0 {
		if sc, err = watchman.ParseBinary(b[k : k+int(n)]); err != nil {
			return sc, nil, err
		}
		if !sc.IsValid() {
			return sc, nil, fmt.Errorf("trace without its ids")
		}
	}
	return sc, b[k+int(n):], nil
}

// appendEnvelope appends what goes in front of a body under the /h option:
//
//	uvarint length of the rest | format 1 | uvarint enqueued ms | uvarint attempts | uvarint n, trace n
func appendEnvelope(b []byte, m *Message) []byte {
	var room [64]byte
	h := append(room[:0], recordFormat)
	var ms int64
	if !m.Enqueued.IsZero() {
		ms = max(m.Enqueued.UnixMilli(), 0)
	}
	h = binary.AppendUvarint(h, uint64(ms))
	h = binary.AppendUvarint(h, uint64(m.Attempts))
	h = appendTrace(h, m.Trace)
	return append(binary.AppendUvarint(b, uint64(len(h))), h...)
}

// parseEnvelope reads an envelope into m and returns the body behind it.
func parseEnvelope(b []byte, m *Message) ([]byte, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, fmt.Errorf("mcq: envelope: bad length")
	}
	h, body := b[k:k+int(n)], b[k+int(n):]
	if len(h) == 0 || h[0] != recordFormat {
		return nil, fmt.Errorf("mcq: envelope: unknown format")
	}
	h = h[1:]
	ms, k := binary.Uvarint(h)
	if k <= 0 || ms > 1<<62 {
		return nil, fmt.Errorf("mcq: envelope: bad time")
	}
	h = h[k:]
	attempts, k := binary.Uvarint(h)
	if k <= 0 || attempts > 1<<31 {
		return nil, fmt.Errorf("mcq: envelope: bad attempts")
	}
	sc, rest, err := parseTrace(h[k:])
	if err != nil || len(rest) != 0 {
		return nil, fmt.Errorf("mcq: envelope: bad trace")
	}
	m.Trace, m.Attempts = sc, int(attempts)
	if ms > 0 {
		m.Enqueued = time.UnixMilli(int64(ms))
	}
	return body, nil
}
