package webv4_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/heddle-go/heddle/webv4"
)

type color int

func (c color) MarshalText() ([]byte, error) { return []byte([]string{"red", "green"}[c]), nil }

type own struct{ A int }

func (o own) MarshalJSON() ([]byte, error) { return []byte(`{"own":true}`), nil }

type Inner struct {
	X int `json:"x"`
	Y int
}

type Deep struct {
	Y int // shadowed by Inner's, which is as deep: neither is written
	Z int `json:"z"`
}

type all struct {
	Inner
	Deep
	B      bool                `json:"b"`
	I      int8                `json:"i"`
	U      uint64              `json:"u"`
	Q      int64               `json:"q,string"`
	F      float64             `json:"f"`
	F32    float32             `json:"f32"`
	S      string              `json:"s"`
	Bytes  []byte              `json:"bytes"`
	T      time.Time           `json:"t"`
	D      time.Duration       `json:"d"`
	P      *int                `json:"p"`
	PP     **string            `json:"pp"`
	L      []string            `json:"l"`
	A      [2]Inner            `json:"a"`
	M      map[string]any      `json:"m"`
	MI     map[int]string      `json:"mi"`
	Any    any                 `json:"any"`
	C      color               `json:"c"`
	Own    own                 `json:"own"`
	OwnP   *own                `json:"ownp"`
	Raw    json.RawMessage     `json:"raw"`
	Num    json.Number         `json:"num"`
	IP     netip.Addr          `json:"ip"`
	Opt    webv4.Opt[int]      `json:"opt"`
	OptZ   webv4.Opt[string]   `json:"optz,omitzero"`
	Empty  string              `json:"empty,omitempty"`
	EmptyL []int               `json:"emptyl,omitempty"`
	EmptyM map[string]int      `json:"emptym,omitempty"`
	EmptyP *int                `json:"emptyp,omitempty"`
	EmptyI any                 `json:"emptyi,omitempty"`
	EmptyN int                 `json:"emptyn,omitempty"`
	EmptyB bool                `json:"emptyb,omitempty"`
	ZeroT  time.Time           `json:"zerot,omitzero"`
	Kids   []*all              `json:"kids,omitempty"`
	Skip   int                 `json:"-"`
	Odd    int                 `json:"a<b é"`
	Anon   struct{ V []Inner } `json:"anon"`
	hidden int
}

func samples() []all {
	n, s := 7, "x"
	ps := &s
	full := all{
		Inner: Inner{1, 2}, Deep: Deep{3, 4}, B: true, I: -8, U: math.MaxUint64, Q: -5, F: 1.5e-9, F32: 3.4e38, S: "<a href=\"x\">\u2028\x00\t\xff微博😀\x7f",
		Bytes: []byte{0, 255}, T: time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)), D: time.Second, P: &n, PP: &ps,
		L: []string{"", "b"}, A: [2]Inner{{1, 2}, {}}, M: map[string]any{"z": 1, "a": []any{nil, true, "s", 1.5, map[string]any{}}, "<": int64(3)},
		MI: map[int]string{2: "b", 1: "a"}, Any: Inner{1, 2}, C: 1, OwnP: &own{}, Raw: json.RawMessage(`{"a": [1, 2]}`), Num: "12.50", IP: netip.IPv6Loopback(),
		Opt: webv4.Opt[int]{Set: true}, OptZ: webv4.Opt[string]{Set: true, Null: true}, Empty: "e", EmptyL: []int{1}, EmptyM: map[string]int{"a": 1}, EmptyP: &n,
		EmptyI: 1, EmptyN: 1, EmptyB: true, ZeroT: time.Unix(0, 0).UTC(), Kids: []*all{{Raw: json.RawMessage("1"), Num: "1"}, nil}, Odd: 2,
		Anon: struct{ V []Inner }{[]Inner{{5, 6}}}, hidden: 1,
	}
	list := []all{{Raw: json.RawMessage("null"), Num: "0"}, full}
	for _, f := range []float64{0, math.Copysign(0, -1), 1e20, 1e21, 1e-6, 9.9e-7, 1e100, 123456789.125, math.SmallestNonzeroFloat64, math.MaxFloat64} {
		list = append(list, all{F: f, F32: float32(min(max(f, -1e38), 1e38)), Num: "0", Raw: json.RawMessage(`""`), Any: f})
	}
	return list
}

type give struct {
	_ struct{} `route:"GET /give.json"`
}

// Replies are what encoding/json would write.
func TestReplyIsEncodingJSON(t *testing.T) {
	var reply all
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *give) (*all, error) { return &reply, nil })
	for _, reply = range samples() {
		want, err := json.Marshal(reply)
		if err != nil {
			t.Fatal(err)
		}
		// encoding/json writes an absent Opt as null too, by MarshalJSON.
		do(t, a, "GET /give.json", "").is(t, 200, string(want))
	}
}

func TestReplyAsXML(t *testing.T) {
	type status struct {
		XMLName xml.Name          `xml:"status" json:"-"`
		ID      int64             `json:"id"`
		Text    string            `json:"text"`
		Pics    []string          `json:"pics" xml:"pics>pic"`
		Users   []Inner           `json:"users"`
		None    *int              `json:"none"`
		By      map[string]string `json:"by"`
		Bad     int               `json:"1 bad&name"`
		Any     any               `json:"any"`
		Own     own               `json:"o"`
		Opt     webv4.Opt[bool]   `json:"opt"`
		F       float64           `json:"f"`
		Bytes   []byte            `json:"bytes"`
		At      time.Time         `json:"at"`
		OK      bool              `json:"ok"`
		U       uint              `json:"u"`
	}
	reply := status{
		ID: 1, Text: "<\x00&\"微\xff\r\n", Pics: []string{"a"}, Users: []Inner{{1, 2}}, By: map[string]string{"k\"": "v", "a": "b"}, Bad: 1,
		Any: []any{1, nil}, Opt: webv4.Opt[bool]{Set: true, Value: true}, F: 0.5, Bytes: []byte("hi"), At: time.Unix(0, 0).UTC(),
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *give) (*status, error) { return &reply, nil })
	r := do(t, a, "GET /give.xml", "")
	r.is(t, 200, `<?xml version="1.0" encoding="UTF-8"?>
<status><id>1</id><text>&lt;`+"\ufffd"+`&amp;&#34;微`+"\ufffd"+`&#13;&#10;</text><pics><pic>a</pic></pics><users><item><x>1</x><Y>2</Y></item></users>`+
		`<by><entry key="a">b</entry><entry key="k&#34;">v</entry></by><__bad_name>1</__bad_name><any><item>1</item></any><o><entry key="own">true</entry></o>`+
		`<opt>true</opt><f>0.5</f><bytes>aGk=</bytes><at>1970-01-01T00:00:00Z</at><ok>false</ok><u>0</u></status>`)
	if got := r.header.Get("Content-Type"); got != "application/xml; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	var any struct {
		Inner string `xml:",innerxml"`
	}
	if err := xml.Unmarshal([]byte(r.body), &any); err != nil {
		t.Error(err)
	}
	do(t, a, "GET /give.json", "").is(t, 200, `{"id":1,"text":"\u003c\u0000\u0026\"微\ufffd\r\n","pics":["a"],"users":[{"x":1,"Y":2}],"none":null,"by":{"a":"b","k\"":"v"},`+
		`"1 bad\u0026name":1,"any":[1,null],"o":{"own":true},"opt":true,"f":0.5,"bytes":"aGk=","at":"1970-01-01T00:00:00Z","ok":false,"u":0}`)
}

func TestRepliesWithoutAValue(t *testing.T) {
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *give) (*all, error) { return nil, nil })
	do(t, a, "GET /give.json", "").is(t, 200, "{}")
	do(t, a, "GET /give.xml", "").is(t, 200, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<result></result>")
	r := do(t, a, "HEAD /give.json", "")
	if r.status != 200 || r.body != "" || r.header.Get("Content-Length") != "3" {
		t.Errorf("HEAD: %+v", r)
	}
}

type cyclic struct {
	Next *cyclic        `json:"next"`
	Any  map[string]any `json:"any"`
}

func TestRepliesThatCannotBeWritten(t *testing.T) {
	loop := &cyclic{}
	loop.Next = loop
	m := map[string]any{}
	m["m"] = m
	type odd struct {
		F   float64
		T   time.Time
		Any any
		C   *cyclic
	}
	var reply odd
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *give) (*odd, error) { return &reply, nil })
	for _, reply = range []odd{{F: math.NaN()}, {F: math.Inf(-1)}, {T: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, {Any: make(chan int)}, {C: loop}, {Any: m}} {
		do(t, a, "GET /give.json", "").fails(t, 500, webv4.CodeSystem, "system error")
	}
	reply = odd{C: loop}
	if r := do(t, a, "GET /give.xml", ""); r.status != 500 || !strings.Contains(r.body, "<error_code>10001</error_code>") {
		t.Errorf("xml: %+v", r)
	}
}

// What needs an escape is found wherever it stands among the words that strings
// are written by.
func TestReplyStringsByWords(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /s.json"`
	}
	var reply []string
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *in) (*[]string, error) { return &reply, nil })
	for _, odd := range []string{"", "\"", "<", "\x00", "\x7f", "é", "微", "，", "“", "\u2028", "\u2029", "😀", "\xff", "\xe2\x80", "\xe0\x80\x80", "\xed\xa0\x80"} {
		reply = reply[:0]
		for before := range 19 {
			for after := range 19 {
				pad := strings.Repeat("微", before%3) + strings.Repeat("x", before)
				reply = append(reply, pad+odd+strings.Repeat("y", after), pad+odd+odd+strings.Repeat("博", after/6))
			}
		}
		want, _ := json.Marshal(reply)
		do(t, a, "GET /s.json", "").is(t, 200, string(want))
	}
}

// FuzzReplyStrings checks that any string comes out as valid JSON and XML that
// reads back as what it was, as far as the format can hold it.
func FuzzReplyStrings(f *testing.F) {
	for _, s := range []string{"", "a", "<&>\"'\\/", "\x00\x1f\x7f", "\u2028\u2029", "\xff\xfe", "微博😀", "\ufffd", "\ufffe"} {
		f.Add(s)
	}
	type in struct {
		_ struct{} `route:"GET /s.json"`
	}
	type out struct {
		S string            `json:"s"`
		M map[string]string `json:"m"`
	}
	var reply out
	a := newAPI(f, nil)
	webv4.Handle(a, func(context.Context, *in) (*out, error) { return &reply, nil })
	f.Fuzz(func(t *testing.T, s string) {
		reply = out{s, map[string]string{s: s}}
		want, _ := json.Marshal(reply)
		do(t, a, "GET /s.json", "").is(t, 200, string(want))
		var back struct {
			S string `xml:"s"`
		}
		if err := xml.Unmarshal([]byte(do(t, a, "GET /s.xml", "").body), &back); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff }) && back.S != s {
			t.Errorf("%q came back as %q", s, back.S)
		}
	})
}
