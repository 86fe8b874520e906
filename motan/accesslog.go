package motan

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// AccessLog returns an interceptor, for a client or a server, that logs every call
// when it has ended: service, method, peer, the lengths of the bodies, how long it
// took, and the code and message of the error if there is one. role tells the two
// sides apart, such as "server". Business errors are logged at level Info like
// successes, others at Warn. The handler of log decides what it costs: it runs
// within the call. nil means slog.Default().
func AccessLog(log *slog.Logger, role string) Interceptor {
	if log == nil {
		log = slog.Default()
	}
	return func(next Invoker) Invoker {
		return func(ctx context.Context, x *Exchange) error {
			began := time.Now()
			err := next(ctx, x)
			level, code, text := slog.LevelInfo, 0, ""
			if err != nil {
				var e *Error
				if errors.As(err, &e) {
					code = e.Code
					if e.Type != Business {
						level = slog.LevelWarn
					}
				} else {
					code = CodeBusiness // what a handler's plain error becomes
				}
				text = err.Error()
			}
			if !log.Enabled(ctx, level) {
				return err
			}
			attrs := [...]slog.Attr{
				slog.String("role", role), slog.String("service", x.Service), slog.String("method", x.Method), slog.String("peer", x.Peer),
				slog.Int("request_bytes", x.RequestBytes), slog.Int("response_bytes", x.ResponseBytes),
				slog.Duration("took", time.Since(began)), slog.Int("code", code), slog.String("error", text),
			}
			n := len(attrs)
			if err == nil {
				n -= 2
			}
			log.LogAttrs(ctx, level, "motan call", attrs[:n]...)
			return err
		}
	}
}
