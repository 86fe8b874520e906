package motan

import (
	"log/slog"
	"sync/atomic"

	"golang.org/x/time/rate"
)

const (
	// Whoever can connect can make a server log. It logs so many ends of connections
	// at once, and so many a second.
	endsLogged       = 20
	endsLoggedSecond = 1
)

// connLog logs why the server ended connections.
type connLog struct {
	logger   *slog.Logger
	limit    *rate.Limiter
	unlogged atomic.Int64 // ends that were not logged since the last that was
}

func newConnLog(logger *slog.Logger) *connLog {
	return &connLog{logger: logger, limit: rate.NewLimiter(endsLoggedSecond, endsLogged)}
}

// ended logs the end of a connection, or of several of which peer is one.
func (l *connLog) ended(peer string, err error, more ...any) {
	if !l.limit.Allow() {
		l.unlogged.Add(1)
		return
	}
	args := append([]any{"peer", peer, "error", err}, more...)
	if n := l.unlogged.Swap(0); n > 0 {
		args = append(args, "unlogged", n)
	}
	l.logger.Warn("motan: connection closed", args...)
}
