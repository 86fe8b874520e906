package web

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// TestTryInChromium does on the shop's page what a person does there: tries a
// call, signs in, fills in forms and presses TRY. HEDDLE_TEST_SCREENSHOTS is
// where pictures of it go.
func TestTryInChromium(t *testing.T) {
	path := os.Getenv("HEDDLE_TEST_CHROMIUM")
	if path == "" {
		t.Skip("needs HEDDLE_TEST_CHROMIUM, the path of Chromium (Debian: apt-get install chromium, then /usr/bin/chromium)")
	}
	origin := startShop(t)
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.WSURLReadTimeout(60*time.Second))
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	var mu sync.Mutex
	var complaints []string
	chromedp.ListenTarget(ctx, func(ev any) {
		mu.Lock()
		defer mu.Unlock()
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			// It says of every reply with an error that it is one.
			if !strings.Contains(ev.Entry.URL, "favicon") && !strings.HasPrefix(ev.Entry.URL, origin+"/v1/") {
				complaints = append(complaints, ev.Entry.Text+" "+ev.Entry.URL)
			}
		case *runtime.EventExceptionThrown:
			complaints = append(complaints, ev.ExceptionDetails.Error())
		}
	})

	// The page's elements are in shadow trees, one in another.
	const doc = `document.querySelector("rapi-doc").shadowRoot`
	inDoc := func(selector string) string { return fmt.Sprintf("%s.querySelector(%q)", doc, selector) }
	inCall := func(call, selector string) string {
		method, path, _ := strings.Cut(call, " ")
		return fmt.Sprintf("%s.shadowRoot.querySelector(%q)", inDoc(fmt.Sprintf("api-request[method='%s'][path='%s']", strings.ToLower(method), path)), selector)
	}
	poll := func(condition string) chromedp.Action {
		return chromedp.Poll(condition, nil, chromedp.WithPollingTimeout(0), chromedp.WithPollingInterval(50*time.Millisecond))
	}
	fill := func(js, text string) chromedp.Action { return chromedp.SendKeys(js, text, chromedp.ByJSPath) }
	// try presses a call's button and returns all that the page then shows of the reply.
	try := func(call string, actions ...chromedp.Action) (reply string) {
		t.Helper()
		shown := inCall(call, ".response-message") + `?.textContent.includes("Took") && !` + inCall(call, "[data-tab='headers']") + `.closest(".tab-panel").textContent.includes("⌛")`
		var again bool
		err := chromedp.Run(ctx, chromedp.Evaluate(shown+" || false", &again))
		if err == nil && again {
			err = chromedp.Run(ctx, chromedp.Click(inCall(call, "[part~='btn-clear-response']"), chromedp.ByJSPath), poll("!"+inCall(call, ".response-message")))
		}
		if err == nil {
			err = chromedp.Run(ctx, append(actions,
				chromedp.Click(inCall(call, "[part~='btn-try']"), chromedp.ByJSPath), poll(shown),
				chromedp.Evaluate(inCall(call, ".response-message")+`.textContent + `+inCall(call, "[data-tab='headers']")+`.closest(".tab-panel").textContent`, &reply),
			)...)
		}
		if err != nil {
			t.Fatalf("%s: %v", call, err)
		}
		return strings.Join(strings.Fields(reply), " ")
	}
	expect := func(reply string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(reply, w) {
				t.Errorf("no %s in the reply %s", w, reply)
			}
		}
	}
	picture := func(name string) {
		dir := os.Getenv("HEDDLE_TEST_SCREENSHOTS")
		if dir == "" {
			return
		}
		var data []byte
		err := chromedp.Run(ctx, chromedp.CaptureScreenshot(&data))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}

	err := chromedp.Run(ctx, chromedp.EmulateViewport(1280, 900), chromedp.Navigate(origin+"/docs"),
		poll(doc+`?.querySelectorAll("api-request").length >= 16`))
	if err != nil {
		t.Fatal(err)
	}
	picture("shop-page")

	// A call without parameters that needs a caller, before there is one and after.
	expect(try("GET /v1/me"), "Unauthorized:401", `"error_code": 21301`)
	err = chromedp.Run(ctx,
		fill(inDoc(".password.api-key-user"), "ada"), fill(inDoc(".password.api-key-password"), "lovelace"),
		chromedp.Click(inDoc(".password.api-key-password")+".parentElement.querySelector('button')", chromedp.ByJSPath),
	)
	if err != nil {
		t.Fatal(err)
	}
	expect(try("GET /v1/me"), "OK:200", `"id": "ada"`)
	picture("shop-me")

	// Parameters of the query: one that keeps its rules and one that does not.
	count := inCall("GET /v1/products", "[data-pname='count']")
	expect(try("GET /v1/products", fill(count, "2")), "OK:200", `"products"`)
	expect(try("GET /v1/products", fill(count, "000")), "Bad Request:400", "(count)")

	// A form.
	expect(try("POST /v1/token", chromedp.SetValue(inCall("POST /v1/token", "[data-pname='name']"), "ada", chromedp.ByJSPath),
		chromedp.SetValue(inCall("POST /v1/token", "[data-pname='password']"), "lovelace", chromedp.ByJSPath)), "OK:200", `"token_type": "Bearer"`)

	// A body of JSON with its example, under a key: tried again it is the same order.
	order := "POST /v1/orders"
	expect(try(order, fill(inCall(order, "[data-pname='Idempotency-Key']"), "a-key")), "Created:201")
	expect(try(order), "Created:201", "idempotent-replayed: true")
	picture("shop-order")
	// Another body under it is refused.
	body := inCall(order, "textarea")
	expect(try(order, chromedp.SetValue(body, `{"product": 3, "quantity": 1}`, chromedp.ByJSPath)), "422", "Idempotency-Key")

	mu.Lock()
	defer mu.Unlock()
	if len(complaints) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(complaints, "\n"))
	}
}
