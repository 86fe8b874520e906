package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/console"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/watchman/flight"
)

const evil = `<script>alert("1")</script>'&`

// shop is a Watchman in which everything has happened.
func shop(t *testing.T) (*watchman.Watchman, *control.Loop, watchman.TraceID) {
	t.Helper()
	w, err := watchman.New("shop", &watchman.Options{Sample: 1, Release: "v1<b>"})
	if err != nil {
		t.Fatal(err)
	}
	op, db := w.Operation(watchman.Server, "GET /cart "+evil), w.Operation(watchman.Client, "db"+evil)
	parent := watchman.FromFields("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "heddle=gateway", "heddle.lane=blue")
	sw := w.Switch("cart.cached", false)
	w.Dial("cart.limit", 50, 1, 100)
	loop, err := control.New(w,
		[]control.Objective{{Name: "cart" + evil, Kind: watchman.Server, Operation: "GET /cart " + evil, Target: 0.99, MinCalls: 5}},
		[]control.Policy{{Name: "cached" + evil, Objective: "cart" + evil, Switch: sw, Enforce: true, Window: time.Nanosecond, After: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		ctx, s := op.StartRemote(t.Context(), parent)
		_, c := db.Start(ctx)
		c.SetAttr("sql"+evil, evil)
		c.Phase("send" + evil)
		c.AddLink(parent)
		if i < 8 {
			c.End(errors.New("gone " + evil))
			s.End(fmt.Errorf("cart: %w", errors.New("gone "+evil)))
			continue
		}
		c.End(nil)
		s.End(nil)
	}
	func() {
		_, s := w.Operation(watchman.Internal, "panics").Start(t.Context())
		defer func() { s.End(watchman.Recovered(recover())) }()
		panic(evil)
	}()
	loop.Step()
	w.SetSwitch("cart.cached", true, "ann"+evil, evil)
	return w, loop, parent.TraceID
}

func open(t *testing.T, w *watchman.Watchman, opts *console.Options) *console.Console {
	t.Helper()
	c, err := console.New(w, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func request(method, target, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:80"+target, strings.NewReader(body))
	r.RemoteAddr = "127.0.0.1:5555"
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	return r
}

func get(c http.Handler, target string) (int, string) {
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, request("GET", target, ""))
	return rec.Code, rec.Body.String()
}

func pages(id watchman.TraceID) []string {
	return []string{"/", "/topology", "/topology?lane=blue", "/operation?kind=server&name=" + url.QueryEscape("GET /cart "+evil), "/traces",
		"/traces?op=cart&keep=sampled&failed=1&min=0&text=gone", "/trace?id=" + id.String(), "/errors", "/decisions", "/switches", "/sampling", "/runtime", "/self"}
}

// Every page shows what happened, and nothing of it as markup.
func TestPages(t *testing.T) {
	w, loop, id := shop(t)
	c := open(t, w, &console.Options{Loop: loop, Interval: 10 * time.Millisecond, Counters: func() map[string]uint64 { return map[string]uint64{evil: 1} }})
	deadline := time.Now().Add(20 * time.Second)
	for { // until the recorder has points for the charts
		if _, body := get(c, pages(id)[3]); strings.Contains(body, `class="heat"`) || time.Now().After(deadline) {
			break
		}
		w.Operation(watchman.Server, "GET /cart "+evil).Observe(t.Context(), time.Millisecond, nil)
	}
	for _, p := range pages(id) {
		code, body := get(c, p)
		if code != http.StatusOK || !strings.Contains(body, "</html>") {
			t.Errorf("%s: %d, %.200s", p, code, body)
		}
		if strings.Contains(body, "<script>alert") || strings.Contains(body, "v1<b>") {
			t.Errorf("%s: a name became markup", p)
		}
		if strings.Contains(body, "style=") || strings.Contains(body, "http://") && !strings.Contains(body, "xmlns") {
			t.Errorf("%s: something that the content security policy forbids", p)
		}
	}
	for p, want := range map[string][]string{
		"/":                        {"8 of 10 calls bad", "cart.cached", "gone &lt;script"},
		"/topology":                {"<svg", "gateway", "shop · client"},
		pages(id)[3]:               {"<polyline", `class="heat"`, "gateway", "blue"},
		"/trace?id=" + id.String(): {`class="span client err`, "phase", "parent missing", "sql&lt;script"},
		"/errors":                  {"panic", "8×", "v1&lt;b&gt;"},
		"/decisions":               {"a bad window: 8 of 10", "auto", "cart.cached", "Nobody asks for"},
		"/switches":                {"ann&lt;", "cart.limit", "nobody has asked for it yet"},
		"/self":                    {"equals begun", "a span costs"},
	} {
		_, body := get(c, p)
		for _, s := range want {
			if !strings.Contains(body, s) {
				t.Errorf("%s: no %q in %s", p, s, body)
			}
		}
	}
}

func TestDownloadsAndErrors(t *testing.T) {
	w, _, id := shop(t)
	c := open(t, w, nil)
	var spans []watchman.SpanRecord
	if _, body := get(c, "/trace?format=json&id="+id.String()); json.Unmarshal([]byte(body), &spans) != nil || len(spans) != 20 {
		t.Errorf("%d spans in %.200s", len(spans), body)
	}
	if _, body := get(c, "/trace?format=zipkin&id="+id.String()); !strings.Contains(body, `"kind":"SERVER"`) {
		t.Errorf("Zipkin: %.200s", body)
	}
	if _, body := get(c, "/trace?format=text&id="+id.String()); !strings.Contains(body, "shop server GET /cart") {
		t.Errorf("text: %.200s", body)
	}
	for target, want := range map[string]int{
		"/trace?id=xyz": 400, "/trace?id=" + strings.Repeat("1", 32): 404, "/operation?kind=alien&name=x": 400, "/operation?kind=server&name=none": 404,
		"/traces?min=x": 400, "/traces?min=-1": 400, "/traces?min=NaN": 400, "/nothing": 404, "/traces?text=" + id.String(): 303, "/app.css": 200, "/app.js": 200, "/api/trace?id=1": 400,
		"/trace?from=99999999999999999999&id=" + id.String(): 200, "/trace?from=-5&id=" + id.String(): 200,
	} {
		if code, body := get(c, target); code != want {
			t.Errorf("%s: %d, want %d: %.100s", target, code, want, body)
		}
	}
	before := len(w.Operations())
	get(c, "/operation?kind=server&name=made+up")
	if len(w.Operations()) != before {
		t.Error("looking for an operation made one")
	}
}

var tokenField = regexp.MustCompile(`name="token" value="([0-9a-f]{32})"`)

func token(t *testing.T, c http.Handler) string {
	t.Helper()
	_, body := get(c, "/switches")
	m := tokenField.FindStringSubmatch(body)
	if m == nil {
		t.Fatal("no token in the form")
	}
	return m[1]
}

func post(c http.Handler, target string, form url.Values, header ...string) int {
	r := request("POST", target, form.Encode())
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	c.ServeHTTP(rec, r)
	return rec.Code
}

// A live page comes as events when it has changed, as long as there is a place.
func TestLive(t *testing.T) {
	w, loop, _ := shop(t)
	c := open(t, w, &console.Options{Loop: loop, Interval: 10 * time.Millisecond})
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	type event struct{ Main, Time string }
	watch := func(page string) (*http.Response, *bufio.Reader) {
		res, err := http.Get(srv.URL + "/live?page=" + url.QueryEscape(page))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
		return res, bufio.NewReader(res.Body)
	}
	next := func(r *bufio.Reader) (e event) {
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				if err := json.Unmarshal([]byte(data), &e); err != nil {
					t.Fatal(err)
				}
				return e
			}
		}
	}
	res, r := watch("/operation?kind=server&name=" + url.QueryEscape("GET /cart "+evil))
	if res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("headers %v", res.Header)
	}
	if e := next(r); !strings.Contains(e.Main, "<h1>") || strings.Contains(e.Main, "<main") || strings.Contains(e.Main, "<script>alert") {
		t.Errorf("%.300s", e.Main)
	}
	_, r = watch("/")
	next(r)
	w.Operation(watchman.Client, "brand new").Observe(t.Context(), time.Millisecond, nil)
	for !strings.Contains(next(r).Main, "brand new") {
	}
	for _, page := range []string{"/switches", "/nothing", "http://example.com/", "//example.com/", "/live", "", "%zz"} {
		if res, _ := watch(page); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", page, res.Status)
		}
	}
	for range 14 {
		watch("/runtime")
	}
	if res, _ := watch("/"); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("the 17th: %s", res.Status)
	}
	c.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestFlightRecorder(t *testing.T) {
	w, _, _ := shop(t)
	rec, err := flight.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Close() })
	c := open(t, w, &console.Options{Flight: rec})
	tok := token(t, c)
	do := func(pairs ...string) (int, string) {
		v := url.Values{"token": {tok}, pairs[0]: {pairs[1]}}
		out := httptest.NewRecorder()
		c.ServeHTTP(out, request("POST", "/flight", v.Encode()))
		return out.Code, out.Body.String()
	}
	for _, step := range []struct {
		key, value string
		code       int
		page       string // holds
	}{
		{"do", "snapshot", 409, "Nothing is remembered"},
		{"do", "start", 303, "remembers its last seconds"},
		{"do", "snapshot", 303, "asked for by local"},
		{"do", "stop", 303, "flight recorder: stop"},
		{"do", "fly", 400, "asked for by local"},
		{"id", "1", 200, ""},
		{"id", "2", 404, ""},
		{"id", "x", 400, ""},
	} {
		code, body := do(step.key, step.value)
		if code != step.code {
			t.Errorf("%s %s: %d, want %d: %.100s", step.key, step.value, code, step.code, body)
		}
		if code == 200 && !strings.HasPrefix(body, "go 1.") {
			t.Errorf("downloaded %.20q", body)
		}
		if _, page := get(c, "/runtime"); !strings.Contains(page, step.page) {
			t.Errorf("after %s %s the page has no %q: %s", step.key, step.value, step.page, page)
		}
	}
	if code := post(open(t, w, nil), "/flight", url.Values{"token": {tok}, "do": {"start"}}); code != http.StatusForbidden {
		t.Errorf("another console's token: %d", code)
	}
}

func TestChanges(t *testing.T) {
	w, _, _ := shop(t)
	c := open(t, w, nil)
	tok := token(t, c)
	form := func(pairs ...string) url.Values {
		v := url.Values{"token": {tok}, "name": {"cart.limit"}, "confirm": {"cart.limit"}, "value": {"20"}, "reason": {"drill"}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	for name, tc := range map[string]struct {
		form   url.Values
		header []string
		want   int
	}{
		"no token":        {form("token", ""), nil, 403},
		"wrong token":     {form("token", strings.Repeat("0", 32)), nil, 403},
		"another site":    {form(), []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another origin":  {form(), []string{"Origin", "http://evil.example"}, 403},
		"no reason":       {form("reason", "  "), nil, 400},
		"a long reason":   {form("reason", strings.Repeat("x", 501)), nil, 400},
		"not confirmed":   {form("confirm", "cart"), nil, 400},
		"no number":       {form("value", "many"), nil, 400},
		"out of bounds":   {form("value", "1000"), nil, 400},
		"not a number":    {form("value", "NaN"), nil, 400},
		"no such setting": {form("name", "x", "confirm", "x"), nil, 404},
		"no minutes":      {form("minutes", "-1"), nil, 400},
	} {
		if got := post(c, "/switches", tc.form, tc.header...); got != tc.want {
			t.Errorf("%s: %d, want %d", name, got, tc.want)
		}
	}
	if v := w.Dial("cart.limit", 0, 0, 0).Value(); v != 50 {
		t.Fatalf("a change that was refused was made: %v", v)
	}
	if got := post(c, "/switches", form("minutes", "10"), "Origin", "http://127.0.0.1:80", "Sec-Fetch-Site", "same-origin"); got != http.StatusSeeOther {
		t.Errorf("a good change: %d", got)
	}
	d := w.Dials()[0]
	if d.Value != 20 || d.By != "local" || d.Reason != "drill" || d.Expires.IsZero() {
		t.Errorf("dial = %+v", d)
	}
	post(c, "/switches", form("value", "default"))
	if w.Dials()[0].Value != 50 {
		t.Error("not given back")
	}
	rules := url.Values{"token": {tok}, "ratio": {"0.25"}, "budget": {"100"}, "operations": {"GET /a = 1\nb=0.5\n"}, "reason": {"look"}}
	if got := post(c, "/sampling", rules); got != http.StatusSeeOther {
		t.Errorf("sampling: %d", got)
	}
	if sp := w.Sampling(); sp.Ratio != 0.25 || sp.TracesPerMinute != 100 || sp.Operations["GET /a"] != 1 || sp.Operations["b"] != 0.5 {
		t.Errorf("sampling = %+v", sp)
	}
	for k, v := range map[string]string{"ratio": "2", "budget": "x", "operations": "no ratio"} {
		bad := url.Values{"token": {tok}, "ratio": {"0.1"}, "reason": {"x"}}
		bad.Set(k, v)
		if got := post(c, "/sampling", bad); got != http.StatusBadRequest {
			t.Errorf("sampling with %s = %s: %d", k, v, got)
		}
	}
	if err := w.SetSampling(watchman.Sampling{}); err != nil {
		t.Fatal(err)
	}
	_, s := w.Operation(watchman.Server, "recent").Start(t.Context())
	s.End(nil)
	id := s.SpanContext().TraceID
	if got := post(c, "/keep", url.Values{"token": {tok}, "id": {id.String()}, "reason": {"why"}}); got != http.StatusSeeOther || w.Trace(id) == nil {
		t.Errorf("keep: %d", got)
	}
	if got := post(c, "/profile", url.Values{"token": {tok}, "what": {"stacks"}}); got != http.StatusOK {
		t.Errorf("stacks: %d", got)
	}
	if got := post(c, "/profile", url.Values{"token": {tok}, "what": {"../x"}}); got != http.StatusBadRequest {
		t.Errorf("an unknown profile: %d", got)
	}
}

func TestWhoMayLook(t *testing.T) {
	w, _, _ := shop(t)
	c := open(t, w, nil)
	for name, tc := range map[string]struct {
		change func(r *http.Request)
		want   int
	}{
		"loopback":          {func(*http.Request) {}, 200},
		"loopback, IPv6":    {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:5", "[::1]:80" }, 200},
		"localhost":         {func(r *http.Request) { r.Host = "localhost:80" }, 200},
		"the network":       {func(r *http.Request) { r.RemoteAddr = "10.0.0.5:5" }, 403},
		"a rebound name":    {func(r *http.Request) { r.Host = "evil.example" }, 403},
		"through a proxy":   {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "10.0.0.5") }, 403},
		"no remote address": {func(r *http.Request) { r.RemoteAddr = "@" }, 403},
	} {
		r := request("GET", "/", "")
		tc.change(r)
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, r)
		if rec.Code != tc.want {
			t.Errorf("%s: %d, want %d", name, rec.Code, tc.want)
		}
		if rec.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: no content security policy", name)
		}
	}
	auth := open(t, w, &console.Options{Auth: func(r *http.Request) (string, console.Access) {
		switch r.Header.Get("Authorization") {
		case "viewer":
			return "vic", console.View
		case "operator":
			return "olga", console.Operate
		}
		return "", console.Deny
	}})
	ask := func(who, method, target, body string) (int, string) {
		r := request(method, target, body)
		r.RemoteAddr, r.Host = "10.0.0.5:5", "console.example"
		r.Header.Set("Authorization", who)
		rec := httptest.NewRecorder()
		auth.ServeHTTP(rec, r)
		return rec.Code, rec.Body.String()
	}
	if code, _ := ask("", "GET", "/", ""); code != 403 {
		t.Errorf("nobody: %d", code)
	}
	if code, body := ask("viewer", "GET", "/switches", ""); code != 200 || strings.Contains(body, "<form") {
		t.Errorf("a viewer: %d, or with forms", code)
	}
	_, body := ask("operator", "GET", "/switches", "")
	form := url.Values{"token": {tokenField.FindStringSubmatch(body)[1]}, "name": {"cart.limit"}, "confirm": {"cart.limit"}, "value": {"7"}, "reason": {"x"}}.Encode()
	if code, _ := ask("viewer", "POST", "/switches", form); code != 403 {
		t.Errorf("a viewer's change: %d", code)
	}
	if code, _ := ask("operator", "POST", "/switches", form); code != 303 || w.Dials()[0].By != "olga" {
		t.Errorf("an operator's change: %d by %s", code, w.Dials()[0].By)
	}
}

// Two processes are seen as one; a third that is away is named.
func TestPeers(t *testing.T) {
	store, _ := watchman.New("store", &watchman.Options{Sample: 1})
	web, _ := watchman.New("web", &watchman.Options{Sample: 1})
	ctx, page := web.Operation(watchman.Server, "page").Start(t.Context())
	_, call := web.Operation(watchman.Client, "store.get").Start(ctx)
	_, served := store.Operation(watchman.Server, "get").StartRemote(t.Context(), call.SpanContext())
	served.End(nil)
	call.End(nil)
	page.End(nil)
	srv := httptest.NewServer(open(t, store, nil))
	defer srv.Close()
	c := open(t, web, &console.Options{Peers: []string{srv.URL, "http://127.0.0.1:1"}})
	code, body := get(c, "/trace?id="+page.SpanContext().TraceID.String())
	if code != 200 || !strings.Contains(body, "3 spans") || !strings.Contains(body, "127.0.0.1:1") {
		t.Errorf("%d: %s", code, body)
	}
	if _, body := get(c, "/"); !strings.Contains(body, "<td>store</td>") {
		t.Errorf("the overview lacks the peer: %s", body)
	}
	if _, body := get(c, "/topology"); !strings.Contains(body, "store · server") || !strings.Contains(body, "web · client") {
		t.Errorf("the topology lacks the peer: %s", body)
	}
}

// That a trace is not kept is said only when everybody has answered; else who has
// not, and asking again finds it.
func TestPeersThatDoNotAnswer(t *testing.T) {
	web, _ := watchman.New("web", nil)
	store, _ := watchman.New("store", &watchman.Options{Sample: 1})
	_, span := store.Operation(watchman.Server, "get").Start(t.Context())
	span.End(nil)
	page := "/trace?id=" + span.SpanContext().TraceID.String()
	answers := open(t, store, nil)
	hangs := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		<-hangs
		answers.ServeHTTP(rw, r)
	}))
	defer srv.Close()
	empty := httptest.NewServer(open(t, web, nil))
	defer empty.Close()
	check := func(peer string, patience time.Duration, code int, want, not string) {
		t.Helper()
		c := open(t, web, &console.Options{Peers: []string{peer}, PeerClient: &http.Client{Timeout: patience}})
		got, body := get(c, page)
		for range 30 {
			if got == code { // else the peer took its two seconds on a busy machine
				break
			}
			got, body = get(c, page)
		}
		if got != code || !strings.Contains(body, want) || strings.Contains(body, not) {
			t.Errorf("%d, want %d with %q and without %q: %s", got, code, want, not, body)
		}
	}
	check(srv.URL, 20*time.Millisecond, 504, srv.URL+` did not answer in time. <a href="">Try again</a>`, "not kept here")
	check("http://127.0.0.1:1", 0, 504, `http://127.0.0.1:1 cannot be reached. <a href="">Try again</a>`, "not kept here")
	check(empty.URL, 0, 404, "not kept here", "Try again")
	close(hangs)
	check(srv.URL, 0, 200, "1 span<", "Try again")
}

// A trace of 5,000 spans, some on a cycle, is shown 500 rows at a time.
func TestLargeTrace(t *testing.T) {
	w, _ := watchman.New("big", nil)
	var id watchman.TraceID
	id[0] = 1
	var spans []watchman.SpanRecord
	for i := range 5000 {
		s := watchman.SpanRecord{TraceID: id, Service: "big", Name: "n", Start: time.Unix(1, int64(i)*1e6), Duration: time.Millisecond}
		s.SpanID[0], s.SpanID[1], s.SpanID[7] = byte(i>>8), byte(i), 1
		if i > 0 {
			p := (i - 1) / 3
			s.Parent[0], s.Parent[1], s.Parent[7] = byte(p>>8), byte(p), 1
		}
		spans = append(spans, s)
	}
	spans[10].Parent, spans[11].Parent = spans[11].SpanID, spans[10].SpanID
	answer, err := json.Marshal(spans)
	if err != nil {
		t.Fatal(err)
	}
	peer := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.Write(answer) }))
	defer peer.Close()
	c := open(t, w, &console.Options{Peers: []string{peer.URL}})
	rows := 0
	for from := 0; from < 5000; from += 500 {
		code, body := get(c, fmt.Sprintf("/trace?id=%s&from=%d", id, from))
		for tries := 0; code == http.StatusGatewayTimeout && tries < 30; tries++ { // the peer took its two seconds on a busy machine
			code, body = get(c, fmt.Sprintf("/trace?id=%s&from=%d", id, from))
		}
		if code != 200 || len(body) > 1<<20 {
			t.Fatalf("from %d: %d, %d bytes", from, code, len(body))
		}
		rows += strings.Count(body, `class="fitem`)
	}
	if rows != 5000 {
		t.Errorf("%d rows, want 5000", rows)
	}
}

func TestAssetsAreSmall(t *testing.T) {
	var total int64
	for _, dir := range []string{"assets", "pages"} {
		files, err := filepath.Glob(dir + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			st, err := os.Stat(f)
			if err != nil {
				t.Fatal(err)
			}
			total += st.Size()
		}
	}
	if total > 150<<10 {
		t.Errorf("%d bytes embedded, want at most 150 KiB", total)
	}
}

func TestNewRejects(t *testing.T) {
	w, _ := watchman.New("s", nil)
	_, err := console.New(w, &console.Options{Interval: -1, Peers: []string{"peer:80", "http://u:secret@x"}})
	if err == nil || !strings.Contains(err.Error(), "Interval") || !strings.Contains(err.Error(), "Peers[1]") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	if _, err := console.New(nil, nil); err == nil {
		t.Error("no Watchman was taken")
	}
}

// FuzzPages feeds hostile names and queries.
func FuzzPages(f *testing.F) {
	f.Add("GET /", "error", "op=x&keep=y&min=1")
	f.Add(evil, evil, "id=zz&from=1&lane="+url.QueryEscape(evil))
	f.Add("\x00\xff", "\u2028", "%zz")
	f.Fuzz(func(t *testing.T, name, text, query string) {
		w, _ := watchman.New("s", &watchman.Options{Sample: 1})
		_, s := w.Operation(watchman.Server, name).Start(context.Background())
		s.SetAttr(text, name)
		s.End(errors.New(text))
		c, err := console.New(w, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, p := range []string{"/", "/topology", "/operation", "/traces", "/trace", "/errors", "/switches", "/sampling"} {
			r := request("GET", p, "")
			r.URL.RawQuery = query
			rec := httptest.NewRecorder()
			c.ServeHTTP(rec, r)
			if rec.Code >= 500 {
				t.Fatalf("%s?%s: %d %s", p, query, rec.Code, rec.Body)
			}
			// Complaints are plain text and may repeat what was asked.
			if strings.HasPrefix(rec.Header().Get("Content-Type"), "text/html") && strings.Contains(rec.Body.String(), "<script>alert") {
				t.Fatalf("%s?%s: markup", p, query)
			}
		}
		rec := httptest.NewRecorder()
		c.ServeHTTP(rec, request("GET", "/trace?id="+s.SpanContext().TraceID.String(), ""))
		io.Copy(io.Discard, rec.Body)
	})
}

func ExampleNew() {
	w, err := watchman.New("shop", nil)
	if err != nil {
		panic(err)
	}
	c, err := console.New(w, nil)
	if err != nil {
		panic(err)
	}
	defer c.Close()
	mux := http.NewServeMux()
	mux.Handle("/console/", http.StripPrefix("/console", c))
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, request("GET", "/console/", ""))
	fmt.Println(rec.Code)
	// Output: 200
}
