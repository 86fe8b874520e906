package webv4_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/webv4"
)

type profile struct {
	ID    int      `json:"id"`
	Name  string   `json:"name"`
	Bio   string   `json:"bio" trim:"true"`
	Level string   `json:"level"`
	Deep  []detail `json:"deep"`
}

type detail struct {
	A int     `json:"a"`
	B int     `json:"b" trim:"true"`
	P *detail `json:"p,omitempty"`
}

type showProfile struct {
	_  struct{} `route:"GET /profile.json" auth:"user" degrade:"profile=trim,stale:1m,static,shed,off"`
	ID int      `query:"id"`
}

func TestDegradationLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, &webv4.Options{Authenticator: users{}})
		webv4.Handle(a, func(ctx context.Context, in *showProfile) (*profile, error) {
			if in.ID == 9 {
				return nil, errors.New("broken")
			}
			return &profile{in.ID, "n", "b", webv4.LevelFrom(ctx).String(), []detail{{1, 2, &detail{3, 4, nil}}}}, nil
		})
		webv4.SetStatic[showProfile](a, &profile{Name: "static"})
		get := func(url string) answer {
			t.Helper()
			return do(t, a, "GET "+url, "", "Authorization: Bearer 7")
		}
		set := func(d webv4.Degradation) {
			t.Helper()
			if err := a.Degrade("profile", d); err != nil {
				t.Fatal(err)
			}
		}
		fresh := `{"id":1,"name":"n","bio":"b","level":"normal","deep":[{"a":1,"b":2,"p":{"a":3,"b":4}}]}`
		static := `{"id":0,"name":"static","bio":"","level":"","deep":null}`
		get("/profile.json?id=1").is(t, 200, fresh)

		set(webv4.Degradation{Level: webv4.Trim})
		r := get("/profile.json?id=1")
		r.is(t, 200, `{"id":1,"name":"n","level":"trim","deep":[{"a":1,"p":{"a":3}}]}`)
		if got := r.header.Get("X-Degraded"); got != "trim;profile" {
			t.Errorf("X-Degraded %q", got)
		}

		set(webv4.Degradation{Level: webv4.Stale})
		time.Sleep(20 * time.Second)
		r = get("/profile.json?id=1")
		r.is(t, 200, fresh)
		if r.header.Get("Age") != "20" {
			t.Errorf("headers %v", r.header)
		}
		// Not another's, not another request's, not one that is too old.
		do(t, a, "GET /profile.json?id=1", "", "Authorization: Bearer 8").is(t, 200, strings.Replace(fresh, "normal", "stale", 1))
		get("/profile.json?id=2").is(t, 200, strings.NewReplacer("normal", "stale", `"id":1`, `"id":2`).Replace(fresh))
		get("/profile.json?id=9").fails(t, 500, webv4.CodeSystem, "")
		time.Sleep(41 * time.Second)
		get("/profile.json?id=1").is(t, 200, strings.Replace(fresh, "normal", "stale", 1))

		set(webv4.Degradation{Level: webv4.Static})
		get("/profile.json?id=9").is(t, 200, static)
		if r := get("/profile.xml"); r.status != 200 || !strings.Contains(r.body, "<name>static</name>") {
			t.Errorf("%+v", r)
		}
		do(t, a, "GET /profile.json", "").fails(t, 401, webv4.CodeTokenMissing, "")

		for _, l := range []webv4.Level{webv4.Shed, webv4.Off} {
			set(webv4.Degradation{Level: l})
			r = get("/profile.json?id=1")
			r.fails(t, 503, webv4.CodeUnavailable, "")
			if r.header.Get("Retry-After") == "" || r.header.Get("X-Degraded") != l.String()+";profile" {
				t.Errorf("headers %v", r.header)
			}
		}
		set(webv4.Degradation{})
		get("/profile.json?id=1").is(t, 200, fresh)
	})
}

func TestDegradationControls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := watchman.New("t", nil)
		a := newAPI(t, &webv4.Options{Watchman: w})
		type plain struct {
			_ struct{} `route:"GET /plain"`
		}
		type off struct {
			_ struct{} `route:"GET /off" degrade:"off=off"`
		}
		type vital struct {
			_ struct{} `route:"GET /vital" degrade:"vital=trim,shed" class:"critical"`
		}
		g := a.Group("/g", &webv4.GroupOptions{Degrade: "group"})
		webv4.Handle(a, func(context.Context, *plain) (*empty, error) { return nil, nil })
		webv4.Handle(a, func(context.Context, *off) (*empty, error) { return nil, nil })
		webv4.Handle(g, func(context.Context, *off) (*empty, error) { return nil, nil })
		webv4.Handle(a, func(context.Context, *vital) (*empty, error) { return nil, nil })
		up := func() (s string) {
			for _, path := range []string{"/plain", "/off", "/g/off", "/vital"} {
				s += fmt.Sprint(do(t, a, "GET "+path, "").status/100, " ")
			}
			return s
		}
		check := func(what, want string) {
			t.Helper()
			if got := up(); got != want+" " {
				t.Errorf("%s: %s, want %s", what, got, want)
			}
		}
		degrade := func(name string, d webv4.Degradation) {
			t.Helper()
			if err := a.Degrade(name, d); err != nil {
				t.Error(err)
			}
		}
		check("normal", "2 2 2 2")
		degrade("off", webv4.Degradation{Level: webv4.Shed})
		check("a level below the only step", "2 2 2 2")
		degrade("off", webv4.Degradation{Level: webv4.Off, TTL: time.Minute, By: "ops", Why: "drill"})
		check("two interfaces of one point", "2 5 5 2")
		if st := a.Points()[2]; st.Name != "off" || st.Level != webv4.Off || st.By != "ops" || st.Why != "drill" || time.Until(st.Until) != time.Minute || st.Degraded != 2 {
			t.Errorf("%+v", a.Points())
		}
		time.Sleep(time.Minute)
		check("after the time to live", "2 2 2 2")
		degrade("group", webv4.Degradation{Level: webv4.Off})
		check("a group", "2 2 5 2")
		degrade("group", webv4.Degradation{})
		degrade(webv4.Everything, webv4.Degradation{Level: webv4.Off})
		check("everything that has steps; what is critical is not shed", "2 5 5 2")
		degrade(webv4.Everything, webv4.Degradation{Level: webv4.Off, DryRun: true})
		check("a dry run", "2 2 2 2")
		if st := a.Points()[0]; st.Name != "*" || st.Dry != 3 || !st.DryRun {
			t.Errorf("%+v", st)
		}
		degrade(webv4.Everything, webv4.Degradation{})
		w.SetSwitch("off", true, "t", "t")
		check("a switch", "2 5 5 2")
		if a.Points()[2].Switched != webv4.Off {
			t.Error("not shown as switched")
		}
		w.SetSwitch("off", false, "t", "t")

		// A percentage takes the same clients each time.
		degrade("off", webv4.Degradation{Level: webv4.Off, Percent: 30})
		refused := 0
		for i := range 1000 {
			ip := fmt.Sprintf("RemoteAddr: 10.0.%d.%d:1", i/250, i%250)
			first := do(t, a, "GET /off", "", ip).status
			if do(t, a, "GET /off", "", ip).status != first {
				t.Error("in and out")
			}
			if first == 503 {
				refused++
			}
		}
		if refused < 200 || refused > 400 {
			t.Errorf("%d of 1000 refused, want about 300", refused)
		}
		if err := a.Degrade("nothing", webv4.Degradation{}); !errors.Is(err, webv4.ErrNoPoint) {
			t.Error(err)
		}
		for _, d := range []webv4.Degradation{{Level: 6}, {Level: -1}, {Percent: 101}, {TTL: -1}} {
			if err := a.Degrade("off", d); err == nil {
				t.Errorf("%+v accepted", d)
			}
		}
	})
}

func TestDegradeTags(t *testing.T) {
	type post struct {
		_ struct{} `route:"POST /x" degrade:"x=stale:1s"`
	}
	type star struct {
		_ struct{} `route:"GET /x" degrade:"*=off"`
	}
	type twice struct {
		_ struct{} `route:"GET /x" degrade:"x=off,off"`
	}
	type age struct {
		_ struct{} `route:"GET /x" degrade:"x=stale" class:"vip"`
	}
	type both struct {
		_ struct{} `route:"GET /x" degrade:"x=static,fallback"`
	}
	a := newAPI(t, nil)
	for want, f := range map[string]func(){
		"only a GET":             func() { webv4.Handle(a, func(context.Context, *post) (*empty, error) { return nil, nil }) },
		`degrade "*=off"`:        func() { webv4.Handle(a, func(context.Context, *star) (*empty, error) { return nil, nil }) },
		`degrade "x=off,off"`:    func() { webv4.Handle(a, func(context.Context, *twice) (*empty, error) { return nil, nil }) },
		`stale needs an age`:     func() { webv4.Handle(a, func(context.Context, *age) (*empty, error) { return nil, nil }) },
		`x=static,fallback`:      func() { webv4.Handle(a, func(context.Context, *both) (*empty, error) { return nil, nil }) },
		"with the step static":   func() { webv4.SetStatic[twice](a, &empty{}) },
		"GroupOptions.Degrade: ": func() { a.Group("/g", &webv4.GroupOptions{Degrade: "*"}) },
	} {
		if text := panics(t, f); !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

// What is kept for stale replies is bounded.
func TestStaleRepliesAreBounded(t *testing.T) {
	a := newAPI(t, &webv4.Options{KeepReplies: 10_000})
	type in struct {
		_ struct{} `route:"GET /big" degrade:"big=stale:1h"`
		N int      `query:"n"`
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*in2, error) { return &in2{strings.Repeat("x", in.N)}, nil })
	for i := range 100 {
		do(t, a, fmt.Sprintf("GET /big?n=%d", 1000+i), "")
	}
	do(t, a, "GET /big?n=5000", "") // more than a quarter of all
	a.Degrade("big", webv4.Degradation{Level: webv4.Stale})
	kept := 0
	for i := range 100 { // newest first: what is not kept any more is from now on
		if do(t, a, fmt.Sprintf("GET /big?n=%d", 1099-i), "").header.Get("Age") != "" {
			kept++
		}
	}
	if kept < 5 || kept > 10 {
		t.Errorf("%d replies of 1 KB in 10 KB", kept)
	}
	if do(t, a, "GET /big?n=5000", "").header.Get("Age") != "" {
		t.Error("a reply was kept that is too large")
	}
}

func TestFieldSelection(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_ struct{} `route:"GET /sel.json" select:"fields"`
	}
	webv4.Handle(a, func(context.Context, *in) (*profile, error) {
		return &profile{1, "n", "b", "l", []detail{{1, 2, &detail{3, 4, nil}}}}, nil
	})
	for q, want := range map[string]string{
		"":                           `{"id":1,"name":"n","bio":"b","level":"l","deep":[{"a":1,"b":2,"p":{"a":3,"b":4}}]}`,
		"?fields=":                   `{"id":1,"name":"n","bio":"b","level":"l","deep":[{"a":1,"b":2,"p":{"a":3,"b":4}}]}`,
		"?fields=name,id":            `{"id":1,"name":"n"}`,
		"?fields=deep":               `{"deep":[{"a":1,"b":2,"p":{"a":3,"b":4}}]}`,
		"?fields=deep.a,deep.p.b,id": `{"id":1,"deep":[{"a":1,"p":{"b":4}}]}`,
	} {
		for range 2 {
			do(t, a, "GET /sel.json"+q, "").is(t, 200, want)
		}
	}
	if r := do(t, a, "GET /sel.xml?fields=deep.p.a", ""); !strings.Contains(r.body, "<result><deep><item><p><a>3</a></p></item></deep></result>") {
		t.Error(r.body)
	}
	for _, q := range []string{"nothing", "id.x", "deep.x", "id,,name", ".", "id,", strings.Repeat("id,", 200) + "id"} {
		do(t, a, "GET /sel.json?fields="+q, "").fails(t, 400, webv4.CodeInvalid, "(fields) expect (")
	}
	for i := range 1000 { // clients' selections are remembered, but not all
		do(t, a, fmt.Sprintf("GET /sel.json?fields=id%s", strings.Repeat(",id", i%90)), "")
	}
}

// What clients select is trimmed too, so that degrading makes no reply larger.
func TestTrimKeepsToTheSelection(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /some.json" select:"fields" degrade:"some=trim"`
	}
	type out struct {
		A int `json:"a"`
		B int `json:"b" trim:"true"`
		C int `json:"c"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *in) (*out, error) { return &out{1, 2, 3}, nil })
	do(t, a, "GET /some.json?fields=a,b", "").is(t, 200, `{"a":1,"b":2}`)
	if err := a.Degrade("some", webv4.Degradation{Level: webv4.Trim, By: "t", Why: "t"}); err != nil {
		t.Fatal(err)
	}
	do(t, a, "GET /some.json", "").is(t, 200, `{"a":1,"c":3}`)
	do(t, a, "GET /some.json?fields=a,b", "").is(t, 200, `{"a":1}`)
	do(t, a, "GET /some.json?fields=b", "").is(t, 200, `{}`)
	if r := do(t, a, "GET /some.json?fields=d", ""); r.status != 400 {
		t.Errorf("a name that is none: %+v", r)
	}
}

// What answers in a handler's place replies with what the handler does.
func TestStandInsReplyAlike(t *testing.T) {
	a := newAPI(t, nil)
	type static struct {
		_ struct{} `route:"GET /static" degrade:"s=static"`
	}
	type fallback struct {
		_ struct{} `route:"GET /fallback.json" degrade:"f=fallback"`
	}
	type neither struct {
		_ struct{} `route:"GET /neither" degrade:"n=off"`
	}
	type events struct {
		_ struct{} `route:"GET /events" degrade:"e=static"`
	}
	webv4.Handle(a, func(context.Context, *static) (*in2, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *fallback) (*in2, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *neither) (*in2, error) { return nil, nil })
	for want, f := range map[string]func(){
		"SetStatic: GET /static replies with *webv4_test.in2, not *webv4_test.empty": func() { webv4.SetStatic[static](a, &empty{}) },
		"Fallback: GET /fallback.json replies with *webv4_test.in2, not *webv4.Events": func() {
			webv4.Fallback(a, func(context.Context, *fallback) (*webv4.Events, error) { return nil, nil })
		},
		"neither is no interface with the step static":   func() { webv4.SetStatic[neither](a, &in2{}) },
		"fallback is no interface with the step static":  func() { webv4.SetStatic[fallback](a, &in2{}) },
		"static is no interface with the step fallback":  func() { webv4.Fallback(a, func(context.Context, *static) (*in2, error) { return nil, nil }) },
		"the reply writes itself: no stale, static, sel": func() { webv4.Handle(a, func(context.Context, *events) (*webv4.Events, error) { return nil, nil }) },
	} {
		if text := panics(t, f); !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
	// One request type may be two interfaces, with replies of their own.
	g := a.Group("/2", nil)
	webv4.Handle(g, func(context.Context, *static) (*greeting, error) { return nil, nil })
	webv4.SetStatic[static](a, &in2{"one"})
	webv4.SetStatic[static](a, &greeting{Text: "two"})
	if err := a.Degrade("s", webv4.Degradation{Level: webv4.Static}); err != nil {
		t.Fatal(err)
	}
	do(t, a, "GET /static", "").is(t, 200, `{"p":"one"}`)
	do(t, a, "GET /2/static", "").is(t, 200, `{"text":"two","times":0}`)
}

// While something is degraded to stale, for however long, its handler is asked once
// for each request and age.
func TestStaleGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, nil)
		type in struct {
			_ struct{} `route:"GET /it" degrade:"it=stale:1m"`
		}
		calls := 0
		webv4.Handle(a, func(context.Context, *in) (*greeting, error) { calls++; return &greeting{Times: calls}, nil })
		do(t, a, "GET /it", "").is(t, 200, `{"text":"","times":1}`)
		if err := a.Degrade("it", webv4.Degradation{Level: webv4.Stale}); err != nil {
			t.Fatal(err)
		}
		for i := range 600 { // ten minutes
			r := do(t, a, "GET /it", "")
			if r.status != 200 || r.header.Get("X-Degraded") != "stale;it" {
				t.Fatalf("after %d s: %+v", i, r)
			}
			time.Sleep(time.Second)
		}
		if calls > 11 {
			t.Errorf("the handler was called %d times", calls)
		}
	})
}

// Processes that are told the same degrade the same clients.
func TestPercentIsOfTheSameClients(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /it" degrade:"it=off"`
	}
	var apis [2]*webv4.API
	for i := range apis {
		apis[i] = newAPI(t, nil)
		webv4.Handle(apis[i], func(context.Context, *in) (*empty, error) { return nil, nil })
		if err := apis[i].Degrade("it", webv4.Degradation{Level: webv4.Off, Percent: 30}); err != nil {
			t.Fatal(err)
		}
	}
	off := 0
	for i := range 2000 {
		from := fmt.Sprintf("RemoteAddr: 10.0.%d.%d:1", i/200, i%200)
		one, other := do(t, apis[0], "GET /it", "", from), do(t, apis[1], "GET /it", "", from)
		if one.status != other.status {
			t.Fatalf("%s: %d and %d", from, one.status, other.status)
		}
		if one.status == 503 {
			off++
		}
	}
	if off < 500 || off > 700 {
		t.Errorf("%d of 2000 clients", off)
	}
}
