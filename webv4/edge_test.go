package webv4_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

func TestDenyList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d webv4.DenyList
		a := newAPI(t, &webv4.Options{Deny: &d, Authenticator: users{}})
		type in struct {
			_ struct{} `route:"GET /x" auth:"user"`
		}
		webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
		get := func(ip, token string) answer {
			return do(t, a, "GET /x", "", "RemoteAddr: "+ip, "Authorization: Bearer "+token)
		}
		get("1.1.1.1:1", "7@app").is(t, 200, "{}")
		for _, e := range []struct {
			kind  webv4.DenyKind
			value string
		}{{webv4.DenyIP, "1.1.1.1"}, {webv4.DenyIP, "2001:db8::/32"}, {webv4.DenyIP, "::ffff:3.3.0.0/112"}, {webv4.DenyIP, "fe80::/10"}, {webv4.DenyUser, "8"}, {webv4.DenyApp, "bad"}} {
			if err := d.Deny(e.kind, e.value, "test", time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		get("1.1.1.1:1", "7@app").fails(t, 403, webv4.CodeIPDenied, "IP limit")
		get("[::ffff:1.1.1.1]:1", "7@app").fails(t, 403, webv4.CodeIPDenied, "")
		get("[2001:db8:5::1]:1", "7@app").fails(t, 403, webv4.CodeIPDenied, "")
		get("3.3.3.3:1", "7@app").fails(t, 403, webv4.CodeIPDenied, "")
		get("3.4.3.3:1", "7@app").is(t, 200, "{}")
		get("[fe80::1%eth0]:1", "7@app").fails(t, 403, webv4.CodeIPDenied, "")
		get("2.2.2.2:1", "8@app").fails(t, 403, webv4.CodePermission, "")
		get("2.2.2.2:1", "7@bad").fails(t, 403, webv4.CodeAppPermission, "")
		get("2.2.2.2:1", "7@app").is(t, 200, "{}")
		if l := d.List(); len(l) != 6 || l[0].Kind != webv4.DenyApp || l[0].Why != "test" || time.Until(l[0].Until) != time.Minute {
			t.Errorf("%+v", l)
		}
		if a.Stats().Denied != 7 {
			t.Errorf("%+v", a.Stats())
		}
		d.Allow(webv4.DenyIP, "1.1.1.1")
		get("1.1.1.1:1", "7@app").is(t, 200, "{}")
		time.Sleep(time.Minute)
		get("[2001:db8:5::1]:1", "8@bad").is(t, 200, "{}")
		if l := d.List(); len(l) != 0 {
			t.Errorf("%+v", l)
		}
		for _, e := range [][2]string{{"ip", "x"}, {"user", ""}, {"shoe", "x"}} {
			if err := d.Deny(webv4.DenyKind(e[0]), e[1], "", 0); err == nil {
				t.Errorf("%q accepted", e)
			}
		}
	})
}

// A long list is neither slow to make nor to ask.
func TestLongDenyList(t *testing.T) {
	var d webv4.DenyList
	a := newAPI(t, &webv4.Options{Deny: &d})
	webv4.Handle(a, func(context.Context, *do1) (*empty, error) { return nil, nil })
	get := func(ip string) int { return do(t, a, "GET /do.json", "", "RemoteAddr: "+ip+":1").status }
	addr := func(i int) string { return fmt.Sprintf("%d.%d.0", i>>8, i&255) }
	deny := func(value string, ttl time.Duration) error { return d.Deny(webv4.DenyIP, value, "", ttl) }
	const most = 50_000
	for i := range most {
		if err := errors.Join(deny("9."+addr(i), 0), deny("11."+addr(i)+"/24", time.Nanosecond)); err != nil {
			t.Fatal(i, err)
		}
	}
	for i := 0; i < most; i += 97 {
		if got := get("9." + addr(i)); got != 403 {
			t.Fatalf("9.%s: %d", addr(i), got)
		}
	}
	if n := len(d.List()); n != most {
		t.Errorf("%d entries apply", n)
	}
	// It is full, but half of it has ended.
	if err := deny("8.8.8.8", 0); err != nil {
		t.Fatal(err)
	}
	for i := range most - 1 {
		if err := deny(fmt.Sprintf("2001:db8:%x::/48", i), 0); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := deny("7.7.7.7", 0); err == nil {
		t.Error("there is no bound")
	}
	if err := errors.Join(deny("8.8.8.8/32", 0), d.Allow(webv4.DenyIP, "9.0.0.0"), deny("7.7.7.7", 0), d.Deny(webv4.DenyUser, "7", "", 0)); err != nil {
		t.Error(err)
	}
	for ip, want := range map[string]int{"8.8.8.8": 403, "7.7.7.7": 403, "9.0.0.0": 200, "9.0.0.1": 200, "[2001:db8:bb::9]": 403, "[2001:db8:bb99:1::9]": 403, "[2001:db9::1]": 200} {
		if got := get(ip); got != want {
			t.Errorf("%s: %d, want %d", ip, got, want)
		}
	}
}

func TestCORS(t *testing.T) {
	a := newAPI(t, &webv4.Options{CORS: &webv4.CORS{Origins: []string{"https://a.org"}, Headers: []string{"Authorization"}, Expose: []string{"Ratelimit"}, Credentials: true}})
	type put struct {
		_ struct{} `route:"PUT /show"`
	}
	webv4.Handle(a, func(context.Context, *plainShow) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *put) (*empty, error) { return nil, nil })
	show := func(r answer) string {
		h := r.header
		return fmt.Sprintf("%v%v%v%v%v%v%v%v", r.status, h["Access-Control-Allow-Origin"], h["Access-Control-Allow-Credentials"], h["Access-Control-Allow-Methods"],
			h["Access-Control-Allow-Headers"], h["Access-Control-Expose-Headers"], h["Access-Control-Max-Age"], h["Vary"])
	}
	for _, tc := range []struct {
		route   string
		headers []string
		want    string
	}{
		{"GET /show", []string{"Origin: https://a.org"}, "200[https://a.org][true][][][Ratelimit][][Origin Accept]"},
		{"GET /show", []string{"Origin: https://b.org"}, "200[][][][][][][Origin Accept]"},
		{"GET /show", nil, "200[][][][][][][Origin Accept]"},
		{"OPTIONS /show", []string{"Origin: https://a.org", "Access-Control-Request-Method: PUT"}, "204[https://a.org][true][GET, HEAD, OPTIONS, PUT][Authorization][][600][Origin Access-Control-Request-Method Access-Control-Request-Headers]"},
		{"OPTIONS /show", []string{"Origin: https://b.org", "Access-Control-Request-Method: PUT"}, "204[][][][][][][Origin]"},
		{"OPTIONS /show", []string{"Origin: https://a.org"}, "204[https://a.org][true][][][Ratelimit][][Origin]"},
		{"OPTIONS /none", []string{"Origin: https://a.org", "Access-Control-Request-Method: PUT"}, "404[https://a.org][true][][][][][Origin]"},
		{"GET /none", []string{"Origin: https://a.org"}, "404[https://a.org][true][][][Ratelimit][][Origin]"},
	} {
		if got := show(do(t, a, tc.route, "", tc.headers...)); got != tc.want {
			t.Errorf("%s %q:\ngot  %s\nwant %s", tc.route, tc.headers, got, tc.want)
		}
	}
	all := newAPI(t, &webv4.Options{CORS: &webv4.CORS{Origins: []string{"*"}}})
	webv4.Handle(all, func(context.Context, *plainShow) (*empty, error) { return nil, nil })
	if got := show(do(t, all, "GET /show", "", "Origin: https://x.org")); got != "200[*][][][][][][Accept]" {
		t.Error(got)
	}
	for _, o := range []webv4.CORS{{}, {Origins: []string{"*"}, Credentials: true}, {Origins: []string{"a.org"}}, {Origins: []string{"https://a.org/x"}}, {Origins: []string{"*"}, MaxAge: -1}} {
		if _, err := webv4.New(&webv4.Options{CORS: &o}); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
}

func TestHealth(t *testing.T) {
	a := newAPI(t, nil)
	var broken error
	a.Health("/health", map[string]func(context.Context) error{"db": func(context.Context) error { return broken }, "cache": func(context.Context) error { return nil }})
	do(t, a, "GET /health/live", "").is(t, 200, `{"ok":true,"checks":{}}`)
	do(t, a, "GET /health/ready", "").is(t, 200, `{"ok":true,"checks":{"serving":true,"cache":true,"db":true}}`)
	broken = errors.New("password=x")
	do(t, a, "GET /health/ready", "").is(t, 503, `{"ok":false,"checks":{"serving":true,"cache":true,"db":false}}`)
	broken = nil
	a.Drain()
	do(t, a, "GET /health/ready", "").is(t, 503, `{"ok":false,"checks":{"serving":false,"cache":true,"db":true}}`)
	do(t, a, "GET /health/live", "").is(t, 200, `{"ok":true,"checks":{}}`)
}

// A check that takes no notice of its time costs the answer no more than that, and
// neither do two.
func TestHealthInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, nil)
		release := make(chan struct{})
		var started atomic.Int32
		stuck := func(context.Context) error { started.Add(1); <-release; return nil }
		a.Health("/health", map[string]func(context.Context) error{
			"panics": func(context.Context) error { panic("x") }, "stuck": stuck, "stuck too": stuck,
		})
		begun := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				do(t, a, "GET /health/ready", "").is(t, 503, `{"ok":false,"checks":{"serving":true,"panics":false,"stuck":false,"stuck too":false}}`)
			})
		}
		wg.Wait()
		if d := time.Since(begun); d != 2*time.Second {
			t.Errorf("answered after %v", d)
		}
		if n := started.Load(); n != 2 {
			t.Errorf("%d runs of two checks", n)
		}
		close(release)
	})
}

func TestCombinedLog(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, &webv4.Options{AccessLog: &log, CombinedLog: true, Authenticator: users{}})
	webv4.Handle(a, func(context.Context, *mine) (*empty, error) { return nil, nil })
	do(t, a, "POST /mine?access_token=me+and+you", "", "RemoteAddr: 1.2.3.4:5", "Referer: http://x/\"\n", "User-Agent: a\\b\x7f")
	do(t, a, "GET /x%0a%22", "", "User-Agent: "+strings.Repeat("x", 5000))
	a.Shutdown(context.Background())
	lines := strings.Split(log.String(), "\n")
	if len(lines) != 3 {
		t.Fatalf("%q", lines)
	}
	first := regexp.MustCompile(`^1\.2\.3\.4 - me \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [-+]\d{4}\] "POST /mine HTTP/1\.1" 200 3 "http://x/\\"\\x0a" "a\\\\b\\x7f"$`)
	if !first.MatchString(lines[0]) {
		t.Errorf("%s", lines[0])
	}
	if !strings.Contains(lines[1], `"GET /x\x0a\" HTTP/1.1" 404 `) || len(lines[1]) > 1300 {
		t.Errorf("%s", lines[1])
	}
}

func TestLogSampling(t *testing.T) {
	var log bytes.Buffer
	a := newAPI(t, &webv4.Options{AccessLog: &log, LogSample: 0.2})
	webv4.Handle(a, func(context.Context, *plainShow) (*empty, error) { return nil, nil })
	for range 500 {
		do(t, a, "GET /show", "")
		do(t, a, "GET /none", "")
	}
	a.Shutdown(context.Background())
	n := map[any]int{}
	for _, l := range logLines(t, log.String()) {
		n[l["status"]]++
	}
	if n[404.0] != 500 || n[200.0] < 50 || n[200.0] > 170 {
		t.Errorf("%v", n)
	}
}
