package mcq

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Message is one message. ID, Receipt, Enqueued, Attempts and Dead are set by the
// queue and ignored by Put.
type Message struct {
	ID uint64 // within its queue; grows by one with each message, from 1

	// Receipt says which lease of the message this is; 0 if it is none. Ack, Nack,
	// Extend and Reject take it in place of the ID, and then do nothing to
	// whoever has the message since that lease ran out. Its low 48 bits are the ID.
	Receipt uint64

	Body     []byte    // the caller's; Put does not keep it
	Flags    uint32    // the memcached flags, for the application
	Enqueued time.Time // when the queue took it, to the millisecond
	Attempts int       // how often it has been handed out, this time included

	// Delay is how long after Enqueued the message is handed out at the
	// earliest; then it comes before those that were never handed out. It is
	// rounded up to milliseconds; 0 means at once. A message that waits takes
	// about 100 bytes of memory.
	Delay time.Duration

	// TTL is how long after Enqueued the message is worth handing out; then it
	// is dropped. It is rounded up to milliseconds; 0 means for ever.
	TTL time.Duration

	// Key, if not empty, tells a message from others: one that is put again
	// within QueueOptions.DedupeWindow is stored once. At most 250 bytes.
	Key string

	// Dead says where a message in a dead-letter queue comes from, and why; nil
	// in others. It must not be changed.
	Dead *Dead

	// Trace is the span the message was put in. Put fills it in from ctx where
	// the caller left it empty.
	Trace watchman.SpanContext
}

// handle is what names the lease of m best: the receipt, or the ID where there is none.
func (m *Message) handle() uint64 { return cmp.Or(m.Receipt, m.ID) }

// Dead is why a message is in a dead-letter queue.
type Dead struct {
	Queue    string // where it was
	ID       uint64 // there
	Attempts int    // how often it was handed out there
	Reason   string // in words
}

// A record is a message as it lies in the store (an envelope, below, on the wire):
//
//	format 1 | uvarint enqueued ms | uvarint flags | uvarint n, trace n | body
//	format 2 | uvarint enqueued ms | uvarint flags | uvarint n, trace n | extras | body
//
// Extras are a byte of bits and, for each bit in this order:
//
//	1 delay    uvarint ms
//	2 ttl      uvarint ms
//	4 key      uvarint n, key n
//	8 dead     uvarint n, queue n | uvarint id | uvarint attempts | uvarint n, reason n
const (
	recordFormat      = 1
	recordFormatExtra = 2

	extraDelay = 1
	extraTTL   = 2
	extraKey   = 4
	extraDead  = 8
)

// appendRecord appends m's record.
func appendRecord(b []byte, m *Message, enqueuedMs int64) []byte {
	return append(appendRecordHead(b, m, enqueuedMs), m.Body...)
}

// appendRecordHead appends all of m's record but the body, which comes last.
func appendRecordHead(b []byte, m *Message, enqueuedMs int64) []byte {
	extras := m.extras()
	format := byte(recordFormat)
	if extras != 0 {
		format = recordFormatExtra
	}
	b = append(b, format)
	b = binary.AppendUvarint(b, uint64(max(enqueuedMs, 0)))
	b = binary.AppendUvarint(b, uint64(m.Flags))
	b = appendTrace(b, m.Trace)
	if extras != 0 {
		b = appendExtras(b, m, extras)
	}
	return b
}

func (m *Message) extras() (bits byte) {
	if m.Delay > 0 {
		bits |= extraDelay
	}
	if m.TTL > 0 {
		bits |= extraTTL
	}
	if m.Key != "" {
		bits |= extraKey
	}
	if m.Dead != nil {
		bits |= extraDead
	}
	return bits
}

// inMs is d in milliseconds, rounded up.
func inMs(d time.Duration) uint64 { return uint64((d + time.Millisecond - 1) / time.Millisecond) }

func appendExtras(b []byte, m *Message, bits byte) []byte {
	text := func(s string) { b = append(binary.AppendUvarint(b, uint64(len(s))), s...) }
	b = append(b, bits)
	if bits&extraDelay != 0 {
		b = binary.AppendUvarint(b, inMs(m.Delay))
	}
	if bits&extraTTL != 0 {
		b = binary.AppendUvarint(b, inMs(m.TTL))
	}
	if bits&extraKey != 0 {
		text(m.Key)
	}
	if bits&extraDead != 0 {
		text(m.Dead.Queue)
		b = binary.AppendUvarint(b, m.Dead.ID)
		b = binary.AppendUvarint(b, uint64(m.Dead.Attempts))
		text(m.Dead.Reason)
	}
	return b
}

// parseRecord reads a record into m, whose body is the record's and not a copy.
func parseRecord(b []byte, m *Message) error {
	if len(b) == 0 || b[0] != recordFormat && b[0] != recordFormatExtra {
		return fmt.Errorf("mcq: record: unknown format")
	}
	format, rest := b[0], b[1:]
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
	if format == recordFormatExtra {
		if rest, err = parseExtras(rest, m); err != nil {
			return err
		}
	}
	m.Enqueued, m.Flags, m.Trace = time.UnixMilli(int64(ms)), uint32(flags), trace
	m.Body = rest
	return nil
}

var errExtras = errors.New("mcq: record: bad extras")

func parseExtras(b []byte, m *Message) (rest []byte, err error) {
	number := func(most uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			b, err = nil, errExtras
			return 0
		}
		b = b[n:]
		return v
	}
	text := func() string {
		n := number(uint64(len(b)))
		if n > uint64(len(b)) {
			b, err = nil, errExtras
			return ""
		}
		s := string(b[:n])
		b = b[n:]
		return s
	}
	if len(b) == 0 || b[0] == 0 || b[0] > extraDelay|extraTTL|extraKey|extraDead {
		return nil, errExtras
	}
	bits := b[0]
	b = b[1:]
	const mostMs = uint64(maxDelay / time.Millisecond)
	if bits&extraDelay != 0 {
		m.Delay = time.Duration(number(mostMs)) * time.Millisecond
	}
	if bits&extraTTL != 0 {
		m.TTL = time.Duration(number(mostMs)) * time.Millisecond
	}
	if bits&extraKey != 0 {
		m.Key = text()
	}
	if bits&extraDead != 0 {
		m.Dead = &Dead{Queue: text(), ID: number(maxSeq), Attempts: int(number(1 << 31)), Reason: text()}
	}
	return b, err
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
//	uvarint length of the rest | format 2 | uvarint enqueued ms | uvarint attempts | uvarint n, trace n | extras
func appendEnvelope(b []byte, m *Message) []byte {
	var room [64]byte
	extras := m.extras()
	h := append(room[:0], recordFormat)
	if extras != 0 {
		h[0] = recordFormatExtra
	}
	var ms int64
	if !m.Enqueued.IsZero() {
		ms = max(m.Enqueued.UnixMilli(), 0)
	}
	h = binary.AppendUvarint(h, uint64(ms))
	h = binary.AppendUvarint(h, uint64(m.Attempts))
	h = appendTrace(h, m.Trace)
	if extras != 0 {
		h = appendExtras(h, m, extras)
	}
	return append(binary.AppendUvarint(b, uint64(len(h))), h...)
}

// parseEnvelope reads an envelope into m and returns the body behind it.
func parseEnvelope(b []byte, m *Message) ([]byte, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k) {
		return nil, fmt.Errorf("mcq: envelope: bad length")
	}
	h, body := b[k:k+int(n)], b[k+int(n):]
	if len(h) == 0 || h[0] != recordFormat && h[0] != recordFormatExtra {
		return nil, fmt.Errorf("mcq: envelope: unknown format")
	}
	format, h := h[0], h[1:]
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
	if err != nil || format == recordFormat && len(rest) != 0 {
		return nil, fmt.Errorf("mcq: envelope: bad trace")
	}
	if format == recordFormatExtra {
		if rest, err = parseExtras(rest, m); err != nil || len(rest) != 0 {
			return nil, fmt.Errorf("mcq: envelope: bad extras")
		}
	}
	m.Trace, m.Attempts = sc, int(attempts)
	if ms > 0 {
		m.Enqueued = time.UnixMilli(int64(ms))
	}
	return body, nil
}
