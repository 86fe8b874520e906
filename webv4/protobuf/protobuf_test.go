package protobuf_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/typepb"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/protobuf"
)

type show struct {
	_ struct{} `route:"GET /field.json" etag:"true" degrade:"field=static"`
}

type save struct {
	_    struct{}     `route:"POST /field"`
	Body typepb.Field `body:"" required:"true"`
}

type plain struct {
	_ struct{} `route:"GET /plain"`
}

type point struct {
	X int `json:"x"`
}

func newAPI(t *testing.T) *webv4.API {
	t.Helper()
	api, err := webv4.New(&webv4.Options{Codecs: protobuf.Codecs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	webv4.Handle(api, func(context.Context, *show) (*typepb.Field, error) { return field(), nil })
	webv4.SetStatic[show](api, &typepb.Field{Name: "static"})
	webv4.Handle(api, func(_ context.Context, in *save) (*typepb.Field, error) { return &in.Body, nil })
	webv4.Handle(api, func(context.Context, *plain) (*point, error) { return &point{7}, nil })
	return api
}

func field() *typepb.Field {
	return &typepb.Field{Kind: typepb.Field_TYPE_INT64, Number: 7, Name: "id", Packed: true}
}

const fieldJSON = `{"kind":"TYPE_INT64","cardinality":"CARDINALITY_UNKNOWN","number":7,"name":"id","type_url":"","oneof_index":0,"packed":true,"options":[],"json_name":"","default_value":""}`

func do(api *webv4.API, method, path, accept, kind string, body []byte) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	w := httptest.NewRecorder()
	api.ServeHTTP(w, r)
	return w
}

func TestReplies(t *testing.T) {
	api := newAPI(t)
	isWire := func(w *httptest.ResponseRecorder, want proto.Message) {
		t.Helper()
		got := &typepb.Field{}
		if err := proto.Unmarshal(w.Body.Bytes(), got); err != nil || w.Code != 200 || !proto.Equal(got, want) || w.Header().Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%d %v %q: %v", w.Code, w.Header(), w.Body, err)
		}
	}
	isWire(do(api, "GET", "/field.pb", "", "", nil), field())
	for _, accept := range []string{"application/x-protobuf", "application/protobuf, application/json;q=0.5", "text/html, application/vnd.google.protobuf"} {
		body, _ := proto.Marshal(field())
		isWire(do(api, "POST", "/field", accept, "application/x-protobuf", body), field())
	}
	if w := do(api, "GET", "/field.json", "", "", nil); strings.TrimSpace(w.Body.String()) != fieldJSON || w.Header().Get("Etag") == "" {
		t.Errorf("%s %v", w.Body, w.Header())
	}
	if w := do(api, "GET", "/field.xml", "", "", nil); !strings.Contains(w.Body.String(), "<kind>TYPE_INT64</kind>") || !strings.Contains(w.Body.String(), "<number>7</number>") {
		t.Error(w.Body)
	}
	var back map[string]any
	if err := msgpack.Unmarshal(do(api, "GET", "/field.msgpack", "", "", nil).Body.Bytes(), &back); err != nil || back["name"] != "id" || back["packed"] != true {
		t.Errorf("%v %v", back, err)
	}
	// A type that is no message has none of that.
	if w := do(api, "GET", "/plain", "application/x-protobuf", "", nil); w.Body.String() != "{\"x\":7}\n" {
		t.Error(w.Body)
	}
	if err := api.Degrade("field", webv4.Degradation{Level: webv4.Static}); err != nil {
		t.Fatal(err)
	}
	isWire(do(api, "GET", "/field.pb", "", "", nil), &typepb.Field{Name: "static"})
	// Errors are JSON.
	if w := do(api, "GET", "/none.pb", "", "", nil); w.Code != 404 || !strings.HasPrefix(w.Body.String(), "{") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestBodies(t *testing.T) {
	api := newAPI(t)
	body, _ := proto.Marshal(field())
	for kind, body := range map[string]string{
		"application/protobuf": string(body), "application/x-protobuf": string(body),
		"application/json": `{"kind":"TYPE_INT64","number":7,"name":"id","packed":true,"unknown":1}`,
	} {
		if w := do(api, "POST", "/field", "", kind, []byte(body)); w.Code != 200 || strings.TrimSpace(w.Body.String()) != fieldJSON {
			t.Errorf("%s: %d %s", kind, w.Code, w.Body)
		}
	}
	for kind, body := range map[string]string{"application/x-protobuf": "\xff\xff", "application/json": `{"number":"x"}`} {
		if w := do(api, "POST", "/field", "", kind, []byte(body)); w.Code != 400 || !strings.Contains(w.Body.String(), `"error_code":10008`) || !strings.Contains(w.Body.String(), "the body is not "+kind) {
			t.Errorf("%s: %d %s", kind, w.Code, w.Body)
		}
	}
	if w := do(api, "POST", "/field", "", "application/xml", []byte("<x/>")); w.Code != 415 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := do(api, "POST", "/field", "", "application/x-protobuf", nil); w.Code != 400 {
		t.Errorf("an empty body: %d %s", w.Code, w.Body)
	}
}
