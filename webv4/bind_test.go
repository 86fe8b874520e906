package webv4_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// bound registers Req's interface and returns a function that calls it and
// returns what the handler saw; nil if it was not called.
func bound[Req any](t *testing.T, opts *webv4.Options) func(route, body string, headers ...string) (*Req, answer) {
	t.Helper()
	a := newAPI(t, opts)
	var got *Req
	webv4.Handle(a, func(_ context.Context, in *Req) (*empty, error) {
		got = in
		return nil, nil
	})
	return func(route, body string, headers ...string) (*Req, answer) {
		t.Helper()
		got = nil
		r := do(t, a, route, body, headers...)
		return got, r
	}
}

type page struct {
	Count int   `query:"count" default:"20"`
	MaxID int64 `query:"max_id"`
}

type everything struct {
	_       struct{} `route:"POST /u/:uid/:rest"`
	UID     int64    `path:"uid"`
	Rest    string   `path:"rest"`
	Agent   string   `header:"user-agent"`
	Session string   `cookie:"session"`
	Form    string   `form:"form"`
	page             // an embedded struct's parameters are the interface's

	B   bool          `query:"b"`
	I8  int8          `query:"i8"`
	I16 int16         `query:"i16"`
	I32 int32         `query:"i32"`
	I64 int64         `query:"i64"`
	U   uint          `query:"u"`
	U8  uint8         `query:"u8"`
	U16 uint16        `query:"u16"`
	U32 uint32        `query:"u32"`
	U64 uint64        `query:"u64"`
	F32 float32       `query:"f32"`
	F64 float64       `query:"f64"`
	Raw []byte        `query:"raw"`
	D   time.Duration `query:"d"`
	T   time.Time     `query:"t"`
	IP  netip.Addr    `query:"ip"`
	L   []int         `query:"l"`
	LS  []string      `form:"ls"`
}

func TestSourcesAndTypes(t *testing.T) {
	call := bound[everything](t, nil)
	got, r := call("POST /u/7/a%20b?b=true&i8=-128&i16=-32768&i32=-5&i64=-9223372036854775808&u=1&u8=255&u16=65535&u32=4"+
		"&u64=18446744073709551615&f32=1.5&f64=-2.5e3&raw=a%00b&d=1m30s&t=2026-01-02T03:04:05Z&ip=::1&l=1&l=2&l=3&count=5",
		"form=x%2By+z&ls=a&ls=", formBody, "User-Agent: me", "Cookie: session=abc")
	if got == nil {
		t.Fatalf("refused: %d %s", r.status, r.body)
	}
	want := everything{
		UID: 7, Rest: "a b", Agent: "me", Session: "abc", Form: "x+y z", page: page{Count: 5},
		B: true, I8: -128, I16: -32768, I32: -5, I64: -1 << 63, U: 1, U8: 255, U16: 65535, U32: 4, U64: 1<<64 - 1,
		F32: 1.5, F64: -2500, Raw: []byte("a\x00b"), D: 90 * time.Second,
		T: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), IP: netip.IPv6Loopback(), L: []int{1, 2, 3}, LS: []string{"a", ""},
	}
	if !reflect.DeepEqual(*got, want) {
		t.Errorf("got  %+v\nwant %+v", *got, want)
	}
}

func TestValuesOfTheWrongType(t *testing.T) {
	call := bound[everything](t, nil)
	for _, q := range []string{
		"b=yes", "i8=128", "i16=-32769", "i32=1.5", "i64=9223372036854775808", "i64=", "u=-1", "u8=256", "u16=x", "u32=4294967296",
		"u64=18446744073709551616", "f32=1e39", "f64=NaN", "f64=Inf", "f64=x", "d=5", "t=yesterday", "ip=1.2.3", "l=1&l=x", "count=x",
	} {
		got, r := call("POST /u/7/x?"+q, "")
		name, _, _ := strings.Cut(q, "=")
		r.fails(t, 400, webv4.CodeInvalid, "("+name+") expect (")
		if got != nil {
			t.Errorf("%s: the handler was called", q)
		}
	}
	if _, r := call("POST /u/x/x", ""); r.status != 400 {
		t.Errorf("path parameter: status %d", r.status)
	}
	_, r := call("POST /u/7/x?i8="+strings.Repeat("9", 5000), "")
	r.fails(t, 400, webv4.CodeInvalid, "(i8)")
	if len(r.body) > 300 {
		t.Errorf("the reply repeats %d bytes", len(r.body))
	}
}

type optional struct {
	_     struct{}           `route:"POST /opt"`
	N     webv4.Opt[int]     `query:"n" min:"0" max:"9"`
	S     webv4.Opt[string]  `query:"s" maxLength:"3"`
	L     webv4.Opt[[]int]   `query:"l" maxItems:"2"`
	H     webv4.Opt[string]  `header:"X-H"`
	D     webv4.Opt[float64] `query:"d" default:"1.5"`
	Plain int                `query:"plain"`
}

func TestAbsentAndZeroDiffer(t *testing.T) {
	call := bound[optional](t, nil)
	got, _ := call("POST /opt", "")
	if got.N.Set || got.S.Set || got.L.Set || got.H.Set || got.N.Or(5) != 5 {
		t.Errorf("absent: %+v", got)
	}
	if !got.D.Set || got.D.Value != 1.5 {
		t.Errorf("default: %+v", got.D)
	}
	got, _ = call("POST /opt?n=0&s=&l=0&d=0", "", "X-H: ")
	if !got.N.Set || got.N.Value != 0 || !got.S.Set || !got.L.Set || len(got.L.Value) != 1 || !got.H.Set || got.N.Or(5) != 0 || got.D.Value != 0 {
		t.Errorf("zero: %+v", got)
	}
	for _, q := range []string{"n=10", "n=-1", "s=abcd", "l=1&l=2&l=3"} {
		_, r := call("POST /opt?"+q, "")
		r.fails(t, 400, webv4.CodeInvalid, "("+q[:1]+") expect (")
	}
}

type required struct {
	_     struct{}       `route:"POST /req/:id"`
	ID    int            `path:"id"`
	Query int            `query:"q" required:"true"`
	Head  string         `header:"x-head" required:"true"`
	Cook  string         `cookie:"c" required:"true"`
	Form  string         `form:"f" required:"true"`
	Opt   webv4.Opt[int] `form:"o" required:"true"`
	File  *webv4.File    `file:"file"`
}

func TestRequired(t *testing.T) {
	call := bound[required](t, nil)
	for _, tc := range []struct{ query, head, cookie, form, missing string }{
		{"", "X-Head: h", "Cookie: c=1", "f=&o=0", "(q)"},
		{"q=0", "X-Other: h", "Cookie: c=1", "f=&o=0", "(X-Head)"},
		{"q=0", "X-Head: h", "Cookie: d=1", "f=&o=0", "(c)"},
		{"q=0", "X-Head: h", "Cookie: c=1", "o=0", "(f)"},
		{"q=0", "X-Head: h", "Cookie: c=1", "f=", "(o)"},
	} {
		_, r := call("POST /req/1?"+tc.query, tc.form, formBody, tc.head, tc.cookie)
		r.fails(t, 400, webv4.CodeMissing, tc.missing)
	}
	// A required value may be zero.
	got, r := call("POST /req/1?q=0", "f=&o=0", formBody, "X-Head: ", "Cookie: c=")
	if got == nil {
		t.Errorf("refused: %s", r.body)
	}
}

type constrained struct {
	_    struct{}      `route:"POST /c"`
	Min  int           `query:"min" min:"3"`
	Max  uint8         `query:"max" max:"200"`
	Big  int64         `query:"big" min:"9007199254740993"` // not a float64
	F    float32       `query:"f" min:"-0.5" max:"0.5"`
	D    time.Duration `query:"d" min:"1s" max:"1m"`
	MinL string        `query:"minl" minLength:"2"`
	MaxL string        `query:"maxl" maxLength:"3"`
	Pat  string        `query:"pat" pattern:"^[a-z]+$"`
	Enum string        `query:"enum" enum:"red,green"`
	EnI  int           `query:"eni" enum:"1,2,-4"`
	EnU  uint8         `query:"enu" enum:"1,255"`
	List []int         `query:"list" minItems:"2" maxItems:"3" max:"9"`
	Uniq []string      `query:"uniq" uniqueItems:"true"`
	Mail string        `query:"email" format:"email"`
	URI  string        `query:"uri" format:"uri"`
	Date string        `query:"date" format:"date"`
	DT   string        `query:"dt" format:"date-time"`
	IP   string        `query:"ip" format:"ip"`
	UUID string        `query:"uuid" format:"uuid"`
}

func TestConstraints(t *testing.T) {
	call := bound[constrained](t, nil)
	for _, tc := range []struct{ good, bad []string }{
		{[]string{"min=3"}, []string{"min=2", "min=-9223372036854775808"}},
		{[]string{"max=200"}, []string{"max=201"}},
		{[]string{"big=9007199254740993"}, []string{"big=9007199254740992"}},
		{[]string{"f=0.5", "f=-0.5"}, []string{"f=0.51", "f=-0.6"}},
		{[]string{"d=1s", "d=60s"}, []string{"d=999ms", "d=61s"}},
		{[]string{"minl=ab", "minl=%E5%BE%AE%E5%8D%9A"}, []string{"minl=a", "minl=%E5%BE%AE", "minl="}},
		{[]string{"maxl=abc", "maxl=%E5%BE%AE%E5%8D%9A%E5%8D%9A"}, []string{"maxl=abcd"}},
		{[]string{"pat=abc"}, []string{"pat=aBc", "pat="}},
		{[]string{"enum=red"}, []string{"enum=blue", "enum=red,green"}},
		{[]string{"eni=2", "eni=%2B1", "eni=-4"}, []string{"eni=3", "eni=4"}},
		{[]string{"enu=255"}, []string{"enu=2"}},
		{[]string{"list=1&list=2", "list=1&list=2&list=9"}, []string{"list=1", "list=1&list=2&list=3&list=4", "list=1&list=10"}},
		{[]string{"uniq=a&uniq=b"}, []string{"uniq=a&uniq=a"}},
		{[]string{"email=a@b.cn"}, []string{"email=a", "email=A%20%3Ca@b.cn%3E"}},
		{[]string{"uri=http://x/y"}, []string{"uri=x/y"}},
		{[]string{"date=2026-02-28"}, []string{"date=2026-02-30"}},
		{[]string{"dt=2026-02-28T01:02:03Z"}, []string{"dt=2026-02-28"}},
		{[]string{"ip=::1"}, []string{"ip=localhost"}},
		{[]string{"uuid=123e4567-e89b-12d3-a456-426614174000"}, []string{"uuid=123e4567"}},
	} {
		for _, q := range tc.good {
			if got, r := call("POST /c?"+q, ""); got == nil {
				t.Errorf("%s: refused: %s", q, r.body)
			}
		}
		for _, q := range tc.bad {
			name, _, _ := strings.Cut(q, "=")
			_, r := call("POST /c?"+q, "")
			r.fails(t, 400, webv4.CodeInvalid, "("+name+") expect (")
		}
	}
}

func TestQuerySyntax(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /q"`
		A string   `query:"a"`
		B string   `query:"b c"`
	}
	call := bound[in](t, nil)
	for _, tc := range []struct{ query, a, b string }{
		{"", "", ""}, {"a", "", ""}, {"a=1", "1", ""}, {"&&a=1&", "1", ""}, {"a=1&a=2", "1", ""}, {"a=b=c", "b=c", ""},
		{"%61=1", "1", ""}, {"b+c=1", "", "1"}, {"b%20c=%41", "", "A"}, {"A=1", "", ""}, {"x;y=1&a=1", "1", ""},
	} {
		got, r := call("GET /q?"+tc.query, "")
		if got == nil || got.A != tc.a || got.B != tc.b {
			t.Errorf("%q: got %+v %s", tc.query, got, r.body)
		}
	}
	_, r := call("GET /q?a=%zz", "")
	r.fails(t, 400, webv4.CodeInvalid, "(a) is not well escaped")
	_, r = call("GET /q?a=1;b=2", "")
	r.fails(t, 400, webv4.CodeInvalid, "semicolon")
	_, r = call("GET /q?%zz=1", "")
	r.fails(t, 400, webv4.CodeParameter, "not well escaped")
	_, r = call("GET /q?a=%ff", "")
	r.fails(t, 400, webv4.CodeInvalid, "valid UTF-8")
}

// One source per parameter: what the query says does not reach a form field,
// nor the other way round.
func TestSourcesDoNotMix(t *testing.T) {
	type in struct {
		_ struct{} `route:"POST /mix"`
		Q string   `query:"q"`
		F string   `form:"f"`
	}
	call := bound[in](t, nil)
	got, _ := call("POST /mix?f=x", "q=y", formBody)
	if got == nil || got.Q != "" || got.F != "" {
		t.Errorf("got %+v", got)
	}
}

func TestRegistrationReportsAllMistakes(t *testing.T) {
	type wrong struct {
		_ struct{} `route:"FETCH nowhere" auth:"maybe" scopes:"a" quota:"user=x" degrade:"x=y" timeout:"-1s"`
		A int      `query:"a" header:"a"`
		B int      `query:""`
		C chan int `query:"c"`
		D string   `min:"1"`
		e string   `query:"e"`
		F string   `query:"f" min:"x" minLength:"-1" maxLength:"z" pattern:"(" format:"zip"`
		G int      `query:"g" min:"x" maxLength:"2" enum:"a" minItems:"1" default:"x"`
		H int      `query:"h" required:"true" default:"1"`
		I int      `query:"h" required:"maybe"`
		J string   `file:"j" maxSize:"5GB"`
		K struct{} `body:"" default:"x"`
		L struct {
			M int `json:"m" min:"x"`
		} `body:""`
		N string              `path:"nope"`
		O webv4.Opt[chan int] `query:"o"`
	}
	_ = wrong{}.e
	text := panics(t, func() { webv4.Handle[wrong, chan int](newAPI(t, nil), nil) })
	for _, want := range []string{
		`"FETCH" is not one of`, `path "nowhere"`, `auth "maybe"`, "scopes without auth", `quota "user=x"`, `degrade "x=y"`, `timeout "-1s"`,
		"wrong.A: comes from both", "wrong.B: query tag without a name", "wrong.C: type chan int", "wrong.D: has tags but none of",
		"wrong.e: is not exported", `wrong.F: min "x"`, `wrong.F: minLength "-1"`, `wrong.F: maxLength "z"`, `wrong.F: pattern`, `wrong.F: format "zip"`,
		`wrong.G: min "x"`, `wrong.G: maxLength "2"`, `wrong.G: enum "a"`, `wrong.G: minItems "1"`, `wrong.G: default "x"`,
		"wrong.H: is required and has a default", "H and I both take query h", `wrong.I: required "maybe"`, "wrong.J: type string", `maxSize "5GB"`,
		"wrong.K: a body has no default", `M: min "x"`, "K and L both take body", "wrong.O: type chan int",
		"the reply: type chan int has no JSON", "no function given",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing about %q in:\n%s", want, text)
		}
	}
}

// What refers to others is reported with the rest: authenticator, interceptors,
// routes that are taken.
func TestRegistrationReportsAllThatIsMissing(t *testing.T) {
	type taken struct {
		_ struct{} `route:"GET /taken.xml"`
	}
	type in struct {
		_ struct{} `route:"GET /taken.json" auth:"user" with:"one,two"`
		A int      `query:"a" min:"2" max:"1"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *taken) (*empty, error) { return nil, nil })
	text := panics(t, func() { webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil }) })
	for _, want := range []string{
		`in.A: min "2" is above max "1"`, "auth without Options.Authenticator", `no interceptor or filter "one"`, `no interceptor or filter "two"`,
		"route GET /taken.xml is registered twice: at ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing about %q in:\n%s", want, text)
		}
	}
	// Nothing of it was registered.
	do(t, a, "GET /taken.json", "").fails(t, 404, webv4.CodeNoAPI, "")
}

func TestRegistrationMistakes(t *testing.T) {
	type ok struct {
		_ struct{} `route:"GET /ok.json"`
	}
	type okToo struct {
		_ struct{} `route:"GET /ok.xml"`
	}
	type noRoute struct{ A int }
	type getBody struct {
		_ struct{} `route:"GET /g"`
		F string   `form:"f"`
	}
	type both struct {
		_ struct{} `route:"POST /g"`
		F string   `form:"f"`
		B struct{} `body:""`
	}
	type authed struct {
		_ struct{} `route:"GET /a" auth:"user"`
	}
	type byUser struct {
		_ struct{} `route:"GET /a" quota:"user=1/h"`
	}
	type noParam struct {
		_ struct{} `route:"GET /a/:b"`
		A string   `path:"a"`
	}
	type twice struct {
		_ struct{} `route:"GET /t/:x/:x"`
	}
	type fallback struct {
		_ struct{} `route:"GET /f" degrade:"f=off"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *ok) (*empty, error) { return nil, nil })
	for name, tc := range map[string]struct {
		f    func()
		want string
	}{
		"same twice":      {func() { webv4.Handle(a, func(context.Context, *ok) (*empty, error) { return nil, nil }) }, "registered twice: at "},
		"twin twice":      {func() { webv4.Handle(a, func(context.Context, *okToo) (*empty, error) { return nil, nil }) }, "registered twice"},
		"no route":        {func() { webv4.Handle(a, func(context.Context, *noRoute) (*empty, error) { return nil, nil }) }, "no field `_ struct{}`"},
		"not a struct":    {func() { webv4.Handle(a, func(context.Context, *int) (*empty, error) { return nil, nil }) }, "want a struct"},
		"get with a body": {func() { webv4.Handle(a, func(context.Context, *getBody) (*empty, error) { return nil, nil }) }, "a GET has no body"},
		"form and body":   {func() { webv4.Handle(a, func(context.Context, *both) (*empty, error) { return nil, nil }) }, "B is the body"},
		"nobody to ask":   {func() { webv4.Handle(a, func(context.Context, *authed) (*empty, error) { return nil, nil }) }, "auth without Options.Authenticator"},
		"quota by nobody": {func() { webv4.Handle(a, func(context.Context, *byUser) (*empty, error) { return nil, nil }) }, "the interface has no auth"},
		"no such param":   {func() { webv4.Handle(a, func(context.Context, *noParam) (*empty, error) { return nil, nil }) }, "has no :a"},
		"param twice":     {func() { webv4.Handle(a, func(context.Context, *twice) (*empty, error) { return nil, nil }) }, "two parameters x"},
		"no function":     {func() { webv4.Handle[fallback, empty](a, nil) }, "no function"},
		"no fallback":     {func() { webv4.Fallback(a, func(context.Context, *fallback) (*empty, error) { return nil, nil }) }, "is no interface with the step fallback"},
		"too many":        {func() { webv4.Handle(a, func(context.Context, *seventy) (*empty, error) { return nil, nil }) }, "70 parameters, limit 64"},
		"mount nothing":   {func() { a.Mount("GET /m", nil) }, "want a method, a path and a handler"},
		"mount nowhere":   {func() { a.Mount("GET m", a) }, "want a / first"},
	} {
		if text := panics(t, tc.f); !strings.Contains(text, tc.want) {
			t.Errorf("%s: %q does not say %q", name, text, tc.want)
		}
	}
	if text := panics(t, func() { webv4.Handle(a, func(context.Context, *ok) (*empty, error) { return nil, nil }) }); !strings.Contains(text, "bind_test.go:") {
		t.Errorf("%q does not name the places", text)
	}
	do(t, a, "GET /ok.json", "")
	if text := panics(t, func() { a.Mount("GET /late", a) }); !strings.Contains(text, "after the first request") {
		t.Errorf("late registration: %q", text)
	}
}

func TestOptionsAreValidatedTogether(t *testing.T) {
	_, err := webv4.New(&webv4.Options{MaxBody: -1, Timeout: -1, Quotas: "x=1/h", TrustedProxies: make([]netip.Prefix, 1)})
	for _, want := range []string{"MaxBody", "Timeout", "Quotas", "TrustedProxies"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := webv4.New(nil); err != nil {
		t.Error(err)
	}
}

func ExampleOpt() {
	type in struct {
		_     struct{}          `route:"GET /search"`
		Limit webv4.Opt[int]    `query:"limit"`
		Lang  webv4.Opt[string] `query:"lang"`
	}
	api, _ := webv4.New(nil)
	webv4.Handle(api, func(_ context.Context, q *in) (*empty, error) {
		fmt.Println(q.Limit.Set, q.Limit.Or(20), q.Lang.Set)
		return nil, nil
	})
	get(api, "/search?limit=0")
	get(api, "/search?lang=zh")
	// Output:
	// true 0 false
	// false 20 true
}

// A list takes every line of a header and every cookie of its name; Host, which
// net/http keeps apart, is a header as any other.
func TestListsFromHeadersAndCookies(t *testing.T) {
	type in struct {
		_    struct{} `route:"GET /lists.json"`
		IDs  []int    `header:"X-Ids" max:"9"`
		One  int      `header:"X-One"`
		Tags []string `cookie:"tag"`
		Host string   `header:"Host" required:"true"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(_ context.Context, got *in) (*in, error) { return got, nil })
	ask := func(ids ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "http://shop.example/lists.json", nil)
		r.Header["X-Ids"], r.Header["X-One"] = ids, []string{"1", "2"}
		r.Header["Cookie"] = []string{"tag=a; other=x; tag=b"}
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		return w
	}
	want := `{"IDs":[3,4],"One":1,"Tags":["a","b"],"Host":"shop.example"}`
	if w := ask("3", "4"); strings.TrimSpace(w.Body.String()) != want {
		t.Errorf("got %s, want %s", w.Body, want)
	}
	if w := ask("3", "10"); w.Code != 400 || !strings.Contains(w.Body.String(), "X-Ids") {
		t.Errorf("a second line that is wrong: %d %s", w.Code, w.Body)
	}
}
