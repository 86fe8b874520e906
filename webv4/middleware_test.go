package webv4_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// Middleware may return before what it wraps, as http.TimeoutHandler does: the
// client has its answer then, and the handler ends in peace.
func TestMiddlewareReturnsFirst(t *testing.T) {
	a := newAPI(t, &webv4.Options{Middleware: []func(http.Handler) http.Handler{
		func(next http.Handler) http.Handler { return http.TimeoutHandler(next, 20*time.Millisecond, "slow") },
	}})
	type in struct {
		_    struct{} `route:"GET /maybe"`
		Slow bool     `query:"slow"`
	}
	release := make(chan struct{})
	var ended sync.WaitGroup
	webv4.Handle(a, func(ctx context.Context, in *in) (*in2, error) {
		if in.Slow {
			defer ended.Done()
			<-release
		}
		return &in2{"done"}, nil
	})
	srv := httptest.NewServer(a)
	defer srv.Close()
	var clients sync.WaitGroup
	for i := range 8 {
		slow := i%2 == 0
		if slow {
			ended.Add(1)
		}
		clients.Go(func() {
			query := ""
			if slow {
				query = "?slow=true"
			}
			resp, err := http.Get(srv.URL + "/maybe" + query)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			// The fast ones may be late on a machine that has other work.
			b := make([]byte, 4)
			if _, err := io.ReadFull(resp.Body, b); err != nil || slow && (resp.StatusCode != 503 || string(b) != "slow") {
				t.Errorf("%s %q, %v", resp.Status, b, err)
			}
		})
	}
	clients.Wait() // while the handlers still run
	close(release)
	ended.Wait()
}

// A panic in middleware is answered with the version's own codes.
func TestMiddlewarePanicHasTheVersionsCodes(t *testing.T) {
	a := newAPI(t, &webv4.Options{
		ErrorCodes: webv4.ErrorCodes{webv4.CodeSystem: {Code: 50001, Status: 500, Text: "ours"}},
		Middleware: []func(http.Handler) http.Handler{
			func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("x") })
			},
		},
	})
	webv4.Handle(a, func(context.Context, *plainShow) (*empty, error) { return nil, nil })
	if r := do(t, a, "GET /show", ""); !strings.Contains(r.body, "50001") || !strings.Contains(r.body, "ours") {
		t.Errorf("%d %s", r.status, r.body)
	}
}
