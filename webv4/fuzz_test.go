package webv4_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/heddle-go/heddle/webv4"
)

// FuzzQuery compares the binder with url.ParseQuery and strconv.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{"a=1", "a=%31&s=x+y&l=1&l=2", "a=1;b=2", "%61=1", "s=%zz", "a=&s", "&&=&a", "s=%ff", "l=1&l=x", "a=2&a=1", "s=a%3Bb", "%zz=1"} {
		f.Add(s)
	}
	type in struct {
		_ struct{}          `route:"POST /f"`
		A webv4.Opt[int]    `query:"a"`
		S webv4.Opt[string] `query:"s"`
		L []uint8           `query:"l"`
		M []int16           `query:"m"`
	}
	type form struct {
		_ struct{}          `route:"POST /form"`
		A webv4.Opt[int]    `form:"a"`
		S webv4.Opt[string] `form:"s"`
		L []uint8           `form:"l"`
		M []int16           `form:"m"`
	}
	a := newAPI(f, &webv4.Options{MaxBody: 1 << 30})
	var got *in
	webv4.Handle(a, func(_ context.Context, r *in) (*empty, error) { got = r; return nil, nil })
	webv4.Handle(a, func(_ context.Context, r *form) (*empty, error) {
		got = &in{A: r.A, S: r.S, L: r.L, M: r.M}
		return nil, nil
	})
	f.Fuzz(func(t *testing.T, raw string) {
		values, err := url.ParseQuery(raw)
		var want *in
		if err == nil {
			want = &in{}
			ok := true
			if v, given := values["a"]; given {
				n, err := strconv.Atoi(v[0])
				ok = ok && err == nil
				want.A = webv4.Opt[int]{Value: n, Set: true}
			}
			if v, given := values["s"]; given {
				ok = ok && utf8.ValidString(v[0])
				want.S = webv4.Opt[string]{Value: v[0], Set: true}
			}
			if v, given := values["l"]; given {
				want.L = []byte(v[0]) // bytes are no list
			}
			for _, v := range values["m"] {
				n, err := strconv.ParseInt(v, 10, 16)
				ok = ok && err == nil
				want.M = append(want.M, int16(n))
			}
			if !ok {
				want = nil
			}
		}
		for _, route := range []string{"/f", "/form"} {
			got = nil
			r := httptest.NewRequest("POST", route, nil)
			if route == "/f" {
				r.URL.RawQuery = raw
			} else {
				r = httptest.NewRequest("POST", route, strings.NewReader(raw))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			w := httptest.NewRecorder()
			a.ServeHTTP(w, r)
			if w.Code != 200 && w.Code != 400 {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			// What is not well formed in a pair that nobody wants is let be, so
			// where ParseQuery fails the binder may succeed, not the other way round.
			if err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("%s %q: got %+v, want %+v: %s", route, raw, got, want, w.Body)
			}
		}
	})
}

// FuzzJSONBody compares the reader with encoding/json: what it accepts, that
// accepts too and understands alike.
func FuzzJSONBody(f *testing.F) {
	for _, s := range []string{
		`{"id":1}`, `{"id":1,"big":"5","ratio":1e3,"note":"x","tags":["a"],"pair":[1,2],"to":{"city":"x"},"by":{"a":{"city":"b"}}}`,
		`{"id":1,"any":{"a":[1,2,null,true,"\ud83d\ude00"]},"raw":[1],"num":1.5,"every":{"1":1},"age":null,"where":{"city":"x"},"next":{"id":2}}`,
		`{"id":1,"matrix":[[1],[]],"ptrs":[null,1],"data":"aGk=","at":"2026-01-02T03:04:05Z","ip":"::1"}`, `[]`, `{"id":1}}`, `{"id":1,"id":2}`, "\xff",
		`{"id":1,"kind":"b","Untaged":"\u0000\n"}`, `{"id":` + strings.Repeat("[", 200),
	} {
		f.Add(s)
	}
	a := newAPI(f, nil)
	var got *orderIn
	webv4.Handle(a, func(_ context.Context, r *orderIn) (*empty, error) { got = r; return nil, nil })
	f.Fuzz(func(t *testing.T, text string) {
		got = nil
		r := do(t, a, "POST /orders", text, jsonBody)
		if r.status != 200 && r.status != 400 && r.status != 413 {
			t.Fatalf("status %d: %s", r.status, r.body)
		}
		if len(r.body) > 1000 || !json.Valid([]byte(r.body)) {
			t.Fatalf("reply %s", r.body)
		}
		if got == nil {
			return
		}
		want := order{}
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatalf("accepted %q, but: %v", text, err)
		}
		if want.Limit == 0 && got.Body.Limit == 20 {
			want.Limit = 20
		}
		// Names in another case are encoding/json's alone; so are defaults of
		// what is nested.
		if strings.EqualFold(text, strings.ToLower(text)) && text == strings.ToLower(text) && want.Next == nil && want.Kind != "" && !reflect.DeepEqual(got.Body, want) {
			t.Fatalf("%q:\ngot  %+v\nwant %+v", text, got.Body, want)
		}
	})
}

func FuzzMultipart(f *testing.F) {
	body, kind := multi([2]string{"status", "hi"}, [2]string{"pic=a.png", "x"}, [2]string{"other=b", ""}, [2]string{"tag", "1"})
	_, boundary, _ := strings.Cut(kind, "boundary=")
	f.Add(body, boundary)
	f.Add("--x\r\n\r\n--x--", "x")
	f.Add("--x\r\nContent-Disposition: form-data; name=\"other\"; filename=\"../../x\"\r\n\r\n\r\n--x--", "x")
	f.Add("--x\r\nContent-Disposition: form-data; name=status\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=4\r\n--x--", "x")
	a := newAPI(f, &webv4.Options{MaxBody: 32 << 10})
	var got *uploadIn
	webv4.Handle(a, func(_ context.Context, r *uploadIn) (*empty, error) { got = r; return nil, nil })
	f.Fuzz(func(t *testing.T, body, boundary string) {
		got = nil
		r := httptest.NewRequest("POST", "/up", strings.NewReader(body))
		r.Header.Set("Content-Type", "multipart/form-data; boundary="+boundary)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		switch w.Code {
		case 400, 413, 415:
		case 200:
			for _, file := range []*webv4.File{got.Pic, got.Other} {
				if file != nil && (strings.ContainsAny(file.Name, "/\\\x00\r\n") || file.Size() > 1<<20) {
					t.Fatalf("file %q of %d bytes", file.Name, file.Size())
				}
			}
			if got.Pic != nil && got.Pic.Size() > 1<<10 || utf8.RuneCountInString(got.Status) > 10 || len(got.Tags) > 2 {
				t.Fatalf("%+v", got)
			}
		default:
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}

// FuzzHeaders sends hostile Authorization, X-Forwarded-For, Cookie, Accept and
// Content-Type headers.
func FuzzHeaders(f *testing.F) {
	f.Add("Bearer 7", "1.2.3.4, 10.0.0.1", "c=1", "application/xml;q=0.5", "application/json")
	f.Add("OAuth2", "::1%eth0,,", "c", "*/*;q=2", ";;;")
	f.Add("BeArer  ", "0", "0", "0", "0")
	f.Add("bearer \x00\n", "10.0.0.1:80, [::1]", "c=\"", "", "multipart/form-data; boundary=\x01")
	a := newAPI(f, &webv4.Options{Authenticator: users{}, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Quotas: "ip=100000000/s", CompressFrom: 1})
	type in struct {
		_ struct{} `route:"POST /h.json" auth:"user"`
		C string   `cookie:"c"`
		A string   `header:"Accept"`
		F string   `form:"f"`
	}
	var ip string
	webv4.Handle(a, func(ctx context.Context, r *in) (*empty, error) { ip = webv4.ClientIP(ctx); return nil, nil })
	webv4.Handle(a, func(context.Context, *plainShow) (*in2, error) { return &in2{"x"}, nil })
	f.Fuzz(func(t *testing.T, auth, fwd, cookie, accept, kind string) {
		r := httptest.NewRequest("POST", "/h.json", strings.NewReader("f=x"))
		r.RemoteAddr = "10.0.0.1:5"
		r.Header["Authorization"] = []string{auth}
		r.Header["X-Forwarded-For"] = []string{fwd}
		r.Header["Cookie"] = []string{cookie}
		r.Header["Accept"] = []string{accept}
		r.Header["Content-Type"] = []string{kind}
		ip = "10.0.0.1"
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		if _, err := netip.ParseAddr(ip); err != nil {
			t.Fatalf("client %q", ip)
		}
		// The same headers where they decide on format, encoding and validity.
		r = httptest.NewRequest("GET", "/show", nil)
		r.Header["Accept"] = []string{accept}
		r.Header["Accept-Encoding"] = []string{cookie}
		r.Header["If-None-Match"] = []string{kind}
		w = httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.Len() == 0 {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
	})
}

func FuzzQuotaTag(f *testing.F) {
	for _, s := range []string{"user=1/h", "ip=100/s,total=5/d", "user=/h", "=", ",", "app+user=99999999999999999999/h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := webv4.New(&webv4.Options{Quotas: s, Authenticator: users{}})
		if err != nil || s == "" {
			return
		}
		webv4.Handle(a, func(context.Context, *mine) (*empty, error) { return nil, nil })
		for range 3 {
			if r := do(t, a, "POST /mine?access_token=1@a", ""); r.status != 200 && r.status != 429 && r.status != 503 || r.header.Get("Ratelimit-Policy") == "" {
				t.Fatalf("%q: %+v", s, r)
			}
		}
	})
}

// FuzzRoute registers and asks for any path.
func FuzzRoute(f *testing.F) {
	f.Add("/a/:b", "/a/c")
	f.Add("/:x.json", "/y.json")
	f.Add("/*all", "//..//%2f")
	f.Add("/a:b/*", "*")
	f.Fuzz(func(t *testing.T, route, path string) {
		a := newAPI(t, nil)
		func() {
			defer func() {
				if p := recover(); p != nil && !strings.HasPrefix(p.(string), "webv4: ") {
					panic(p)
				}
			}()
			a.Mount("GET "+route, named("here"))
		}()
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 404 {
			t.Fatalf("status %d", w.Code)
		}
	})
}
