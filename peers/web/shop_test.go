package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/vmihailenco/msgpack/v5"
)

// startShop builds examples/openapi-shop and runs it; it ends with the test.
func startShop(t *testing.T) (origin string) {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "shop")
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/heddle-go/heddle/examples/openapi-shop").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(bin, "-addr", "127.0.0.1:0", "-admin", "")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() && origin == "" {
		if url, ok := strings.CutPrefix(lines.Text(), "shop on "); ok {
			origin = strings.TrimSuffix(url, "/docs")
			break
		}
	}
	t.Cleanup(func() {
		// It has to end well by itself when it is told to.
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the shop ended with %v", err)
		}
	})
	if origin == "" {
		t.Fatal("the shop did not start")
	}
	return origin
}

// fits makes a value that a schema allows, mostly.
func fits(rng *rand.Rand, s *openapi3.Schema, depth int) any {
	switch {
	case rng.IntN(12) == 0:
		return anyText(rng)
	case len(s.Enum) > 0:
		return s.Enum[rng.IntN(len(s.Enum))]
	case len(s.Examples) > 0 && rng.IntN(2) == 0:
		return s.Examples[0]
	case s.Type.Includes("integer"):
		low, high := int64(0), int64(10)
		if s.Min != nil {
			low = int64(*s.Min)
		}
		if s.Max != nil {
			high = min(int64(*s.Max), low+10)
		}
		return low + rng.Int64N(max(high-low, 0)+2)
	case s.Type.Includes("object") && depth < 4:
		m := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if p := s.Properties[name]; p.Value != nil && rng.IntN(5) > 0 {
				m[name] = fits(rng, p.Value, depth+1)
			}
		}
		return m
	case s.Type.Includes("array") && s.Items != nil && s.Items.Value != nil && depth < 4:
		list := []any{}
		for range rng.IntN(4) {
			list = append(list, fits(rng, s.Items.Value, depth+1))
		}
		return list
	case s.Type.Includes("null") && rng.IntN(3) == 0:
		return nil
	}
	return pick(rng, "loom", "a", "/v1/me", "/v1/products/1", "ada", "lovelace")
}

// fill makes a request for an operation from its description.
func fill(rng *rand.Rand, origin, method, path string, op *openapi3.Operation) (*http.Request, error) {
	query, header := url.Values{}, http.Header{}
	for _, ref := range op.Parameters {
		p := ref.Value
		value := fmt.Sprint(fits(rng, p.Schema.Value, 0))
		switch {
		case p.In == "path":
			path = strings.Replace(path, "{"+p.Name+"}", url.PathEscape(value), 1)
		case rng.IntN(2) == 0 && !p.Required:
		case p.In == "query":
			query.Set(p.Name, value)
		case p.In == "header" && !strings.ContainsFunc(value, unicode.IsControl):
			header.Set(p.Name, value)
		}
	}
	var body []byte
	kind := ""
	if op.RequestBody != nil {
		content := op.RequestBody.Value.Content
		kinds := slices.Sorted(maps.Keys(content))
		k := kinds[rng.IntN(len(kinds))]
		media := content[k]
		v := fits(rng, media.Schema.Value, 0)
		fields, _ := v.(map[string]any)
		kind = k
		switch k {
		case "application/x-www-form-urlencoded":
			form := url.Values{}
			for name, value := range fields {
				form.Set(name, fmt.Sprint(value))
			}
			body = []byte(form.Encode())
		case "multipart/form-data":
			var b bytes.Buffer
			w := multipart.NewWriter(&b)
			for name, value := range fields {
				part, err := w.CreateFormFile(name, "x.png")
				if err != nil {
					return nil, err
				}
				fmt.Fprintf(part, "%s%v", pick(rng, "\x89PNG\r\n\x1a\n", ""), value)
			}
			w.Close()
			body, kind = b.Bytes(), w.FormDataContentType()
		case "application/msgpack":
			var err error
			if body, err = msgpack.Marshal(v); err != nil {
				return nil, err
			}
		case "application/xml":
			body = appendXML(nil, "body", v)
		default:
			var err error
			if body, err = json.Marshal(v); err != nil {
				return nil, err
			}
		}
	}
	r, err := http.NewRequest(method, origin+path+"?"+query.Encode(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header
	if kind != "" && rng.IntN(20) > 0 {
		r.Header.Set("Content-Type", kind)
	}
	switch rng.IntN(5) {
	case 0:
		r.SetBasicAuth("ada", "lovelace")
	case 1:
		r.SetBasicAuth("grace", "hopper")
	case 2:
		r.Header.Set("X-Api-Key", pick(rng, "demo-key", "no"))
	case 3:
		r.Header.Set("Authorization", "Bearer "+pick(rng, "no", "a.b.c"))
	}
	return r, nil
}

// appendXML writes a value in the form that webv4 reads.
func appendXML(b []byte, name string, v any) []byte {
	b = fmt.Appendf(b, "<%s>", name)
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			b = appendXML(b, key, v[key])
		}
	case []any:
		for _, item := range v {
			b = appendXML(b, "item", item)
		}
	default:
		var text bytes.Buffer
		if xml.EscapeText(&text, []byte(fmt.Sprint(v))) == nil {
			b = append(b, text.Bytes()...)
		}
	}
	return fmt.Appendf(b, "</%s>", name)
}

// TestShopConformance asks examples/openapi-shop for what its own document
// describes, rightly and wrongly, and has kin-openapi check the replies against
// it. HEDDLE_CONFORMANCE sets how often.
func TestShopConformance(t *testing.T) {
	n := 2000
	if s := os.Getenv("HEDDLE_CONFORMANCE"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	origin := startShop(t)
	// The shop counts what an address asks: there are several.
	var clients []*http.Client
	for i := range 32 {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}, Timeout: time.Minute}
		tr := &http.Transport{DialContext: d.DialContext}
		defer tr.CloseIdleConnections()
		clients = append(clients, &http.Client{Transport: tr, Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }})
	}
	resp, err := clients[0].Get(origin + "/docs/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	doc.Servers = nil
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	type call struct {
		method, path string
		op           *openapi3.Operation
	}
	var calls []call
	for _, path := range doc.Paths.InMatchingOrder() {
		ops := doc.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(ops)) {
			op := ops[method]
			if op.OperationID != "watchOrders" { // it never ends
				calls = append(calls, call{method, path, op})
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	statuses, checked := map[int]int{}, 0
	for i := range n {
		c := calls[rng.IntN(len(calls))]
		r, err := fill(rng, origin, c.method, c.path, c.op)
		if err != nil {
			continue // the hostile text makes no URL
		}
		resp, err := clients[i%len(clients)].Do(r)
		if err != nil {
			t.Fatalf("%s %s: %v", r.Method, r.URL, err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatalf("%s %s: %v", r.Method, r.URL, err)
		}
		statuses[resp.StatusCode]++
		if resp.StatusCode >= 500 {
			t.Fatalf("%s %s: %d %s", r.Method, r.URL, resp.StatusCode, body)
		}
		r.URL.Host, r.URL.Scheme = "", ""
		route, params, err := router.FindRoute(r)
		if err != nil || route.Operation != c.op {
			continue // the hostile text makes another path
		}
		checked++
		in := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
			Status:                 resp.StatusCode, Header: resp.Header, Body: io.NopCloser(bytes.NewReader(body)),
			Options: &openapi3filter.Options{IncludeResponseStatus: true, ExcludeResponseBody: !strings.Contains(resp.Header.Get("Content-Type"), "json")},
		}
		if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
			t.Fatalf("%s %s: %d %s: %v", r.Method, r.URL, resp.StatusCode, body, err)
		}
	}
	t.Logf("%d requests, %d replies checked, statuses %v", n, checked, statuses)
	for _, s := range []int{200, 201, 400, 401, 403, 404} {
		if statuses[s] == 0 {
			t.Errorf("no request was answered with %d", s)
		}
	}
	if checked < n/2 {
		t.Errorf("%d of %d replies checked", checked, n)
	}
}
