package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/openapi"
)

type confAuth struct{}

func (confAuth) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	if err == nil && token != "good" {
		err = webv4.ErrTokenInvalid
	}
	return webv4.Principal{ID: token, Scopes: []string{"read"}}, err
}

type confGet struct {
	_     struct{} `route:"GET /items/:id.json" auth:"user" scopes:"read" select:"fields" quota:"total=100000000/s"`
	ID    int64    `path:"id" min:"1"`
	Count int      `query:"count" default:"20" min:"1" max:"200"`
	Lang  []string `query:"lang" enum:"zh,en" maxItems:"2"`
	Agent string   `header:"X-Agent" pattern:"^[a-z]*$"`
}

type confPost struct {
	_    struct{} `route:"POST /items.json"`
	Body struct {
		Name webv4.Opt[string] `json:"name" maxLength:"5"`
		Kind string            `json:"kind" required:"true" enum:"a,b"`
		N    uint8             `json:"n" max:"9"`
		Tags []string          `json:"tags" maxItems:"2" minLength:"1"`
		More map[string]int    `json:"more"`
		Self *confItem         `json:"self"`
	} `body:"" required:"true"`
}

type confForm struct {
	_    struct{}    `route:"POST /form.json"`
	Text string      `form:"text" required:"true" minLength:"1" maxLength:"10"`
	N    int         `form:"n" min:"0"`
	File *webv4.File `file:"file" maxSize:"1KiB"`
}

type confDelete struct {
	_  struct{} `route:"DELETE /items/:id.json" auth:"user" scopes:"admin"`
	ID int64    `path:"id"`
}

type confItem struct {
	ID    int64             `json:"id" required:"true"`
	Text  string            `json:"text"`
	Kids  []confItem        `json:"kids"`
	Extra map[string]string `json:"extra"`
	F     float64           `json:"f"`
	Next  *confItem         `json:"next"`
}

// hostile strings for any place.
var hostile = []string{
	"", "0", "-1", "1", "7", "999999999999999999999", "1.5", "true", "null", "a", "b", "zh", "en", "%", "%00", "%zz", "\x00", "\xff\xfe", "é", "微博", "<script>",
	"' OR 1=1--", "../../etc/passwd", "\r\nX: y", strings.Repeat("x", 300), strings.Repeat("[", 200), `{"id":1}`, `{"kind":"a"}`, `{"kind":"a","n":3,"tags":["x"]}`,
	`{"kind":"a","name":null,"self":{"id":1}}`, `{"kind":"c"}`, `{"kind":"a","more":{"x":1}}`, `[]`, `"x"`, "{", "id", "id,text", "kids.id", "good", "bad",
}

func pick(rng *rand.Rand, list ...string) string { return list[rng.IntN(len(list))] }

func anyText(rng *rand.Rand) string {
	s := hostile[rng.IntN(len(hostile))]
	if rng.IntN(4) == 0 { // mutated
		b := []byte(s + hostile[rng.IntN(len(hostile))])
		if len(b) > 0 {
			b[rng.IntN(len(b))] ^= byte(1 << rng.IntN(8))
		}
		s = string(b)
	}
	return s
}

func hostileRequest(rng *rand.Rand) *http.Request {
	q := url.Values{}
	for range rng.IntN(4) {
		q.Add(pick(rng, "count", "lang", "fields", "access_token", "id", "x"), anyText(rng))
	}
	raw := q.Encode()
	if rng.IntN(10) == 0 {
		raw = anyText(rng)
	}
	id := pick(rng, "1", "7", url.PathEscape(anyText(rng)))
	method, path := "GET", "/items/"+id+".json"
	body, kind := "", ""
	switch rng.IntN(4) {
	case 1:
		method, path, body, kind = "POST", "/items.json", anyText(rng), "application/json"
	case 2:
		form := url.Values{"text": {anyText(rng)}, "n": {pick(rng, "0", "5", anyText(rng))}}
		method, path, body, kind = "POST", "/form.json", form.Encode(), "application/x-www-form-urlencoded"
	case 3:
		method = "DELETE"
	}
	if rng.IntN(10) == 0 {
		kind = pick(rng, "", "text/plain", "multipart/form-data", "multipart/form-data; boundary=x", ";")
	}
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL.Path, _ = url.PathUnescape(path)
	r.URL.RawQuery = raw
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	switch rng.IntN(3) {
	case 0:
		r.Header.Set("Authorization", "Bearer good")
	case 1:
		r.Header["Authorization"] = []string{anyText(rng)}
	}
	if rng.IntN(5) == 0 {
		r.Header["X-Agent"] = []string{anyText(rng)}
	}
	return r
}

// TestConformance sends generated requests, most of them wrong in some way, and
// has kin-openapi check each reply against the document that is made from the
// same tags. HEDDLE_CONFORMANCE sets how many.
func TestConformance(t *testing.T) {
	a, err := webv4.New(&webv4.Options{Authenticator: confAuth{}, MaxBody: 4 << 10, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	item := func(id int64, text string) *confItem {
		return &confItem{ID: id, Text: text, Kids: []confItem{{ID: 1}}, Next: &confItem{ID: 2, Extra: map[string]string{"k": text}}}
	}
	webv4.Handle(a, func(_ context.Context, in *confGet) (*confItem, error) {
		return item(in.ID, fmt.Sprint(in.Lang, in.Agent)), nil
	})
	webv4.Handle(a, func(_ context.Context, in *confPost) (*confItem, error) { return item(1, in.Body.Name.Value), nil })
	webv4.Handle(a, func(_ context.Context, in *confForm) (*confItem, error) { return item(int64(in.N), in.Text), nil })
	webv4.Handle(a, func(_ context.Context, in *confDelete) (*confItem, error) { return nil, nil })
	text, err := openapi.Document(a, openapi.Info{Title: "conformance", Version: "1"})
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
	n := 5000
	if s := os.Getenv("HEDDLE_CONFORMANCE"); s != "" {
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	statuses := map[int]int{}
	checked := 0
	for range n {
		r := hostileRequest(rng)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		statuses[w.Code]++
		if w.Code >= 500 {
			t.Fatalf("%s %s: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
		if w.Code == http.StatusNotFound || r.URL.Query().Get("fields") != "" && w.Code == http.StatusOK {
			continue // no such path, or fewer fields than the schema has
		}
		route, params, err := router.FindRoute(r)
		if err != nil {
			continue // a path that only an escaped slash makes
		}
		checked++
		in := &openapi3filter.ResponseValidationInput{
			RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route},
			Status:                 w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())),
			Options: &openapi3filter.Options{IncludeResponseStatus: true},
		}
		if err := openapi3filter.ValidateResponse(context.Background(), in); err != nil {
			t.Fatalf("%s %s: %d %s: %v", r.Method, r.URL, w.Code, w.Body, err)
		}
	}
	t.Logf("%d requests, %d replies checked, statuses %v", n, checked, statuses)
	for _, s := range []int{200, 400, 401, 403, 413, 415} {
		if statuses[s] == 0 && s != 413 {
			t.Errorf("no request was answered with %d", s)
		}
	}
	if checked < n/2 {
		t.Errorf("%d of %d replies checked", checked, n)
	}
}
