package webv4_test

import (
	"context"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

// An escaped slash is part of its segment; everything else means the same escaped and
// not.
func TestEscapedPaths(t *testing.T) {
	a := newAPI(t, nil)
	for _, rt := range []string{"GET /A", "GET /users/:x/posts", "GET /users/:x", "GET /two/:x/:y", "GET /files/*x", "GET /names/:x.json"} {
		a.Mount(rt, named(rt, "x", "y"))
	}
	for path, want := range map[string]string{
		"/%41":                    "GET /A x= y=",
		"/users/a%2Fb":            "GET /users/:x x=a/b y=",
		"/users/a%2fb/posts":      "GET /users/:x/posts x=a/b y=",
		"/users/%2F":              "GET /users/:x x=/ y=",
		"/users/a%252Fb":          "GET /users/:x x=a%2Fb y=",
		"/users/posts%2Fposts":    "GET /users/:x x=posts/posts y=",
		"/two/a%2Fb/c":            "GET /two/:x/:y x=a/b y=c",
		"/two/a/b%2Fc":            "GET /two/:x/:y x=a y=b/c",
		"/two/%E5%BE%AE%2Fx/%20y": "GET /two/:x/:y x=微/x y= y",
		"/files/a%2Fb/c":          "GET /files/*x x=a/b/c y=",
		"/names/a%2Fb.json":       "GET /names/:x.json x=a/b y=",
	} {
		do(t, a, "GET "+path, "").is(t, 200, want)
	}
	do(t, a, "GET /two%2Fa/b", "").fails(t, 404, webv4.CodeNoAPI, "")
	do(t, a, "GET /users/a%2Fb%00c", "").fails(t, 404, webv4.CodeNoAPI, "")
	if r := do(t, a, "POST /users/a%2Fb", ""); r.status != 405 || r.header.Get("Allow") != "GET, HEAD, OPTIONS" {
		t.Errorf("%+v", r)
	}
}

// Requests whose paths differ in an escaped slash alone are different ones.
func TestEscapedPathsAreKeptApart(t *testing.T) {
	type in struct {
		_ struct{} `route:"POST /pairs/:x/:y" auth:"user" idempotent:"1m"`
		X string   `path:"x"`
		Y string   `path:"y"`
	}
	type show struct {
		_ struct{} `route:"GET /pairs/:x/:y" degrade:"pairs=stale:1m"`
		X string   `path:"x"`
		Y string   `path:"y"`
	}
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	webv4.Handle(a, func(_ context.Context, in *in) (*in2, error) { return &in2{in.X + "|" + in.Y}, nil })
	webv4.Handle(a, func(_ context.Context, in *show) (*in2, error) { return &in2{in.X + "|" + in.Y}, nil })
	first := do(t, a, "POST /pairs/a%2Fb/c", "", "Authorization: Bearer 7", "Idempotency-Key: k")
	if r := do(t, a, "POST /pairs/a/b%2Fc", "", "Authorization: Bearer 7", "Idempotency-Key: k"); first.status != 200 || r.status != 422 {
		t.Errorf("first %+v, then another with the same key %+v", first, r)
	}
	wants := map[string]string{}
	for _, path := range []string{"/pairs/a%2Fb/c", "/pairs/a/b%2Fc", "/pairs/a/b%3Fc?d", "/pairs/a/b?c?d"} {
		wants[path] = do(t, a, "GET "+path, "").body
	}
	if err := a.Degrade("pairs", webv4.Degradation{Level: webv4.Stale}); err != nil {
		t.Fatal(err)
	}
	for path, want := range wants {
		if r := do(t, a, "GET "+path, ""); r.body != want || r.header.Get("X-Degraded") == "" {
			t.Errorf("%s: %+v, want %s", path, r, want)
		}
	}
}
