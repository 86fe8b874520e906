package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// running is a shop that runs in this process.
type running struct {
	t           *testing.T
	url, admin  string
	client      *http.Client
	stop        func() error
	credentials func(*http.Request)
}

// start runs the program until the test ends or stop is called.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, append([]string{"-addr", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, args...), w, io.Discard)
		w.Close()
	}()
	s := &running{t: t, client: &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	stopped := false
	s.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		s.client.CloseIdleConnections()
		cancel()
		return <-done
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	for lines := bufio.NewScanner(r); s.url == "" && lines.Scan(); {
		if page, ok := strings.CutPrefix(lines.Text(), "operators on "); ok {
			s.admin = page
		}
		if page, ok := strings.CutPrefix(lines.Text(), "shop on "); ok {
			s.url = strings.TrimSuffix(page, "/docs")
		}
	}
	if s.url == "" {
		t.Fatalf("the shop did not start: %v", s.stop())
	}
	return s
}

func (s *running) basic(name, password string) {
	s.credentials = func(r *http.Request) { r.SetBasicAuth(name, password) }
}

// do calls the shop; route is a method and a path, headers are "Name: value".
func (s *running) do(route, body string, want int, headers ...string) (string, http.Header) {
	s.t.Helper()
	method, path, _ := strings.Cut(route, " ")
	r, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	if s.credentials != nil {
		s.credentials(r)
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		s.t.Errorf("%s: status %d, want %d: %s %v", route, resp.StatusCode, want, text, err)
	}
	return string(text), resp.Header
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("no %s in %s", p, text)
		}
	}
}

func TestProducts(t *testing.T) {
	s := start(t)
	page, _ := s.do("GET /v1/products?count=4&fields=products.id,next_cursor", "", 200)
	var first struct {
		Products   []struct{ ID int }
		NextCursor string `json:"next_cursor"`
	}
	if err := json.Unmarshal([]byte(page), &first); err != nil || len(first.Products) != 4 || strings.Contains(page, "name") {
		t.Fatalf("%v: %s", err, page)
	}
	rest, _ := s.do("GET /v1/products?count=4&cursor="+url.QueryEscape(first.NextCursor), "", 200)
	contains(t, rest, `"id":5`, `"id":6`, `"next_cursor":""`)
	s.do("GET /v1/products?cursor=made-up", "", 400)
	problem, h := s.do("GET /v1/products/99", "", 404)
	contains(t, problem+h.Get("Content-Type"), "there is no such product", "application/problem+json")
	weibo, _ := s.do("GET /2/products/show.json?id=99", "", 404)
	contains(t, weibo, `{"request":"/2/products/show.json","error_code":20101`)
	xml, _ := s.do("GET /2/products/show.xml?id=1", "", 200)
	contains(t, xml, "<name>table loom</name>")
	_, h = s.do("GET /v1/products/1", "", 200)
	s.do("GET /v1/products/1", "", 304, "If-None-Match: "+h.Get("Etag"))
	brief, h := s.do("GET /v1/products/1?brief=true", "", 200)
	if strings.Contains(brief, "note") || h.Get("Cache-Control") != "max-age=30" {
		t.Errorf("brief: %s %v", brief, h)
	}

	s.do("POST /v1/products", `{"name":"bobbin","category":"tools","price":350}`, 401)
	s.basic("ada", "lovelace")
	s.do("POST /v1/products", `{"name":"bobbin","category":"tools","price":350}`, 403)
	s.basic("grace", "hopper")
	missing, _ := s.do("POST /v1/products", `{"name":"bobbin","category":"ships","price":350}`, 400)
	contains(t, missing, "category")
	_, h = s.do("POST /v1/products", `{"name":"bobbin","category":"tools","price":350,"note":"small"}`, 201)
	at := "/v1/products/7"
	if h.Get("Location") != at {
		t.Errorf("headers %v", h)
	}
	changed, _ := s.do("PATCH "+at, `{"note":null,"stock":5}`, 200)
	contains(t, changed, `"price":350`, `"stock":5`, `"note":null`)
	s.do("DELETE "+at, "", 204)
	s.do("DELETE "+at, "", 404)
}

func TestPictures(t *testing.T) {
	s := start(t)
	s.basic("grace", "hopper")
	upload := func(data string, want int) {
		t.Helper()
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		part, err := w.CreateFormFile("picture", "loom.png")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(part, data)
		w.Close()
		s.do("POST /v1/products/1/picture", b.String(), want, "Content-Type: "+w.FormDataContentType())
	}
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 1000)
	upload("<script>", 400)
	upload(strings.Repeat(png, 600), 413)
	s.do("GET /v1/products/1/picture", "", 404)
	upload(png, 200)
	s.credentials = nil
	whole, h := s.do("GET /v1/products/1/picture", "", 200)
	if whole != png || h.Get("Content-Type") != "image/png" || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%d bytes, %v", len(whole), h)
	}
	part, _ := s.do("GET /v1/products/1/picture", "", 206, "Range: bytes=1-3")
	contains(t, part, "PNG")
	s.do("GET /v1/products/1/picture", "", 304, "If-None-Match: "+h.Get("Etag"))
	s.do("GET /v1/products/1/picture", "", 416, "Range: bytes=5000-")
}

func TestOrders(t *testing.T) {
	s := start(t)
	s.basic("ada", "lovelace")
	r, err := http.NewRequest("GET", s.url+"/v1/orders/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	s.credentials(r)
	events, err := s.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	lines := bufio.NewScanner(events.Body)
	until := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the stream ended before %q: %v", want, lines.Err())
	}
	until("event: ready")
	first, _ := s.do("POST /v1/orders", `{"product":3,"quantity":2}`, 201, "Idempotency-Key: one")
	again, _ := s.do("POST /v1/orders", `{"product":3,"quantity":2}`, 201, "Idempotency-Key: one")
	if first != again {
		t.Errorf("first %s, again %s", first, again)
	}
	s.do("POST /v1/orders", `{"product":3,"quantity":3}`, 422, "Idempotency-Key: one")
	until("event: order")
	until(`data: {"id":1,`)
	s.do("POST /v1/orders", `{"product":2,"quantity":9}`, 409)
	s.do("POST /v1/orders", `{"product":99}`, 404)
	s.do("POST /v1/orders", `{"product":3}`, 201)
	page, _ := s.do("GET /v1/orders?count=1", "", 200)
	contains(t, page, `"id":2`, `"next_cursor":2`)
	page, _ = s.do("GET /v1/orders?count=1&max_id=2", "", 200)
	contains(t, page, `"id":1`, `"next_cursor":0`)
	batch, _ := s.do("POST /v1/batch", `{"calls":[{"path":"/v1/me"},{"path":"/v1/products/3?fields=stock"},{"path":"/v1/nothing"}]}`, 200)
	contains(t, batch, `"id":"ada"`, `"stock":117`, `"status":404`)
	_, h := s.do("GET /v1/orders", "", 200)
	contains(t, h.Get("Ratelimit-Policy")+h.Get("Ratelimit"), `"ip/h /";q=36000`, ";r=")
	limits, _ := s.do("GET /v1/account/rate_limit_status", "", 200)
	contains(t, limits, `"ip_limit":36000`, `"remaining_ip_hits"`, `/v1/orders`)

	// The end of the shop ends the stream, and is no error.
	stopped := make(chan error, 1)
	go func() { stopped <- s.stop() }()
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestSchemes(t *testing.T) {
	s := start(t)
	form := "Content-Type: application/x-www-form-urlencoded"
	s.do("POST /v1/token", "name=grace&password=wrong", 401, form)
	text, _ := s.do("POST /v1/token", "name=grace&password=hopper", 200, form)
	var issued struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &issued); err != nil {
		t.Fatal(err)
	}
	var signed strings.Builder
	if err := run(t.Context(), []string{"-sign", "GET " + s.url + "/v1/me"}, &signed, io.Discard); err != nil {
		t.Fatal(err)
	}
	signature := strings.TrimSpace(signed.String())
	for _, c := range []struct {
		header, want string
	}{
		{"Authorization: Bearer " + issued.AccessToken, `"id":"grace","app":"shop"`},
		{"X-Api-Key: demo-key", `"id":"demo"`},
		{signature, `"id":"partner"`},
	} {
		got, _ := s.do("GET /v1/me", "", 200, c.header)
		contains(t, got, c.want)
	}
	s.do("GET /v1/me", "", 401, signature) // once only
	s.do("GET /v1/me", "", 401)
	s.do("GET /v1/me", "", 401, "X-Api-Key: no")
	s.do("GET /v1/me", "", 401, "Authorization: Bearer no")
	s.basic("ada", "wrong")
	s.do("GET /v1/me", "", 401)
}

func TestClientCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	s := start(t, "-tls", dir)
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	with := func(certs ...tls.Certificate) {
		s.client.CloseIdleConnections()
		s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, Certificates: certs}, ForceAttemptHTTP2: true}
	}
	with()
	s.do("GET /v1/me", "", 401)
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client-key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	with(cert)
	got, _ := s.do("GET /v1/me", "", 200)
	contains(t, got, `"id":"weaver"`)
}

// Operators degrade the shop, step by step, on their page.
func TestDegradation(t *testing.T) {
	s := start(t)
	resp, err := http.Get(s.admin + "state")
	if err != nil {
		t.Fatal(err)
	}
	state, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`"token":\s*"([^"]+)"`).FindSubmatch(state)
	if m == nil {
		t.Fatalf("no token in %s", state)
	}
	degrade := func(point, level string) {
		t.Helper()
		resp, err := http.PostForm(s.admin+"degrade", url.Values{"point": {point}, "level": {level}, "minutes": {"5"}, "reason": {"test"}, "confirm": {point}, "token": {string(m[1])}})
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode >= 400 {
			t.Fatalf("degrade %s %s: %d %s", point, level, resp.StatusCode, text)
		}
	}
	whole, _ := s.do("GET /v1/products", "", 200)
	contains(t, whole, "made of beech")
	degrade("products", "trim")
	trimmed, h := s.do("GET /v1/products", "", 200)
	if strings.Contains(trimmed, "note") || h.Get("X-Degraded") != "trim;products" {
		t.Errorf("%v %s", h, trimmed)
	}
	degrade("products", "stale")
	stale, h := s.do("GET /v1/products", "", 200)
	if stale != whole || h.Get("X-Degraded") != "stale;products" {
		t.Errorf("%v %s", h, stale)
	}
	degrade("products", "shed")
	_, h = s.do("GET /v1/products", "", 503)
	if h.Get("Retry-After") == "" {
		t.Errorf("headers %v", h)
	}
	degrade("products", "normal")
	s.do("GET /v1/products", "", 200)
	degrade("recommendations", "static")
	fallback, _ := s.do("GET /v1/recommendations?to=1", "", 200)
	contains(t, fallback, "always right")
	s.basic("ada", "lovelace")
	degrade("orders", "shed")
	s.do("POST /v1/orders", `{"product":3}`, 201) // critical
	degrade("orders", "off")
	s.do("POST /v1/orders", `{"product":3}`, 503)
}

func TestPages(t *testing.T) {
	s := start(t)
	if _, h := s.do("GET /", "", 302); h.Get("Location") != "/docs" {
		t.Errorf("headers %v", h)
	}
	page, h := s.do("GET /docs", "", 200)
	contains(t, page+h.Get("Content-Security-Policy"), "rapi-doc", "connect-src 'self'")
	doc, _ := s.do("GET /docs/openapi.json", "", 200)
	contains(t, doc, `"mutualTLS"`, `"basic"`, `"bearer"`, `"X-Api-Key"`, `"Idempotency-Key"`, `"/v1/products/{id}/picture"`)
	s.do("GET /health/ready", "", 200)
}

func TestFlags(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		want   string
		status int
	}{
		{[]string{"extra"}, `"extra"`, 2},
		{[]string{"-x"}, "-x", 2},
		{[]string{"-drain", "-1s"}, "-drain -1s", 2},
		{[]string{"-sign", "GET"}, "-sign", 2},
		{[]string{"-addr", "nowhere:x"}, "listen tcp", 1},
		{[]string{"-admin", "nowhere:x"}, "listen tcp", 1},
		{[]string{"-tls", file}, file, 1},
	} {
		var stderr strings.Builder
		err := run(t.Context(), append([]string{"-addr", "127.0.0.1:0", "-admin", ""}, c.args...), io.Discard, &stderr)
		if got := status(err, &stderr); got != c.status || strings.Count(stderr.String(), c.want) != 1 {
			t.Errorf("%q: status %d, %s", c.args, got, stderr.String())
		}
	}
	var stdout, stderr strings.Builder
	if got := status(run(t.Context(), []string{"-h"}, &stdout, &stderr), &stderr); got != 0 || !strings.Contains(stdout.String(), "-drain") || stderr.Len() > 0 {
		t.Errorf("-h: status %d, %s%s", got, stdout.String(), stderr.String())
	}
}

// A watcher that does not read misses orders and holds nobody up.
func TestSlowWatcher(t *testing.T) {
	var h hub
	ready, release := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- h.watch(context.Background(), "ada", func(ev webv4.Event) error {
			if ev.Name == "ready" {
				close(ready)
				<-release
			}
			return nil
		})
	}()
	<-ready
	for range 10 * behind {
		h.tell(order{user: "ada"})
	}
	close(release)
	h.close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := h.watch(context.Background(), "ada", nil); err != nil {
		t.Error(err)
	}
}
