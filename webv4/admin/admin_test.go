package admin_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/admin"
)

type show struct {
	_ struct{} `route:"GET /show.json" degrade:"show=trim,off" breaker:"50%/10s"`
}

type thing struct {
	ID int `json:"id"`
}

func fixture(t *testing.T, opts *admin.Options) (*webv4.API, *admin.Handler) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	deny := &webv4.DenyList{}
	api, err := webv4.New(&webv4.Options{Deny: deny, Logger: quiet, Overload: &webv4.Overload{}})
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(api, func(context.Context, *show) (*thing, error) { return &thing{7}, nil })
	opts.Logger = quiet
	if opts.Deny == nil {
		opts.Deny = deny
	}
	h, err := admin.New(api, opts)
	if err != nil {
		t.Fatal(err)
	}
	return api, h
}

// send sends a request as from this machine; form is name=value pairs.
func send(h http.Handler, route string, form string, headers ...string) *httptest.ResponseRecorder {
	method, path, _ := strings.Cut(route, " ")
	r := httptest.NewRequest(method, "http://localhost:8081"+path, strings.NewReader(form))
	r.RemoteAddr = "127.0.0.1:5000"
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		switch headers[i] {
		case "RemoteAddr":
			r.RemoteAddr = headers[i+1]
		case "Host":
			r.Host = headers[i+1]
		default:
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func state(t *testing.T, h http.Handler) (s admin.State) {
	t.Helper()
	w := send(h, "GET /state", "")
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return s
}

func call(api http.Handler, addr string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "/show.json", nil)
	r.RemoteAddr = addr
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

func TestChanges(t *testing.T) {
	api, h := fixture(t, &admin.Options{})
	token := "&token=" + state(t, h).Token
	if w := send(h, "POST /degrade", "point=show&level=off&minutes=5&percent=100&reason=a+drill&confirm=show"+token); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "./" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if w := call(api, "192.0.2.1:1"); w.Code != 503 || w.Header().Get("X-Degraded") != "off;show" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	s := state(t, h)
	if len(s.Points) != 2 || s.Points[1].Level != webv4.Off || s.Points[1].By != "local" || s.Points[1].Why != "a drill" || s.Points[1].Until.IsZero() {
		t.Errorf("%+v", s.Points)
	}
	if len(s.Breakers) != 1 || len(s.Limiters) != 1 {
		t.Errorf("%+v", s)
	}
	send(h, "POST /degrade", "point=show&level=normal&reason=over&confirm=show"+token)
	if w := call(api, "192.0.2.1:1"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	net := url.QueryEscape("192.0.2.0/24")
	send(h, "POST /deny", "kind=ip&minutes=9&value="+net+"&reason=abuse&confirm="+net+token)
	if w := call(api, "192.0.2.1:1"); w.Code != 403 {
		t.Errorf("%d", w.Code)
	}
	if s := state(t, h); len(s.Denied) != 1 || s.Denied[0].Why != "abuse" {
		t.Errorf("%+v", s.Denied)
	}
	send(h, "POST /allow", "kind=ip&value="+net+"&minutes=5&reason=done&confirm="+net+token)
	if w := call(api, "192.0.2.1:1"); w.Code != 200 {
		t.Errorf("%d", w.Code)
	}
	if s := state(t, h); len(s.Changes) != 4 || s.Changes[0].What != "allowed ip 192.0.2.0/24" || s.Changes[3].What != "point show: off for 100 % for 5m0s" {
		t.Errorf("%+v", s.Changes)
	}
	if w := send(h, "GET /", ""); w.Code != 200 || !strings.Contains(w.Body.String(), "point show: off") || !strings.Contains(w.Body.String(), `action="degrade"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for range 200 {
		send(h, "POST /degrade", "point=show&level=trim&reason=again&confirm=show"+token)
	}
	if n := len(state(t, h).Changes); n != 100 {
		t.Errorf("%d changes are remembered", n)
	}
}

func TestRefused(t *testing.T) {
	api, h := fixture(t, &admin.Options{})
	token := "&token=" + state(t, h).Token
	ok := "point=show&level=off&reason=r&confirm=show"
	for _, tc := range []struct {
		route, form string
		status      int
		headers     []string
	}{
		{"POST /degrade", ok, 403, nil}, // no token
		{"POST /degrade", ok + token + "x", 403, nil},
		{"POST /degrade", ok + token, 403, []string{"RemoteAddr", "192.0.2.1:9"}},
		{"POST /degrade", ok + token, 403, []string{"Host", "evil.example"}},
		{"POST /degrade", ok + token, 403, []string{"X-Forwarded-For", "127.0.0.1"}},
		{"POST /degrade", ok + token, 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"GET /state", "", 403, []string{"RemoteAddr", "192.0.2.1:9"}},
		{"POST /degrade", "point=show&level=off&confirm=show" + token, 400, nil},
		{"POST /degrade", "point=show&level=off&reason=r&confirm=other" + token, 400, nil},
		{"POST /degrade", "point=show&level=odd&reason=r&confirm=show" + token, 400, nil},
		{"POST /degrade", ok + "&minutes=-1" + token, 400, nil},
		{"POST /degrade", ok + "&percent=x" + token, 400, nil},
		{"POST /degrade", ok + "&percent=101" + token, 400, nil},
		{"POST /degrade", "point=none&level=off&reason=r&confirm=none" + token, 404, nil},
		{"POST /degrade", ok + token + "&x=" + strings.Repeat("y", 20<<10), 403, nil},
		{"GET /degrade", "", 405, nil},
		{"POST /deny", "kind=ip&value=x&reason=r&confirm=x" + token, 400, nil},
		{"POST /allow", "kind=planet&value=x&reason=r&confirm=x" + token, 400, nil},
	} {
		if w := send(h, tc.route, tc.form, tc.headers...); w.Code != tc.status {
			t.Errorf("%s %s %v: %d %s, want %d", tc.route, tc.form, tc.headers, w.Code, w.Body, tc.status)
		}
	}
	if w := call(api, "192.0.2.1:1"); w.Code != 200 {
		t.Errorf("something was changed: %d", w.Code)
	}
	if _, err := admin.New(nil, nil); err == nil {
		t.Error("no API, no error")
	}
}

// Auth decides for addresses beyond this machine, and what they may do.
func TestAuth(t *testing.T) {
	_, h := fixture(t, &admin.Options{Auth: func(r *http.Request) (string, admin.Access) {
		switch r.Header.Get("X-User") {
		case "ops":
			return "ops", admin.Operate
		case "dev":
			return "dev", admin.View
		}
		return "", admin.Forbid
	}})
	get := func(user string) *httptest.ResponseRecorder {
		return send(h, "GET /state", "", "RemoteAddr", "192.0.2.1:9", "X-User", user)
	}
	var s admin.State
	if err := json.Unmarshal(get("ops").Body.Bytes(), &s); err != nil || s.Token == "" {
		t.Fatal(s, err)
	}
	if w := get("dev"); w.Code != 200 || strings.Contains(w.Body.String(), s.Token) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if get("").Code != 403 {
		t.Error("let in")
	}
	form := "point=show&level=trim&reason=r&confirm=show&token=" + s.Token
	if w := send(h, "POST /degrade", form, "X-User", "dev"); w.Code != 403 {
		t.Errorf("%d", w.Code)
	}
	if w := send(h, "POST /degrade", form, "X-User", "ops"); w.Code != http.StatusSeeOther {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
