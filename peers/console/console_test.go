package console_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/console"
	"github.com/heddle-go/heddle/watchman/control"
	"github.com/heddle-go/heddle/watchman/flight"
)

// browser starts Chromium; complaints is what its console says.
func browser(t *testing.T) (ctx context.Context, complaints func() []string) {
	t.Helper()
	path := os.Getenv("HEDDLE_TEST_CHROMIUM")
	if path == "" {
		t.Skip("needs HEDDLE_TEST_CHROMIUM, the path of Chromium (Debian: apt-get install chromium, then /usr/bin/chromium)")
	}
	// The profile is chromedp's own temporary directory, not t.TempDir: Chromium's children may still write there
	// when the browser has ended, and a directory that is not empty must not fail the test.
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(60*time.Second))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(cancel)
	var mu sync.Mutex
	var list []string
	chromedp.ListenTarget(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			if !strings.Contains(ev.Entry.URL, "favicon") {
				list = append(list, ev.Entry.Text+" "+ev.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			list = append(list, ev.ExceptionDetails.Error())
		}
	})
	return ctx, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return list
	}
}

// shop is a console with something on every page.
func shop(t *testing.T) (w *watchman.Watchman, url string, id watchman.TraceID) {
	t.Helper()
	w, err := watchman.New("shop", &watchman.Options{Sample: 1, Release: "v1.4.2"})
	if err != nil {
		t.Fatal(err)
	}
	op, rpc, db := w.Operation(watchman.Server, "GET /2/statuses/user_timeline.json"), w.Operation(watchman.Client, "feed.timeline"), w.Operation(watchman.Client, "objstore read")
	sw := w.Switch("timeline.cached", false)
	w.Dial("feed.concurrency", 64, 4, 256)
	loop, err := control.New(w, []control.Objective{{Name: "timeline", Kind: watchman.Server, Operation: op.Name(), Latency: 50 * time.Millisecond, Target: 0.99}},
		[]control.Policy{{Name: "timeline from cache", Objective: "timeline", Switch: sw, Enforce: true, Window: time.Millisecond, After: 1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := flight.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Close() })
	if err := rec.Start(); err != nil {
		t.Fatal(err)
	}
	c, err := console.New(w, &console.Options{Loop: loop, Interval: 50 * time.Millisecond, Flight: rec})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		parent := watchman.FromFields(fmt.Sprintf("00-%032x-00f067aa0ba902b7-01", i+1), "heddle=gateway", "heddle.lane=canary")
		took := time.Duration(i%90) * time.Millisecond
		ctx, s := op.StartRemoteAt(t.Context(), parent, time.Now().Add(-took))
		id = s.SpanContext().TraceID
		inner, r := rpc.StartAt(ctx, time.Now().Add(-took*2/3))
		r.Phase("encode")
		r.Phase("send")
		for range 3 {
			_, d := db.Start(inner)
			d.SetAttr("db.key", fmt.Sprint(i))
			d.End(nil)
		}
		var err error
		if i%10 == 0 {
			err = fmt.Errorf("read page %d: %w", i, os.ErrPermission)
		}
		r.End(err)
		s.End(err)
		if i%20 == 0 {
			time.Sleep(20 * time.Millisecond) // so that the charts have something to show
		}
	}
	func() {
		_, s := op.Start(t.Context())
		defer func() { s.End(watchman.Recovered(recover())) }()
		panic(errors.New("nil map"))
	}()
	loop.Step()
	if _, err := rec.Snapshot("timeline: 30 of 300 calls bad"); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(c)
	t.Cleanup(func() {
		c.Close() // first: it ends the streams, for which the server would wait
		srv.Close()
	})
	return w, srv.URL + "/", id
}

// retryStale runs actions, from the beginning if the driver has asked about an
// element that a live page had replaced in between.
func retryStale(ctx context.Context, actions ...chromedp.Action) (err error) {
	for range 5 {
		if err = chromedp.Run(ctx, actions...); err == nil || !strings.Contains(err.Error(), "No node with given id") {
			break
		}
	}
	return err
}

func TestPagesInChromium(t *testing.T) {
	ctx, complaints := browser(t)
	_, base, id := shop(t)
	pages := map[string]string{
		"overview": "", "topology": "topology", "operation": "operation?kind=server&name=GET+%2F2%2Fstatuses%2Fuser_timeline.json", "traces": "traces",
		"trace": "trace?id=" + id.String(), "errors": "errors", "decisions": "decisions", "switches": "switches", "sampling": "sampling", "runtime": "runtime", "self": "self",
	}
	dir := os.Getenv("HEDDLE_TEST_SCREENSHOTS")
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range []struct {
		name   string
		width  int64
		scheme string
	}{{"wide-light", 1280, "light"}, {"wide-dark", 1280, "dark"}, {"narrow-light", 360, "light"}, {"narrow-dark", 360, "dark"}} {
		for name, path := range pages {
			var overflow, sideways bool
			var heading, background string
			var picture []byte
			err := retryStale(ctx,
				emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}}),
				chromedp.EmulateViewport(v.width, 900),
				chromedp.Navigate(base+path),
				// In one step: a live page may swap the element between two.
				chromedp.Evaluate(`document.querySelector('h1').textContent`, &heading),
				chromedp.Evaluate(`document.documentElement.scrollWidth > innerWidth + 1`, &overflow),
				chromedp.Evaluate(`[...document.querySelectorAll('.scroll:has(table)')].some((e) => e.scrollWidth > e.clientWidth + 1)`, &sideways),
				chromedp.Evaluate(`getComputedStyle(document.body).backgroundColor`, &background),
				chromedp.FullScreenshot(&picture, 100),
			)
			if err != nil {
				t.Fatalf("%s %s: %v", v.name, name, err)
			}
			if heading == "" || overflow {
				t.Errorf("%s %s: heading %q, wider than the window: %v", v.name, name, heading, overflow)
			}
			if sideways {
				t.Errorf("%s %s: a table scrolls sideways", v.name, name)
			}
			if dark := background == "rgb(21, 23, 26)"; dark != (v.scheme == "dark") {
				t.Errorf("%s %s: background %s", v.name, name, background)
			}
			if dir != "" {
				if err := os.WriteFile(filepath.Join(dir, name+"-"+v.name+".png"), picture, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if list := complaints(); len(list) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(list, "\n"))
	}
}

// A page that is looked at shows what happens by itself, until that is turned
// off, and from when it is turned on again.
func TestLiveInChromium(t *testing.T) {
	ctx, complaints := browser(t)
	w, base, _ := shop(t)
	var how string
	show := func(name string) chromedp.Action {
		return chromedp.ActionFunc(func(ctx context.Context) error {
			w.Operation(watchman.Client, name).Observe(ctx, time.Millisecond, nil)
			return chromedp.Poll(`document.getElementById("main").textContent.includes("`+name+`")`, nil, chromedp.WithPollingTimeout(0)).Do(ctx)
		})
	}
	err := chromedp.Run(ctx,
		chromedp.Navigate(base),
		chromedp.WaitVisible(`body[data-live="stream"]`, chromedp.ByQuery),
		show("after the page"),
		chromedp.Click("#live", chromedp.ByQuery),
		chromedp.Evaluate(`document.body.dataset.live`, &how),
	)
	if err != nil || how != "off" {
		t.Fatalf("live is %q, %v", how, err)
	}
	err = chromedp.Run(ctx,
		chromedp.Click("#live", chromedp.ByQuery),
		chromedp.WaitVisible(`body[data-live="stream"]`, chromedp.ByQuery),
		show("live again"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if list := complaints(); len(list) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(list, "\n"))
	}
}

// A page that nobody sees gives its stream back and stays as it was; one that
// finds no stream free is fetched again now and then instead.
func TestHiddenAndPolledInChromium(t *testing.T) {
	ctx, complaints := browser(t)
	w, base, _ := shop(t)
	hide := func(hidden bool) chromedp.Action {
		return chromedp.Evaluate(fmt.Sprintf(`Object.defineProperty(document, 'hidden', {value: %v, configurable: true});
			document.dispatchEvent(new Event('visibilitychange'))`, hidden), nil)
	}
	live := func(how string) chromedp.Action {
		return chromedp.WaitVisible(`body[data-live="`+how+`"]`, chromedp.ByQuery)
	}
	shows := func(name string) chromedp.Action {
		return chromedp.Poll(`document.getElementById("main").textContent.includes("`+name+`")`, nil, chromedp.WithPollingTimeout(0))
	}
	if err := chromedp.Run(ctx, chromedp.Navigate(base), live("stream"), hide(true), live("off")); err != nil {
		t.Fatal(err)
	}
	// All streams that there are can be had now.
	var bodies []io.Closer
	defer func() {
		for _, b := range bodies {
			b.Close()
		}
	}()
	for ctx.Err() == nil && len(bodies) < 16 {
		res, err := http.Get(base + "live?page=/runtime")
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode == http.StatusOK {
			bodies = append(bodies, res.Body)
			continue
		}
		res.Body.Close() // the page's own has not ended yet
		time.Sleep(20 * time.Millisecond)
	}
	w.Operation(watchman.Client, "while hidden").Observe(ctx, time.Millisecond, nil)
	var seen bool
	err := chromedp.Run(ctx,
		chromedp.Evaluate(`document.getElementById("main").textContent.includes("while hidden")`, &seen),
		hide(false),
		live("poll"),
		shows("while hidden"),
	)
	if err != nil || seen {
		t.Fatalf("a hidden page has changed: %v; %v", seen, err)
	}
	for _, b := range bodies {
		b.Close()
	}
	w.Operation(watchman.Client, "seen again").Observe(ctx, time.Millisecond, nil)
	if err := chromedp.Run(ctx, hide(true), hide(false), shows("seen again")); err != nil {
		t.Fatal(err)
	}
	for _, c := range complaints() {
		if !strings.Contains(c, "503") { // what the page was told when there was no place
			t.Errorf("the browser complains: %s", c)
		}
	}
}

// A trace of 5,000 spans comes in pages through which one can walk.
func TestLargeTraceInChromium(t *testing.T) {
	ctx, complaints := browser(t)
	w, base, _ := shop(t)
	op, db := w.Operation(watchman.Server, "GET /large"), w.Operation(watchman.Client, "objstore.get")
	parent := watchman.FromFields("00-"+strings.Repeat("ab", 16)+"-00f067aa0ba902b7-01", "", "")
	for range 100 { // local roots: one alone keeps 64 spans below it
		inner, s := op.StartRemote(t.Context(), parent)
		for range 49 {
			_, d := db.Start(inner)
			d.End(nil)
		}
		s.End(nil)
	}
	var rows, more int
	var all string
	err := chromedp.Run(ctx,
		chromedp.Navigate(base+"trace?id="+parent.TraceID.String()),
		chromedp.WaitVisible(".fitem", chromedp.ByQuery),
		chromedp.Text("main", &all, chromedp.ByQuery),
		chromedp.Evaluate(`document.querySelectorAll('.fitem').length`, &rows),
		chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(".fitem[open] .fmore", chromedp.ByQuery),
		chromedp.Click(`//a[contains(@href, "from=500")]`, chromedp.BySearch),
		chromedp.WaitVisible(`//a[contains(@href, "from=1000")]`, chromedp.BySearch),
		chromedp.Evaluate(`document.querySelectorAll('.fitem').length`, &more),
	)
	if err != nil || rows != 500 || more != 500 || !strings.Contains(all, "5,000") && !strings.Contains(all, "5000") {
		t.Fatalf("%d rows and then %d of %.300q, %v", rows, more, all, err)
	}
	if list := complaints(); len(list) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(list, "\n"))
	}
}

// Keys lead from page to page and through a trace, and a form changes a switch.
func TestKeysAndForms(t *testing.T) {
	ctx, complaints := browser(t)
	w, base, id := shop(t)
	var where, focused string
	err := chromedp.Run(ctx,
		chromedp.Navigate(base),
		chromedp.WaitReady("body"),
		chromedp.KeyEvent("3"),
		chromedp.WaitVisible("table.traces"),
		chromedp.Location(&where),
		chromedp.KeyEvent("/"),
		chromedp.Evaluate(`document.activeElement.name`, &focused),
	)
	if err != nil || !strings.HasSuffix(where, "/traces") || focused != "op" {
		t.Fatalf("after 3 and /: %s, focus on %q, %v", where, focused, err)
	}
	var row string
	var hidden int
	err = chromedp.Run(ctx,
		chromedp.Navigate(base+"trace?id="+id.String()),
		chromedp.WaitVisible(".fitem"),
		chromedp.KeyEvent("j"), chromedp.KeyEvent("j"),
		chromedp.Evaluate(`document.activeElement.textContent`, &row),
		chromedp.KeyEvent("h"),
		chromedp.Evaluate(`document.querySelectorAll('.fitem.hide').length`, &hidden),
		chromedp.KeyEvent(kb.Enter),
		chromedp.WaitVisible(".fitem[open] .fmore"),
	)
	if err != nil || !strings.Contains(row, "feed.timeline") || hidden != 3 {
		t.Fatalf("after j j h: on %q, %d hidden, %v", row, hidden, err)
	}
	err = chromedp.Run(ctx,
		chromedp.Navigate(base+"switches"),
		chromedp.Click(`//details[.//b[text()="feed.concurrency"]]/summary`, chromedp.BySearch),
		chromedp.SendKeys(`//details[.//b[text()="feed.concurrency"]]//input[@name="value"]`, "32", chromedp.BySearch),
		chromedp.SendKeys(`//details[.//b[text()="feed.concurrency"]]//input[@name="reason"]`, "drill", chromedp.BySearch),
		chromedp.SendKeys(`//details[.//b[text()="feed.concurrency"]]//input[@name="confirm"]`, "feed.concurrency", chromedp.BySearch),
		chromedp.Click(`//details[.//b[text()="feed.concurrency"]]//button`, chromedp.BySearch),
		chromedp.WaitVisible(".note"),
	)
	if err != nil || w.Dials()[0].Value != 32 || w.Dials()[0].Reason != "drill" {
		t.Fatalf("the dial is %+v, %v", w.Dials()[0], err)
	}
	if list := complaints(); len(list) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(list, "\n"))
	}
}
