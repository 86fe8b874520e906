package jetqueue

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

// What is not a message's body travels in its headers, so that other NATS
// clients see bodies as they are. The trace is in the headers of W3C Trace
// Context, a Key in Nats-Msg-Id, behind a k and written like a queue's name.
const (
	headerFlags        = "Mcq-Flags" // the memcached flags
	headerDelay        = "Mcq-Delay" // milliseconds from when the stream has stored it
	headerTTL          = "Mcq-TTL"   // the same
	headerDeadQueue    = "Mcq-Dead-Queue"
	headerDeadID       = "Mcq-Dead-Id"
	headerDeadAttempts = "Mcq-Dead-Attempts"
	headerDeadReason   = "Mcq-Dead-Reason"
)

const (
	maxDelay    = 10 * 365 * 24 * time.Hour
	maxKeyBytes = 250
	keyPrefix   = "k" // so that a Key is never the same as an id of ours
)

// checkMessage checks what package mcq does.
func checkMessage(m *mcq.Message, limit int) error {
	switch {
	case len(m.Body) > limit:
		return fmt.Errorf("%w: %d bytes, limit %d", mcq.ErrTooLarge, len(m.Body), limit)
	case m.Delay < 0 || m.Delay > maxDelay:
		return fmt.Errorf("%w: Delay %v: want 0 to %v", mcq.ErrMessage, m.Delay, maxDelay)
	case m.TTL < 0 || m.TTL > maxDelay:
		return fmt.Errorf("%w: TTL %v: want 0 to %v", mcq.ErrMessage, m.TTL, maxDelay)
	case len(m.Key) > maxKeyBytes:
		return fmt.Errorf("%w: Key of %d bytes, limit %d", mcq.ErrMessage, len(m.Key), maxKeyBytes)
	}
	return nil
}

func millis(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Millisecond-1)/time.Millisecond), 10)
}

// natsMsg writes m as a message for subject; id is its own if it has no Key.
func natsMsg(subject string, m *mcq.Message, id string) *nats.Msg {
	if m.Key != "" {
		id = keyPrefix + token(m.Key)
	}
	h := nats.Header{jetstream.MsgIDHeader: {id}}
	if m.Flags != 0 {
		h[headerFlags] = []string{strconv.FormatUint(uint64(m.Flags), 10)}
	}
	if m.Trace.IsValid() {
		m.Trace.ToHeader(h)
	}
	if m.Delay > 0 {
		h[headerDelay] = []string{millis(m.Delay)}
	}
	if m.TTL > 0 {
		// The server drops it to the second; who would hand it out, to the millisecond.
		h[headerTTL] = []string{millis(m.TTL)}
		h[jetstream.MsgTTLHeader] = []string{strconv.FormatInt(int64((m.TTL+time.Second-1)/time.Second), 10) + "s"}
	}
	return &nats.Msg{Subject: subject, Data: m.Body, Header: h}
}

// first is the first value of a header, as it is spelled.
func first(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

func duration(h nats.Header, key string) time.Duration {
	ms, err := strconv.ParseInt(first(h, key), 10, 64)
	if err != nil || ms < 0 || ms > int64(maxDelay/time.Millisecond) {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// parseMsg reads a message that a consumer delivered.
func parseMsg(msg *nats.Msg) (m mcq.Message, err error) {
	md, err := msg.Metadata()
	if err != nil {
		return m, err
	}
	m = mcq.Message{ID: md.Sequence.Stream, Body: msg.Data, Enqueued: md.Timestamp, Attempts: int(min(md.NumDelivered, 1<<30))}
	parseHeader(msg.Header, &m)
	if m.Delay > 0 {
		m.Attempts = max(m.Attempts-1, 1) // the first time it was sent back
	}
	return m, nil
}

// parseHeader reads what headers say of a message. Those that make no sense,
// which others may have sent, are as good as none.
func parseHeader(h nats.Header, m *mcq.Message) {
	if len(h) == 0 {
		return
	}
	if v, err := strconv.ParseUint(first(h, headerFlags), 10, 32); err == nil {
		m.Flags = uint32(v)
	}
	m.Delay, m.TTL = duration(h, headerDelay), duration(h, headerTTL)
	if key, ok := strings.CutPrefix(first(h, jetstream.MsgIDHeader), keyPrefix); ok {
		m.Key, _ = parseToken(key)
	}
	m.Trace = watchman.FromHeader(h)
	if queue := first(h, headerDeadQueue); queue != "" {
		m.Dead = &mcq.Dead{Queue: queue, Reason: first(h, headerDeadReason)}
		m.Dead.ID, _ = strconv.ParseUint(first(h, headerDeadID), 10, 64)
		m.Dead.Attempts, _ = strconv.Atoi(first(h, headerDeadAttempts))
	}
}
