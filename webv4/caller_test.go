package webv4_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// whoami answers with the caller's id.
func whoami(ctx context.Context) (*in2, error) {
	p, _ := webv4.PrincipalFrom(ctx)
	return &in2{p.ID}, nil
}

// A kept reply is only for those who ask for the same, with headers and cookies too.
func TestStaleIsForTheSameRequest(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_       struct{} `route:"GET /mine" degrade:"mine=stale:1m"`
		Session string   `cookie:"session"`
		Lang    string   `header:"X-Lang"`
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*in2, error) { return &in2{in.Session + " " + in.Lang}, nil })
	alice := do(t, a, "GET /mine", "", "Cookie: session=alice", "X-Lang: en").body
	a.Degrade("mine", webv4.Degradation{Level: webv4.Stale})
	if r := do(t, a, "GET /mine", "", "Cookie: session=alice", "X-Lang: en"); r.body != alice || r.header.Get("Age") == "" {
		t.Errorf("alice got %s", r.body)
	}
	for _, other := range [][]string{{"Cookie: session=bob", "X-Lang: en"}, {"Cookie: session=alice", "X-Lang: de"}, {"X-Lang: en"}} {
		if r := do(t, a, "GET /mine", "", other...); r.body == alice || r.header.Get("Age") != "" {
			t.Errorf("%q got alice's reply", other)
		}
	}
}

// The calls of a batch are its caller's, whatever the scheme looks at.
func TestBatchHasItsCaller(t *testing.T) {
	keys := func(r *http.Request) (webv4.Principal, error) {
		if r.Header.Get("X-Api-Key") != "k" {
			return webv4.Principal{}, webv4.ErrTokenMissing
		}
		return webv4.Principal{ID: "keyholder", Scopes: []string{"read"}}, nil
	}
	hmac := webv4.NewHMAC(0, func(key string) ([]byte, webv4.Principal, bool) {
		return []byte("s"), webv4.Principal{ID: "signer", Scopes: []string{"read"}}, key == "k"
	})
	a := newAPI(t, &webv4.Options{Authenticator: webv4.FirstOf(authFunc(keys), hmac, users{})})
	other := a.Group("/other", &webv4.GroupOptions{Authenticator: users{}})
	type me struct {
		_ struct{} `route:"GET /me" auth:"user"`
	}
	type write struct {
		_ struct{} `route:"GET /write" auth:"user" scopes:"write"`
	}
	type batch struct {
		_    struct{}           `route:"POST /batch" auth:"user"`
		Body webv4.BatchRequest `body:"" required:"true"`
	}
	webv4.Handle(a, func(ctx context.Context, _ *me) (*in2, error) { return whoami(ctx) })
	webv4.Handle(other, func(ctx context.Context, _ *me) (*in2, error) { return whoami(ctx) })
	webv4.Handle(a, func(ctx context.Context, _ *write) (*in2, error) { return whoami(ctx) })
	webv4.Handle(a, func(ctx context.Context, in *batch) (*webv4.BatchReply, error) { return a.Batch(ctx, &in.Body) })
	const body = `{"calls":[{"path":"/me"},{"path":"/write"},{"path":"/other/me"}]}`
	for want, sign := range map[string]func(*http.Request){
		"keyholder": func(r *http.Request) { r.Header.Set("X-Api-Key", "k") },
		"signer":    func(r *http.Request) { webv4.SignHMAC(r, "k", []byte("s"), []byte(body)) },
		"7":         func(r *http.Request) { r.URL.RawQuery = "access_token=7" },
	} {
		r := httptest.NewRequest("POST", "/batch", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		sign(r)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		var out webv4.BatchReply
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || len(out.Replies) != 3 {
			t.Fatalf("%s: %d %s", want, w.Code, w.Body)
		}
		if me := out.Replies[0]; me.Status != 200 || !strings.Contains(string(me.Body), `"`+want+`"`) {
			t.Errorf("%s: /me answers %d %s", want, me.Status, me.Body)
		}
		if out.Replies[1].Status != 403 {
			t.Errorf("%s: without the scope: %d %s", want, out.Replies[1].Status, out.Replies[1].Body)
		}
		if out.Replies[2].Status != 401 { // another Authenticator asks for itself
			t.Errorf("%s: elsewhere: %d %s", want, out.Replies[2].Status, out.Replies[2].Body)
		}
	}
}

type authFunc func(r *http.Request) (webv4.Principal, error)

func (f authFunc) Authenticate(r *http.Request) (webv4.Principal, error) { return f(r) }

// A refusal within a batch has the form that the version's errors have.
func TestBatchErrorStyle(t *testing.T) {
	a := newAPI(t, &webv4.Options{Errors: webv4.ProblemErrors})
	type batch struct {
		_    struct{}           `route:"POST /batch"`
		Body webv4.BatchRequest `body:"" required:"true"`
	}
	webv4.Handle(a, func(ctx context.Context, in *batch) (*webv4.BatchReply, error) { return a.Batch(ctx, &in.Body) })
	r := do(t, a, "POST /batch", `{"calls":[{"path":"/batch?x=1","method":"POST","body":{"calls":[{"path":"/"}]}}]}`, jsonBody)
	if !strings.Contains(r.body, `"instance":"/batch"`) || strings.Contains(r.body, `"request":`) {
		t.Errorf("%s", r.body)
	}
	if r := do(t, a, "GET /a%20b%22%3F%C3%A4", ""); !strings.Contains(r.body, `"instance":"/a%20b%22%3F%C3%A4"`) {
		t.Errorf("an instance that is no URI: %s", r.body)
	}
}

// The token may be in a form whose media type has parameters, and where nothing
// else of the form is wanted.
func TestTokenInForm(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	type bare struct {
		_ struct{} `route:"POST /bare" auth:"user"`
	}
	type form struct {
		_    struct{} `route:"POST /form" auth:"user"`
		Text string   `form:"text"`
	}
	webv4.Handle(a, func(ctx context.Context, _ *bare) (*in2, error) { return whoami(ctx) })
	webv4.Handle(a, func(ctx context.Context, _ *form) (*in2, error) { return whoami(ctx) })
	for _, path := range []string{"/bare", "/form"} {
		for _, kind := range []string{formBody, formBody + "; charset=UTF-8", "Content-Type: Application/X-WWW-Form-Urlencoded;charset=utf-8"} {
			if r := do(t, a, "POST "+path, "text=x&access_token=7", kind); r.status != 200 || !strings.Contains(r.body, `"7"`) {
				t.Errorf("%s with %s: %d %s", path, kind, r.status, r.body)
			}
		}
		do(t, a, "POST "+path, "text=x&access_token=7", formBody+"-not").fails(t, 401, webv4.CodeTokenMissing, "")
	}
}

// Who guesses passwords has the address's quota, and leaves that of all alone.
func TestGuessesCount(t *testing.T) {
	a := newAPI(t, &webv4.Options{Authenticator: users{}})
	type me struct {
		_ struct{} `route:"GET /me" auth:"user" quota:"ip=3/h,total=5/h"`
	}
	webv4.Handle(a, func(ctx context.Context, _ *me) (*in2, error) { return whoami(ctx) })
	for range 3 {
		do(t, a, "GET /me", "", "Authorization: Bearer bad", "RemoteAddr: 192.0.2.1:1").fails(t, 401, webv4.CodeTokenInvalid, "")
	}
	for _, token := range []string{"bad", "7"} { // which of them is right cannot be told any more
		do(t, a, "GET /me", "", "Authorization: Bearer "+token, "RemoteAddr: 192.0.2.1:1").fails(t, 429, webv4.CodeIPLimit, "")
	}
	for range 3 {
		if r := do(t, a, "GET /me", "", "Authorization: Bearer 7", "RemoteAddr: 192.0.2.2:1"); r.status != 200 {
			t.Errorf("another address: %d %s", r.status, r.body)
		}
	}
}

// countedUsers counts how often it is asked.
type countedUsers struct {
	users
	asked *int
}

func (c countedUsers) Authenticate(r *http.Request) (webv4.Principal, error) {
	*c.asked++
	return c.users.Authenticate(r)
}

// Who tries what it may not has its own quotas and its address's, and leaves those alone
// that it shares.
func TestForbiddenCallsUseUpTheirOwnQuotas(t *testing.T) {
	for _, quotas := range []string{"user=3/h,app=3/h,total=3/h", "app+user=3/h,app=3/h", "ip=3/h,total=3/h"} {
		deny := &webv4.DenyList{}
		a := newAPI(t, &webv4.Options{Authenticator: users{}, Quotas: quotas, Deny: deny})
		type admin struct {
			_ struct{} `route:"GET /admin" auth:"user" scopes:"admin"`
		}
		type me struct {
			_ struct{} `route:"GET /me" auth:"user"`
		}
		webv4.Handle(a, func(context.Context, *admin) (*empty, error) { return nil, nil })
		webv4.Handle(a, func(context.Context, *me) (*empty, error) { return nil, nil })
		get := func(path, token, ip string) answer {
			return do(t, a, "GET "+path, "", "Authorization: Bearer "+token, "RemoteAddr: "+ip+":1")
		}
		for left := 2; left >= 0; left-- {
			r := get("/admin", "7@app", "192.0.2.1")
			r.fails(t, 403, webv4.CodePermission, "")
			if !strings.Contains(r.header.Get("RateLimit"), fmt.Sprint(";r=", left)) {
				t.Errorf("%s: %v", quotas, r.header)
			}
		}
		if r := get("/admin", "7@app", "192.0.2.1"); r.status != 429 {
			t.Errorf("%s: %+v", quotas, r)
		}
		get("/me", "8@app", "192.0.2.2").is(t, 200, "{}")
		if err := deny.Deny(webv4.DenyUser, "9", "test", 0); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			get("/me", "9@app", "192.0.2.3").fails(t, 403, webv4.CodePermission, "")
		}
		if r := get("/me", "9@app", "192.0.2.3"); r.status != 429 {
			t.Errorf("%s, denied: %+v", quotas, r)
		}
		get("/me", "8@app", "192.0.2.2").is(t, 200, "{}")
	}
}

// Nobody is asked who calls, which may be dear, while the address has no call left.
func TestFullAddressesAskNobody(t *testing.T) {
	for _, shared := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			asked, left := 0, 3
			opts := &webv4.Options{Authenticator: countedUsers{asked: &asked}}
			store := &stubStore{answer: func(int, webv4.Charge) webv4.Standing {
				left--
				return webv4.Standing{OK: left >= 0, Retry: 20 * time.Minute}
			}}
			if shared {
				opts.QuotaStore = store
			}
			a := newAPI(t, opts)
			type me struct {
				_ struct{} `route:"GET /me" auth:"user" quota:"ip=3/h"`
			}
			webv4.Handle(a, func(context.Context, *me) (*empty, error) { return nil, nil })
			get := func(token, ip string) answer {
				return do(t, a, "GET /me", "", "Authorization: Bearer "+token, "RemoteAddr: "+ip+":1")
			}
			for range 3 {
				get("bad", "192.0.2.1").fails(t, 401, webv4.CodeTokenInvalid, "")
			}
			get("bad", "192.0.2.1").fails(t, 429, webv4.CodeIPLimit, "")
			before, calls := asked, store.calls
			for range 100 {
				r := get("7", "192.0.2.1")
				r.fails(t, 429, webv4.CodeIPLimit, "")
				if r.header.Get("Retry-After") != "1200" {
					t.Fatal(r.header)
				}
			}
			if asked != before || store.calls != calls {
				t.Errorf("asked %d times who calls, and %d times how often", asked-before, store.calls-calls)
			}
			left = 1
			get("7", "192.0.2.2").is(t, 200, "{}")
			time.Sleep(20 * time.Minute)
			left = 1
			get("7", "192.0.2.1").is(t, 200, "{}")
		})
	}
}

// Case does not count in the names of schemes, nor what a media type in JSON is for.
func TestNamesOfSchemesAndTypes(t *testing.T) {
	hmac := webv4.NewHMAC(time.Minute, func(key string) ([]byte, webv4.Principal, bool) {
		return []byte("s"), webv4.Principal{ID: "signer"}, key == "k"
	})
	a := newAPI(t, &webv4.Options{Authenticator: hmac})
	type me struct {
		_ struct{} `route:"GET /me" auth:"user"`
	}
	type patch struct {
		_    struct{} `route:"PATCH /it"`
		Body in2      `body:""`
	}
	webv4.Handle(a, func(ctx context.Context, _ *me) (*in2, error) { return whoami(ctx) })
	webv4.Handle(a, func(_ context.Context, in *patch) (*in2, error) { return &in.Body, nil })
	r := httptest.NewRequest("GET", "/me", nil)
	webv4.SignHMAC(r, "k", []byte("s"), nil)
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "HMAC-SHA256", "hmac-Sha256", 1))
	w := httptest.NewRecorder()
	if a.ServeHTTP(w, r); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	whole, _ := json.Marshal(in2{"x"})
	do(t, a, "PATCH /it", string(whole), "Content-Type: application/merge-patch+json").is(t, 200, string(whole))
	do(t, a, "PATCH /it", string(whole), "Content-Type: text/x+json").fails(t, 415, webv4.CodeMediaType, "")
}
