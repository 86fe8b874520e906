package webv4_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// named answers with the route's name and its parameters.
func named(name string, params ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name)
		for _, p := range params {
			fmt.Fprintf(w, " %s=%s", p, r.PathValue(p))
		}
	})
}

func TestRouting(t *testing.T) {
	a := newAPI(t, nil)
	for _, rt := range []struct {
		route  string
		params []string
	}{
		{"GET /", nil},
		{"GET /users/:id", []string{"id"}},
		{"GET /users/:name/posts", []string{"name"}}, // another name at one place
		{"GET /users/me", nil},                       // static beside parameter
		{"GET /users/me/:what", []string{"what"}},
		{"GET /users/:id/:what/x", []string{"id", "what"}},
		{"GET /users/:id.json", []string{"id"}},
		{"GET /users/:id.xml", []string{"id"}},
		{"POST /users/:id", []string{"id"}},
		{"DELETE /users/:id", []string{"id"}},
		{"GET /files/*path", []string{"path"}},
		{"GET /files/:a", []string{"a"}},
		{"GET /files/a/:b", []string{"b"}},
		{"GET /:any/:thing", []string{"any", "thing"}},
		{"HEAD /head", nil},
		{"GET /微博/:x", []string{"x"}},
	} {
		a.Mount(rt.route, named(rt.route, rt.params...))
	}
	for request, want := range map[string]string{
		"GET /":                         "GET /",
		"GET /users/me":                 "GET /users/me",
		"GET /users/7":                  "GET /users/:id id=7",
		"GET /users/7.json":             "GET /users/:id.json id=7",
		"GET /users/7.xml":              "GET /users/:id.xml id=7",
		"GET /users/7.txt":              "GET /users/:id id=7.txt",
		"GET /users/.json":              "GET /users/:id id=.json",
		"GET /users/7/posts":            "GET /users/:name/posts name=7",
		"GET /users/me/posts":           "GET /users/me/:what what=posts",
		"GET /users/me/x":               "GET /users/me/:what what=x",
		"GET /users/me/y/x":             "GET /users/:id/:what/x id=me what=y",
		"POST /users/me":                "POST /users/:id id=me",
		"GET /files/a":                  "GET /files/:a a=a",
		"GET /files/a/b":                "GET /files/a/:b b=b",
		"GET /files/a/b/c":              "GET /files/*path path=a/b/c",
		"GET /files/b/c":                "GET /files/*path path=b/c",
		"GET /x/y":                      "GET /:any/:thing any=x thing=y",
		"GET /%E5%BE%AE%E5%8D%9A/a%20b": "GET /微博/:x x=a b",
	} {
		do(t, a, request, "").is(t, 200, want)
	}
	for _, request := range []string{"GET /x", "GET /x/y/z", "GET /users/", "GET /users/7/", "GET //", "GET /nothing/at/all"} {
		do(t, a, request, "").fails(t, 404, 10020, "request api not found")
	}
	for request, allow := range map[string]string{
		"PUT /users/7": "DELETE, GET, HEAD, OPTIONS, POST", "POST /": "GET, HEAD, OPTIONS", "GET /head": "HEAD, OPTIONS", "FETCH /": "GET, HEAD, OPTIONS",
	} {
		r := do(t, a, request, "")
		r.fails(t, 405, 10021, "not supported")
		if got := r.header.Get("Allow"); got != allow {
			t.Errorf("%s: Allow %q, want %q", request, got, allow)
		}
	}
	r := do(t, a, "OPTIONS /users/7", "")
	if r.status != 204 || r.body != "" || r.header.Get("Allow") != "DELETE, GET, HEAD, OPTIONS, POST" {
		t.Errorf("OPTIONS: %+v", r)
	}
	do(t, a, "OPTIONS /nothing/at/all", "").fails(t, 404, 10020, "")
}

func TestRoutesRefused(t *testing.T) {
	a := newAPI(t, nil)
	a.Mount("GET /a/:x", a)
	for route, want := range map[string]string{
		"GET /a/:y":      "registered twice",
		"GET /b//c":      "can never be asked for",
		"GET /b/../c":    "can never be asked for",
		"GET /b/:":       "want text, :name",
		"GET /b/x:y":     "want text, :name",
		"GET /b/:x:y":    "want text, :name",
		"GET /b/*x/c":    "can only be the last",
		"GET /b/:x.y/c":  "can only be the last",
		"GET /b/:x/c/:x": "two parameters x",
		"GET /b?c=d":     "want a / first",
		"TRACE /b":       "want a method",
		"GET /b/:.json":  "want text, :name",
	} {
		if text := panics(t, func() { a.Mount(route, a) }); !strings.Contains(text, want) {
			t.Errorf("%s: %q does not say %q", route, text, want)
		}
	}
}

// Whatever the routes are, a request goes to the most specific that fits it,
// segment by segment: static, then with suffix, then parameter, then catch-all.
func TestRoutingModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := []string{"a", "b", "ab", ":p", ":p.j"}
	for range 300 {
		a := newAPI(t, nil)
		var routes []string
		seen := map[string]bool{}
		for range 1 + rng.IntN(12) {
			n := 1 + rng.IntN(4)
			path, key := "", ""
			for i := range n {
				w := words[rng.IntN(len(words))]
				if w == ":p.j" && i < n-1 {
					w = ":p"
				}
				if i == n-1 && n > 1 && rng.IntN(5) == 0 {
					w = "*p"
				}
				key += "/" + w
				path += "/" + strings.Replace(w, "p", fmt.Sprintf("p%d%d", i, rng.IntN(3)), 1)
			}
			if !seen[key] {
				seen[key] = true
				routes = append(routes, path)
				a.Mount("GET "+path, named(path))
			}
		}
		for range 50 {
			path := ""
			for range 1 + rng.IntN(5) {
				path += "/" + []string{"a", "b", "ab", "c", "c.j", ".j"}[rng.IntN(6)]
			}
			best := ""
			for _, rt := range routes {
				if fits(rt, path) && (best == "" || moreSpecific(rt, best)) {
					best = rt
				}
			}
			r := do(t, a, "GET "+path, "")
			if best == "" {
				best = "404"
			}
			if got := r.body; got != best && !(best == "404" && r.status == 404) {
				t.Fatalf("routes %q: %s went to %q, want %q", routes, path, got, best)
			}
		}
	}
}

func rank(segment string) int {
	switch {
	case segment[0] == '*':
		return 3
	case segment[0] == ':' && strings.HasSuffix(segment, ".j"):
		return 1
	case segment[0] == ':':
		return 2
	}
	return 0
}

func fits(route, path string) bool {
	rs, ps := strings.Split(route[1:], "/"), strings.Split(path[1:], "/")
	for i, s := range rs {
		if i >= len(ps) {
			return false
		}
		switch rank(s) {
		case 0:
			if s != ps[i] {
				return false
			}
		case 1:
			if !strings.HasSuffix(ps[i], ".j") || ps[i] == ".j" {
				return false
			}
		case 3:
			return true
		}
	}
	return len(rs) == len(ps)
}

func moreSpecific(a, b string) bool {
	as, bs := strings.Split(a[1:], "/"), strings.Split(b[1:], "/")
	for i := range min(len(as), len(bs)) {
		if d := rank(as[i]) - rank(bs[i]); d != 0 {
			return d < 0
		}
	}
	return len(as) > len(bs)
}
