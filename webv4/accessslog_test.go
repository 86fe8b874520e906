package webv4_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

func TestAccessLogger(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, &webv4.Options{AccessLogger: slog.New(slog.NewJSONHandler(&log, nil)), Authenticator: users{}, RequestIDs: true})
	type in struct {
		_ struct{} `route:"GET /log" auth:"user"`
		N int      `query:"n"`
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*empty, error) {
		if in.N > 0 {
			return nil, errors.New("disk \"full\"\n")
		}
		return nil, nil
	})
	do(t, a, "GET /log?access_token=s3cret", "", "RemoteAddr: 9.8.7.6:1", "User-Agent: a\n\"b")
	do(t, a, "GET /log?n=x&access_token=s3cret", "")
	do(t, a, "GET /log?n=1&access_token=s3cret", "")
	do(t, a, "GET /x%0A%22%7B%00%ff"+strings.Repeat("y", 5000), "")
	if err := a.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	lines := logLines(t, log.String())
	if len(lines) != 4 || strings.Count(log.String(), "\n") != 4 {
		t.Fatalf("%s", log.String())
	}
	for i, want := range []map[string]any{
		{"level": "INFO", "msg": "request", "ip": "9.8.7.6", "method": "GET", "path": "/log", "status": 200.0, "user": "s3cret", "bytes": 3.0, "agent": "a\n\"b"},
		{"level": "WARN", "status": 400.0, "code": 10017.0},
		{"level": "ERROR", "status": 500.0, "code": 10001.0, "error": "disk \"full\"\n"},
		{"level": "WARN", "status": 404.0},
	} {
		for k, v := range want {
			if lines[i][k] != v {
				t.Errorf("line %d: %s is %v, want %v", i, k, lines[i][k], v)
			}
		}
		if id, _ := lines[i]["id"].(string); len(id) != 32 {
			t.Errorf("line %d: id %q", i, id)
		}
	}
	if p, _ := lines[3]["path"].(string); len(p) > 1100 || !strings.HasPrefix(p, "/x\n\"{\x00\ufffd") {
		t.Errorf("path %.40q, %d bytes", p, len(p))
	}
	if strings.Contains(log.String(), "access_token") {
		t.Error("the log has a token")
	}
}

// stuck is a handler that waits until it is opened, and then fails or panics.
type stuck struct {
	slog.Handler
	open  chan struct{}
	calls *int
}

func (s stuck) Handle(context.Context, slog.Record) error {
	<-s.open
	if *s.calls++; *s.calls%2 == 0 {
		panic("broken handler")
	}
	return io.ErrShortWrite
}

func TestAccessLoggerIsBounded(t *testing.T) {
	calls := 0
	s := stuck{slog.NewTextHandler(io.Discard, nil), make(chan struct{}), &calls}
	a := newAPI(t, &webv4.Options{AccessLogger: slog.New(s)})
	n := 0
	for ; a.Stats().LogDropped < 10; n++ {
		do(t, a, "GET /", "")
		if n > 100_000 {
			t.Fatal("the log grows without bound")
		}
	}
	close(s.open)
	if err := a.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if st := a.Stats(); calls+int(st.LogDropped) != n || int(st.LogFailed) != calls {
		t.Errorf("%d records handled, %d failed and %d dropped of %d", calls, st.LogFailed, st.LogDropped, n)
	}
	if _, err := webv4.New(&webv4.Options{AccessLog: io.Discard, AccessLogger: slog.Default()}); err == nil {
		t.Error("two logs accepted")
	}
}
