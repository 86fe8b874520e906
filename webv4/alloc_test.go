//go:build !race

package webv4_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// The race detector makes pools lose what they hold and everything slow, so
// these are checked without it.

// However many callers there are, the memory for them is bounded, and those
// that have used nothing for a while are forgotten first.
func TestQuotaMemoryIsBounded(t *testing.T) {
	a := newAPI(t, &webv4.Options{Quotas: "user=1000/d", Authenticator: users{}})
	type in struct {
		_ struct{} `route:"GET /x" auth:"user"`
	}
	webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/x", nil)
	for i := range 1_100_000 {
		r.Header["Authorization"] = []string{"Bearer " + strconv.Itoa(i)}
		a.ServeHTTP(w, r)
		w.Body.Reset()
	}
	if n := a.Stats().Callers; n > 1<<20 || n < 900_000 {
		t.Errorf("%d callers are remembered", n)
	}
}

func TestAllocations(t *testing.T) {
	a := measured(t, nil) // watchman counts its own
	plain := newAPI(t, nil)
	reply := &user{7, "Ada", 20, []string{"a", "b"}}
	webv4.Handle(plain, func(_ context.Context, in *getUser) (*user, error) { return reply, nil })
	webv4.Handle(plain, func(_ context.Context, in *postUser) (*user, error) { return reply, nil })
	shown := &in2{"x"}
	webv4.Handle(plain, func(context.Context, *plainShow) (*in2, error) { return shown, nil })
	w := &sink{header: http.Header{}}
	for _, tc := range []struct {
		name   string
		api    *webv4.API
		r      *request
		status int
		most   float64
	}{
		{"typed GET", plain, newRequest("GET", "/users/7.json?count=5&page=2", ""), 200, 2},
		{"negotiated GET", plain, newRequest("GET", "/show", "", "Accept", "text/html, application/json;q=0.9, */*;q=0.8"), 200, 2},
		{"validated POST", plain, newRequest("POST", "/users.json", userJSON, "Content-Type", "application/json"), 200, 5},
		{"all of governance", a, newRequest("GET", "/governed.json?n=1", "", "Authorization", "Bearer token"), 200, 4},
		{"not authorized", a, newRequest("GET", "/governed.json?n=1", "", "Authorization", "Bearer x"), 401, 3},
		{"no such path", a, newRequest("GET", "/nothing", ""), 404, 1},
	} {
		tc.r.send(tc.api, w)
		if w.status != tc.status {
			t.Errorf("%s: status %d", tc.name, w.status)
		}
		if got := testing.AllocsPerRun(1000, func() { tc.r.send(tc.api, w) }); got > tc.most+0.1 {
			t.Errorf("%s: %v allocations, want %v", tc.name, got, tc.most)
		}
	}
}
