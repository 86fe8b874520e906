package webv4_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type address struct {
	City string `json:"city" required:"true" maxLength:"10"`
	Zip  string `json:"zip,omitempty" pattern:"^[0-9]*$"`
}

type Base struct {
	Kind string `json:"kind" enum:"a,b" default:"a"`
}

type order struct {
	Base
	ID      int64              `json:"id" required:"true" min:"1"`
	Big     uint64             `json:"big,string"`
	Ratio   float64            `json:"ratio"`
	Small   float32            `json:"small"`
	OK      bool               `json:"ok"`
	Note    *string            `json:"note" maxLength:"5"`
	Tags    []string           `json:"tags" maxItems:"3" minLength:"1"`
	Pair    [2]int8            `json:"pair"`
	To      address            `json:"to"`
	More    []address          `json:"more"`
	By      map[string]address `json:"by"`
	Data    []byte             `json:"data"`
	At      time.Time          `json:"at"`
	IP      netip.Addr         `json:"ip"`
	Any     any                `json:"any"`
	Raw     json.RawMessage    `json:"raw"`
	Num     json.Number        `json:"num"`
	Every   map[int]int        `json:"every"`
	Age     webv4.Opt[int]     `json:"age" max:"150"`
	Where   webv4.Opt[address] `json:"where"`
	Next    *order             `json:"next"`
	Limit   int                `json:"limit" default:"20"`
	Maybe   webv4.Opt[[]int]   `json:"maybe" maxItems:"2"`
	Ptrs    []*int             `json:"ptrs"`
	Matrix  [][]int            `json:"matrix"`
	Hidden  string             `json:"-"`
	Untaged string
}

type orderIn struct {
	_    struct{} `route:"POST /orders"`
	Body order    `body:"" required:"true"`
}

func TestJSONBody(t *testing.T) {
	call := bound[orderIn](t, nil)
	got, r := call("POST /orders", ` {"kind":"b","id":7,"big":"18446744073709551615","ratio":-1.5e2,"small":0.25,"ok":true,"note":"hi\u00e9\ud83d\ude00\n",
		"tags":["x","yy"],"pair":[1,-2],"to":{"city":"微博","zip":"123","unknown":[{"a":{}}]},"more":[{"city":"a"},{"city":"b"}],
		"by":{"k":{"city":"c"}},"data":"aGk=","at":"2026-01-02T03:04:05.5+08:00","ip":"::1","any":{"x":[1,null,"s"]},"raw":{"r": 1},"num":1e3,
		"every":{"1":2},"age":0,"where":null,"next":{"id":8},"limit":0,"ptrs":[1,null],"matrix":[[1],[],[2,3]],"Untaged":"u","Hidden":"h"} `, jsonBody)
	if got == nil {
		t.Fatal(r.body)
	}
	note, one := "hié😀\n", 1
	want := order{
		Base: Base{"b"}, ID: 7, Big: 1<<64 - 1, Ratio: -150, Small: 0.25, OK: true, Note: &note, Tags: []string{"x", "yy"}, Pair: [2]int8{1, -2},
		To: address{"微博", "123"}, More: []address{{City: "a"}, {City: "b"}}, By: map[string]address{"k": {City: "c"}}, Data: []byte("hi"),
		At: got.Body.At, IP: netip.IPv6Loopback(), Any: map[string]any{"x": []any{1.0, nil, "s"}}, Raw: json.RawMessage(`{"r": 1}`), Num: "1e3",
		Every: map[int]int{1: 2}, Age: webv4.Opt[int]{Set: true}, Where: webv4.Opt[address]{Set: true, Null: true},
		Next: &order{Base: Base{"a"}, ID: 8, Limit: 20}, Ptrs: []*int{&one, nil}, Matrix: [][]int{{1}, {}, {2, 3}}, Untaged: "u",
	}
	if !reflect.DeepEqual(got.Body, want) {
		t.Errorf("got  %+v\nwant %+v", got.Body, want)
	}
	if !got.Body.At.Equal(time.Date(2026, 1, 1, 19, 4, 5, 5e8, time.UTC)) {
		t.Errorf("time %v", got.Body.At)
	}
}

func TestJSONAbsentNullAndZero(t *testing.T) {
	call := bound[orderIn](t, nil)
	for _, tc := range []struct {
		text      string
		set, null bool
	}{{`{"id":1}`, false, false}, {`{"id":1,"age":null}`, true, true}, {`{"id":1,"age":0}`, true, false}} {
		got, r := call("POST /orders", tc.text, jsonBody)
		if got == nil {
			t.Fatal(r.body)
		}
		if got.Body.Age.Set != tc.set || got.Body.Age.Null != tc.null || got.Body.Age.Or(9) != 9 && tc.null {
			t.Errorf("%s: %+v", tc.text, got.Body.Age)
		}
		if got.Body.Limit != 20 || got.Body.Kind != "a" {
			t.Errorf("defaults: %+v", got.Body)
		}
	}
	// A null where there is nothing like it is as good as absent.
	got, r := call("POST /orders", `{"id":1,"limit":null,"note":null,"to":null,"tags":null,"by":null}`, jsonBody)
	if got == nil || got.Body.Limit != 20 || got.Body.Note != nil {
		t.Errorf("%+v %s", got, r.body)
	}
}

func TestJSONBodyRefused(t *testing.T) {
	call := bound[orderIn](t, nil)
	for _, tc := range []struct {
		text, want string
		code       int
	}{
		{"", "(body)", webv4.CodeMissing},
		{"null", "(body)", webv4.CodeMissing},
		{"{}", "(id)", webv4.CodeMissing},
		{`{"id":null}`, "(id)", webv4.CodeMissing},
		{`{"id":1,"to":{"zip":"1"}}`, "(to.city)", webv4.CodeMissing},
		{`{"id":1,"more":[{"city":"a"},{}]}`, "(more[1].city)", webv4.CodeMissing},
		{`{"id":0}`, "(id) expect (>= 1), but get (0)", webv4.CodeInvalid},
		{`{"id":"1"}`, `(id) expect (number), but get ("1")`, webv4.CodeInvalid},
		{`{"id":1.0}`, "(id) expect (integer)", webv4.CodeInvalid},
		{`{"id":9223372036854775808}`, "(id) expect (number within", webv4.CodeInvalid},
		{`{"id":1,"big":5}`, "(big) expect (string)", webv4.CodeInvalid},
		{`{"id":1,"big":"-5"}`, "(big) expect (integer >= 0)", webv4.CodeInvalid},
		{`{"id":1,"ok":"true"}`, "(ok) expect (true or false)", webv4.CodeInvalid},
		{`{"id":1,"ratio":1e999}`, "(ratio) expect (number within", webv4.CodeInvalid},
		{`{"id":1,"note":"toolong"}`, "(note) expect (at most 5", webv4.CodeInvalid},
		{`{"id":1,"tags":["a","b","c","d"]}`, "(tags) expect (at most 3 items)", webv4.CodeInvalid},
		{`{"id":1,"tags":["a",""]}`, "(tags[1]) expect (at least 1", webv4.CodeInvalid},
		{`{"id":1,"tags":["a",null]}`, "(tags[1]) expect (a value)", webv4.CodeInvalid},
		{`{"id":1,"tags":"a"}`, "(tags) expect (array)", webv4.CodeInvalid},
		{`{"id":1,"pair":[1]}`, "(pair) expect (2 items)", webv4.CodeInvalid},
		{`{"id":1,"pair":[1,2,3]}`, "(pair) expect (2 items)", webv4.CodeInvalid},
		{`{"id":1,"pair":[1,300]}`, "(pair[1]) expect (number within", webv4.CodeInvalid},
		{`{"id":1,"to":[]}`, "(to) expect (object)", webv4.CodeInvalid},
		{`{"id":1,"to":{"city":"a","zip":"x"}}`, "(to.zip) expect (^[0-9]*$)", webv4.CodeInvalid},
		{`{"id":1,"by":{"k":{"city":"01234567890"}}}`, "(by.k.city) expect (at most 10", webv4.CodeInvalid},
		{`{"id":1,"by":[]}`, "(by) expect (object)", webv4.CodeInvalid},
		{`{"id":1,"data":"%"}`, "(data) expect (base64)", webv4.CodeInvalid},
		{`{"id":1,"at":"now"}`, "(at) expect (time", webv4.CodeInvalid},
		{`{"id":1,"ip":"x"}`, "(ip) expect (netip.Addr)", webv4.CodeInvalid},
		{`{"id":1,"num":"x"}`, "(num) expect", webv4.CodeInvalid},
		{`{"id":1,"age":151}`, "(age) expect (<= 150)", webv4.CodeInvalid},
		{`{"id":1,"maybe":[1,2,3]}`, "(maybe) expect (at most 2", webv4.CodeInvalid},
		{`{"id":1,"next":{"id":2,"next":{"id":0}}}`, "(next.next.id) expect (>= 1)", webv4.CodeInvalid},
		{`{"id":1,"kind":"c"}`, "(kind) expect (a,b)", webv4.CodeInvalid},
		{`[]`, "(body) expect (object)", webv4.CodeInvalid},
		{`{"id":1,"id":2}`, `"id" a second time`, webv4.CodeParameter},
		{`{"id":1,"by":{"k":{"city":"a"},"k":{"city":"b"}}}`, `"k" a second time`, webv4.CodeParameter},
		{`{"id":1`, "at byte 7", webv4.CodeParameter},
		{`{"id":1}{`, "more text", webv4.CodeParameter},
		{`{"id":1,}`, "want a name", webv4.CodeParameter},
		{`{"ratio":01}`, "want , or }", webv4.CodeParameter},
		{`{"id":+1}`, "not a value", webv4.CodeParameter},
		{`{"id":1.}`, "number not well formed", webv4.CodeParameter},
		{`{"id":-}`, "number not well formed", webv4.CodeParameter},
		{`{"id":1e}`, "number not well formed", webv4.CodeParameter},
		{`{'id':1}`, "want a name", webv4.CodeParameter},
		{`{"id" 1}`, "want a colon", webv4.CodeParameter},
		{`{"id":nul}`, "not JSON", webv4.CodeParameter},
		{`{"id":1,"x":tru}`, "not a value", webv4.CodeParameter},
		{`{"id":1,"kind":"a` + "\n" + `"}`, "control character", webv4.CodeParameter},
		{`{"id":1,"kind":"\x"}`, "unknown escape", webv4.CodeParameter},
		{`{"id":1,"kind":"\u12"}`, "escape not well formed", webv4.CodeParameter},
		{`{"id":1,"kind":"\ud800"}`, "surrogate", webv4.CodeParameter},
		{`{"id":1,"kind":"\ud800\u0041"}`, "surrogate", webv4.CodeParameter},
		{"{\"id\":1,\"kind\":\"\xff\"}", "UTF-8", webv4.CodeParameter},
		{"{\"id\":1,\"kind\":\"\\n\xff\"}", "UTF-8", webv4.CodeParameter},
		{`{"id":1,"any":` + strings.Repeat("[", 10000), "nested deeper than 100", webv4.CodeParameter},
		{strings.Repeat(`{"next":`, 10000), "nested deeper than 100", webv4.CodeParameter},
		{strings.Repeat(`{"x":`, 10000), "nested deeper than 100", webv4.CodeParameter},
		{`{"id":1,"kind":"` + strings.Repeat("k", 10000) + `"}`, "kkk…", webv4.CodeInvalid},
	} {
		got, r := call("POST /orders", tc.text, jsonBody)
		r.fails(t, 400, tc.code, tc.want)
		if got != nil {
			t.Errorf("%.50s: the handler was called", tc.text)
		}
		if len(r.body) > 300 {
			t.Errorf("%.50s: reply of %d bytes", tc.text, len(r.body))
		}
	}
}

func TestBodyKinds(t *testing.T) {
	call := bound[orderIn](t, &webv4.Options{MaxBody: 100})
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"} {
		_, r := call("POST /orders", `{"id":1}`, "Content-Type: "+kind)
		r.fails(t, 415, webv4.CodeMediaType, "")
	}
	_, r := call("POST /orders", `{"id":1}`, "Content-Type: /;")
	r.fails(t, 415, webv4.CodeMediaType, "Content-Type not readable")
	for _, kind := range []string{"application/json", "Application/JSON; charset=utf-8", ""} {
		if got, r := call("POST /orders", `{"id":1}`, "Content-Type: "+kind); got == nil {
			t.Errorf("%q: %s", kind, r.body)
		}
	}
	_, r = call("POST /orders", `{"id":1,"Untaged":"`+strings.Repeat("x", 100)+`"}`, jsonBody)
	r.fails(t, 413, webv4.CodeTooLong, "limit 100")
	// Without a Content-Length the reading stops at the limit.
	_, r = call("POST /orders", `{"id":1,"Untaged":"`+strings.Repeat("x", 100)+`"}`, jsonBody, "Chunked: yes")
	r.fails(t, 413, webv4.CodeTooLong, "100")
}

func TestListBody(t *testing.T) {
	type in struct {
		_    struct{} `route:"PUT /list"`
		Body []int    `body:"" minItems:"1" maxItems:"2" max:"5"`
	}
	call := bound[in](t, nil)
	if got, r := call("PUT /list", "[1,2]", jsonBody); got == nil || !reflect.DeepEqual(got.Body, []int{1, 2}) {
		t.Errorf("%+v %s", got, r.body)
	}
	if got, r := call("PUT /list", "", jsonBody); got == nil || got.Body != nil {
		t.Errorf("no body: %+v %s", got, r.body)
	}
	for text, want := range map[string]string{"[]": "(body) expect (at least 1", "[1,2,3]": "(body) expect (at most 2", "[6]": "([0]) expect (<= 5)"} {
		_, r := call("PUT /list", text, jsonBody)
		r.fails(t, 400, webv4.CodeInvalid, want)
	}
}

// Wide structs find their fields by a map, and remember more than 128 of them.
func TestWideBody(t *testing.T) {
	type in struct {
		_    struct{} `route:"PUT /wide"`
		Body wide     `body:""`
	}
	call := bound[in](t, nil)
	var b strings.Builder
	b.WriteByte('{')
	for i := 199; i >= 0; i-- {
		fmt.Fprintf(&b, `"F%d":%d,`, i, i)
	}
	text := b.String()
	got, r := call("PUT /wide", text+`"x":0}`, jsonBody)
	if got == nil {
		t.Fatal(r.body)
	}
	v := reflect.ValueOf(got.Body)
	for i := range v.NumField() {
		if v.Field(i).Int() != int64(i) {
			t.Errorf("field %d is %d", i, v.Field(i).Int())
		}
	}
	for _, name := range []string{"F0", "F150"} {
		_, r = call("PUT /wide", text+`"`+name+`":1}`, jsonBody)
		r.fails(t, 400, webv4.CodeParameter, "a second time")
	}
	_, r = call("PUT /wide", `{"F0":1}`, jsonBody)
	r.fails(t, 400, webv4.CodeMissing, "(F199)")
}

// Strings without escapes share the body's memory; that of another request is
// its own.
func TestBodiesDoNotShareMemory(t *testing.T) {
	a := newAPI(t, nil)
	var kept []string
	webv4.Handle(a, func(_ context.Context, in *orderIn) (*empty, error) {
		kept = append(kept, in.Body.Untaged)
		return nil, nil
	})
	for i := range 100 {
		do(t, a, "POST /orders", fmt.Sprintf(`{"id":1,"Untaged":"text %d"}`, i), jsonBody)
	}
	for i, s := range kept {
		if s != fmt.Sprintf("text %d", i) {
			t.Errorf("text %d became %q", i, s)
		}
	}
}
