package webv4_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/webv4"
)

type do1 struct {
	_ struct{} `route:"GET /do.json" timeout:"2s"`
	N int      `query:"n"`
}

func TestErrorTable(t *testing.T) {
	var reply error
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *do1) (*empty, error) { return nil, reply })
	for code, status := range map[int]int{
		10001: 500, 10002: 503, 10003: 503, 10005: 403, 10007: 415, 10008: 400, 10009: 503, 10010: 503, 10014: 403, 10016: 400,
		10017: 400, 10018: 413, 10020: 404, 10021: 405, 10022: 429, 10023: 429, 10024: 429, 21301: 401, 21327: 401, 21332: 401,
		20101: 400, 20102: 403, 21315: 401,
		29999: 400, // not in the table
	} {
		e := webv4.Errorf(code, "")
		reply = e
		do(t, a, "GET /do.json", "").fails(t, status, code, e.Message)
		reply = fmt.Errorf("outside: %w", webv4.Errorf(code, "id %d", 7))
		do(t, a, "GET /do.json", "").fails(t, status, code, "id 7")
		if !strings.Contains(e.Error(), fmt.Sprint("webv4: error ", code)) {
			t.Errorf("%v", e)
		}
		r := do(t, a, "GET /do.xml", "")
		want := fmt.Sprintf("<error><request>/do.xml</request><error_code>%d</error_code><error_text>", code)
		if r.status != status || !strings.Contains(r.body, want) || r.header.Get("Content-Type") != "application/xml; charset=utf-8" {
			t.Errorf("%d as xml: %+v", code, r)
		}
		if got := r.header.Get("Www-Authenticate"); (got != "") != (status == 401) {
			t.Errorf("%d: Www-Authenticate %q", code, got)
		}
	}
	// Codes are five digits, with a status that is an error and a text.
	table := a.ErrorTable()
	for i, row := range table {
		if row.Code < 10001 || row.Code > 21399 || row.Status < 400 || row.Status > 599 || row.Text == "" || i > 0 && row.Code <= table[i-1].Code {
			t.Errorf("%+v", row)
		}
	}
	if len(table) < 100 {
		t.Errorf("%d codes", len(table))
	}
	// What clients should not see stays inside.
	cause := errors.New("password=x")
	for _, reply = range []error{cause, webv4.Wrap(webv4.CodeSystem, cause)} {
		r := do(t, a, "GET /do.json", "")
		r.fails(t, 500, webv4.CodeSystem, "system error")
		if strings.Contains(r.body, "password") {
			t.Errorf("the client sees %s", r.body)
		}
	}
	if !errors.Is(webv4.Wrap(webv4.CodeSystem, cause), cause) {
		t.Error("the cause is lost")
	}
	for _, status := range []int{0, 200, 99, 1000} {
		reply = &webv4.Error{Status: status, Code: 1}
		do(t, a, "GET /do.json", "").fails(t, 500, 1, "")
	}
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, &webv4.Options{Timeout: 5 * time.Second})
		type slow struct {
			_ struct{} `route:"GET /slow"`
		}
		wait := func(ctx context.Context) (*empty, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		webv4.Handle(a, func(ctx context.Context, _ *do1) (*empty, error) { return wait(ctx) })
		webv4.Handle(a, func(ctx context.Context, _ *slow) (*empty, error) { return wait(ctx) })
		for route, want := range map[string]time.Duration{"GET /do.json": 2 * time.Second, "GET /slow": 5 * time.Second} {
			began := time.Now()
			do(t, a, route, "").fails(t, 503, webv4.CodeExpired, "job expired")
			if took := time.Since(began); took != want {
				t.Errorf("%s took %v, want %v", route, took, want)
			}
		}
	})
}

// The handler's context behaves like one of package context's.
func TestContextOfACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, nil)
		var f func(ctx context.Context)
		var kept context.Context
		webv4.Handle(a, func(ctx context.Context, _ *do1) (*empty, error) {
			kept = ctx
			f(ctx)
			return nil, nil
		})
		call := func(g func(ctx context.Context)) {
			f = g
			do(t, a, "GET /do.json", "", "RemoteAddr: 1.2.3.4:5").is(t, 200, "{}")
		}
		call(func(ctx context.Context) {
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != 2*time.Second {
				t.Errorf("deadline in %v", time.Until(d))
			}
			if ctx.Err() != nil {
				t.Error(ctx.Err())
			}
			time.Sleep(2 * time.Second)
			for range 2 { // Err alone, without Done
				if ctx.Err() != context.DeadlineExceeded {
					t.Error(ctx.Err())
				}
			}
			<-ctx.Done()
		})
		call(func(ctx context.Context) {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			time.Sleep(2 * time.Second)
			<-child.Done()
			if child.Err() != context.DeadlineExceeded || context.Cause(child) != context.DeadlineExceeded {
				t.Error(child.Err())
			}
		})
		var child context.Context
		var cancel context.CancelFunc
		call(func(ctx context.Context) { child, cancel = context.WithCancel(ctx) })
		defer cancel()
		<-child.Done()
		if child.Err() != context.Canceled {
			t.Errorf("after the handler: %v", child.Err())
		}
		call(func(ctx context.Context) {
			if got := webv4.ClientIP(context.WithValue(ctx, t, 1)); got != "1.2.3.4" {
				t.Errorf("ClientIP %q", got)
			}
		})
		// A context that is kept too long is over, and harmless.
		if kept.Err() != context.Canceled {
			t.Errorf("kept: %v", kept.Err())
		}
		<-kept.Done()
		if webv4.ClientIP(context.Background()) != "" || len(webv4.Header(context.Background())) != 0 {
			t.Error("something outside a call")
		}
		if _, ok := webv4.PrincipalFrom(context.Background()); ok {
			t.Error("a principal outside a call")
		}
		// The request's own deadline counts if it is earlier.
		f = func(ctx context.Context) {
			if d, _ := ctx.Deadline(); time.Until(d) != time.Second {
				t.Errorf("deadline in %v", time.Until(d))
			}
		}
		ctx, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/do.json", nil).WithContext(ctx))
	})
}

func TestHandlerHeaders(t *testing.T) {
	a := newAPI(t, nil)
	webv4.Handle(a, func(ctx context.Context, _ *do1) (*empty, error) {
		webv4.Header(ctx).Set("X-Mine", "yes")
		return nil, nil
	})
	if r := do(t, a, "GET /do.json", ""); r.header.Get("X-Mine") != "yes" {
		t.Errorf("%v", r.header)
	}
}

func TestPanicsAreIsolated(t *testing.T) {
	var logged bytes.Buffer
	w, _ := watchman.New("t", nil)
	a := newAPI(t, &webv4.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil)), Watchman: w})
	webv4.Handle(a, func(_ context.Context, in *do1) (*empty, error) { return nil, fmt.Errorf("%d", 1/in.N) })
	a.Mount("GET /mounted", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic("before") }))
	a.Mount("GET /begun", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("half"))
		panic("after")
	}))
	a.Mount("GET /abort", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }))
	srv := httptest.NewUnstartedServer(a)
	srv.Config.SetKeepAlivesEnabled(false) // a client repeats what failed on a connection used before
	srv.Start()
	defer srv.Close()
	get := func(path string) (int, string, error) {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	for _, path := range []string{"/do.json", "/mounted"} {
		if status, body, err := get(path); status != 500 || err != nil || !strings.Contains(body, `"error_code":10001`) {
			t.Errorf("%s: %d %s %v", path, status, body, err)
		}
	}
	// A reply that was begun must not look complete.
	for _, path := range []string{"/begun", "/abort"} {
		if _, body, err := get(path); err == nil {
			t.Errorf("%s: the client took %q for the whole reply", path, body)
		}
	}
	if s := a.Stats(); s.Panics != 3 || s.Requests != 4 {
		t.Errorf("stats %+v", s)
	}
	text := logged.String()
	for _, want := range []string{"integer divide by zero", "before", "after", "chain_test.go", `interface="GET /do.json"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not mention %q", want)
		}
	}
	if s := w.Stats(); s.Live != 0 {
		t.Errorf("%d spans were not ended", s.Live)
	}
}

func TestMountedHandlers(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, &webv4.Options{AccessLog: &log})
	a.Mount("GET /media/:id", named("media", "id"))
	a.Mount("POST /silent", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	a.Mount("GET /early", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(103)
		w.WriteHeader(201)
		w.WriteHeader(202) // too late
		w.Write([]byte("hello"))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
	}))
	do(t, a, "GET /media/a%20b", "").is(t, 200, "media id=a b")
	do(t, a, "POST /silent", "").is(t, 200, "")
	srv := httptest.NewUnstartedServer(a)
	srv.Config.ErrorLog = stdlog.New(io.Discard, "", 0) // it complains about the second status
	srv.Start()
	resp, err := http.Get(srv.URL + "/early")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 201 || string(body) != "hello" || err != nil {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	srv.Close()
	a.Shutdown(context.Background())
	lines := logLines(t, log.String())
	for i, want := range []string{"200 12", "200 0", "201 5"} {
		if got := fmt.Sprint(lines[i]["status"], " ", lines[i]["bytes"]); got != want {
			t.Errorf("line %d: %s, want %s", i, got, want)
		}
	}
}

// logLines parses an access log.
func logLines(t testing.TB, text string) []map[string]any {
	t.Helper()
	var list []map[string]any
	for line := range strings.Lines(text) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%v: %q", err, line)
		}
		list = append(list, m)
	}
	return list
}

func TestAccessLog(t *testing.T) {
	var log bytes.Buffer
	w, _ := watchman.New("t", &watchman.Options{Sample: 1})
	a := newAPI(t, &webv4.Options{AccessLog: &log, Authenticator: users{}, Watchman: w})
	type in struct {
		_ struct{} `route:"GET /log" auth:"user" degrade:"log=off"`
		N int      `query:"n"`
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*empty, error) {
		if in.N > 0 {
			return nil, fmt.Errorf("disk \"full\"\n")
		}
		return nil, nil
	})
	do(t, a, "GET /log?access_token=s3cret", "", "RemoteAddr: 9.8.7.6:1")
	do(t, a, "GET /log?n=x&access_token=s3cret", "")
	do(t, a, "GET /log?n=1&access_token=s3cret", "")
	do(t, a, "GET /x%0A%22%7B%00%ff%E2%80%A8", "")
	w.SetSwitch("log", true, "t", "t")
	do(t, a, "GET /log", "")
	a.Shutdown(context.Background())
	lines := logLines(t, log.String())
	if len(lines) != 5 {
		t.Fatalf("%d lines: %s", len(lines), log.String())
	}
	for i, want := range []map[string]any{
		{"ip": "9.8.7.6", "method": "GET", "path": "/log", "status": 200.0, "user": "s3cret", "bytes": 3.0},
		{"status": 400.0, "code": 10017.0},
		{"status": 500.0, "code": 10001.0, "error": "disk \"full\"\n"},
		{"status": 404.0, "path": "/x\n\"{\x00\ufffd\u2028"},
		{"status": 503.0, "code": 10002.0, "degraded": true},
	} {
		for k, v := range want {
			if lines[i][k] != v {
				t.Errorf("line %d: %s is %v, want %v", i, k, lines[i][k], v)
			}
		}
		if _, err := time.Parse(time.RFC3339, fmt.Sprint(lines[i]["time"])); err != nil {
			t.Error(err)
		}
		if id := fmt.Sprint(lines[i]["trace"]); len(id) != 32 {
			t.Errorf("line %d: trace %q", i, id)
		}
	}
	if strings.Contains(log.String(), "access_token") {
		t.Errorf("the log has a token: %s", log.String())
	}
	if n := strings.Count(log.String(), "\n"); n != 5 {
		t.Errorf("%d lines were forged", n-5)
	}
}

// gate is a writer that waits until it is opened.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	n    int
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n += bytes.Count(p, []byte("\n"))
	return len(p), nil
}

func TestAccessLogDropsAreCounted(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	a := newAPI(t, &webv4.Options{AccessLog: g})
	path := "GET /" + strings.Repeat("x", 8<<10)
	n := 0
	for ; a.Stats().LogDropped < 10; n++ {
		do(t, a, path, "")
		if n > 100_000 {
			t.Fatal("the log grows without bound")
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := a.Shutdown(ctx); err != context.DeadlineExceeded {
		t.Errorf("Shutdown with a stuck writer: %v", err)
	}
	close(g.open)
	if err := a.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if dropped := int(a.Stats().LogDropped); g.n+dropped != n {
		t.Errorf("%d lines written and %d dropped of %d", g.n, dropped, n)
	}
	do(t, a, "GET /late", "")
	if got := int(a.Stats().LogDropped); g.n+got != n+1 {
		t.Errorf("a request after Shutdown: %d dropped", got)
	}
}

func TestAccessLogWriterFails(t *testing.T) {
	a := newAPI(t, &webv4.Options{AccessLog: badWriter{}})
	do(t, a, "GET /", "")
	a.Shutdown(context.Background())
	if s := a.Stats(); s.LogFailed != 1 {
		t.Errorf("stats %+v", s)
	}
}

type badWriter struct{}

func (badWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestDegradation(t *testing.T) {
	w, _ := watchman.New("t", nil)
	a := newAPI(t, &webv4.Options{Watchman: w, Authenticator: users{}})
	type off struct {
		_ struct{} `route:"GET /off" degrade:"off-switch=off" auth:"user"`
	}
	type fallback struct {
		_ struct{} `route:"GET /fb.json" degrade:"fb=fallback"`
		N int      `query:"n" max:"5"`
	}
	type out struct {
		Text string `json:"text"`
	}
	calls := 0
	webv4.Handle(a, func(context.Context, *off) (*out, error) { calls++; return &out{"on"}, nil })
	webv4.Handle(a, func(context.Context, *fallback) (*out, error) { return &out{"fresh"}, nil })
	do(t, a, "GET /fb.json", "").is(t, 200, `{"text":"fresh"}`)
	w.SetSwitch("fb", true, "t", "t")
	do(t, a, "GET /fb.json", "").fails(t, 503, webv4.CodeUnavailable, "service unavailable") // no fallback yet
	webv4.Fallback(a, func(_ context.Context, in *fallback) (*out, error) { return &out{fmt.Sprint("stale ", in.N)}, nil })
	r := do(t, a, "GET /fb.json?n=3", "")
	r.is(t, 200, `{"text":"stale 3"}`)
	if r.header.Get("X-Degraded") != "static;fb" {
		t.Errorf("headers %v", r.header)
	}
	do(t, a, "GET /fb.json?n=6", "").fails(t, 400, webv4.CodeInvalid, "(n)")
	if r := do(t, a, "GET /fb.xml?n=1", ""); !strings.Contains(r.body, "stale 1") {
		t.Errorf("xml: %+v", r)
	}
	w.SetSwitch("fb", false, "t", "t")
	do(t, a, "GET /fb.json", "").is(t, 200, `{"text":"fresh"}`)

	do(t, a, "GET /off", "", "Authorization: Bearer 1").is(t, 200, `{"text":"on"}`)
	w.SetSwitch("off-switch", true, "t", "t")
	// Refused before anybody is asked who calls.
	r = do(t, a, "GET /off", "")
	r.fails(t, 503, webv4.CodeUnavailable, "")
	if r.header.Get("Retry-After") == "" || r.header.Get("X-Degraded") != "off;off-switch" || calls != 1 {
		t.Errorf("headers %v, %d calls", r.header, calls)
	}
	if s := a.Stats(); s.Degraded != 5 {
		t.Errorf("stats %+v", s)
	}
}

func TestTracing(t *testing.T) {
	w, _ := watchman.New("t", &watchman.Options{Sample: 1})
	a := newAPI(t, &webv4.Options{Watchman: w})
	var inside watchman.SpanContext
	webv4.Handle(a, func(ctx context.Context, in *do1) (*empty, error) {
		inside = watchman.FromContext(ctx).SpanContext()
		if in.N > 0 {
			return nil, errors.New("broken")
		}
		return nil, nil
	})
	r := do(t, a, "GET /do.json", "", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	if inside.TraceID.String() != "4bf92f3577b34da6a3ce929d0e0e4736" || !strings.Contains(r.header.Get("Traceresponse"), inside.SpanID.String()) {
		t.Errorf("trace %v, header %v", inside.TraceID, r.header)
	}
	do(t, a, "GET /do.json?n=1", "")
	do(t, a, "GET /do.json?n=x", "") // the client's mistake, not the service's
	do(t, a, "GET /nowhere", "")
	want := map[string]uint64{"GET /do.json": 1, "no interface": 0}
	for _, op := range w.Operations() {
		if op.Errors != want[op.Name] {
			t.Errorf("%s: %d errors, want %d", op.Name, op.Errors, want[op.Name])
		}
		delete(want, op.Name)
	}
	if len(want) > 0 {
		t.Errorf("not counted: %v", want)
	}
}

func TestClientIP(t *testing.T) {
	a := newAPI(t, &webv4.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}})
	none := newAPI(t, nil)
	var ip string
	for _, x := range []*webv4.API{a, none} {
		webv4.Handle(x, func(ctx context.Context, _ *do1) (*empty, error) {
			ip = webv4.ClientIP(ctx)
			return nil, nil
		})
	}
	for _, tc := range []struct {
		remote string
		fwd    []string
		want   string
	}{
		{"1.1.1.1:5", nil, "1.1.1.1"},
		{"1.1.1.1:5", []string{"2.2.2.2"}, "1.1.1.1"}, // not a proxy of ours
		{"10.0.0.1:5", nil, "10.0.0.1"},
		{"10.0.0.1:5", []string{"2.2.2.2"}, "2.2.2.2"},
		{"[::1]:5", []string{"2.2.2.2"}, "2.2.2.2"},
		{"[::ffff:10.0.0.1]:5", []string{"2.2.2.2"}, "2.2.2.2"},
		{"10.0.0.1:5", []string{"3.3.3.3, 2.2.2.2"}, "2.2.2.2"}, // 3.3.3.3 is what the client says
		{"10.0.0.1:5", []string{"3.3.3.3, 2.2.2.2, 10.9.9.9"}, "2.2.2.2"},
		{"10.0.0.1:5", []string{"3.3.3.3", "2.2.2.2 ,10.9.9.9"}, "2.2.2.2"},
		{"10.0.0.1:5", []string{"2.2.2.2", "10.9.9.9"}, "2.2.2.2"},
		{"10.0.0.1:5", []string{"::ffff:2.2.2.2"}, "2.2.2.2"},
		{"10.0.0.1:5", []string{"2001:db8::1"}, "2001:db8::1"},
		{"10.0.0.1:5", []string{"10.1.1.1"}, "10.1.1.1"},
		{"10.0.0.1:5", []string{"2.2.2.2, evil\nip, 10.9.9.9"}, "10.9.9.9"},
		{"10.0.0.1:5", []string{"2.2.2.2:80"}, "10.0.0.1"},
		{"10.0.0.1:5", []string{""}, "10.0.0.1"},
		{"10.0.0.1:5", []string{strings.Repeat("10.1.1.1,", 5000) + "10.1.1.2"}, "10.1.1.1"},
		{"pipe", []string{"2.2.2.2"}, ""},
	} {
		headers := []string{"RemoteAddr: " + tc.remote}
		for _, f := range tc.fwd {
			headers = append(headers, "X-Forwarded-For: "+f)
		}
		do(t, a, "GET /do.json", "", headers...)
		if ip != tc.want {
			t.Errorf("%s via %.60q: %q, want %q", tc.remote, tc.fwd, ip, tc.want)
		}
		do(t, none, "GET /do.json", "", headers...)
		if host, _, _ := net.SplitHostPort(tc.remote); ip != host {
			t.Errorf("%s without trusted proxies: %q", tc.remote, ip)
		}
	}
}

// A handler cannot be made to write a header line of the client's choosing.
func TestNoHeaderInjection(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_ struct{} `route:"GET /h/:p"`
		P string   `path:"p"`
	}
	webv4.Handle(a, func(ctx context.Context, in *in) (*in2, error) {
		webv4.Header(ctx).Set("X-Echo", in.P)
		return &in2{in.P}, nil
	})
	srv := httptest.NewServer(a)
	defer srv.Close()
	for _, path := range []string{"/h/a%0d%0aSet-Cookie:%20x=1", "/nowhere%0d%0aSet-Cookie:%20x=1"} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if len(resp.Cookies()) > 0 || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s: headers %v", path, resp.Header)
		}
	}
}

type in2 struct {
	P string `json:"p"`
}

func TestClientGone(t *testing.T) {
	var log bytes.Buffer
	w, _ := watchman.New("t", nil)
	a := newAPI(t, &webv4.Options{AccessLog: &log, Watchman: w})
	webv4.Handle(a, func(ctx context.Context, _ *do1) (*empty, error) { <-ctx.Done(); return nil, ctx.Err() })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/do.json", nil).WithContext(ctx))
	a.Shutdown(context.Background())
	if s := a.Stats(); s.Gone != 1 || s.Errors != 1 {
		t.Errorf("stats %+v", s)
	}
	if l := logLines(t, log.String())[0]; l["status"] != 499.0 {
		t.Errorf("log %v", l)
	}
	if ops := w.Operations(); ops[0].Errors != 0 {
		t.Errorf("watchman counts %d errors", ops[0].Errors)
	}
}

// Shutdown of the server and then of the API loses no reply and no line.
func TestShutdownLosesNothing(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, &webv4.Options{AccessLog: &log})
	entered, leave := make(chan struct{}), make(chan struct{})
	webv4.Handle(a, func(ctx context.Context, _ *do1) (*empty, error) {
		entered <- struct{}{}
		<-leave
		return nil, nil
	})
	srv := a.Server()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- srv.Serve(ln) }()
	const n = 20
	results := make(chan error, n)
	for range n {
		go func() {
			resp, err := http.Get("http://" + ln.Addr().String() + "/do.json")
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != 200 {
					err = fmt.Errorf("status %d", resp.StatusCode)
				}
			}
			results <- err
		}()
	}
	for range n {
		<-entered
	}
	down := make(chan error)
	go func() { down <- srv.Shutdown(context.Background()) }()
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
	close(leave)
	if err := <-down; err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := a.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
	for range n {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := len(logLines(t, log.String())); got != n {
		t.Errorf("%d lines in the log, want %d", got, n)
	}
}

// The server closes a client that does not finish its header.
func TestServerLimits(t *testing.T) {
	a := newAPI(t, nil)
	srv := a.Server()
	if srv.ReadHeaderTimeout <= 0 || srv.ReadTimeout <= 0 || srv.WriteTimeout <= 0 || srv.IdleTimeout <= 0 || srv.MaxHeaderBytes <= 0 {
		t.Errorf("limits missing: %+v", srv)
	}
	srv.ReadHeaderTimeout = 50 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	defer srv.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if b, err := io.ReadAll(c); err != nil {
		t.Errorf("the connection stayed open: %q %v", b, err)
	}
}

func TestConcurrentRequests(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: users{}, Quotas: "user=1000000/h,total=100000000/s", AccessLog: io.Discard})
	type in struct {
		_ struct{} `route:"GET /c/:n.json" auth:"user" quota:"ip=100000/h"`
		N int      `path:"n"`
	}
	webv4.Handle(a, func(ctx context.Context, in *in) (*in2, error) {
		p, _ := webv4.PrincipalFrom(ctx)
		return &in2{fmt.Sprint(p.ID, " ", in.N)}, nil
	})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				r := do(t, a, fmt.Sprintf("GET /c/%d.json?access_token=%d", i, g), "")
				if want := fmt.Sprintf(`{"p":"%d %d"}`, g, i); strings.TrimSpace(r.body) != want {
					t.Errorf("got %s, want %s", r.body, want)
					return
				}
			}
		})
	}
	wg.Wait()
	if s := a.Stats(); s.Requests != 1600 || s.Errors != 0 {
		t.Errorf("stats %+v", s)
	}
}

// What an interface may take, its reply still gets through.
func TestServerWaitsForHandlers(t *testing.T) {
	a := newAPI(t, nil)
	if got := a.Server().WriteTimeout; got != 90*time.Second {
		t.Error(got)
	}
	type long struct {
		_ struct{} `route:"GET /long" timeout:"5m"`
	}
	webv4.Handle(a, func(context.Context, *long) (*empty, error) { return nil, nil })
	if got := a.Server().WriteTimeout; got != 6*time.Minute {
		t.Error(got)
	}
}
