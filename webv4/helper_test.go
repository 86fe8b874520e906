package webv4_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

func newAPI(t testing.TB, opts *webv4.Options) *webv4.API {
	t.Helper()
	if opts == nil {
		opts = &webv4.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	a, err := webv4.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Shutdown(context.Background()) })
	return a
}

// answer is a reply as a test looks at it.
type answer struct {
	status int
	body   string
	header http.Header
}

// do calls the handler. route is a method and a URL; headers are "Name: value".
func do(t testing.TB, h http.Handler, route, body string, headers ...string) answer {
	t.Helper()
	method, url, _ := strings.Cut(route, " ")
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, url, rd)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		switch name {
		case "RemoteAddr":
			r.RemoteAddr = value
		case "Chunked":
			r.ContentLength = -1
		default:
			r.Header.Add(name, value)
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Body.String(), w.Header()}
}

const (
	jsonBody = "Content-Type: application/json"
	formBody = "Content-Type: application/x-www-form-urlencoded"
)

// errorBody is an error reply.
type errorBody struct {
	Request string `json:"request"`
	Code    int    `json:"error_code"`
	Text    string `json:"error"`
}

// fails checks that a is the error of a code with a text that holds want.
func (a answer) fails(t testing.TB, status, code int, want string) {
	t.Helper()
	var e errorBody
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if a.status != status || e.Code != code || !strings.Contains(e.Text, want) {
		t.Errorf("got status %d, body %s; want status %d, code %d, text with %q", a.status, a.body, status, code, want)
	}
	if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
}

// is checks status and body.
func (a answer) is(t testing.TB, status int, body string) {
	t.Helper()
	if a.status != status || strings.TrimSuffix(a.body, "\n") != body {
		t.Errorf("got status %d, body %s\nwant status %d, body %s", a.status, a.body, status, body)
	}
}

// panics runs f and returns what it panicked with.
func panics(t testing.TB, f func()) (text string) {
	t.Helper()
	defer func() {
		p := recover()
		if p == nil {
			t.Fatal("did not panic")
		}
		text, _ = p.(string)
	}()
	f()
	return ""
}

// users accepts a token that names a user, an application and scopes, such as
// "7" or "7@app scope…".
type users struct{}

func (users) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	if err != nil {
		return webv4.Principal{}, err
	}
	if token == "old" {
		return webv4.Principal{}, webv4.ErrTokenExpired
	}
	if strings.HasPrefix(token, "bad") {
		return webv4.Principal{}, io.ErrUnexpectedEOF
	}
	words := strings.Fields(token)
	if len(words) == 0 {
		return webv4.Principal{}, webv4.ErrTokenInvalid
	}
	id, app, _ := strings.Cut(words[0], "@")
	return webv4.Principal{ID: id, App: app, Scopes: words[1:]}, nil
}

// empty is a reply without anything in it.
type empty struct{}
