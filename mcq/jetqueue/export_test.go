package jetqueue

import (
	"github.com/nats-io/nats.go"

	"github.com/heddle-go/heddle/mcq"
)

var (
	Token      = token
	ParseToken = parseToken
)

// ParseHeader reads headers into a message.
func ParseHeader(h nats.Header) (m mcq.Message) {
	parseHeader(h, &m)
	return m
}

// NatsMsg writes a message.
func NatsMsg(m *mcq.Message) *nats.Msg { return natsMsg("s", m, "id") }
