package webv4_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// A 401 says how to authenticate, by every scheme that would do.
func TestChallenges(t *testing.T) {
	keys := webv4.NewAPIKeys("x-api-key", map[string]webv4.Principal{"k": {ID: "k"}})
	basic := &webv4.Basic{Realm: `the "shop"`, Check: func(context.Context, string, string) (webv4.Principal, error) {
		return webv4.Principal{}, errors.New("wrong")
	}}
	cert := &webv4.ClientCert{Check: func(*x509.Certificate) (webv4.Principal, error) { return webv4.Principal{}, nil }}
	signed := webv4.NewHMAC(time.Minute, func(string) ([]byte, webv4.Principal, bool) { return nil, webv4.Principal{}, false })
	all := webv4.FirstOf(users{}, basic, users{}, keys, cert, signed)
	const (
		asksBasic  = `Basic realm="the \"shop\"", charset="UTF-8"`
		asksKey    = `ApiKey header="X-Api-Key"`
		refused    = `Bearer error="invalid_token"`
		lacks      = `Bearer error="insufficient_scope", scope="read write"`
		form       = "access_token=bad"
		token      = "Authorization: Bearer "
		basicWrong = "Authorization: Basic YTpi"
	)
	others := []string{asksBasic, asksKey, "ClientCertificate", "HMAC-SHA256"}
	for _, tc := range []struct {
		name    string
		auth    webv4.Authenticator
		route   string
		body    string
		headers []string
		status  int
		want    []string
	}{
		{"nothing", users{}, "GET /scoped", "", nil, 401, []string{"Bearer"}},
		{"wrong token", users{}, "GET /scoped", "", []string{token + "bad"}, 401, []string{refused}},
		{"expired token", users{}, "GET /scoped", "", []string{token + "old"}, 401, []string{refused}},
		{"empty token", users{}, "GET /scoped", "", []string{token + " "}, 401, []string{refused}},
		{"token in the query", users{}, "GET /scoped?access_token=bad", "", nil, 401, []string{refused}},
		{"token in the form", users{}, "POST /mine", form, []string{formBody}, 401, []string{refused}},
		{"another scheme", users{}, "GET /scoped", "", []string{basicWrong}, 401, []string{"Bearer"}},
		{"too few scopes", users{}, "GET /scoped", "", []string{token + "7 read"}, 403, []string{lacks}},
		{"enough", users{}, "GET /scoped", "", []string{token + "7 read write"}, 200, nil},

		{"basic", basic, "GET /scoped", "", nil, 401, []string{asksBasic}},
		{"basic's default", &webv4.Basic{}, "GET /scoped", "", nil, 401, []string{`Basic realm="api", charset="UTF-8"`}},
		{"wrong password", basic, "GET /scoped", "", []string{basicWrong}, 401, []string{asksBasic}},
		{"key", keys, "GET /scoped", "", []string{"X-Api-Key: x"}, 401, []string{asksKey}},
		{"a key has no scopes", keys, "GET /scoped", "", []string{"X-Api-Key: k"}, 403, nil},
		{"certificate", cert, "GET /scoped", "", nil, 401, []string{"ClientCertificate"}},
		{"signature", signed, "GET /scoped", "", []string{"Authorization: HMAC-SHA256 key=x"}, 401, []string{"HMAC-SHA256"}},

		{"all", all, "GET /scoped", "", nil, 401, append([]string{"Bearer"}, others...)},
		{"all, by a script", all, "GET /scoped", "", []string{"Sec-Fetch-Mode: cors"}, 401, append([]string{"Bearer"}, others[1:]...)},
		{"all, by a script with a wrong token", all, "GET /scoped", "", []string{"Sec-Fetch-Mode: cors", token + "bad"}, 401, append([]string{refused}, others[1:]...)},
		{"all, by a person", all, "GET /scoped", "", []string{"Sec-Fetch-Mode: navigate"}, 401, append([]string{"Bearer"}, others...)},
		{"basic, by a script", basic, "GET /scoped", "", []string{"Sec-Fetch-Mode: cors"}, 401, []string{asksBasic}},
		{"all, wrong token", all, "GET /scoped", "", []string{token + "bad"}, 401, append([]string{refused}, others...)},
		{"all, wrong password", all, "GET /scoped", "", []string{basicWrong}, 401, append([]string{"Bearer"}, others...)},
		{"all, too few scopes", all, "GET /scoped", "", []string{token + "7"}, 403, []string{lacks}},
		{"all, a key", all, "GET /scoped", "", []string{"X-Api-Key: k"}, 403, nil},
		{"the handler's own", users{}, "GET /own", "", nil, 401, []string{`Special realm="x"`}},
		{"the handler's, without auth", users{}, "GET /401", "", nil, 401, []string{"Bearer"}},
	} {
		a := newAPI(t, &webv4.Options{Authenticator: tc.auth})
		type own struct {
			_ struct{} `route:"GET /own"`
		}
		type unauthorized struct {
			_ struct{} `route:"GET /401"`
		}
		webv4.Handle(a, func(context.Context, *scoped) (*empty, error) { return nil, nil })
		webv4.Handle(a, func(context.Context, *mine) (*empty, error) { return nil, nil })
		webv4.Handle(a, func(ctx context.Context, _ *own) (*empty, error) {
			webv4.Header(ctx).Set("WWW-Authenticate", `Special realm="x"`)
			return nil, webv4.ErrTokenMissing
		})
		webv4.Handle(a, func(ctx context.Context, _ *unauthorized) (*empty, error) { return nil, webv4.Errorf(21315, "") })
		r := do(t, a, tc.route, tc.body, tc.headers...)
		if got := r.header["Www-Authenticate"]; r.status != tc.status || !slices.Equal(got, tc.want) {
			t.Errorf("%s: %d %q, want %d %q", tc.name, r.status, got, tc.status, tc.want)
		}
	}
}

// challenger is an authenticator with challenges of its own.
type challenger struct{ users }

func (challenger) Challenges() []string { return []string{`Bearer realm="mine"`, "Other"} }

func TestOwnChallenges(t *testing.T) {
	a := newAPI(t, nil)
	g := a.Group("/g", &webv4.GroupOptions{Authenticator: challenger{}})
	webv4.Handle(g, func(context.Context, *scoped) (*empty, error) { return nil, nil })
	for token, want := range map[string]string{
		"":    `Bearer realm="mine" | Other`,
		"bad": `Bearer realm="mine", error="invalid_token" | Other`,
		"7":   `Bearer realm="mine", error="insufficient_scope", scope="read write"`,
	} {
		r := do(t, a, "GET /g/scoped?access_token="+token, "")
		if got := strings.Join(r.header["Www-Authenticate"], " | "); got != want {
			t.Errorf("%q: %s, want %s", token, got, want)
		}
	}
}

// The order of schemes does not matter: none takes another's header for its own.
func TestFirstOfInAnyOrder(t *testing.T) {
	basic := &webv4.Basic{Check: func(_ context.Context, name, _ string) (webv4.Principal, error) {
		return webv4.Principal{ID: name}, nil
	}}
	signed := webv4.NewHMAC(time.Minute, func(key string) ([]byte, webv4.Principal, bool) {
		return []byte("s"), webv4.Principal{ID: key}, true
	})
	for _, auth := range []webv4.Authenticator{webv4.FirstOf(users{}, basic, signed), webv4.FirstOf(signed, basic, users{})} {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth("ada", "x")
		if p, err := auth.Authenticate(r); err != nil || p.ID != "ada" {
			t.Errorf("basic: %+v %v", p, err)
		}
		r = httptest.NewRequest("GET", "/", nil)
		webv4.SignHMAC(r, "partner", []byte("s"), nil)
		if p, err := auth.Authenticate(r); err != nil || p.ID != "partner" {
			t.Errorf("signed: %+v %v", p, err)
		}
		r = httptest.NewRequest("GET", "/?access_token=7", nil)
		if p, err := auth.Authenticate(r); err != nil || p.ID != "7" {
			t.Errorf("token: %+v %v", p, err)
		}
	}
}
