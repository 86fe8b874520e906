package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// A queue that is paused hands out nothing until it is resumed.
func TestPause(t *testing.T) {
	addr, admin, stop := start(t, "-data", t.TempDir())
	talk(t, addr, "get q+s\r\nset q 0 0 1\r\nx\r\n")
	post := func(path string, code int, want string) {
		t.Helper()
		resp, err := http.Post(admin+path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != code || string(text) != want {
			t.Errorf("%s: %s, %q, %v, want %d, %q", path, resp.Status, text, err, code, want)
		}
	}
	post("/queues/q+s/pause", 200, "q+s is paused, until it is resumed or mcqd ends\n")
	if got := talk(t, addr, "get q+s\r\nget q\r\nset q 0 0 1\r\ny\r\n"); got != "END\r\nVALUE q 0 1\r\nx\r\nEND\r\nSTORED\r\n" {
		t.Errorf("paused: %q", got)
	}
	if page := fetch(t, admin+"/metrics"); !strings.Contains(page, `mcq_paused{queue="q+s"} 1`) || !strings.Contains(page, `mcq_paused{queue="q"} 0`) {
		t.Errorf("metrics: %s", page)
	}
	post("/queues/q%2Bs/resume", 200, "q+s is resumed\n")
	if got := talk(t, addr, "get q+s q+s\r\n"); got != "VALUE q+s 0 1\r\nx\r\nVALUE q+s 0 1\r\ny\r\nEND\r\n" {
		t.Errorf("resumed: %q", got)
	}
	post("/queues/nobody/pause", 404, "there is no queue \"nobody\"\n")
	if got := talk(t, addr, "stats queue\r\n"); strings.Contains(got, "nobody") {
		t.Errorf("made: %q", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// Only who is on the machine may change anything; pages in their browser may not.
func TestWhoMayPause(t *testing.T) {
	b, err := mcq.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	q, err := b.Queue("q")
	if err != nil {
		t.Fatal(err)
	}
	s, err := mcq.NewServer(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	h := adminHandler(b, s)
	for what, c := range map[string]struct {
		change func(r *http.Request)
		code   int
	}{
		"curl":               {func(*http.Request) {}, 200},
		"IPv6":               {func(r *http.Request) { r.RemoteAddr, r.Host = "[::1]:5", "[::1]:80" }, 200},
		"localhost":          {func(r *http.Request) { r.Host = "localhost" }, 200},
		"another machine":    {func(r *http.Request) { r.RemoteAddr = "192.0.2.1:5" }, 403},
		"a proxy":            {func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") }, 403},
		"another proxy":      {func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") }, 403},
		"a rebound name":     {func(r *http.Request) { r.Host = "evil.example:80" }, 403},
		"another site":       {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"an older browser":   {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403},
		"a link, not a form": {func(r *http.Request) { r.Method = "GET" }, 405},
	} {
		r := httptest.NewRequest("POST", "http://127.0.0.1/queues/q/pause", nil)
		r.RemoteAddr = "127.0.0.1:5"
		c.change(r)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if paused := q.Stats().Paused; w.Code != c.code || paused != (c.code == 200) {
			t.Errorf("%s: %d, paused %v, want %d", what, w.Code, paused, c.code)
		}
		q.Resume()
	}
}
