package webv4_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/heddle-go/heddle/webv4"
)

type plainShow struct {
	_ struct{} `route:"GET /show"`
}

func TestNegotiation(t *testing.T) {
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *plainShow) (*in2, error) { return &in2{"x"}, nil })
	webv4.Handle(a, func(context.Context, *give) (*in2, error) { return &in2{"x"}, nil })
	const j, x, m = "application/json; charset=utf-8", "application/xml; charset=utf-8", "application/msgpack"
	for accept, want := range map[string]string{
		"": j, "*/*": j, "application/json": j, "text/xml": x, "Application/XML": x, "application/msgpack": m, "application/vnd.msgpack": m,
		"application/xml;q=0.9, application/json": j, "application/xml;q=0.9, application/json;q=0.8": x, "text/html, application/xml;q=0.9, */*;q=0.8": x,
		"application/xml;q=0": j, "application/xml;q=2": j, "application/xml;q=x": j, "application/xml;v=1;q=0.5, application/json;q=0.4": x,
		"application/json;q=0, */*": x, "*/*, application/json;q=0": x, "application/json;q=0, application/*;q=0.5": x, "application/json;q=0": j,
		"*/*, application/json;q=0, application/xml;q=0": m, "*/*;q=0, text/xml;q=0.1": x, "application/*;q=0, */*": j, "*/*;q=0": j,
		"*/*, application/json;q=0.1": x, "application/xml;q=0.9, */*": j, "*/*;q=0.8, application/msgpack;q=0.9": m, "application/xml, */*": x, "*/*, application/xml": j,
		"image/png": j, ",,;;": j, strings.Repeat("image/png,", 100) + "application/xml": j,
	} {
		r := do(t, a, "GET /show", "", "Accept: "+accept)
		if got := r.header.Get("Content-Type"); got != want {
			t.Errorf("%.50s: %s, want %s", accept, got, want)
		}
		if r.header.Get("Vary") != "Accept" {
			t.Errorf("Vary %q", r.header["Vary"])
		}
	}
	// A suffix decides alone.
	if r := do(t, a, "GET /give.json", "", "Accept: text/xml"); r.header.Get("Content-Type") != j || r.header.Get("Vary") != "" {
		t.Errorf("%v", r.header)
	}
}

// MessagePack means the same as JSON.
func TestMsgpack(t *testing.T) {
	var reply all
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *plainShow) (*all, error) { return &reply, nil })
	for _, reply = range samples() {
		reply.Bytes, reply.F32 = nil, 0 // bin and float32 come back as what JSON does not have
		text := do(t, a, "GET /show", "").body
		packed := do(t, a, "GET /show", "", "Accept: application/msgpack").body
		var want, got any
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		if err := msgpack.Unmarshal([]byte(packed), &got); err != nil {
			t.Fatalf("%v: %x", err, packed)
		}
		if got = floats(got); !reflect.DeepEqual(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	reply.Bytes, reply.F32 = []byte("hi"), 0.5
	var back struct {
		Bytes []byte  `msgpack:"bytes"`
		F32   float32 `msgpack:"f32"`
	}
	if err := msgpack.Unmarshal([]byte(do(t, a, "GET /show", "", "Accept: application/msgpack").body), &back); err != nil || string(back.Bytes) != "hi" || back.F32 != 0.5 {
		t.Errorf("%+v %v", back, err)
	}
}

// floats turns all numbers into float64, as encoding/json has them, and what is
// no UTF-8 into what JSON makes of it.
func floats(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = floats(x)
		}
		return v
	case []any:
		for i, x := range v {
			v[i] = floats(x)
		}
		return v
	case string:
		return strings.ToValidUTF8(v, "\ufffd")
	}
	if rv := reflect.ValueOf(v); rv.CanInt() {
		return float64(rv.Int())
	} else if rv.CanUint() {
		return float64(rv.Uint())
	} else if rv.CanFloat() {
		return rv.Float()
	}
	return v
}

func TestMsgpackSizes(t *testing.T) {
	type out struct {
		S string         `msgpack:"s" json:"s"`
		L []int64        `msgpack:"l" json:"l"`
		M map[string]any `msgpack:"m" json:"m"`
		U []uint64       `msgpack:"u" json:"u"`
		B []byte         `msgpack:"b" json:"b"`
	}
	var reply out
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *plainShow) (*out, error) { return &reply, nil })
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		reply = out{S: strings.Repeat("x", n), L: make([]int64, n), M: map[string]any{}, B: make([]byte, n), U: []uint64{}}
		for i := range min(n, 300) {
			reply.M[strings.Repeat("k", i)] = int64(i)
		}
		for bit := range 64 {
			reply.U = append(reply.U, 1<<bit, 1<<bit-1)
			reply.L = append(reply.L, 1<<bit, -1<<bit, -1<<bit-1, 1<<bit-1)
		}
		var back out
		if err := msgpack.Unmarshal([]byte(do(t, a, "GET /show", "", "Accept: application/msgpack").body), &back); err != nil {
			t.Fatal(err)
		}
		for k, v := range back.M {
			back.M[k] = reflect.ValueOf(v).Convert(reflect.TypeFor[int64]()).Interface()
		}
		if !reflect.DeepEqual(back, reply) {
			t.Errorf("%d: not what it was", n)
		}
	}
	reply = out{M: map[string]any{"x": math.NaN()}} // a number that JSON does not have
	if r := do(t, a, "GET /show", "", "Accept: application/msgpack"); r.status != 200 {
		t.Errorf("%+v", r)
	}
}

func TestCompression(t *testing.T) {
	a := newAPI(t, &webv4.Options{CompressFrom: 100})
	type in struct {
		_ struct{} `route:"GET /z.json" etag:"true"`
		N int      `query:"n"`
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*in2, error) { return &in2{strings.Repeat("x", in.N)}, nil })
	for _, tc := range []struct {
		n      string
		accept string
		zipped bool
	}{
		{"10", "gzip", false}, {"1000", "gzip", true}, {"1000", "br, *", true}, {"1000", "deflate, GZIP;q=0.1", true},
		{"1000", "gzip;q=0", false}, {"1000", "", false}, {"1000", "br", false}, {"1000", strings.Repeat("x,", 100) + "gzip", false},
	} {
		r := do(t, a, "GET /z.json?n="+tc.n, "", "Accept-Encoding: "+tc.accept)
		if got := r.header.Get("Content-Encoding") == "gzip"; got != tc.zipped || r.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%.40q: zipped %v, %v", tc.accept, got, r.header)
		}
		body := r.body
		if tc.zipped {
			z, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		if want := do(t, a, "GET /z.json?n="+tc.n, "").body; body != want {
			t.Errorf("%.40q: not the reply", tc.accept)
		}
		if tag := r.header.Get("Etag"); !strings.HasPrefix(tag, `W/"`) {
			t.Errorf("Etag %s", tag)
		} else if r := do(t, a, "GET /z.json?n="+tc.n, "", "If-None-Match: "+tag); r.status != 304 {
			t.Errorf("%d for the same tag", r.status)
		}
	}
}

func TestConditionalRequests(t *testing.T) {
	a := newAPI(t, nil)
	version := "1"
	type get struct {
		_ struct{} `route:"GET /doc.json" etag:"true"`
	}
	type own struct {
		_ struct{} `route:"GET /own.json" etag:"true"`
	}
	type put struct {
		_ struct{} `route:"PUT /doc.json"`
	}
	webv4.Handle(a, func(context.Context, *get) (*in2, error) { return &in2{version}, nil })
	webv4.Handle(a, func(ctx context.Context, _ *own) (*in2, error) {
		webv4.Header(ctx).Set("Etag", `"v`+version+`"`)
		return &in2{version}, nil
	})
	webv4.Handle(a, func(ctx context.Context, _ *put) (*in2, error) {
		if err := webv4.CheckMatch(ctx, `"v`+version+`"`); err != nil {
			return nil, err
		}
		version += "1"
		webv4.SetStatus(ctx, 201)
		return &in2{version}, nil
	})
	r := do(t, a, "GET /doc.json", "")
	tag := r.header.Get("Etag")
	r.is(t, 200, `{"p":"1"}`)
	for header, status := range map[string]int{
		tag: 304, "*": 304, `"x", ` + tag: 304, "W/" + tag: 304, `"x"`: 200, "": 200, strings.Trim(tag, `"`): 200,
	} {
		r := do(t, a, "GET /doc.json", "", "If-None-Match: "+header)
		if r.status != status || (status == 304) != (r.body == "") || r.header.Get("Etag") != tag {
			t.Errorf("%s: %d %s", header, r.status, r.body)
		}
	}
	if r := do(t, a, "GET /doc.xml", "", "If-None-Match: "+tag); r.status != 200 {
		t.Errorf("the XML has the JSON's tag: %d", r.status)
	}
	if r := do(t, a, "GET /own.json", "", `If-None-Match: "v1"`); r.status != 304 {
		t.Errorf("a tag of the handler's: %d", r.status)
	}
	do(t, a, "PUT /doc.json", "", `If-Match: "v0"`).fails(t, 412, webv4.CodeIllegal, "precondition")
	do(t, a, "PUT /doc.json", "", `If-Match: W/"v1"`).fails(t, 412, webv4.CodeIllegal, "precondition")
	do(t, a, "PUT /doc.json", "", `If-Match: "v0", "v1"`).is(t, 201, `{"p":"11"}`)
	do(t, a, "PUT /doc.json", "").is(t, 201, `{"p":"111"}`)
	if r := do(t, a, "GET /doc.json", "", "If-None-Match: "+tag); r.status != 200 {
		t.Errorf("changed, but %d", r.status)
	}
	if r := do(t, a, "HEAD /doc.json", ""); r.header.Get("Etag") == "" || r.body != "" {
		t.Errorf("HEAD: %+v", r)
	}
	panics(t, func() { webv4.SetStatus(context.Background(), 404) })
	if webv4.CheckMatch(context.Background(), "") != nil || webv4.Request(context.Background()) != nil {
		t.Error("something outside a call")
	}
}

func TestStatusNoContent(t *testing.T) {
	a := newAPI(t, nil)
	webv4.Handle(a, func(ctx context.Context, _ *give) (*in2, error) {
		webv4.SetStatus(ctx, http.StatusNoContent)
		if webv4.Request(ctx).URL.Query().Get("fail") != "" {
			return nil, webv4.Errorf(webv4.CodeIllegal, "")
		}
		return nil, nil
	})
	do(t, a, "GET /give.json", "").is(t, 204, "")
	do(t, a, "GET /give.json?fail=1", "").fails(t, 400, webv4.CodeIllegal, "")
}
