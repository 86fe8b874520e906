package webv4_test

import (
	"context"
	"io"
	"net/http"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// Replies are used again, but none that anybody may hold on to: what is done to
// a reply or a context of a call that is over reaches no other call.
func TestRepliesOfOthersAreOutOfReach(t *testing.T) {
	type plain struct {
		_ struct{} `route:"GET /plain.json"`
	}
	type streamed struct {
		_ struct{} `route:"GET /stream"`
	}
	type turned struct {
		_ struct{} `route:"GET /turned.json" with:"turn"`
	}
	type wrapped struct {
		_ struct{} `route:"GET /wrapped.json"`
	}
	var kept []io.Writer
	var contexts []context.Context
	keep := func(ctx context.Context, w io.Writer) error {
		kept, contexts = append(kept, w), append(contexts, ctx)
		return nil
	}
	a := newAPI(t, nil)
	a.Intercept("turn", func(context.Context, *webv4.Call, webv4.Next) (any, error) { return &webv4.Stream{Write: keep}, nil })
	webv4.Handle(a, func(context.Context, *streamed) (*webv4.Stream, error) { return &webv4.Stream{Write: keep}, nil })
	webv4.Handle(a, func(context.Context, *turned) (*empty, error) { return nil, nil })
	a.Mount("GET /mounted", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { keep(r.Context(), w) }))
	g := a.Group("/g", &webv4.GroupOptions{Middleware: []func(http.Handler) http.Handler{func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			keep(r.Context(), w)
			next.ServeHTTP(w, r)
		})
	}}})
	webv4.Handle(g, func(ctx context.Context, _ *wrapped) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(ctx context.Context, _ *plain) (*user, error) {
		for _, w := range kept {
			if h, ok := w.(http.ResponseWriter); ok {
				h.Header().Set("X-Junk", "1")
				h.WriteHeader(http.StatusTeapot)
			}
			io.WriteString(w, "junk")
		}
		for _, old := range contexts {
			webv4.SetStatus(old, http.StatusAccepted)
			webv4.Header(old).Set("X-Junk", "1")
		}
		contexts = append(contexts, ctx)
		return &user{ID: 7}, nil
	})
	for _, path := range []string{"/stream", "/turned.json", "/mounted", "/g/wrapped.json"} {
		if r := do(t, a, "GET "+path, ""); r.status != 200 {
			t.Fatalf("%s: %+v", path, r)
		}
	}
	for range 20 {
		r := do(t, a, "GET /plain.json", "")
		r.is(t, 200, `{"id":7,"name":"","count":0,"tags":null}`)
		if r.header.Get("X-Junk") != "" {
			t.Fatalf("%+v", r.header)
		}
	}
	if len(kept) != 4 {
		t.Errorf("%d writers were seen", len(kept))
	}
}
