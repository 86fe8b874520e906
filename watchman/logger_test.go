package watchman_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"

	"github.com/heddle-go/heddle/watchman"
)

func TestLogHandler(t *testing.T) {
	var b bytes.Buffer
	err := slogtest.TestHandler(watchman.LogHandler(slog.NewJSONHandler(&b, nil)), func() []map[string]any {
		var list []map[string]any
		for line := range strings.Lines(b.String()) {
			m := map[string]any{}
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		return list
	})
	if err != nil {
		t.Error(err)
	}
	b.Reset()
	w := newWatchman(t, "s", nil)
	ctx, span := w.Operation(watchman.Server, "op").StartRemote(t.Context(), watchman.FromFields(good, "", "heddle.lane=blue"))
	log := slog.New(watchman.LogHandler(slog.NewJSONHandler(&b, nil)))
	log.With("k", "v").InfoContext(ctx, "hello")
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["trace_id"] != goodTrace || got["span_id"] != span.SpanContext().SpanID.String() || got["lane"] != "blue" || got["k"] != "v" {
		t.Errorf("logged %v", got)
	}
	b.Reset()
	log.Info("no span")
	if strings.Contains(b.String(), "trace_id") {
		t.Errorf("logged %s", b.String())
	}
}
