package motan_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) lines() []map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(l.b.String()) {
		var m map[string]any
		if json.Unmarshal([]byte(line), &m) == nil {
			out = append(out, m)
		}
	}
	return out
}

func TestAccessLog(t *testing.T) {
	var client, server lockedBuffer
	logger := func(b *lockedBuffer) *slog.Logger { return slog.New(slog.NewJSONHandler(b, nil)) }
	srv := offered(t, &motan.ServerOptions{Logger: quiet(), Interceptors: []motan.Interceptor{motan.AccessLog(logger(&server), "server")}})
	addr := startServer(t, srv)
	c := newClient(t, "p", motan.Static(addr), &motan.ClientOptions{Timeout: patience, Interceptors: []motan.Interceptor{motan.AccessLog(logger(&client), "client")}})
	call(t, c, "hello", "Ray")
	if _, err := motan.Call[string](t.Context(), c, "plain", ""); err == nil {
		t.Error("no error")
	}
	if _, err := motan.Call[string](t.Context(), c, "missing", ""); err == nil {
		t.Error("no error")
	}
	cl, sv := client.lines(), server.lines()
	if len(cl) != 3 || len(sv) != 2 {
		t.Fatalf("%d lines of the client, want 3, and %d of the server, want 2: it did not get to the missing method", len(cl), len(sv))
	}
	for i, want := range []map[string]any{
		{"level": "INFO", "role": "client", "service": "p", "method": "hello", "peer": addr, "request_bytes": 8.0, "response_bytes": 14.0, "code": nil},
		{"level": "INFO", "method": "plain", "code": float64(motan.CodeBusiness), "error": "motan: business error 30001: no such user"},
		{"level": "WARN", "method": "missing", "code": float64(motan.CodeInternal)},
	} {
		for k, v := range want {
			if cl[i][k] != v {
				t.Errorf("line %d: %s is %v, want %v", i, k, cl[i][k], v)
			}
		}
	}
	if sv[0]["role"] != "server" || sv[0]["method"] != "hello" || sv[0]["request_bytes"] != 8.0 || sv[1]["code"] != float64(motan.CodeBusiness) {
		t.Errorf("server: %v", sv)
	}
}

func TestFaultInjection(t *testing.T) {
	var f motan.FaultInjector
	n := startNode(t, "a", nil)
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: patience, Interceptors: []motan.Interceptor{f.Intercept}})
	call(t, c, "say", "nothing injected")
	if err := f.Set(motan.Fault{Match: "other/*", ErrorShare: 1}, motan.Fault{Match: "test.*/say", ErrorShare: 1, Error: &motan.Error{Code: 7, Type: motan.Business, Message: "injected"}}); err != nil {
		t.Fatal(err)
	}
	_, err := motan.Call[string](t.Context(), c, "say", "")
	wantCode(t, err, 7)
	if err := f.Set(motan.Fault{Match: "*/say", ErrorShare: 0.5}); err != nil {
		t.Fatal(err)
	}
	failed := 0
	for range 200 {
		if _, err := motan.Call[string](t.Context(), c, "say", ""); err != nil {
			wantCode(t, err, motan.CodeReject)
			failed++
		}
	}
	if failed < 50 || failed > 150 {
		t.Errorf("%d of 200 failed, want about half", failed)
	}
	if err := f.Set(motan.Fault{Match: "*/*", Delay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := motan.Call[string](ctx, c, "say", ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("delayed: %v", err)
	}
	before := f.Injected()
	for _, bad := range []motan.Fault{{}, {Match: "["}, {Match: "*", Delay: -1}, {Match: "*", ErrorShare: 2}, {Match: "*", DelayShare: -1}} {
		if err := f.Set(bad); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	if err := f.Set(); err != nil {
		t.Fatal(err)
	}
	call(t, c, "say", "over")
	if f.Injected() != before || before != uint64(failed)+2 {
		t.Errorf("%d injected, want %d", before, failed+2)
	}
}

func TestAdmin(t *testing.T) {
	w, err := watchman.New("admin", nil)
	if err != nil {
		t.Fatal(err)
	}
	n := startNode(t, "a", &motan.ServerOptions{Watchman: w})
	c := newClient(t, "test.Echo", motan.Static(n.addr), &motan.ClientOptions{Timeout: patience, Watchman: w})
	call(t, c, "say", "x")
	var f motan.FaultInjector
	web := httptest.NewServer(http.StripPrefix("/motan", (&motan.Admin{Clients: []*motan.Client{c}, Servers: []*motan.Server{n.srv}, Faults: &f}).Handler()))
	t.Cleanup(web.Close)
	ask := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" && strings.Contains(body, "=") && !strings.HasPrefix(body, "[") {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(b)
	}
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/motan/services", "", 200, `"service": "test.Echo"`},
		{"GET", "/motan/services", "", 200, `"method": "say"`},
		{"GET", "/motan/endpoints", "", 200, n.addr},
		{"GET", "/motan/switches", "", 200, `"name": "test.Echo/say"`},
		{"POST", "/motan/switches", url.Values{"name": {"test.Echo/say"}, "on": {"true"}, "reason": {"test"}}.Encode(), 200, `"on": true`},
		{"POST", "/motan/switches", "name=no.such&on=true", 404, "there is none"},
		{"POST", "/motan/switches", "name=x&on=perhaps", 400, "want true or false"},
		{"GET", "/motan/commands", "", 200, "[]"},
		{"POST", "/motan/endpoints", url.Values{"service": {"test.Echo"}, "addr": {n.addr}, "weight": {"0"}}.Encode(), 200, "taken out by an operator"},
		{"POST", "/motan/endpoints", url.Values{"service": {"test.Echo"}, "addr": {n.addr}, "weight": {"-1"}}.Encode(), 200, `"Down": ""`},
		{"POST", "/motan/endpoints", "service=test.Echo&addr=elsewhere&weight=1", 404, "elsewhere"},
		{"POST", "/motan/endpoints", "service=test.Echo&addr=x&weight=heavy", 400, "want a number"},
		{"POST", "/motan/faults", `[{"Match":"*/say","ErrorShare":1}]`, 200, "*/say"},
		{"POST", "/motan/faults", `[{"Match":"","ErrorShare":1}]`, 400, "pattern"},
		{"POST", "/motan/faults", `{`, 400, "EOF"},
		{"POST", "/motan/faults", `[{"Nonsense":1}]`, 400, "unknown field"},
		{"GET", "/motan/faults", "", 405, ""},
		{"GET", "/motan/else", "", 404, ""},
	} {
		if status, body := ask(tc.method, tc.path, tc.body); status != tc.status || !strings.Contains(body, tc.want) {
			t.Errorf("%s %s %s: %d %s, want %d %q", tc.method, tc.path, tc.body, status, body, tc.status, tc.want)
		}
	}
	_, err = motan.Call[string](t.Context(), c, "say", "")
	wantCode(t, err, motan.CodeReject)
	if list := n.srv.Services(); len(list) != 1 || !list[0].Methods[0].Off || list[0].Methods[1].Off {
		t.Errorf("%+v", list)
	}
}

// Half of the nodes are replaced while calls are made, one after the other, some
// gracefully and some killed: calls that may be done twice all succeed, and no other
// is done twice, whatever became of it.
func TestHalfTheNodesReplaced(t *testing.T) {
	reg := &listing{}
	var nodes []*node
	var addrs []string
	var mu sync.Mutex
	ran := make(map[string]int) // by argument, how often change ran
	add := func() {
		srv := newServer(t, nil)
		handleEcho(srv, "n")
		motan.Handle(srv, "test.Echo", "change", func(_ context.Context, s *string) (*string, error) {
			mu.Lock()
			defer mu.Unlock()
			ran[*s]++
			return s, nil
		})
		n := &node{srv, startServer(t, srv)}
		nodes, addrs = append(nodes, n), append(addrs, n.addr)
	}
	for range 8 {
		add()
	}
	reg.set(addrs...)
	c := newClient(t, "test.Echo", reg, &motan.ClientOptions{
		Timeout: patience, TryTimeout: 2 * time.Second, Retries: 5, Idempotent: []string{"say"}, Connections: 1,
	})
	eventuallyUp(t, c, 8)
	done := make(chan struct{})
	var wg sync.WaitGroup
	answered := make(map[string]bool) // by argument, whether change was answered
	for caller := range 16 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if s, err := motan.Call[string](t.Context(), c, "say", "x"); err != nil || *s != "n:x" {
					t.Errorf("%v, %v", s, err)
					return
				}
				arg := fmt.Sprintf("%d of %d", i, caller)
				s, err := motan.Call[string](t.Context(), c, "change", arg)
				if e, ok := errors.AsType[*motan.Error](err); err != nil && (!ok || e.Code != motan.CodeConnection) || err == nil && *s != arg {
					t.Errorf("change: %v, %v", s, err)
					return
				}
				mu.Lock()
				answered[arg] = err == nil
				mu.Unlock()
			}
		})
	}
	for i := range 4 {
		before := c.Stats().Calls
		add()
		reg.set(addrs...)
		if i%2 == 0 { // killed first, unlisted later
			nodes[0].srv.Close()
		}
		eventually(t, "calls are made", func() bool { return c.Stats().Calls > before+300 || t.Failed() })
		old := nodes[0]
		nodes, addrs = nodes[1:], addrs[1:]
		reg.set(addrs...)
		if err := old.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		eventually(t, "more calls are made", func() bool { return c.Stats().Calls > before+600 || t.Failed() })
	}
	close(done)
	wg.Wait()
	for _, n := range nodes {
		n.srv.Close() // nothing runs any more
	}
	for arg, ok := range answered {
		if n := ran[arg]; n > 1 || ok && n != 1 {
			t.Errorf("change(%q) was done %d times, answered: %v", arg, n, ok)
		}
	}
	if len(answered) < 500 {
		t.Errorf("%d calls that must not be done twice were made", len(answered))
	}
}
