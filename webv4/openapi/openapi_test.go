package openapi_test

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/openapi"
)

type statusOut struct {
	ID   int64     `json:"id" doc:"grows with time"`
	Text string    `json:"text" maxLength:"2000"`
	User *userOut  `json:"user"`
	Kids []userOut `json:"kids"`
	Any  any       `json:"any"`
}

type userOut struct {
	ID     int64             `json:"id"`
	Friend *userOut          `json:"friend,omitempty"`
	Extra  map[string]string `json:"extra"`
}

type show struct {
	_     struct{} `route:"GET /2/statuses/:id.json" auth:"user" scopes:"read" quota:"user=1000/h" summary:"one status" tags:"statuses" select:"fields"`
	ID    int64    `path:"id" min:"1" doc:"the status's id"`
	Lang  []string `query:"lang" enum:"zh,en" maxItems:"2"`
	Count int      `query:"count" default:"20" max:"200" example:"5"`
	Agent string   `header:"X-Agent" pattern:"^[a-z]+$"`
}

type update struct {
	_      struct{}    `route:"POST /2/statuses/update"`
	Status string      `form:"status" required:"true" minLength:"1"`
	Pic    *webv4.File `file:"pic"`
}

type replace struct {
	_    struct{} `route:"PUT /2/statuses/:id"`
	ID   int64    `path:"id"`
	Body struct {
		Text webv4.Opt[string] `json:"text" maxLength:"5"`
		N    uint8             `json:"n" required:"true" enum:"1,2"`
		B    []byte            `json:"b"`
	} `body:"" required:"true"`
}

type feed struct {
	_ struct{} `route:"GET /2/events"`
}

func api(t testing.TB, style webv4.ErrorStyle) *webv4.API {
	a, err := webv4.New(&webv4.Options{Authenticator: webv4.NewAPIKeys("X-Api-Key", nil), Errors: style})
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(a, func(context.Context, *show) (*statusOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *update) (*statusOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *replace) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *feed) (*webv4.Events, error) { return nil, nil })
	return a
}

// at follows keys into a JSON value.
func at(v any, keys ...string) any {
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

func TestDocument(t *testing.T) {
	text, err := openapi.Document(api(t, 0), openapi.Info{Title: "T", Version: "2", Description: "D", License: "MIT"})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"openapi":           "3.1.0",
		"info/license/name": "MIT",
		"paths//2/statuses/{id}.json/get/summary":                                                                  "one status",
		"paths//2/statuses/{id}.json/get/tags":                                                                     "[statuses]",
		"paths//2/statuses/{id}.json/get/security":                                                                 "[map[token:[]]]",
		"paths//2/statuses/{id}.json/get/description":                                                              "one status\n\nScopes: read.\n\nQuotas: user=1000/h.\n\nAlso as application/xml at /2/statuses/{id}.xml, application/msgpack at /2/statuses/{id}.msgpack.",
		"paths//2/statuses/{id}.json/get/operationId":                                                              "get_2_statuses__id_json",
		"paths//2/statuses/{id}.json/get/responses/429/description":                                                "a quota is exhausted (10022, 10023, 10024)",
		"paths//2/statuses/{id}.json/get/responses/200/content/application~json/schema/$ref":                       "#/components/schemas/statusOut",
		"paths//2/statuses/update/post/requestBody/required":                                                       "true",
		"paths//2/statuses/update/post/requestBody/content/multipart~form-data/schema/properties/status/minLength": "1",
		"paths//2/statuses/update/post/requestBody/content/multipart~form-data/schema/properties/pic/format":       "binary",
		"paths//2/statuses/update/post/security":                                                                   "[]",
		"paths//2/statuses/{id}/put/requestBody/content/application~json/schema/required":                          "[n]",
		"paths//2/statuses/{id}/put/requestBody/content/application~json/schema/properties/n/enum":                 "[1 2]",
		"paths//2/statuses/{id}/put/requestBody/content/application~json/schema/properties/text/type":              "[string null]",
		"paths//2/statuses/{id}/put/requestBody/content/application~json/schema/properties/b/contentEncoding":      "base64",
		"components/schemas/userOut/properties/friend/oneOf":                                                       "[map[$ref:#/components/schemas/userOut] map[type:null]]",
		"components/schemas/userOut/properties/extra/additionalProperties/type":                                    "string",
		"components/schemas/statusOut/properties/id/description":                                                   "grows with time",
		"components/securitySchemes/token/scheme":                                                                  "bearer",
	} {
		keys := strings.Split(strings.ReplaceAll(path, "//", "/\x00"), "/")
		if len(keys) > 1 && strings.HasPrefix(keys[1], "\x00") { // a path of the API is one key
			end := 2
			for !strings.Contains(" get post put ", " "+keys[end]+" ") {
				end++
			}
			whole := strings.ReplaceAll(strings.Join(keys[1:end], "/"), "\x00", "/")
			keys = append([]string{keys[0], whole}, keys[end:]...)
		}
		for i := range keys {
			keys[i] = strings.ReplaceAll(keys[i], "~", "/")
		}
		if got := fmt.Sprint(at(doc, keys...)); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	params := at(doc, "paths", "/2/statuses/{id}.json", "get", "parameters").([]any)
	want := "[map[description:the status's id in:path name:id required:true schema:map[format:int64 minimum:1 type:integer]] " +
		"map[in:query name:lang schema:map[items:map[enum:[zh en] type:string] maxItems:2 type:array]] " +
		"map[in:query name:count schema:map[default:20 examples:[5] format:int64 maximum:200 type:integer]] " +
		"map[in:header name:X-Agent schema:map[pattern:^[a-z]+$ type:string]] " +
		"map[description:names of the reply's fields, such as id,user.name in:query name:fields schema:map[type:string]]]"
	if got := fmt.Sprint(params); got != want {
		t.Errorf("parameters:\ngot  %s\nwant %s", got, want)
	}
	references(t, doc, doc)
}

// What serves well can still be no OpenAPI: two names for one place, an id that is
// made twice, a parameter that no field takes, a default of a list.
func TestAwkwardRoutes(t *testing.T) {
	a, err := webv4.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	type byID struct {
		_    struct{} `route:"GET /things/:id.json"`
		ID   int      `path:"id"`
		Tags []string `query:"tags" default:"a" example:"b"`
	}
	type byName struct {
		_    struct{} `route:"DELETE /things/:name.json"`
		Name string   `path:"name" doc:"which"`
	}
	type slash struct {
		_ struct{} `route:"GET /a/b"`
	}
	type line struct {
		_ struct{} `route:"GET /a_b"`
	}
	type unread struct {
		_ struct{} `route:"GET /unread/:id/*rest"`
	}
	webv4.Handle(a, func(context.Context, *byID) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *byName) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *slash) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *line) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *unread) (*userOut, error) { return nil, nil })
	text, err := openapi.Document(a, openapi.Info{Title: "T", Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	if n := len(at(doc, "paths").(map[string]any)); n != 4 {
		t.Errorf("%d paths", n)
	}
	for _, want := range []struct {
		text string
		keys []string
	}{
		{"[map[description:which in:path name:id required:true schema:map[type:string]]]", []string{"paths", "/things/{id}.json", "delete", "parameters"}},
		{"[map[in:path name:id required:true schema:map[format:int64 type:integer]] map[in:query name:tags schema:map[default:[a] examples:[[b]] items:map[type:string] type:array]]]", []string{"paths", "/things/{id}.json", "get", "parameters"}},
		{"get_a_b", []string{"paths", "/a/b", "get", "operationId"}},
		{"get_a_b_2", []string{"paths", "/a_b", "get", "operationId"}},
		{"[map[in:path name:id required:true schema:map[type:string]] map[in:path name:rest required:true schema:map[type:string]]]", []string{"paths", "/unread/{id}/{rest}", "get", "parameters"}},
	} {
		if got := fmt.Sprint(at(doc, want.keys...)); got != want.text {
			t.Errorf("%s:\ngot  %s\nwant %s", want.keys, got, want.text)
		}
	}

	type one struct {
		_ struct{} `route:"GET /one" id:"same"`
	}
	type two struct {
		_ struct{} `route:"GET /two" id:"same"`
	}
	webv4.Handle(a, func(context.Context, *one) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *two) (*userOut, error) { return nil, nil })
	if _, err := openapi.Document(a, openapi.Info{}); err == nil || !strings.Contains(err.Error(), "GET /one and GET /two") {
		t.Errorf("one id for two: %v", err)
	}
}

// references checks that everything that is referred to is there.
func references(t *testing.T, doc, v any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && at(doc, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...) == nil {
			t.Errorf("%s is not there", ref)
		}
		for _, x := range v {
			references(t, doc, x)
		}
	case []any:
		for _, x := range v {
			references(t, doc, x)
		}
	}
}

func TestSchemes(t *testing.T) {
	type secret struct {
		_ struct{} `route:"GET /secret" auth:"user" scopes:"read" security:"key,token" replies:"200,404"`
	}
	type made struct {
		_ struct{} `route:"POST /made" auth:"user" tags:"b,a" replies:"201,409"`
	}
	info := openapi.Info{
		Schemes: []openapi.Scheme{
			openapi.Bearer("token", "a token"), openapi.Key("key", "X-Api-Key", ""), openapi.Basic("basic", ""), openapi.Signature("signature", ""), openapi.ClientCert("cert", ""),
		},
		Tags: map[string]string{"a": "about a"}, Contact: openapi.Contact{Email: "a@example.org"}, License: "MIT", LicenseURL: "https://example.org",
	}
	a, err := webv4.New(&webv4.Options{Authenticator: webv4.NewAPIKeys("X-Api-Key", nil)})
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(a, func(context.Context, *secret) (*userOut, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *made) (*userOut, error) { return nil, nil })
	text, err := openapi.Document(a, info)
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want any }{
		{at(doc, "paths", "/secret", "get", "security"), "[map[token:[]] map[key:[]]]"},
		{at(doc, "paths", "/made", "post", "security"), "[map[token:[]] map[key:[]] map[basic:[]] map[signature:[]] map[cert:[]]]"},
		{at(doc, "paths", "/made", "post", "responses", "200"), "<nil>"},
		{at(doc, "paths", "/made", "post", "responses", "201", "description"), "created"},
		{at(doc, "paths", "/made", "post", "responses", "409", "description"), "conflict"},
		{at(doc, "components", "securitySchemes", "key"), "map[in:header name:X-Api-Key type:apiKey]"},
		{at(doc, "components", "securitySchemes", "cert"), "map[type:mutualTLS]"},
		{at(doc, "tags"), "[map[description:about a name:a] map[name:b]]"},
		{at(doc, "info", "contact", "email"), "a@example.org"},
		{at(doc, "info", "license", "url"), "https://example.org"},
	} {
		if fmt.Sprint(c.got) != c.want {
			t.Errorf("got %v, want %v", c.got, c.want)
		}
	}
	info.Schemes = info.Schemes[:1]
	if _, err := openapi.Document(a, info); err == nil || !strings.Contains(err.Error(), "GET /secret") {
		t.Errorf("a scheme that is not there: %v", err)
	}
}

// table is a codec as an application may have one, for one type.
type table struct{}

func (table) For(t reflect.Type) bool                { return t == reflect.TypeFor[userOut]() }
func (table) MediaTypes() []string                   { return []string{"text/csv"} }
func (table) Suffix() string                         { return ".csv" }
func (table) Append(b []byte, v any) ([]byte, error) { return fmt.Append(b, v), nil }
func (table) Read([]byte, any) error                 { return nil }

// The document lists the formats that an interface answers and reads, the errors
// in them among them, and the statuses and codes of its version.
func TestFormats(t *testing.T) {
	type show struct {
		_ struct{} `route:"GET /show"`
	}
	type showJSON struct {
		_ struct{} `route:"GET /show.json" auth:"user" quota:"user=1/h"`
	}
	type put struct {
		_    struct{} `route:"PUT /put" auth:"user" idempotent:"1h"`
		Body userOut  `body:""`
	}
	a, err := webv4.New(&webv4.Options{Authenticator: webv4.NewAPIKeys("X-Api-Key", nil), Codecs: []webv4.Codec{table{}}, Deny: &webv4.DenyList{}})
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(a, func(context.Context, *show) (*userOut, error) { return nil, nil })
	g := a.Group("/1", &webv4.GroupOptions{Errors: webv4.ProblemErrors, ErrorCodes: webv4.ErrorCodes{webv4.CodeUserLimit: {Code: 40310, Status: 403}}})
	webv4.Handle(g, func(context.Context, *showJSON) (*userOut, error) { return nil, nil })
	webv4.Handle(g, func(context.Context, *put) (*statusOut, error) { return nil, nil })
	webv4.Handle(g, func(context.Context, *feed) (*webv4.Events, error) { return nil, nil })
	text, err := openapi.Document(a, openapi.Info{})
	if err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	keys := func(v any) string {
		m, _ := v.(map[string]any)
		return strings.Join(slices.Sorted(maps.Keys(m)), " ")
	}
	reply := func(path, method, status string) any {
		return at(doc, "paths", path, method, "responses", status, "content")
	}
	for _, c := range []struct{ got, want any }{
		{keys(reply("/show", "get", "200")), "application/json application/msgpack application/xml text/csv"},
		{keys(reply("/show", "get", "400")), "application/json application/xml"},
		{at(reply("/show", "get", "400"), "application/xml", "schema", "$ref"), "#/components/schemas/ErrorInXML"},
		{keys(reply("/1/show.json", "get", "200")), "application/json"},
		{keys(reply("/1/show.json", "get", "400")), "application/problem+json"},
		{at(doc, "paths", "/1/show.json", "get", "description"), "GET /1/show.json\n\nQuotas: user=1/h.\n\nAlso as application/xml at /1/show.xml, application/msgpack at /1/show.msgpack, text/csv at /1/show.csv."},
		{keys(reply("/1/put", "put", "200")), "application/json application/msgpack application/xml"},
		{keys(reply("/1/put", "put", "422")), "application/problem+json application/problem+xml"},
		{keys(at(doc, "paths", "/1/put", "put", "requestBody", "content")), "application/json application/msgpack application/xml text/csv"},
		{keys(at(doc, "paths", "/1/put", "put", "responses")), "200 400 401 403 409 413 415 422 500 503"},
		{keys(reply("/1/2/events", "get", "200")), "*/*"},
		{keys(reply("/1/2/events", "get", "500")), "application/problem+json application/problem+xml"},
		{at(doc, "paths", "/show", "get", "responses", "403", "description"), "this address may not call (10004)"},
		{at(doc, "paths", "/1/show.json", "get", "responses", "403", "description"), "the caller may not do this; this address may not call; a quota is exhausted (10004, 10005, 10014, 40310)"},
		{at(doc, "paths", "/1/show.json", "get", "responses", "429", "description"), "a quota is exhausted (10022, 10024)"},
	} {
		if fmt.Sprint(c.got) != c.want {
			t.Errorf("got  %v\nwant %v", c.got, c.want)
		}
	}
	// What it says is so.
	for accept, want := range map[string]string{"text/csv": "text/csv", "application/xml": "application/xml; charset=utf-8", "application/msgpack": "application/msgpack"} {
		r := httptest.NewRequest("GET", "/show", nil)
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, r); w.Header().Get("Content-Type") != want {
			t.Errorf("%s: %v", accept, w.Header())
		}
	}
	for _, path := range []string{"/show", "/1/show.xml", "/1/show.msgpack", "/1/show.csv"} {
		w := httptest.NewRecorder()
		if a.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Code == 404 {
			t.Errorf("%s is not there", path)
		}
	}
}

func TestErrorSchemas(t *testing.T) {
	for style, want := range map[webv4.ErrorStyle]string{webv4.WeiboErrors: "Error", webv4.WeiboStringErrors: "ErrorWithStringCode", webv4.ProblemErrors: "Problem"} {
		text, err := openapi.Document(api(t, style), openapi.Info{})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "#/components/schemas/"+want+"\"") {
			t.Errorf("%d: no %s", style, want)
		}
	}
}

func TestPage(t *testing.T) {
	a := api(t, 0)
	openapi.Mount(a, "/docs", openapi.Info{Title: "<T>"})
	get := func(path string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		if len(headers) > 0 {
			r.Header.Set("Accept-Encoding", headers[0])
		}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Fatalf("%s: %d", path, w.Code)
		}
		return w
	}
	page := get("/docs").Body.String()
	if !strings.Contains(page, "&lt;T&gt;") || strings.Contains(page, "://") || !strings.Contains(page, "/docs/openapi.json") {
		t.Errorf("page %s", page)
	}
	if !strings.Contains(get("/docs/page.js").Body.String(), "prefers-color-scheme") {
		t.Error("no script of the page's own")
	}
	if !json.Valid(get("/docs/openapi.json").Body.Bytes()) {
		t.Error("the document is no JSON")
	}
	plain := get("/docs/rapidoc.js").Body.Bytes()
	z, err := gzip.NewReader(get("/docs/rapidoc.js", "br, gzip").Body)
	if err != nil {
		t.Fatal(err)
	}
	zipped, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	const want = "affbd173a65e870e18f392cca963113bcdafb6e50e88cd2f6a834a65b22db94d"
	for _, b := range [][]byte{plain, zipped} {
		if got := fmt.Sprintf("%x", sha256.Sum256(b)); got != want {
			t.Errorf("rapidoc-min.js 9.3.8 has SHA-256 %s, this %s", want, got)
		}
	}
}
