package webv4_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/webv4"
)

type audit struct {
	By string `json:"by" required:"true" maxLength:"5"`
	At int    `json:"at,omitempty"`
}

type Labels struct {
	Lang  string `json:"lang" default:"zh" enum:"zh,en"`
	Depth *int   `json:"depth" min:"1"`
}

type line struct {
	Count int `json:"count" required:"true" min:"1"`
}

// cents reads itself, and still has to keep the rules of its field.
type cents int

func (c *cents) UnmarshalJSON(data []byte) error {
	n, err := json.Number(data).Int64()
	*c = cents(n)
	return err
}

// words reads a list out of a string.
type words []string

func (w *words) UnmarshalText(text []byte) error {
	*w = strings.Fields(string(text))
	return nil
}

func (w words) MarshalText() ([]byte, error) { return []byte(strings.Join(w, " ")), nil }

type shipment struct {
	*audit
	*Labels
	Weight float64               `json:"weight,string" min:"0.5"`
	Fast   bool                  `json:"fast,string"`
	Note   string                `json:"note,string" maxLength:"3"`
	Zone   *int                  `json:"zone,string" max:"9"`
	Num    json.Number           `json:"num,string,omitempty"`
	ByID   map[int64]line        `json:"by_id"`
	ByPort map[uint16]*line      `json:"by_port"`
	ByIP   map[netip.Addr]line   `json:"by_ip"`
	Price  cents                 `json:"price" max:"100"`
	Words  words                 `json:"words" maxItems:"2" maxLength:"3"`
	Pair   [2]line               `json:"pair"`
	Lines  []line                `json:"lines"`
	IPs    []netip.Addr          `json:"ips"`
	Nums   []json.Number         `json:"nums"`
	Raws   []json.RawMessage     `json:"raws"`
	Grid   [][]int               `json:"grid"`
	Fixed  [][1]int              `json:"fixed"`
	Opts   []webv4.Opt[int]      `json:"opts"`
	Anys   map[string]any        `json:"anys"`
	Counts map[string]int        `json:"counts"`
	Lists  map[string][]string   `json:"lists"`
	Ptrs   map[string]*line      `json:"ptrs"`
	Plain  map[string]line       `json:"plain"`
	Deep   []map[string][]audit  `json:"deep"`
	Keyed  map[string]netip.Addr `json:"keyed"`
}

type shipmentIn struct {
	_    struct{} `route:"POST /shipments"`
	Body shipment `body:"" required:"true"`
}

const shipmentJSON = `{"by":"ada","lang":"en","depth":2,"weight":"1.5","fast":"true","note":"\"hi\"","zone":"7","num":"1e2",` +
	`"by_id":{"-5":{"count":1},"10":{"count":2}},"by_port":{"80":{"count":3},"443":null},"by_ip":{"10.0.0.1":{"count":4},"::1":{"count":5}},` +
	`"price":99,"words":"ab c","pair":[{"count":1},{"count":2}],"lines":[{"count":3}],"ips":["::1"],"nums":[1.5],"raws":[null,{"a":1}],` +
	`"grid":[[1],null],"fixed":[[1]],"opts":[null,1],"anys":{"x":null},"counts":{"a":1},"lists":{"a":null,"b":["x"]},"ptrs":{"a":null},` +
	`"plain":{"a":{"count":1}},"deep":[{"a":[{"by":"bob"}]}],"keyed":{"a":"::1"}}`

// Whatever shape a struct has, its body is read by the same strict reader: what
// that reads is what encoding/json would read.
func TestBodyTypes(t *testing.T) {
	call := bound[shipmentIn](t, nil)
	got, r := call("POST /shipments", shipmentJSON, jsonBody)
	if got == nil {
		t.Fatal(r.body)
	}
	want := shipment{audit: &audit{}} // encoding/json makes none of a type that is not exported
	if err := json.Unmarshal([]byte(shipmentJSON), &want); err != nil {
		t.Fatal(err)
	}
	want.Opts = []webv4.Opt[int]{{Set: true, Null: true}, {Value: 1, Set: true}}
	if !reflect.DeepEqual(got.Body, want) {
		t.Errorf("got  %+v\nwant %+v", got.Body, want)
	}
	// In XML the same.
	const asXML = `<r><by>ada</by><lang>en</lang><depth>2</depth><weight>1.5</weight><fast>true</fast><note>hi</note><zone>7</zone>` +
		`<by_id><entry key="10"><count>2</count></entry></by_id></r>`
	got, r = call("POST /shipments", asXML, "Content-Type: application/xml")
	if got == nil || got.Body.By != "ada" || got.Body.Weight != 1.5 || !got.Body.Fast || got.Body.Note != "hi" || *got.Body.Zone != 7 || got.Body.ByID[10].Count != 2 {
		t.Errorf("XML: %+v %s", got, r.body)
	}
	// What an embedded pointer leads to is made when it is needed, for defaults too.
	got, r = call("POST /shipments", `{"by":"ada"}`, jsonBody)
	if got == nil || got.Body.Labels == nil || got.Body.Lang != "zh" {
		t.Errorf("default: %+v %s", got, r.body)
	}
}

func TestBodyTypesRefused(t *testing.T) {
	call := bound[shipmentIn](t, nil)
	for member, want := range map[string]string{
		`"lang":"fr"`:                             "(lang) expect (zh,en)",
		`"depth":0`:                               "(depth) expect (>= 1)",
		`"weight":"0.1"`:                          "(weight) expect (>= 0.5), but get (0.1)",
		`"weight":1.5`:                            "(weight) expect (string)",
		`"weight":"1.5 "`:                         "(weight) expect (one value in quotes)",
		`"weight":"null"`:                         "(weight) expect (a value)",
		`"fast":"yes"`:                            "(fast) expect (one value in quotes)",
		`"note":"\"long\""`:                       "(note) expect (at most 3",
		`"zone":"10"`:                             "(zone) expect (<= 9)",
		`"by_id":{"x":{"count":1}}`:               "(by_id.x) expect (integer)",
		`"by_id":{"7":{"count":0}}`:               "(by_id.7.count) expect (>= 1)",
		`"by_id":{"7":{}}`:                        "(by_id.7.count)",
		`"by_id":{"7":null}`:                      "(by_id.7) expect (a value), but get (null)",
		`"by_id":{"7":{"count":1,"count":2}}`:     `"count" a second time`,
		`"by_id":{"7":{"count":1},"07":{}}`:       `"07" a second time`,
		`"by_port":{"65536":{"count":1}}`:         "(by_port.65536) expect (number within",
		`"by_port":{"-1":{"count":1}}`:            "(by_port.-1) expect (integer >= 0)",
		`"by_ip":{"x":{"count":1}}`:               "(by_ip.x) expect (netip.Addr)",
		`"price":101`:                             "(price) expect (<= 100), but get (101)",
		`"words":"a b c"`:                         "(words) expect (at most 2 items)",
		`"words":"long"`:                          "(words) expect (at most 3 characters)",
		`"pair":[{"count":1},null]`:               "(pair[1]) expect (a value), but get (null)",
		`"lines":[{"count":1},null]`:              "(lines[1]) expect (a value), but get (null)",
		`"ips":[null]`:                            "(ips[0]) expect (a value)",
		`"nums":[1,null]`:                         "(nums[1]) expect (a value)",
		`"grid":[[null]]`:                         "(grid[0][0]) expect (a value)",
		`"fixed":[null]`:                          "(fixed[0]) expect (a value)",
		`"counts":{"a":null}`:                     "(counts.a) expect (a value)",
		`"counts":{"a":nul}`:                      "not JSON",
		`"lists":{"a":["x",null]}`:                "(lists.a[1]) expect (a value)",
		`"plain":{"a":null}`:                      "(plain.a) expect (a value)",
		`"keyed":{"a":null}`:                      "(keyed.a) expect (a value)",
		`"deep":[{"a":[{"by":"x"},{"by":null}]}]`: "(deep[0].a[1].by)",
	} {
		got, r := call("POST /shipments", `{"by":"ada",`+member+`}`, jsonBody)
		if r.status != 400 || !strings.Contains(r.body, quotedText(want)) || got != nil {
			t.Errorf("%s: %s, want %s", member, r.body, want)
		}
	}
	_, r := call("POST /shipments", `{"lang":"en"}`, jsonBody)
	r.fails(t, 400, webv4.CodeMissing, "(by)")
}

// quotedText is text as it stands in a JSON string.
func quotedText(s string) string {
	b, _ := json.Marshal(s)
	return string(b[1 : len(b)-1])
}

// Replies of the same types are what encoding/json would write, in all formats.
func TestReplyTypes(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_     struct{} `route:"GET /shipment.json" select:"fields"`
		Empty bool     `query:"empty"`
	}
	one, two := 1, &line{2}
	full := &shipment{
		audit: &audit{By: "ada"}, Labels: &Labels{Depth: &one}, Weight: 1e21, Fast: true, Note: `a"b`, Zone: &one, Num: "5",
		ByID: map[int64]line{10: {1}, -5: {2}, 9: {3}}, ByPort: map[uint16]*line{80: two}, ByIP: map[netip.Addr]line{netip.IPv6Loopback(): {4}},
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*shipment, error) {
		if in.Empty {
			return &shipment{}, nil
		}
		return full, nil
	})
	for query, v := range map[string]*shipment{"": full, "?empty=true": {}} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		r := do(t, a, "GET /shipment.json"+query, "")
		r.is(t, 200, string(want))
		if r := do(t, a, "GET /shipment.xml"+query, ""); r.status != 200 || (query == "") != strings.Contains(r.body, `<by>ada</by>`) || (query == "") != strings.Contains(r.body, `<entry key="-5"><count>2</count></entry><entry key="10">`) {
			t.Errorf("XML: %d %s", r.status, r.body)
		}
		if r := do(t, a, "GET /shipment.msgpack"+query, ""); r.status != 200 || (query == "") != strings.Contains(r.body, "\xa2by\xa3ada") || (query == "") != strings.Contains(r.body, "\xa4zone\xa11") {
			t.Errorf("MessagePack: %d %q", r.status, r.body)
		}
	}
	do(t, a, "GET /shipment.json?fields=by,by_id.count", "").is(t, 200, `{"by":"ada","by_id":{"-5":{"count":2},"10":{"count":1},"9":{"count":3}}}`)
}

// The schema of what is in quotes allows what the reader does.
func TestQuotedSchema(t *testing.T) {
	type quoted struct {
		Kind int     `json:"kind,string" enum:"1,2" default:"1" min:"1"`
		Note string  `json:"note,string" maxLength:"2" enum:"a,b"`
		Big  *uint64 `json:"big,string" max:"7" doc:"large"`
	}
	type in struct {
		_    struct{} `route:"POST /quoted"`
		Body quoted   `body:""`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
	_, schemas := a.Describe()
	got, err := json.Marshal(schemas["quoted"].Properties)
	want := `{"big":{"type":["string","null"],"description":"large"},"kind":{"type":"string","enum":["1","2"],"default":"1"},"note":{"type":"string"}}`
	if err != nil || string(got) != want {
		t.Errorf("%s %v\nwant %s", got, err, want)
	}
	if r := do(t, a, "POST /quoted", `{"kind":"2","note":"\"a\"","big":"7"}`, jsonBody); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

type ownReader struct {
	N int `json:"n" min:"1"`
}

func (*ownReader) UnmarshalJSON([]byte) error { return errors.New("no") }

type channels struct {
	OK   string         `json:"ok"`
	Chan chan int       `json:"chan"`
	Func func()         `json:"func"`
	Num  []complex64    `json:"num"`
	Keys map[[2]int]int `json:"keys"`
	Skip chan int       `json:"-"`
}

type unreadable struct {
	Own  []ownReader  `json:"own"`
	Some fmt.Stringer `json:"some"`
	channels
}

// Rules that nobody would look at, and types that nobody can read or write, are
// found at registration.
func TestUnreadableTypes(t *testing.T) {
	type body struct {
		_    struct{}   `route:"POST /unreadable"`
		Body unreadable `body:""`
	}
	type plain struct {
		_ struct{} `route:"GET /unreadable"`
	}
	text := panics(t, func() {
		webv4.Handle(newAPI(t, nil), func(context.Context, *body) (*channels, error) { return nil, nil })
	})
	for _, want := range []string{
		"ownReader.N: min is never looked at: webv4_test.ownReader reads itself", "type fmt.Stringer: nothing can be read into it",
		"unreadable.Chan: type chan int has no JSON", "unreadable.Func: type func() has no JSON", "unreadable.Num: type complex64 has no JSON",
		"unreadable.Keys: type map[[2]int]int has no JSON",
		"channels.Chan: type chan int has no JSON", "channels.Func: type func()",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("nothing about %q in:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Skip") {
		t.Errorf("%s\nnames a field that is left out", text)
	}
	text = panics(t, func() {
		webv4.Handle(newAPI(t, nil), func(context.Context, *plain) (*chan int, error) { return nil, nil })
	})
	if !strings.Contains(text, "type chan int has no JSON") {
		t.Error(text)
	}
}

// strictCodec reads JSON of one type in its own way.
type strictCodec struct{}

func (strictCodec) For(t reflect.Type) bool                { return t == reflect.TypeFor[line]() }
func (strictCodec) MediaTypes() []string                   { return []string{"application/x-line"} }
func (strictCodec) Suffix() string                         { return "" }
func (strictCodec) Append(b []byte, _ any) ([]byte, error) { return b, nil }
func (strictCodec) Read([]byte, any) error                 { return nil }

// A codec reads past the rules of a body's fields, so the two do not go together.
func TestRulesBesideCodec(t *testing.T) {
	type in struct {
		_    struct{} `route:"POST /line"`
		Body line     `body:""`
	}
	text := panics(t, func() {
		webv4.Handle(newAPI(t, &webv4.Options{Codecs: []webv4.Codec{strictCodec{}}}), func(context.Context, *in) (*empty, error) { return nil, nil })
	})
	for _, want := range []string{"line.Count: required is never looked at: the codec for application/x-line", "line.Count: min is never"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

// wholeCodec writes the JSON of a type.
type wholeCodec struct{ strictCodec }

func (wholeCodec) MediaTypes() []string { return []string{"application/json"} }

// What a codec writes nobody trims, and no fields are chosen of it.
func TestTrimBesideCodec(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /line" trim:"brief"`
	}
	type chosen struct {
		_ struct{} `route:"GET /line" select:"fields"`
	}
	a := newAPI(t, &webv4.Options{Codecs: []webv4.Codec{wholeCodec{}}})
	for _, text := range []string{
		panics(t, func() { webv4.Handle(a, func(context.Context, *in) (*line, error) { return nil, nil }) }),
		panics(t, func() { webv4.Handle(a, func(context.Context, *chosen) (*line, error) { return nil, nil }) }),
	} {
		if !strings.Contains(text, "writes the whole reply: no select or trim") {
			t.Error(text)
		}
	}
}
