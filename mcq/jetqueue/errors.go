package jetqueue

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
)

// The server's codes that say that a message was not stored, is too large, or
// is on its way through the cluster from an earlier try already.
const (
	codeStoreFailed = 10077
	codeTooLarge    = 10054
	codeInProcess   = 10158
)

// wrap words err, which JetStream or the connection gave, as one of package mcq's.
func wrap(op, name string, err error) error {
	if err == nil {
		return nil
	}
	for _, ours := range []error{mcq.ErrFull, mcq.ErrTooLarge, mcq.ErrClosed, mcq.ErrDropped, mcq.ErrNotLeased, mcq.ErrName, mcq.ErrConnection, mcq.ErrServer} {
		if errors.Is(err, ours) {
			return err
		}
	}
	var kind error
	switch api, ok := errors.AsType[*jetstream.APIError](err); {
	case ok && isFull(api):
		kind = mcq.ErrFull
	case ok && api.ErrorCode == codeTooLarge, errors.Is(err, nats.ErrMaxPayload):
		kind = mcq.ErrTooLarge
	case errors.Is(err, context.Canceled):
		return err
	case passing(err), errors.Is(err, nats.ErrConnectionClosed):
		kind = mcq.ErrConnection
	default:
		kind = mcq.ErrServer
	}
	return fmt.Errorf("%w: %s %s: %w", kind, op, name, err)
}

// passing reports whether the same again may go well: the server was lost, the
// stream has no leader at the moment, or the message is still being stored.
func passing(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return (api.Code == 503 || api.Code == 408 || api.ErrorCode == codeInProcess) && !isFull(err)
	}
	for _, e := range []error{
		nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrReconnectBufExceeded, nats.ErrStaleConnection, nats.ErrNoServers,
		nats.ErrConnectionReconnecting,
		jetstream.ErrNoStreamResponse, jetstream.ErrAsyncPublishTimeout, jetstream.ErrTooManyStalledMsgs, jetstream.ErrNoHeartbeat,
		jetstream.ErrConsumerLeadershipChanged, jetstream.ErrServerShutdown, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// isFull reports whether a stream refused a message because it is full: that
// has the code of everything that keeps a message from being stored.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeStoreFailed && strings.Contains(api.Description, "maximum")
}

// isNobody reports whether nobody serves a subject: the stream is gone, or has
// no leader at the moment.
func isNobody(err error) bool {
	return errors.Is(err, nats.ErrNoResponders) || errors.Is(err, jetstream.ErrNoStreamResponse)
}

// isGone reports whether a queue or a subscriber is not there any more.
func isGone(err error) bool {
	for _, e := range []error{
		jetstream.ErrStreamNotFound, jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDoesNotExist, jetstream.ErrConsumerDeleted,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
