package webv4_test

import (
	"context"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type mine struct {
	_    struct{} `route:"POST /mine" auth:"user"`
	Text string   `form:"text"`
}

type scoped struct {
	_ struct{} `route:"GET /scoped" auth:"user" scopes:"read write"`
}

type anyone struct {
	_ struct{} `route:"GET /anyone" auth:"none"`
}

func authAPI(t testing.TB) *webv4.API {
	a := newAPI(t, &webv4.Options{Authenticator: users{}, MaxBody: 1000})
	who := func(ctx context.Context, text string) (*in2, error) {
		p, ok := webv4.PrincipalFrom(ctx)
		if !ok {
			return &in2{"nobody" + text}, nil
		}
		return &in2{p.ID + "@" + p.App + text}, nil
	}
	webv4.Handle(a, func(ctx context.Context, in *mine) (*in2, error) { return who(ctx, in.Text) })
	webv4.Handle(a, func(ctx context.Context, in *scoped) (*in2, error) { return who(ctx, "") })
	webv4.Handle(a, func(ctx context.Context, in *anyone) (*in2, error) { return who(ctx, "") })
	return a
}

func TestAuthentication(t *testing.T) {
	a := authAPI(t)
	for _, tc := range []struct {
		route, body string
		headers     []string
		want        string
	}{
		{"POST /mine", "", []string{"Authorization: Bearer 7"}, "7@"},
		{"POST /mine", "", []string{"Authorization: bearer  7"}, "7@"},
		{"POST /mine", "", []string{"Authorization: OAuth2 7@app"}, "7@app"},
		{"POST /mine?access_token=7%40app", "", nil, "7@app"},
		{"POST /mine?access%5Ftoken=7", "", nil, "7@"},
		{"POST /mine", "text=+hi&access_token=8", []string{formBody}, "8@ hi"},
		{"POST /mine?access_token=7", "text=+hi&access_token=8", []string{formBody}, "7@ hi"},
		{"POST /mine", "text=+hi&access_token=8", []string{formBody, "Authorization: Bearer 9"}, "9@ hi"},
		{"GET /scoped?access_token=7+write+read+more", "", nil, "7@"},
		{"GET /anyone?access_token=7", "", nil, "nobody"},
		{"GET /anyone", "", nil, "nobody"},
	} {
		do(t, a, tc.route, tc.body, tc.headers...).is(t, 200, `{"p":"`+tc.want+`"}`)
	}
	for _, tc := range []struct {
		route, body string
		headers     []string
		status      int
		code        int
	}{
		{"POST /mine", "", nil, 401, webv4.CodeTokenMissing},
		{"POST /mine?access_token=", "", nil, 401, webv4.CodeTokenMissing},
		{"POST /mine", "text=x", []string{formBody}, 401, webv4.CodeTokenMissing},
		{"POST /mine", "", []string{"Authorization: Basic Nzo3"}, 401, webv4.CodeTokenMissing},
		{"POST /mine?access_token=7", "", []string{"Authorization: Bearer  "}, 401, webv4.CodeTokenInvalid},
		{"POST /mine?access_token=old", "", nil, 401, webv4.CodeTokenExpired},
		{"POST /mine?access_token=bad", "", nil, 401, webv4.CodeTokenInvalid},
		{"GET /scoped?access_token=7+read", "", nil, 403, webv4.CodePermission},
		{"GET /scoped?access_token=7", "", nil, 403, webv4.CodePermission},
		{"POST /mine", "access_token=8&text=" + strings.Repeat("x", 1000), []string{formBody}, 413, webv4.CodeTooLong},
	} {
		r := do(t, a, tc.route, tc.body, tc.headers...)
		r.fails(t, tc.status, tc.code, "")
		if tc.status == 401 && r.header.Get("Www-Authenticate") == "" {
			t.Errorf("%s: no challenge", tc.route)
		}
	}
	if s := a.Stats(); s.Unauthorized != 7 {
		t.Errorf("stats %+v", s)
	}
}

func TestSecretsEqual(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"a", "a", true}, {"a", "b", false}, {"a", "aa", false}, {"", "a", false}} {
		if webv4.SecretsEqual(tc.a, tc.b) != tc.want {
			t.Errorf("%q %q", tc.a, tc.b)
		}
	}
}
