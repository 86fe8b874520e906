package webv4_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/heddle-go/heddle/webv4"
)

// parcel has a field of every kind that a body may have.
type parcel struct {
	ID     int64             `json:"id" msgpack:"id" required:"true" min:"1"`
	Big    uint64            `json:"big,string" msgpack:"big"`
	Weight float64           `json:"weight" msgpack:"weight" max:"100"`
	Fast   bool              `json:"fast" msgpack:"fast"`
	Text   string            `json:"text" msgpack:"text" maxLength:"10"`
	Tags   []string          `json:"tags" msgpack:"tags" maxItems:"3"`
	Sizes  [2]int            `json:"sizes" msgpack:"sizes"`
	Labels map[string]int    `json:"labels" msgpack:"labels"`
	To     *place            `json:"to" msgpack:"to"`
	Note   webv4.Opt[string] `json:"note,omitzero" msgpack:"-"`
	Bytes  []byte            `json:"bytes" msgpack:"bytes"`
	At     time.Time         `json:"at" msgpack:"at"`
	Any    any               `json:"any" msgpack:"any"`
}

type place struct {
	City string `json:"city" msgpack:"city" required:"true"`
}

type sendParcel struct {
	_    struct{} `route:"POST /parcels"`
	Body parcel   `body:"" required:"true"`
}

func parcels(t testing.TB, opts *webv4.Options) *webv4.API {
	a := newAPI(t, opts)
	webv4.Handle(a, func(_ context.Context, in *sendParcel) (*parcel, error) { return &in.Body, nil })
	return a
}

// A body in XML or MessagePack means what the same reply in it means: what goes
// out in a format comes in again in all of them.
func TestBodiesInOtherFormats(t *testing.T) {
	a := parcels(t, nil)
	text := `{"id":5,"big":"18446744073709551615","weight":1.5,"fast":true,"text":"<&\"求😀","tags":["a","b <c>"],"sizes":[3,-4],` +
		`"labels":{"x y":1,"z":-2},"to":{"city":"北京"},"note":"hi","bytes":"AAEC","at":"2024-05-06T07:08:09.5Z","any":"more"}`
	want := do(t, a, "POST /parcels", text, jsonBody)
	if want.status != 200 {
		t.Fatal(want)
	}
	for _, kind := range []string{"application/xml", "application/msgpack", "application/x-msgpack", "text/xml; charset=utf-8"} {
		media, _, _ := strings.Cut(kind, ";")
		out := do(t, a, "POST /parcels", text, jsonBody, "Accept: "+media)
		if out.header.Get("Content-Type") == want.header.Get("Content-Type") {
			t.Fatalf("%s: %v", kind, out.header)
		}
		back := do(t, a, "POST /parcels", out.body, "Content-Type: "+kind)
		var x, y any
		if err := json.Unmarshal([]byte(back.body), &x); err != nil || back.status != 200 {
			t.Fatalf("%s: %+v: %v", kind, back, err)
		}
		json.Unmarshal([]byte(want.body), &y)
		if fmt.Sprint(x) != fmt.Sprint(y) {
			t.Errorf("%s: %s\nwant %s", kind, back.body, want.body)
		}
	}
	// Other encoders write what they like.
	packed, err := msgpack.Marshal(parcel{ID: 5, Weight: 1, Text: "x", At: time.Date(2024, 5, 6, 7, 8, 9, 5e8, time.UTC), Any: []any{int8(-1), uint16(300), nil, map[string]any{"k": float32(0.5)}}})
	if err != nil {
		t.Fatal(err)
	}
	packed = bytes.Replace(packed, []byte("\xa3big\xcf\x00\x00\x00\x00\x00\x00\x00\x00"), []byte("\xa3big\xa10"), 1) // a string, as its tag says
	r := do(t, a, "POST /parcels", string(packed), "Content-Type: application/msgpack")
	if r.status != 200 || !strings.Contains(r.body, `"at":"2024-05-06T07:08:09.5Z"`) || !strings.Contains(r.body, `"any":[-1,300,null,{"k":0.5}]`) {
		t.Errorf("%+v", r)
	}
	do(t, a, "POST /parcels", "<parcel><!-- one --><id> 7 </id><more><x/></more><any><k><l>1</l></k></any></parcel>\n", "Content-Type: application/xml").
		is(t, 200, `{"id":7,"big":"0","weight":0,"fast":false,"text":"","tags":null,"sizes":[0,0],"labels":null,"to":null,"bytes":null,"at":"0001-01-01T00:00:00Z","any":{"k":{"l":"1"}}}`)
}

func TestBodiesInOtherFormatsRefused(t *testing.T) {
	a := parcels(t, &webv4.Options{MaxBody: 10_000})
	pack := func(v any) string {
		b, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	deep := strings.Repeat("<any>", 200) + strings.Repeat("</any>", 200)
	for _, tc := range []struct {
		kind, body string
		status     int
		code       int
		text       string
	}{
		{"xml", "<p></p>", 400, webv4.CodeMissing, "(id)"},
		{"xml", "<p><id>0</id></p>", 400, webv4.CodeInvalid, "(id) expect (>= 1)"},
		{"xml", "<p><id>x</id></p>", 400, webv4.CodeInvalid, `(id) expect (number), but get ("x")`},
		{"xml", "<p><id>1</id><to/></p>", 400, webv4.CodeMissing, "(to.city)"},
		{"xml", "<p><id>1</id><tags><a>1</a><a/><a/><a/></tags></p>", 400, webv4.CodeInvalid, "(tags) expect (at most 3 items)"},
		{"xml", "<p><id>1</id><id>2</id></p>", 400, webv4.CodeParameter, "a second time"},
		{"xml", "<p><id>1</id><text>a<b/></text></p>", 400, webv4.CodeParameter, "element b where text should be"},
		{"xml", "<p>text<id>1</id></p>", 400, webv4.CodeParameter, "text where elements should be"},
		{"xml", "<p><id>1</id>", 400, webv4.CodeParameter, "the body is not XML"},
		{"xml", "<p><id>1</id></p><p/>", 400, webv4.CodeParameter, "second root"},
		{"xml", "nothing", 400, webv4.CodeParameter, "the body is not XML"},
		{"xml", `<!DOCTYPE p [<!ENTITY a "b">]><p><id>1</id></p>`, 400, webv4.CodeParameter, "document type"},
		{"xml", `<p><id>1</id><text>&a;</text></p>`, 400, webv4.CodeParameter, "the body is not XML"},
		{"xml", `<?xml version="1.0" encoding="latin1"?><p><id>1</id></p>`, 400, webv4.CodeParameter, "the body is not XML"},
		{"xml", "<p><labels><x>1</x></labels></p>", 400, webv4.CodeParameter, `<entry key=`},
		{"xml", "<p><id>1</id>" + deep + "</p>", 400, webv4.CodeParameter, "nested deeper than 100"},
		{"xml", "<p>" + strings.Repeat("<x>", 300), 400, webv4.CodeParameter, "nested deeper than 100"},
		{"xml", "<p><id>1</id><x><y/><!DOCTYPE z></x></p>", 400, webv4.CodeParameter, "a document type"},
		{"msgpack", pack(map[string]any{}), 400, webv4.CodeMissing, "(id)"},
		{"msgpack", pack(map[string]any{"id": 0}), 400, webv4.CodeInvalid, "(id) expect (>= 1)"},
		{"msgpack", pack([]int{1}), 400, webv4.CodeInvalid, "(body) expect (object)"},
		{"msgpack", pack(map[int]int{1: 1}), 400, webv4.CodeParameter, "want a string for a map's key"},
		{"msgpack", pack(map[string]any{"weight": math.NaN()}), 400, webv4.CodeParameter, "not finite"},
		{"msgpack", pack("x\xff"), 400, webv4.CodeParameter, "not valid UTF-8"},
		{"msgpack", pack(map[string]any{"id": 1}) + "x", 400, webv4.CodeParameter, "more bytes after the value at byte 5"},
		{"msgpack", "\xdf\xff\xff\xff\xff", 400, webv4.CodeParameter, "it ended early"},
		{"msgpack", "\xdd\xff\xff\xff\xff", 400, webv4.CodeParameter, "it ended early"},
		{"msgpack", "\xc6\xff\xff\xff\xff", 400, webv4.CodeParameter, "it ended early"},
		{"msgpack", "\xc1", 400, webv4.CodeParameter, "no MessagePack"},
		{"msgpack", "\xd4\x07\x00", 400, webv4.CodeParameter, "extension type not known"},
		{"msgpack", strings.Repeat("\x91", 10_000), 400, webv4.CodeParameter, "nested deeper than 100"},
		{"msgpack", strings.Repeat("\x91", 10_001), 413, webv4.CodeTooLong, ""},
		{"x-protobuf", "\x08\x01", 415, webv4.CodeMediaType, "application/x-protobuf"},
		{"*", "{}", 415, webv4.CodeMediaType, ""},
	} {
		do(t, a, "POST /parcels", tc.body, "Content-Type: application/"+tc.kind).fails(t, tc.status, tc.code, tc.text)
	}
}

func coded(t testing.TB, how, body string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if how == "zstd" {
		var err error
		if w, err = zstd.NewWriter(&b); err != nil {
			t.Fatal(err)
		}
	}
	io.WriteString(w, body)
	w.Close()
	return b.String()
}

func TestCodedBodies(t *testing.T) {
	a := parcels(t, &webv4.Options{MaxBody: 100_000})
	text := `{"id":5,"text":"x"}`
	want := do(t, a, "POST /parcels", text, jsonBody)
	bomb := `{"id":1,"any":"` + strings.Repeat("x", 50_000_000) + `"}`
	for _, how := range []string{"gzip", "zstd"} {
		for _, extra := range []string{"Chunked: yes", "X: y"} {
			do(t, a, "POST /parcels", coded(t, how, text), jsonBody, "Content-Encoding: "+how, extra).is(t, 200, strings.TrimSpace(want.body))
		}
		// The bound is on what comes out.
		z := coded(t, how, bomb)
		if len(z) > 100_000 {
			t.Fatalf("the bomb has %d bytes", len(z))
		}
		do(t, a, "POST /parcels", z, jsonBody, "Content-Encoding: "+how).fails(t, 413, webv4.CodeTooLong, "more than 100000 bytes")
		do(t, a, "POST /parcels", coded(t, how, text)[:15], jsonBody, "Content-Encoding: "+how).fails(t, 400, webv4.CodeParameter, "")
		do(t, a, "POST /parcels", text, jsonBody, "Content-Encoding: "+how).fails(t, 400, webv4.CodeParameter, "")
		do(t, a, "POST /parcels", coded(t, how, text)+"rest", jsonBody, "Content-Encoding: "+how).fails(t, 400, webv4.CodeParameter, "")
	}
	do(t, a, "POST /parcels", text, jsonBody, "Content-Encoding: identity").is(t, 200, strings.TrimSpace(want.body))
	for _, how := range []string{"br", "gzip, gzip"} {
		r := do(t, a, "POST /parcels", text, jsonBody, "Content-Encoding: "+how)
		r.fails(t, 415, webv4.CodeMediaType, "Content-Encoding ("+how+")")
		if r.header.Get("Accept-Encoding") != "gzip, zstd" {
			t.Errorf("headers %v", r.header)
		}
	}
}

func TestZstdReplies(t *testing.T) {
	a := newAPI(t, &webv4.Options{CompressFrom: 100})
	webv4.Handle(a, func(context.Context, *give) (*timeline, error) { return tweets(), nil })
	want := do(t, a, "GET /give.json", "").body
	for accept, coding := range map[string]string{
		"gzip, deflate, br, zstd": "zstd", "zstd;q=0.5, gzip": "gzip", "zstd;q=0, gzip": "gzip", "*": "gzip", "ZSTD": "zstd",
		"*;q=0": "", "gzip;q=0, *": "zstd", "*, gzip;q=0": "zstd", "zstd;q=0, *": "gzip", "gzip;q=0, zstd;q=0, *": "", "*;q=0, gzip": "gzip",
		"identity, gzip;q=0.5": "", "identity;q=0.5, gzip": "gzip", "identity, gzip, *": "gzip", "identity;q=0": "", "*;q=0.5, gzip;q=0.1": "zstd",
		"gzip;q=0, x-gzip;q=0": "", "x-gzip": "gzip", "gzip, *": "gzip", "zstd;q=0.001": "zstd", "zstd;q=0.0001": "", "br": "", "zstd;q=0": "",
	} {
		r := do(t, a, "GET /give.json", "", "Accept-Encoding: "+accept)
		if r.header.Get("Content-Encoding") != coding {
			t.Errorf("%s: %v", accept, r.header)
		}
		if coding != "zstd" {
			continue
		}
		d, err := zstd.NewReader(strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(d)
		d.Close()
		if err != nil || string(got) != want {
			t.Errorf("%d bytes: %v", len(got), err)
		}
	}
}

// FuzzBodyFormats checks that any bytes are answered, in any format, and that
// what is taken comes out of the format again as what it was.
func FuzzBodyFormats(f *testing.F) {
	a := parcels(f, nil)
	for _, s := range []string{"<p><id>1</id><tags><t>x</t></tags></p>", "\x82\xa2id\x01\xa4tags\x91\xa1x", "\xd7\xff\x00\x00\x00\x00\x00\x00\x00\x00", "<p>&lt;</p>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, kind := range []string{"application/xml", "application/msgpack"} {
			r := do(t, a, "POST /parcels", body, "Content-Type: "+kind, "Accept: "+kind)
			switch r.status {
			case 400:
			case 200:
				again := do(t, a, "POST /parcels", r.body, "Content-Type: "+kind, "Accept: "+kind)
				if again.status != 200 || again.body != r.body {
					t.Errorf("%s: %q came back as %q", kind, r.body, again.body)
				}
			default:
				t.Errorf("%s: status %d", kind, r.status)
			}
		}
	})
}
