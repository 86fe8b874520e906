package watchman

import (
	"context"
	"log/slog"
)

// LogHandler returns a slog.Handler that adds trace_id and span_id, and the
// lane if there is one, to records logged with a context that belongs to a
// span, and hands them on to next. Records of other contexts pass unchanged.
// It costs two short strings a record.
func LogHandler(next slog.Handler) slog.Handler { return logHandler{next} }

type logHandler struct{ slog.Handler }

func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if s := FromContext(ctx); s != nil {
		r = r.Clone()
		r.AddAttrs(slog.String("trace_id", s.local.traceID.String()), slog.String("span_id", s.spanID.String()))
		if lane := s.Lane(); lane != "" {
			r.AddAttrs(slog.String("lane", lane))
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

func (h logHandler) WithGroup(name string) slog.Handler {
	return logHandler{h.Handler.WithGroup(name)}
}
