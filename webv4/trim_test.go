package webv4_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type author struct {
	ID   int    `json:"id"`
	Name string `json:"name" trim:"true"`
}

type article struct {
	Text   string   `json:"text"`
	Author *author  `json:"author"`
	Likes  []author `json:"likes"`
}

// Clients have replies trimmed by a parameter of the interface's own.
func TestTrimmedForClients(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /post.json" trim:"trim_user" select:"fields" degrade:"post=trim"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *in) (*article, error) {
		return &article{"hi", &author{1, "Ada"}, []author{{2, "Bob"}}}, nil
	})
	const all, trimmed = `{"text":"hi","author":{"id":1,"name":"Ada"},"likes":[{"id":2,"name":"Bob"}]}`, `{"text":"hi","author":{"id":1},"likes":[{"id":2}]}`
	for query, want := range map[string]string{
		"": all, "?trim_user=0": all, "?trim_user=false": all, "?trim_user=": all, "?trim_user=1": trimmed, "?trim_user=true": trimmed,
		"?fields=author&trim_user=true": `{"author":{"id":1}}`, "?trim%5Fuser=%31": trimmed, "?x%zz=1&%66ields=author%2Eid%2Ctext&fields=likes": `{"text":"hi","author":{"id":1}}`,
	} {
		r := do(t, a, "GET /post.json"+query, "")
		r.is(t, 200, want)
		if r.header.Get("X-Degraded") != "" {
			t.Errorf("%s: %v", query, r.header)
		}
	}
	do(t, a, "GET /post.json?trim_user=yes", "").fails(t, 400, webv4.CodeInvalid, "(trim_user) expect (true or false), but get (yes)")
	for _, query := range []string{"fields=author%zz", "trim_user=%2", "trim_user=1%"} {
		do(t, a, "GET /post.json?"+query, "").fails(t, 400, webv4.CodeInvalid, "is not well escaped")
	}
	list, _ := a.Describe()
	if p := list[0].Parameters; len(p) != 2 || p[1].Name != "trim_user" || p[1].Schema.Type != "boolean" {
		t.Errorf("described as %+v", p)
	}
	type clash struct {
		_ struct{} `route:"GET /clash" trim:"x" select:"x"`
		X string   `query:"x"`
	}
	refused[clash](t, "select and trim both take query x", "trim and X both take query x", `trim "x": the reply has no field tagged`)
}

// What may be kept, by whom and for how long, is said in replies that are what
// the handler made of the request, and in no others.
func TestCacheControl(t *testing.T) {
	type public struct {
		_    struct{} `route:"GET /public.json" cache:"5m" etag:"true" degrade:"public=trim"`
		Fail bool     `query:"fail"`
		Own  bool     `query:"own"`
	}
	type private struct {
		_ struct{} `route:"GET /private.json" cache:"30s" auth:"user"`
	}
	type secret struct {
		_ struct{} `route:"GET /secret.json" cache:"none"`
	}
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	webv4.Handle(a, func(ctx context.Context, in *public) (*in2, error) {
		if in.Fail {
			return nil, errors.New("no")
		}
		if in.Own {
			webv4.Header(ctx).Set("Cache-Control", "max-age=1")
		}
		return &in2{"x"}, nil
	})
	webv4.Handle(a, func(context.Context, *private) (*in2, error) { return &in2{"x"}, nil })
	webv4.Handle(a, func(context.Context, *secret) (*in2, error) { return &in2{"x"}, nil })
	tag := do(t, a, "GET /public.json", "").header.Get("Etag")
	check := func(path, header, want string, status int) {
		t.Helper()
		if r := do(t, a, "GET "+path, "", header); r.status != status || r.header.Get("Cache-Control") != want {
			t.Errorf("%s: %d %v, want %d %q", path, r.status, r.header, status, want)
		}
	}
	check("/public.json", "X: y", "max-age=300", 200)
	check("/public.json", "If-None-Match: "+tag, "max-age=300", 304)
	check("/public.json?own=true", "X: y", "max-age=1", 200)
	check("/public.json?fail=true", "X: y", "", 500)
	check("/public.json?fail=2", "X: y", "", 400)
	check("/private.json", "Authorization: Bearer 7", "private, max-age=30", 200)
	check("/private.json", "X: y", "", 401)
	check("/secret.json", "X: y", "no-store", 200)
	if err := a.Degrade("public", webv4.Degradation{Level: webv4.Trim}); err != nil {
		t.Fatal(err)
	}
	check("/public.json", "X: y", "", 200)
	type wrong struct {
		_ struct{} `route:"POST /wrong" cache:"1500ms"`
	}
	refused[wrong](t, `cache "1500ms": want whole seconds`, `cache "1500ms": only replies to GET`)
	type stream struct {
		_ struct{} `route:"GET /stream" cache:"5m"`
	}
	text := panics(t, func() {
		webv4.Handle(a, func(context.Context, *stream) (*webv4.Content, error) { return nil, nil })
	})
	if !strings.Contains(text, "the reply writes itself") {
		t.Error(text)
	}
}

// A reply that may be kept is for those alone who send the same headers and cookies.
func TestCacheForWhom(t *testing.T) {
	type varying struct {
		_      struct{} `route:"GET /varying" cache:"1h"`
		Lang   string   `header:"accept-language"`
		Market string   `header:"X-Market"`
	}
	type session struct {
		_  struct{} `route:"GET /session.json" cache:"1h"`
		ID string   `cookie:"id"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *varying) (*in2, error) { return &in2{"x"}, nil })
	webv4.Handle(a, func(ctx context.Context, in *session) (*in2, error) {
		if in.ID == "new" {
			webv4.Header(ctx).Set("Set-Cookie", "id=7")
		}
		return &in2{in.ID}, nil
	})
	for _, tc := range []struct{ path, header, cache, vary string }{
		{"/varying", "Accept-Language: de", "max-age=3600", "Accept, Accept-Language, X-Market"},
		{"/session.json", "Cookie: id=7", "private, max-age=3600", ""},
		{"/session.json", "Cookie: id=new", "", ""},
	} {
		r := do(t, a, "GET "+tc.path, "", tc.header)
		if vary := strings.Join(r.header["Vary"], ", "); r.status != 200 || r.header.Get("Cache-Control") != tc.cache || vary != tc.vary {
			t.Errorf("%s, %s: %d %v", tc.path, tc.header, r.status, r.header)
		}
	}
}
