package webv4_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/webv4"
)

type fragile struct {
	_    struct{} `route:"GET /fragile.json" breaker:"50%/10s,min=10,rest=5s,probes=2" degrade:"fragile=stale:1m,fallback"`
	Fail string   `query:"fail"`
}

type brittle struct {
	_    struct{} `route:"GET /brittle" breaker:"100%/1s,min=3,rest=2s,probes=1"`
	Fail string   `query:"fail"`
}

func fails(how string) error {
	switch how {
	case "":
		return nil
	case "client":
		return webv4.Errorf(webv4.CodeParameter, "no")
	case "late":
		return context.DeadlineExceeded
	case "gone":
		return context.Canceled
	case "panic":
		panic("broken")
	}
	return errors.New("broken")
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _ := watchman.New("t", nil)
		a := newAPI(t, &webv4.Options{Watchman: w})
		calls := 0
		webv4.Handle(a, func(ctx context.Context, in *fragile) (*greeting, error) {
			calls++
			return &greeting{Text: "fresh"}, fails(in.Fail)
		})
		webv4.Handle(a, func(ctx context.Context, in *brittle) (*empty, error) { return nil, fails(in.Fail) })
		get := func(url string) answer { return do(t, a, "GET "+url, "") }
		fresh, fallback := `{"text":"fresh","times":0}`, `{"text":"fallback static","times":0}`

		get("/fragile.json").is(t, 200, fresh)
		for range 100 { // what clients do wrong opens nothing, nor do clients that go
			get("/fragile.json?fail=client").fails(t, 400, webv4.CodeParameter, "")
			get("/brittle?fail=gone")
		}
		if b := a.Stats().Breakers; len(b) != 2 || b[0] != (webv4.BreakerStats{Interface: "GET /fragile.json", State: "closed"}) || b[1].State != "closed" {
			t.Fatalf("%+v", b)
		}
		time.Sleep(11 * time.Second)
		for _, how := range []string{"late", "panic", "other"} {
			for range 5 {
				get("/fragile.json?fail=" + how)
			}
		}
		// Open: the handler is not asked, whatever the request.
		before := calls
		if b := a.Stats().Breakers[0]; b.State != "open" || b.Opened != 1 || b.KeptAway == 0 {
			t.Fatalf("%+v", b)
		}
		r := get("/fragile.json")
		r.is(t, 200, fresh) // the last good reply
		if r.header.Get("X-Degraded") != "stale;breaker" || r.header.Get("Age") != "11" {
			t.Errorf("headers %v", r.header)
		}
		get("/fragile.json?fail=x").fails(t, 503, webv4.CodeUnavailable, "") // no fallback yet
		webv4.Fallback(a, func(ctx context.Context, in *fragile) (*greeting, error) {
			return &greeting{Text: "fallback " + webv4.LevelFrom(ctx).String()}, nil
		})
		r = get("/fragile.json?fail=x")
		r.is(t, 200, fallback)
		if r.header.Get("X-Degraded") != "static;breaker" {
			t.Errorf("headers %v", r.header)
		}
		if r := get("/fragile.xml?fail=x"); !strings.Contains(r.body, "<text>fallback static</text>") {
			t.Errorf("xml %+v", r)
		}
		if calls != before {
			t.Errorf("the handler was asked %d times", calls-before)
		}
		// What the breaker kept away does not count for the interface's objective.
		d := w.Operation(watchman.Server, "GET /fragile.json").Distribution()
		if d.Rejected < 3 {
			t.Errorf("figures %+v", d)
		}

		// Half open: a failure opens it again, two successes close it.
		time.Sleep(5*time.Second + time.Millisecond)
		get("/fragile.json?fail=other").fails(t, 500, webv4.CodeSystem, "")
		if s := a.Stats().Breakers[0]; s.State != "open" || s.Opened != 2 {
			t.Errorf("%+v", s)
		}
		time.Sleep(5*time.Second + time.Millisecond)
		for range 2 {
			get("/fragile.json").is(t, 200, fresh)
		}
		if s := a.Stats().Breakers[0].State; s != "closed" {
			t.Error(s)
		}

		for range 3 {
			get("/brittle?fail=other")
		}
		r = get("/brittle")
		r.fails(t, 503, webv4.CodeUnavailable, "")
		if r.header.Get("Retry-After") == "" || r.header.Get("X-Degraded") != "off;breaker" {
			t.Errorf("headers %v", r.header)
		}
		time.Sleep(2*time.Second + time.Millisecond)
		get("/brittle").is(t, 200, "{}")
	})
}

func TestBreakerTags(t *testing.T) {
	a := newAPI(t, nil)
	type one struct {
		_ struct{} `route:"GET /x" breaker:"50"`
	}
	type two struct {
		_ struct{} `route:"GET /x" breaker:"101%/1s"`
	}
	type three struct {
		_ struct{} `route:"GET /x" breaker:"50%/1s,min=0"`
	}
	type four struct {
		_ struct{} `route:"GET /x" breaker:"50%/1s,rest=x"`
	}
	type five struct {
		_ struct{} `route:"GET /x" breaker:"50%/1s,most=1"`
	}
	for _, f := range []func(){
		func() { webv4.Handle(a, func(context.Context, *one) (*empty, error) { return nil, nil }) },
		func() { webv4.Handle(a, func(context.Context, *two) (*empty, error) { return nil, nil }) },
		func() { webv4.Handle(a, func(context.Context, *three) (*empty, error) { return nil, nil }) },
		func() { webv4.Handle(a, func(context.Context, *four) (*empty, error) { return nil, nil }) },
		func() { webv4.Handle(a, func(context.Context, *five) (*empty, error) { return nil, nil }) },
	} {
		if text := panics(t, f); !strings.Contains(text, "want PERCENT%/WINDOW") {
			t.Error(text)
		}
	}
}

// A control loop of watchman's degrades an interface that misses its objective,
// sees by the few calls that are let through when it is well, and ends it.
func TestVerdictDegrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := watchman.New("t", nil)
		if err != nil {
			t.Fatal(err)
		}
		a := newAPI(t, &webv4.Options{Watchman: w})
		type item struct {
			_ struct{} `route:"GET /item" degrade:"item=trim,fallback"`
		}
		slow := true
		webv4.Handle(a, func(context.Context, *item) (*greeting, error) {
			if slow {
				time.Sleep(400 * time.Millisecond)
			}
			return &greeting{Text: "fresh"}, nil
		})
		webv4.Fallback(a, func(context.Context, *item) (*greeting, error) { return &greeting{Text: "kept"}, nil })
		loop, err := control.New(w,
			[]control.Objective{{Name: "item", Kind: watchman.Server, Operation: "GET /item", Latency: 100 * time.Millisecond, Target: 0.99, MinCalls: 10}},
			[]control.Policy{{Name: "item to fallback", Objective: "item", Switch: w.Switch("webv4.item.static", false), Enforce: true, Window: time.Second, Hold: 5 * time.Second}},
			&control.Options{Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		run := func(d time.Duration) (kept int) {
			var mu sync.Mutex
			for end := time.Now().Add(d); time.Now().Before(end); {
				for range 25 {
					wg.Go(func() {
						if r := do(t, a, "GET /item", ""); r.status != 200 {
							t.Errorf("%+v", r)
						} else if r.header.Get("X-Degraded") == "static;item" {
							mu.Lock()
							kept++
							mu.Unlock()
						}
					})
					time.Sleep(20 * time.Millisecond)
				}
				loop.Step()
			}
			wg.Wait()
			return kept
		}
		run(10 * time.Second)
		if st := point(a, "item"); st.Switched != webv4.Static {
			t.Fatalf("not degraded: %+v, decisions %+v", st, loop.Decisions())
		}
		// Of 500 calls in ten seconds about 50 are let through to see.
		if kept := run(10 * time.Second); kept < 400 || kept > 480 {
			t.Errorf("%d of 500 calls degraded", kept)
		}
		if st := point(a, "item"); st.Switched != webv4.Static {
			t.Errorf("ended though the handler is as slow as before: %+v", loop.Decisions())
		}
		slow = false
		run(10 * time.Second)
		if st := point(a, "item"); st.Switched != webv4.Normal {
			t.Errorf("still degraded: %+v", loop.Decisions())
		}
		// A human's switch lets nothing through.
		if err := w.SetSwitch("webv4.item.static", true, "ops", "drill"); err != nil {
			t.Fatal(err)
		}
		if kept := run(2 * time.Second); kept != 100 {
			t.Errorf("%d of 100 calls degraded", kept)
		}
		for _, name := range []string{"webv4.item.trim", "webv4.*.trim", "webv4.*.off", "item", "*"} {
			if err := w.SetSwitch(name, true, "ops", "drill"); err != nil {
				t.Error(err)
			}
		}
		if err := w.SetSwitch("webv4.item.off", true, "ops", "drill"); !errors.Is(err, watchman.ErrNoSwitch) {
			t.Errorf("a switch for a step that the interface does not have: %v", err)
		}
	})
}

func point(a *webv4.API, name string) webv4.PointState {
	for _, p := range a.Points() {
		if p.Name == name {
			return p
		}
	}
	return webv4.PointState{}
}

// Overload degrades level by level, and ends level by level.
func TestOverloadDegrades(t *testing.T) {
	for _, dry := range []bool{false, true} {
		t.Run(fmt.Sprint("dry ", dry), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { overloadDegrades(t, dry) })
		})
	}
}

func overloadDegrades(t *testing.T, dry bool) {
	w, _ := watchman.New("t", nil)
	a := newAPI(t, &webv4.Options{Watchman: w, Overload: &webv4.Overload{Queue: -1, Degrade: webv4.Stale, DegradeDry: dry}})
	type work struct {
		_ struct{}      `route:"GET /work" degrade:"work=trim,stale:1h,off"`
		D time.Duration `query:"d"`
	}
	type quick struct {
		_ struct{} `route:"GET /quick" class:"low"`
	}
	webv4.Handle(a, func(_ context.Context, in *work) (*profile, error) {
		time.Sleep(in.D)
		return &profile{Name: "n", Bio: "b"}, nil
	})
	webv4.Handle(a, func(context.Context, *quick) (*empty, error) { return nil, nil })
	if err := w.Apply(watchman.Change{Name: "webv4.limit", Value: 2, By: "ops", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	if l := a.Stats().Limiters[0]; l.Limit != 2 || l.Admits != webv4.Low {
		t.Errorf("%+v", l)
	}
	level := func() webv4.Level { return a.Stats().Limiters[0].Degraded }
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { do(t, a, "GET /work?d=3s", "") })
	}
	synctest.Wait()
	var seen []webv4.Level
	for range 20 { // two seconds in which all are refused
		for range 5 {
			r := do(t, a, "GET /work", "")
			r.fails(t, 503, webv4.CodeBusy, "")
			if r.header.Get("X-Admission") != "critical" {
				t.Errorf("headers %v", r.header)
			}
			time.Sleep(20 * time.Millisecond)
		}
		if l := level(); len(seen) == 0 || seen[len(seen)-1] != l {
			seen = append(seen, l)
		}
	}
	if fmt.Sprint(seen) != "[normal trim stale]" {
		t.Errorf("levels %v", seen)
	}
	wg.Wait()
	r := do(t, a, "GET /work", "")
	want, text := "stale;overload", `"bio":"b"` // no good reply is kept yet
	if dry {
		want = ""
	}
	if r.status != 200 || r.header.Get("X-Degraded") != want || !strings.Contains(r.body, text) {
		t.Errorf("%+v", r)
	}
	// All classes get in again once nothing has been refused for a second.
	time.Sleep(2 * time.Second)
	do(t, a, "GET /quick", "")
	if r := do(t, a, "GET /quick", ""); r.header.Get("X-Admission") != "" || r.status != 200 {
		t.Errorf("%+v", r)
	}
	if l := level(); l != webv4.Normal {
		t.Errorf("level %v after two quiet seconds", l)
	}
	// Overloaded again soon, it takes longer to end.
	for range 2 {
		wg.Go(func() { do(t, a, "GET /work?d=1s", "") })
	}
	synctest.Wait()
	for range 45 {
		do(t, a, "GET /work", "")
		time.Sleep(20 * time.Millisecond)
	}
	if l := level(); l < webv4.Trim {
		t.Errorf("level %v", l)
	}
	wg.Wait()
	for range 11 {
		do(t, a, "GET /quick", "")
		time.Sleep(100 * time.Millisecond)
	}
	if l := level(); l == webv4.Normal {
		t.Error("ended as fast as the first time")
	}
}

func TestDeadlineOfCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t, &webv4.Options{Overload: &webv4.Overload{}})
		type slow struct {
			_ struct{} `route:"GET /slow" timeout:"1s"`
		}
		h := http.Header{}
		calls := 0
		webv4.Handle(a, func(ctx context.Context, _ *slow) (*empty, error) {
			calls++
			webv4.PassDeadline(ctx, h)
			<-ctx.Done()
			return nil, ctx.Err()
		})
		for sent, want := range map[string]time.Duration{"20": 20 * time.Millisecond, "5000": time.Second, "soon": time.Second, "-1": time.Second, "99999999999": time.Second} {
			began := time.Now()
			do(t, a, "GET /slow", "", "X-Deadline-Ms: "+sent).fails(t, 503, webv4.CodeExpired, "")
			if took := time.Since(began); took != want {
				t.Errorf("%s: ended after %v, want %v", sent, took, want)
			}
			if got := h.Get("X-Deadline-Ms"); got != fmt.Sprint(want.Milliseconds()) {
				t.Errorf("passed on %q of %v", got, want)
			}
		}
		before := calls
		do(t, a, "GET /slow", "", "X-Deadline-Ms: 0").fails(t, 503, webv4.CodeExpired, "")
		if calls != before {
			t.Error("worked for somebody who has gone")
		}
		webv4.PassDeadline(context.Background(), h)
		ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
		defer cancel()
		if webv4.PassDeadline(ctx, h); h.Get("X-Deadline-Ms") != "0" {
			t.Error(h)
		}
	})
}
