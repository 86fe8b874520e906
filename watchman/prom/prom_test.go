package prom_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/prom"
)

// line is the grammar of a sample in the text format.
var line = regexp.MustCompile(`^[a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-zA-Z_][a-zA-Z0-9_]*="([^"\\\n]|\\[\\n"])*"(,|}))+)? [-+0-9.eInf]+$`)

func TestFormat(t *testing.T) {
	w, err := watchman.New("shop", nil)
	if err != nil {
		t.Fatal(err)
	}
	op := w.Operation(watchman.Server, "GET /\"evil\\\n{}\xff")
	parent := watchman.FromFields("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "heddle=web", "heddle.lane=blue")
	for i := range 10 {
		_, s := op.StartRemoteAt(t.Context(), parent, time.Now().Add(time.Duration(-i)*10*time.Millisecond))
		if i == 0 {
			s.End(errors.New("x"))
		} else {
			s.End(nil)
		}
	}
	w.Operation(watchman.Client, "never called")
	w.Switch("on", true)
	w.Dial("limit", 7.5, 0, 10)
	rec := httptest.NewRecorder()
	prom.Handler(w).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	body := rec.Body.String()
	if rec.Header().Get("Content-Type") != prom.ContentType {
		t.Errorf("Content-Type %q", rec.Header().Get("Content-Type"))
	}
	for l := range strings.Lines(body) {
		l = strings.TrimSuffix(l, "\n")
		if !strings.HasPrefix(l, "# ") && !line.MatchString(l) {
			t.Errorf("no sample: %q", l)
		}
	}
	who := `{service="shop",kind="server",operation="GET /\"evil\\\n{}�"`
	for _, want := range []string{
		"heddle_operation_duration_seconds_count" + who + "} 10\n",
		"heddle_operation_duration_seconds_bucket" + who + ",le=\"+Inf\"} 10\n",
		"heddle_operation_duration_seconds_bucket" + who + ",le=\"0.134217728\"} 10\n",
		"heddle_operation_errors_total" + who + "} 1\n",
		"heddle_caller_calls_total" + who + ",caller=\"web\",caller_operation=\"\"} 10\n",
		"heddle_lane_errors_total" + who + ",lane=\"blue\"} 1\n",
		"heddle_switch{service=\"shop\",name=\"on\"} 1\n",
		"heddle_dial{service=\"shop\",name=\"limit\"} 7.5\n",
		"heddle_spans_total{service=\"shop\",fate=\"begun\"} 10\n",
		"# TYPE heddle_operation_duration_seconds histogram\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, "never called") {
		t.Error("an operation that was never called is there")
	}
	rec = httptest.NewRecorder()
	prom.Handler(w).ServeHTTP(rec, httptest.NewRequest("POST", "/metrics", nil))
	if rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", rec.Code)
	}
	var b strings.Builder
	if err := prom.Write(&b, nil); err != nil || !strings.Contains(b.String(), "heddle_spans_live") {
		t.Errorf("a nil Watchman: %v, %q", err, b.String())
	}
}

func Example() {
	w, _ := watchman.New("shop", nil)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", prom.Handler(w))
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	fmt.Println(rec.Code, rec.Header().Get("Content-Type"))
	// Output: 200 text/plain; version=0.0.4; charset=utf-8
}
