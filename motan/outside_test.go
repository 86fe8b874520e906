package motan_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// A page of another site can make a browser send a request without asking, with a
// body of some types: none of them calls anything, or turns a switch.
func TestOtherSitesCannotCall(t *testing.T) {
	srv := newServer(t, nil)
	called := false
	motan.Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) { called = true; return s, nil })
	for path, h := range map[string]http.Handler{"/s/m": srv.HTTPHandler(), "/faults": (&motan.Admin{Servers: []*motan.Server{srv}}).Handler()} {
		r := httptest.NewRequest("POST", path, strings.NewReader(`"x"`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "http://evil.example")
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != http.StatusForbidden || called {
			t.Errorf("%s of another site: %d %s", path, w.Code, w.Body)
		}
	}
	for kind, want := range map[string]int{
		"": 200, "application/json": 200, "application/json; charset=utf-8": 200, "application/x+json": 200,
		"text/plain": 415, "application/msgpack": 415, "application/x-www-form-urlencoded": 415, ";": 415,
	} {
		called = false
		r := httptest.NewRequest("POST", "/s/m", strings.NewReader(`"x"`))
		if kind != "" {
			r.Header.Set("Content-Type", kind)
		}
		w := httptest.NewRecorder()
		if srv.HTTPHandler().ServeHTTP(w, r); w.Code != want || called != (want == 200) {
			t.Errorf("%q: %d %s, called %v", kind, w.Code, w.Body, called)
		}
	}
}

// The name of a method is one element of the path, whatever is in it.
func TestMethodNamesOverHTTP(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "say", func(context.Context, *string) (*string, error) { s := "say"; return &s, nil })
	motan.Handle(srv, "s", "a b/%?#c", func(context.Context, *string) (*string, error) { s := "odd"; return &s, nil })
	web := httptest.NewServer(srv.HTTPHandler())
	defer web.Close()
	c := newClient(t, "s", motan.Static(web.URL), &motan.ClientOptions{Timeout: patience, Serializer: motan.JSON{}})
	if s, err := motan.Call[string](t.Context(), c, "a b/%?#c", "x"); err != nil || *s != "odd" {
		t.Errorf("%v, %v", s, err)
	}
	for _, method := range []string{"say?x=1", "say#f", "say/"} {
		var e *motan.Error
		if s, err := motan.Call[string](t.Context(), c, method, "x"); !errors.As(err, &e) {
			t.Errorf("%s: %v, %v", method, s, err)
		}
	}
}

// What one handler answers cannot take the others' calls with it.
func TestLargeErrorsAndMetadata(t *testing.T) {
	const limit = 1 << 20
	srv := newServer(t, &motan.ServerOptions{MaxFrame: limit})
	large := strings.Repeat("ä", limit)
	motan.Handle(srv, "s", "error", func(context.Context, *string) (*string, error) { return nil, errors.New(large) })
	motan.Handle(srv, "s", "meta", func(ctx context.Context, s *string) (*string, error) {
		motan.Reply(ctx, "large", large)
		return s, nil
	})
	release := make(chan struct{})
	motan.Handle(srv, "s", "wait", func(_ context.Context, s *string) (*string, error) { <-release; return s, nil })
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Connections: 1, MaxFrame: limit})
	waiting := make(chan error, 1)
	go func() {
		_, err := motan.Call[string](context.Background(), c, "wait", "x")
		waiting <- err
	}()
	var e *motan.Error
	if _, err := motan.Call[string](t.Context(), c, "error", "x"); !errors.As(err, &e) || e.Type != motan.Business || len(e.Message) > 130<<10 || !strings.HasPrefix(e.Message, "äää") {
		t.Errorf("a large error: %.200v", err)
	}
	if _, err := motan.Call[string](t.Context(), c, "meta", "x"); !errors.As(err, &e) || e.Code != motan.CodeInternal || !strings.Contains(e.Message, "metadata") {
		t.Errorf("large metadata: %.200v", err)
	}
	close(release)
	if err := <-waiting; err != nil {
		t.Errorf("another's call: %v", err)
	}
}
