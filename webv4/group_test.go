package webv4_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type failIn struct {
	_ struct{} `route:"GET /fail.json"`
	N int      `query:"n" min:"1"`
}

func fail(context.Context, *failIn) (*empty, error) {
	return nil, &webv4.Error{Status: 404, Code: 20101, Message: "target <weibo> does not exist"}
}

func TestErrorStyles(t *testing.T) {
	a := newAPI(t, nil)
	v1 := a.Group("/1", &webv4.GroupOptions{Errors: webv4.WeiboStringErrors})
	v3 := a.Group("/3", &webv4.GroupOptions{Errors: webv4.ProblemErrors})
	webv4.Handle(v1, fail)
	webv4.Handle(v3, fail)
	webv4.Handle(v3.Group("/old", &webv4.GroupOptions{Errors: webv4.WeiboErrors}), fail)
	for request, want := range map[string]string{
		"GET /1/fail.json?n=0":     `400 application/json; charset=utf-8 {"request":"/1/fail.json","error_code":"10017","error":"parameter value invalid: (n) expect (\u003e= 1), but get (0)"}`,
		"GET /1/nothing":           `404 application/json; charset=utf-8 {"request":"/1/nothing","error_code":"10020","error":"request api not found"}`,
		"GET /3/fail.json?n=1":     `404 application/problem+json {"type":"about:blank","title":"Not Found","status":404,"detail":"target \u003cweibo\u003e does not exist","instance":"/3/fail.json","error_code":20101}`,
		"GET /3/fail.json?n=0":     `400 application/problem+json {"type":"about:blank","title":"parameter value invalid","status":400,"detail":"(n) expect (\u003e= 1), but get (0)","instance":"/3/fail.json","error_code":10017}`,
		"GET /3/nothing":           `404 application/problem+json {"type":"about:blank","title":"request api not found","status":404,"instance":"/3/nothing","error_code":10020}`,
		"GET /3/fail.xml?n=1":      `404 application/problem+xml <?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<problem xmlns="urn:ietf:rfc:7807"><type>about:blank</type><title>Not Found</title><status>404</status><detail>target &lt;weibo&gt; does not exist</detail><instance>/3/fail.xml</instance><error_code>20101</error_code></problem>`,
		"GET /3/old/fail.json?n=1": `404 application/json; charset=utf-8 {"request":"/3/old/fail.json","error_code":20101,"error":"target \u003cweibo\u003e does not exist"}`,
		"GET /3/old/nothing":       `404 application/json; charset=utf-8 {"request":"/3/old/nothing","error_code":10020,"error":"request api not found"}`,
		"GET /33":                  `404 application/json; charset=utf-8 {"request":"/33","error_code":10020,"error":"request api not found"}`,
	} {
		r := do(t, a, request, "")
		if got := fmt.Sprint(r.status, " ", r.header.Get("Content-Type"), " ", strings.TrimSuffix(r.body, "\n")); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", request, got, want)
		}
	}
}

func TestGroups(t *testing.T) {
	a := newAPI(t, &webv4.Options{Quotas: "ip=5/h"})
	g := a.Group("/g", &webv4.GroupOptions{Quotas: "ip=3/h", Authenticator: users{}})
	type one struct {
		_ struct{} `route:"GET /one" auth:"user"`
	}
	type two struct {
		_ struct{} `route:"GET /two"`
	}
	webv4.Handle(g, func(context.Context, *one) (*empty, error) { return nil, nil })
	webv4.Handle(g, func(context.Context, *two) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *two) (*empty, error) { return nil, nil })
	g.Mount("GET /plain/:x", named("plain", "x"))
	do(t, a, "GET /g/plain/1", "").is(t, 200, "plain x=1")
	do(t, a, "GET /g/one", "").fails(t, 401, webv4.CodeTokenMissing, "")
	for _, route := range []string{"GET /g/one?access_token=7", "GET /g/two", "GET /g/two"} {
		do(t, g, route, "").is(t, 200, "{}") // a group serves the whole API
	}
	do(t, a, "GET /g/two", "").fails(t, 429, webv4.CodeIPLimit, "") // all of the group's calls count
	do(t, a, "GET /two", "").is(t, 200, "{}")
	do(t, a, "GET /two", "").is(t, 200, "{}")
	do(t, a, "GET /two", "").fails(t, 429, webv4.CodeIPLimit, "") // and they counted outside too
	for _, path := range []string{"x", "/x/", "/:x", "/a b"} {
		if text := panics(t, func() { a.Group(path, nil) }); !strings.Contains(text, "want a path") {
			t.Errorf("%q: %s", path, text)
		}
	}
	if text := panics(t, func() { a.Group("/x", &webv4.GroupOptions{Quotas: "x", Errors: 9}) }); !strings.Contains(text, "quota") || !strings.Contains(text, "no such style") {
		t.Error(text)
	}
}

func TestInterceptors(t *testing.T) {
	var trail []string
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	note := func(name string) webv4.Interceptor {
		return func(ctx context.Context, call *webv4.Call, next webv4.Next) (any, error) {
			p, _ := webv4.PrincipalFrom(ctx)
			trail = append(trail, fmt.Sprintf("%s>%s %s %+v %s", name, call.Interface(), p.ID, call.Input(), call.Tag("audit")))
			out, err := next(context.WithValue(ctx, key{}, name))
			trail = append(trail, fmt.Sprintf("<%s %+v %v", name, out, err))
			return out, err
		}
	}
	type key2 = key
	a.Intercept("outer", note("outer"))
	a.Filter("filter", func(ctx context.Context, call *webv4.Call) error {
		trail = append(trail, fmt.Sprint("filter ", call.Input(), " ", call.Request().URL.Path))
		if call.Request().Header.Get("X-Stop") != "" {
			return webv4.Errorf(webv4.CodeAppPermission, "")
		}
		return nil
	})
	a.Intercept("inner", note("inner"))
	a.Intercept("replace", func(ctx context.Context, call *webv4.Call, next webv4.Next) (any, error) {
		if _, err := next(ctx); err != nil {
			return map[string]string{"caught": err.Error()}, nil
		}
		return []int{1, 2}, nil
	})
	type in struct {
		_ struct{} `route:"GET /i.json" auth:"user" with:"inner,filter" audit:"yes"`
		N int      `query:"n"`
	}
	type replaced struct {
		_ struct{} `route:"GET /r.json" with:"replace"`
		N int      `query:"n"`
	}
	g := a.Group("", &webv4.GroupOptions{With: []string{"outer"}})
	webv4.Handle(g, func(ctx context.Context, in *in) (*in2, error) { return &in2{fmt.Sprint(ctx.Value(key2{}), in.N)}, nil })
	webv4.Handle(a, func(_ context.Context, in *replaced) (*empty, error) {
		if in.N > 0 {
			return nil, errors.New("x")
		}
		return nil, nil
	})
	do(t, a, "GET /i.json?access_token=7&n=1", "").is(t, 200, `{"p":"inner1"}`)
	want := "filter <nil> /i.json|outer>GET /i.json 7 &{_:{} N:1} yes|inner>GET /i.json 7 &{_:{} N:1} yes|<inner &{P:inner1} <nil>|<outer &{P:inner1} <nil>"
	if got := strings.Join(trail, "|"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	trail = nil
	do(t, a, "GET /i.json?access_token=7&n=x", "", "X-Stop: 1").fails(t, 403, webv4.CodeAppPermission, "")
	if len(trail) != 1 {
		t.Errorf("after a filter's refusal: %q", trail)
	}
	do(t, a, "GET /r.json", "").is(t, 200, `[1,2]`)
	do(t, a, "GET /r.json?n=1", "").is(t, 200, `{"caught":"x"}`)
	do(t, a, "GET /r.xml", "").is(t, 200, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<result><item>1</item><item>2</item></result>")
	type unknown struct {
		_ struct{} `route:"GET /u" with:"nobody"`
	}
	b := newAPI(t, nil)
	b.Intercept("x", note("x"))
	for want, f := range map[string]func(){
		`no interceptor or filter "nobody"`: func() { webv4.Handle(b, func(context.Context, *unknown) (*empty, error) { return nil, nil }) },
		`interceptor "x"`:                   func() { b.Filter("x", func(context.Context, *webv4.Call) error { return nil }) },
		`interceptor ""`:                    func() { b.Intercept("", note("")) },
		`interceptor "y"`:                   func() { b.Intercept("y", nil) },
	} {
		if text := panics(t, f); !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

type key struct{}

func TestMiddleware(t *testing.T) {
	var log bytes.Buffer
	mw := func(name string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.Header.Get("X-Do") {
				case name + " stop":
					http.Error(w, "stopped", http.StatusTeapot)
					return
				case name + " panic":
					panic("in " + name)
				}
				w.Header().Add("X-Order", name)
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, name)))
			})
		}
	}
	a := newAPI(t, &webv4.Options{AccessLog: &log, Middleware: []func(http.Handler) http.Handler{mw("a"), mw("b")}, Authenticator: users{}})
	g := a.Group("/g", &webv4.GroupOptions{Middleware: []func(http.Handler) http.Handler{mw("c")}})
	type in struct {
		_ struct{} `route:"GET /in.json" auth:"user"`
		N int      `query:"n"`
	}
	webv4.Handle(g, func(ctx context.Context, in *in) (*in2, error) {
		if in.N > 0 {
			panic("in the handler")
		}
		p, _ := webv4.PrincipalFrom(ctx)
		return &in2{fmt.Sprint(ctx.Value(key{}), p.ID)}, nil
	})
	g.Mount("GET /plain", named("plain"))
	const url = "GET /g/in.json?access_token=7"
	r := do(t, a, url, "")
	r.is(t, 200, `{"p":"c7"}`)
	if got := strings.Join(r.header["X-Order"], ""); got != "abc" {
		t.Errorf("order %s", got)
	}
	do(t, a, "GET /g/plain", "").is(t, 200, "plain")
	do(t, a, "GET /g/in.json", "").fails(t, 401, webv4.CodeTokenMissing, "")
	do(t, a, url+"&n=1", "").fails(t, 500, webv4.CodeSystem, "")
	do(t, a, url, "", "X-Do: b stop").is(t, 418, "stopped")
	do(t, a, url, "", "X-Do: c panic").fails(t, 500, webv4.CodeSystem, "")
	if r := do(t, a, "GET /nowhere", ""); len(r.header["X-Order"]) > 0 {
		t.Error("middleware saw what has no interface")
	}
	a.Shutdown(context.Background())
	var statuses []any
	for _, l := range logLines(t, log.String()) {
		statuses = append(statuses, l["status"])
	}
	if got := fmt.Sprint(statuses); got != "[200 200 401 500 418 500 404]" {
		t.Errorf("log %s", got)
	}
}

func TestRequestIDs(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, &webv4.Options{RequestIDs: true, AccessLog: &log, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	var inside string
	webv4.Handle(a, func(ctx context.Context, _ *do1) (*empty, error) { inside = webv4.RequestID(ctx); return nil, nil })
	fresh := regexp.MustCompile("^[0-9a-f]{32}$")
	for _, tc := range []struct {
		remote, sent string
		kept         bool
	}{{"1.1.1.1:1", "abc", false}, {"10.0.0.1:1", "A-b_c.9", true}, {"10.0.0.1:1", "a b", false}, {"10.0.0.1:1", strings.Repeat("x", 65), false}, {"10.0.0.1:1", "", false}} {
		r := do(t, a, "GET /do.json", "", "RemoteAddr: "+tc.remote, "X-Request-Id: "+tc.sent)
		if got := r.header.Get("X-Request-Id"); got != inside || (got == tc.sent) != tc.kept || !tc.kept && !fresh.MatchString(got) {
			t.Errorf("%+v: %q, inside %q", tc, got, inside)
		}
	}
	a.Shutdown(context.Background())
	if l := logLines(t, log.String()); l[1]["id"] != "A-b_c.9" || l[4]["id"] != inside {
		t.Errorf("log %v", l)
	}
	if webv4.RequestID(context.Background()) != "" {
		t.Error("an id outside a call")
	}
}
