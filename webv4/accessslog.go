package webv4

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
)

// addRecord keeps the entry for the handler of slog. What it holds of the request
// is bounded.
func (l *accessLog) addRecord(e *entry) {
	for _, s := range [...]*string{&e.method, &e.path, &e.user, &e.referer, &e.agent} {
		if len(*s) > maxLogged {
			*s = strings.Clone((*s)[:maxLogged])
		}
	}
	l.mu.Lock()
	if l.closed || len(l.list) >= logMost {
		l.mu.Unlock()
		l.dropped.Add(1)
		return
	}
	l.list = append(l.list, *e)
	n := len(l.list)
	l.mu.Unlock()
	if n == logWake {
		l.hurry()
	}
}

// handle hands entries to the handler of slog.
func (l *accessLog) handle(list []entry) {
	for i := range list {
		e := &list[i]
		if l.slog.Enabled(context.Background(), e.level()) && !l.handled(e) {
			l.failed.Add(1)
		}
	}
}

func (e *entry) level() slog.Level {
	switch {
	case e.status >= http.StatusInternalServerError:
		return slog.LevelError
	case e.status >= http.StatusBadRequest:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// handled reports whether the handler took the entry. One that panics does not
// end the process.
func (l *accessLog) handled(e *entry) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	r := slog.NewRecord(e.at, e.level(), "request", 0)
	r.AddAttrs(
		slog.String("ip", e.ip), slog.String("method", e.method), slog.String("path", strings.ToValidUTF8(e.path, "\ufffd")),
		slog.Int("status", e.status), slog.Int("bytes", e.bytes), slog.Int64("us", e.took.Microseconds()),
	)
	for _, a := range [...]struct{ name, value string }{{"user", e.user}, {"id", e.id}, {"trace", e.trace}, {"referer", e.referer}, {"agent", e.agent}} {
		if a.value != "" {
			r.AddAttrs(slog.String(a.name, strings.ToValidUTF8(a.value, "\ufffd")))
		}
	}
	if e.code != 0 {
		r.AddAttrs(slog.Int("code", e.code))
	}
	if e.degraded {
		r.AddAttrs(slog.Bool("degraded", true))
	}
	if e.err != nil {
		text := e.err.Error()
		r.AddAttrs(slog.String("error", text[:min(len(text), maxLogged)]))
	}
	return l.slog.Handle(context.Background(), r) == nil
}
