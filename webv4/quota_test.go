package webv4_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type limited struct {
	_ struct{} `route:"GET /limited.json" auth:"user" quota:"user=3/m,app=5/h,ip=100/h"`
}

type free struct {
	_ struct{} `route:"GET /free" quota:"none"`
}

type status struct {
	_ struct{} `route:"GET /status.json" auth:"user" quota:"none"`
}

func quotaAPI(t testing.TB, quotas string) *webv4.API {
	a := newAPI(t, &webv4.Options{Authenticator: users{}, Quotas: quotas})
	webv4.Handle(a, func(context.Context, *limited) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *free) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(ctx context.Context, _ *status) (*webv4.RateLimitStatus, error) { return a.RateLimitStatus(ctx) })
	return a
}

func TestQuotas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quotaAPI(t, "")
		get := func(token string) answer { t.Helper(); return do(t, a, "GET /limited.json?access_token="+token, "") }
		for i := range 3 {
			r := get("7@app")
			r.is(t, 200, "{}")
			if got, want := r.header.Get("Ratelimit"), fmt.Sprintf(`"user/m";r=%d;t=%d`, 2-i, 20*(i+1)); got != want {
				t.Errorf("RateLimit %s, want %s", got, want)
			}
			if got := r.header.Get("Ratelimit-Policy"); got != `"user/m";q=3;w=60, "app/h";q=5;w=3600, "ip/h";q=100;w=3600` {
				t.Errorf("RateLimit-Policy %s", got)
			}
		}
		r := get("7@app")
		r.fails(t, 429, webv4.CodeUserAPILimit, "out of rate limit")
		if r.header.Get("Retry-After") != "20" || r.header.Get("Ratelimit") != `"user/m";r=0;t=60` {
			t.Errorf("headers %v", r.header)
		}
		get("8@app").is(t, 200, "{}") // another user
		get("8@app").is(t, 200, "{}")
		// The application's quota is exhausted. That costs the user nothing.
		for range 3 {
			get("8@app").fails(t, 429, webv4.CodeUserAPILimit, "")
		}
		get("8@other").is(t, 200, "{}")
		get("8@other").fails(t, 429, webv4.CodeUserAPILimit, "")
		// A third of a minute later one call is there again, not more.
		time.Sleep(20 * time.Second)
		get("7@other").is(t, 200, "{}")
		get("7@other").fails(t, 429, webv4.CodeUserAPILimit, "")
		time.Sleep(time.Hour)
		if n := a.Stats(); n.Limited != 6 {
			t.Errorf("stats %+v", n)
		}
		for range 3 {
			get("7@app").is(t, 200, "{}")
		}
		// The interface without quotas is always there.
		for range 1000 {
			do(t, a, "GET /free", "").is(t, 200, "{}")
		}
	})
}

func TestQuotaOfTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for quotas, code := range map[string]int{
			"user=2/d": webv4.CodeUserLimit, "ip=2/h": webv4.CodeIPLimit, "total=2/s": webv4.CodeBusy, "app+user=2/m": webv4.CodeUserLimit, "app=2/h": webv4.CodeUserLimit,
		} {
			a := quotaAPI(t, quotas)
			get := func() answer { return do(t, a, "GET /limited.json?access_token=7@app", "") }
			get().is(t, 200, "{}")
			get().is(t, 200, "{}")
			r := get()
			r.fails(t, map[bool]int{false: 429, true: 503}[code == webv4.CodeBusy], code, "")
			if r.header.Get("Retry-After") == "" {
				t.Errorf("%s: headers %v", quotas, r.header)
			}
			time.Sleep(12 * time.Hour)
			get().is(t, 200, "{}")
		}
	})
}

// One customer has a whole IPv6 /64.
func TestQuotaOfAnIPv6Network(t *testing.T) {
	a := newAPI(t, &webv4.Options{Quotas: "ip=1/h"})
	webv4.Handle(a, func(context.Context, *do1) (*empty, error) { return nil, nil })
	do(t, a, "GET /do.json", "", "RemoteAddr: [2001:db8::1]:1").is(t, 200, "{}")
	do(t, a, "GET /do.json", "", "RemoteAddr: [2001:db8::2:3:4]:1").fails(t, 429, webv4.CodeIPLimit, "")
	do(t, a, "GET /do.json", "", "RemoteAddr: [2001:db8:0:1::1]:1").is(t, 200, "{}")
	do(t, a, "GET /do.json", "", "RemoteAddr: [::ffff:192.0.2.1]:1").is(t, 200, "{}")
	do(t, a, "GET /do.json", "", "RemoteAddr: [::ffff:192.0.2.2]:1").is(t, 200, "{}")
	do(t, a, "GET /do.json", "", "RemoteAddr: 192.0.2.1:1").fails(t, 429, webv4.CodeIPLimit, "")
	do(t, a, "GET /do.json", "", "RemoteAddr: pipe").is(t, 200, "{}")
	do(t, a, "GET /do.json", "", "RemoteAddr: @").fails(t, 429, webv4.CodeIPLimit, "") // nobody knows who, and so all together
}

func TestRateLimitStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := quotaAPI(t, "user=30/d,user=10/h,ip=100/h,app=50/h,ip=1000/d,total=200/s")
		get := func() (st webv4.RateLimitStatus) {
			t.Helper()
			r := do(t, a, "GET /status.json?access_token=7@app", "", "RemoteAddr: 1.2.3.4:5")
			if err := json.Unmarshal([]byte(r.body), &st); err != nil {
				t.Fatal(err, r.body)
			}
			return st
		}
		st := get()
		if st.UserLimit != 10 || st.RemainingUser != 10 || st.IPLimit != 100 || st.RemainingIPHits != 100 || st.ResetTimeSeconds != 0 || len(st.APIs) != 3 {
			t.Errorf("at first: %+v", st)
		}
		do(t, a, "GET /limited.json?access_token=7@app", "", "RemoteAddr: 1.2.3.4:5")
		st = get()
		if st.LimitTimeUnit != "HOURS" || st.RemainingUser != 9 || st.RemainingIPHits != 99 || st.ResetTimeSeconds != 360 || st.ResetTime != time.Now().Add(360*time.Second).UTC().Format(time.DateTime) {
			t.Errorf("after a call: %+v", st)
		}
		if got, want := fmt.Sprint(st.RateLimits), "[{/ 30 user DAYS 29 2880} {/ 10 user HOURS 9 360} {/ 100 ip HOURS 99 36} {/ 50 app HOURS 49 72} {/ 1000 ip DAYS 999 87} {/ 200 total SECONDS 199 1}]"; got != want {
			t.Errorf("rate_limits %s\nwant %s", got, want)
		}
		for _, api := range st.APIs {
			if api.API != "/limited.json" || api.Method != "GET" || api.RemainingHits != api.Limit-1 {
				t.Errorf("%+v", api)
			}
		}
		if st.APIs[2].LimitBy != "user" || st.APIs[2].LimitTimeUnit != "MINUTES" || st.APIs[2].Limit != 3 {
			t.Errorf("%+v", st.APIs)
		}
		for range 100 { // asking is free
			get()
		}
		if _, err := a.RateLimitStatus(context.Background()); err == nil {
			t.Error("an answer outside a call")
		}
	})
}

// The platform's fields have one unit of time, and never a limit of another.
func TestRateLimitStatusHasOneUnit(t *testing.T) {
	for quotas, want := range map[string]string{
		"":                           "HOURS ip 0/0 user 0/0",
		"app=5/m":                    "HOURS ip 0/0 user 0/0",
		"user=10/d":                  "DAYS ip 0/0 user 10/10",
		"user=10/d,ip=5/h":           "HOURS ip 5/5 user 0/0",
		"ip=5/h,user=10/d":           "HOURS ip 5/5 user 0/0",
		"user=10/d,ip=5/m":           "MINUTES ip 5/5 user 0/0",
		"ip=5/s,user=10/d,user=20/h": "HOURS ip 0/0 user 20/20",
	} {
		a := newAPI(t, &webv4.Options{Authenticator: users{}, Quotas: quotas})
		// The group's quota is tighter where it has the same unit.
		g := a.Group("/g", &webv4.GroupOptions{Quotas: "user=7/h"})
		var in, out *webv4.RateLimitStatus
		webv4.Handle(a, func(ctx context.Context, _ *status) (_ *empty, err error) {
			if out, err = a.RateLimitStatus(ctx); err == nil {
				in, err = g.RateLimitStatus(ctx)
			}
			return nil, err
		})
		do(t, a, "GET /status.json?access_token=7", "").is(t, 200, "{}")
		if got := fmt.Sprintf("%s ip %d/%d user %d/%d", out.LimitTimeUnit, out.RemainingIPHits, out.IPLimit, out.RemainingUser, out.UserLimit); got != want {
			t.Errorf("%q: %s, want %s", quotas, got, want)
		}
		if in.LimitTimeUnit != "HOURS" || in.UserLimit != 7 || in.IPLimit != 0 && in.IPLimit != 5 {
			t.Errorf("%q in the group: %+v", quotas, in)
		}
	}
}

func TestQuotaTags(t *testing.T) {
	for _, s := range []string{"user", "user=", "user=5", "user=5/", "user=5/w", "user=0/h", "user=-1/h", "user=1e3/h", "=5/h", "me=5/h", "user=5/h,", "user=100000001/s", "user=5/hh", " user=5/h", "user=5/h,user=6/h", "user=5/h,ip=5/h,user=5/h"} {
		if _, err := webv4.New(&webv4.Options{Quotas: s, Authenticator: users{}}); err == nil || !strings.Contains(err.Error(), "quota") {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"user=5/h", "user=5/h,user=50/d,ip=1/s,app=1/m,app+user=100000000/s,total=7/d"} {
		if _, err := webv4.New(&webv4.Options{Quotas: s, Authenticator: users{}}); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// A quota that could never tell whose calls it counts is refused.
func TestQuotaWithoutAuth(t *testing.T) {
	a := newAPI(t, nil)
	type user struct {
		_ struct{} `route:"GET /user" quota:"user=1/h"`
	}
	type app struct {
		_ struct{} `route:"GET /app" quota:"ip=1/h,app=1/h"`
	}
	type both struct {
		_ struct{} `route:"GET /both" quota:"app+user=1/h"`
	}
	for want, f := range map[string]func(){
		"quota user=1/h: the interface has no auth":     func() { webv4.Handle(a, func(context.Context, *user) (*empty, error) { return nil, nil }) },
		"quota app=1/h: the interface has no auth":      func() { webv4.Handle(a, func(context.Context, *app) (*empty, error) { return nil, nil }) },
		"quota app+user=1/h: the interface has no auth": func() { webv4.Handle(a, func(context.Context, *both) (*empty, error) { return nil, nil }) },
		"GroupOptions.Quotas: quota app=1/h: without":   func() { a.Group("/g", &webv4.GroupOptions{Quotas: "app=1/h"}) },
	} {
		if text := panics(t, f); !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	for _, s := range []string{"user=1/h", "app=1/h", "app+user=1/h"} {
		if _, err := webv4.New(&webv4.Options{Quotas: s}); err == nil || !strings.Contains(err.Error(), "Options.Quotas: quota "+s+": without an Authenticator") {
			t.Errorf("%s: %v", s, err)
		}
	}
	a.Group("/g", &webv4.GroupOptions{Quotas: "app=1/h", Authenticator: users{}})
}

// To have no application is no way round an application's quota.
func TestQuotaOfAnUnknownApplication(t *testing.T) {
	for _, quota := range []string{"app=1/h", "app+user=1/h"} {
		a := quotaAPI(t, quota)
		for _, token := range []string{"7", "8"} {
			get := func() answer { return do(t, a, "GET /limited.json?access_token="+token, "") }
			get().is(t, 200, "{}")
			get().fails(t, 429, webv4.CodeUserLimit, "")
		}
	}
}

// Quotas of the API, of groups and of an interface that count the same callers in
// the same window are told apart; two of one path are one.
func TestQuotasOfOneName(t *testing.T) {
	var s stubStore
	for _, store := range []webv4.QuotaStore{nil, &s} {
		a := newAPI(t, &webv4.Options{Quotas: "ip=9/h", QuotaStore: store})
		s.answer = func(int, webv4.Charge) webv4.Standing { return webv4.Standing{OK: true} }
		type in struct {
			_ struct{} `route:"GET /x" quota:"ip=8/h"`
		}
		type other struct {
			_ struct{} `route:"GET /y"`
		}
		same := a.Group("", &webv4.GroupOptions{Quotas: "ip=9/h"})
		g := same.Group("/2", &webv4.GroupOptions{Quotas: "ip=7/h"})
		again := a.Group("/2", &webv4.GroupOptions{Quotas: "ip=7/h,ip=9/d"})
		webv4.Handle(g, func(context.Context, *in) (*empty, error) { return nil, nil })
		webv4.Handle(again, func(context.Context, *other) (*empty, error) { return nil, nil })
		r := do(t, a, "GET /2/x", "")
		r.is(t, 200, "{}")
		if got, want := r.header.Get("Ratelimit-Policy"), `"ip/h /";q=9;w=3600, "ip/h /2/";q=7;w=3600, "ip/h";q=8;w=3600`; got != want {
			t.Errorf("RateLimit-Policy %s, want %s", got, want)
		}
		if store != nil && len(s.charges) != 3 {
			t.Errorf("charges %+v", s.charges)
		}
		if store == nil {
			for range 3 {
				do(t, a, "GET /2/x", "").is(t, 200, "{}")
				do(t, a, "GET /2/y", "").is(t, 200, "{}")
			}
			do(t, a, "GET /2/y", "").fails(t, 429, webv4.CodeIPLimit, "") // seven of the group's
		}
		for _, f := range []func(){
			func() { a.Group("", &webv4.GroupOptions{Quotas: "ip=5/h"}) },
			func() { a.Group("/2", &webv4.GroupOptions{Quotas: "ip=5/h"}) },
		} {
			if text := panics(t, f); !strings.Contains(text, "quota ip=5/h: all calls below ") {
				t.Error(text)
			}
		}
	}
}
