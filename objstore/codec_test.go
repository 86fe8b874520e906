package objstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/heddle-go/heddle/objstore"
)

// codecOf is JSON under another number.
type codecOf uint8

func (c codecOf) Number() uint8                          { return uint8(c) }
func (codecOf) Append(dst []byte, v any) ([]byte, error) { return objstore.JSON{}.Append(dst, v) }
func (codecOf) Decode(data []byte, v any) error          { return objstore.JSON{}.Decode(data, v) }

// oldMessage is a message as github.com/golang/protobuf generated them before
// its version 1.4.
type oldMessage struct {
	Name *string `protobuf:"bytes,1,opt,name=name"`
	Size *int64  `protobuf:"varint,2,opt,name=size"`
}

func (m *oldMessage) Reset()         { *m = oldMessage{} }
func (m *oldMessage) String() string { return fmt.Sprintf("name:%q size:%d", *m.Name, *m.Size) }
func (*oldMessage) ProtoMessage()    {}

// vtMessage has the methods of vtprotobuf, and is a message in no other way.
type vtMessage struct{ text string }

func (m *vtMessage) SizeVT() int { return len(m.text) }
func (m *vtMessage) MarshalToSizedBufferVT(dst []byte) (int, error) {
	if m.text == "fails" {
		return 0, errors.New("failed on demand")
	}
	return copy(dst[len(dst)-len(m.text):], m.text), nil
}
func (m *vtMessage) UnmarshalVT(data []byte) error {
	m.text += string(data) // generated code merges too
	return nil
}

// roundTrip stores a value and reads it back.
func roundTrip[T any](t *testing.T, lib *objstore.Library, typ objstore.Type[T], value T) T {
	t.Helper()
	c := collection(t, lib, typ)
	obj := &objstore.Object[T]{Value: value}
	if err := c.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	got, err := c.Get(ctx, obj.ID)
	if err != nil {
		t.Fatal(err)
	}
	return got.Value
}

func TestCodecs(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{})
	type value struct {
		A int               `json:"a"`
		B []string          `json:"b,omitempty"`
		C map[string]uint64 `json:"c"`
		D *value            `json:"d"`
	}
	v := value{A: -5, B: []string{"x", ""}, C: map[string]uint64{"y": 1 << 63}, D: &value{A: 1, C: map[string]uint64{}}}
	for i, codec := range []objstore.Codec{nil, objstore.JSON{}, objstore.Msgpack{}, codecOf(64)} {
		typ := objstore.Type[value]{Number: uint32(10 + i), Name: fmt.Sprint("v", i), Codec: codec}
		if got := roundTrip(t, lib, typ, v); !reflect.DeepEqual(got, v) {
			t.Errorf("%T: %+v", codec, got)
		}
		ptype := objstore.Type[*value]{Number: uint32(20 + i), Name: fmt.Sprint("p", i), Codec: codec}
		if got := roundTrip(t, lib, ptype, &v); !reflect.DeepEqual(*got, v) {
			t.Errorf("%T of a pointer: %+v", codec, got)
		}
	}
	raw := objstore.Type[[]byte]{Number: 30, Name: "raw"}
	for _, b := range [][]byte{[]byte("\x00bytes\xff"), nil} {
		if got := roundTrip(t, lib, raw, b); !bytes.Equal(got, b) {
			t.Errorf("%q", got)
		}
	}
	if got := roundTrip(t, lib, objstore.Type[*wrapperspb.StringValue]{Number: 31, Name: "proto"}, wrapperspb.String("now")); !proto.Equal(got, wrapperspb.String("now")) {
		t.Error(got)
	}
	name, size := "old", int64(-7)
	if got := roundTrip(t, lib, objstore.Type[*oldMessage]{Number: 32, Name: "old"}, &oldMessage{&name, &size}); *got.Name != name || *got.Size != size {
		t.Error(got)
	}
	if got := roundTrip(t, lib, objstore.Type[oldMessage]{Number: 32, Name: "old"}, oldMessage{&name, &size}); *got.Name != name || *got.Size != size {
		t.Error(got)
	}
	vt := objstore.Type[vtMessage]{Number: 33, Name: "vt", Codec: objstore.Protobuf{}}
	if got := roundTrip(t, lib, vt, vtMessage{"fast"}); got.text != "fast" {
		t.Error(got)
	}
	err := collection(t, lib, vt).Create(ctx, &objstore.Object[vtMessage]{Value: vtMessage{"fails"}})
	fails(t, "a value that cannot be encoded", err, objstore.ErrInvalid)
	err = collection(t, lib, objstore.Type[*oldMessage]{Number: 32, Name: "old"}).Create(ctx, &objstore.Object[*oldMessage]{})
	fails(t, "a nil message", err, objstore.ErrInvalid)
	for _, codec := range []objstore.Codec{objstore.Protobuf{}, objstore.Raw{}} {
		c := collection(t, lib, objstore.Type[value]{Number: 34, Name: "wrong", Codec: codec})
		fails(t, "a value that is none of the codec", c.Create(ctx, &objstore.Object[value]{}), objstore.ErrInvalid)
	}
}

// A type's codec and schema change, and what is stored stays readable.
func TestCodecAndSchemaChange(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{})
	type v1 struct{ Name string }
	type v2 struct{ First, Last string }
	old := collection(t, lib, objstore.Type[v1]{Number: 7, Name: "person", Codec: objstore.Msgpack{}})
	obj := &objstore.Object[v1]{Value: v1{"Ada Lovelace"}}
	if err := old.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	now := collection(t, lib, objstore.Type[v2]{
		Number: 7, Name: "person", Schema: 1,
		Upgrade: func(schema uint32, codec objstore.Codec, data []byte, v *v2) error {
			var was v1
			if err := codec.Decode(data, &was); err != nil {
				return err
			}
			v.First, v.Last, _ = strings.Cut(was.Name, " ")
			return nil
		},
	})
	got, err := now.Get(ctx, obj.ID)
	if err != nil || got.Value != (v2{"Ada", "Lovelace"}) {
		t.Fatal(got, err)
	}
	got.Value.First = "Augusta"
	if err := now.Update(ctx, got); err != nil {
		t.Fatal(err)
	}
	if got, err = now.Get(ctx, obj.ID); err != nil || got.Value.First != "Augusta" {
		t.Fatal(got, err)
	}
	if _, err := old.Get(ctx, obj.ID); err == nil || !strings.Contains(err.Error(), "value of schema 1, this program knows up to 0") {
		t.Error(err)
	}
	other := collection(t, lib, objstore.Type[v1]{Number: 8, Name: "other", Codec: codecOf(200)})
	o := &objstore.Object[v1]{}
	if err := other.Create(ctx, o); err != nil {
		t.Fatal(err)
	}
	_, err = collection(t, lib, objstore.Type[v1]{Number: 8, Name: "other"}).Get(ctx, o.ID)
	fails(t, "a codec that is not known any more", err, objstore.ErrCorrupt)
	if _, err = collection(t, lib, objstore.Type[v1]{Number: 8, Name: "other", OtherCodecs: []objstore.Codec{codecOf(200)}}).Get(ctx, o.ID); err != nil {
		t.Error(err)
	}
}

func TestDecodersAreStrict(t *testing.T) {
	var v struct{ A int }
	b, err := objstore.Msgpack{}.Append(nil, &v)
	if err != nil {
		t.Fatal(err)
	}
	if err := (objstore.Msgpack{}).Decode(append(b, 0), &v); err == nil || err.Error() != "1 bytes after the value" {
		t.Error(err)
	}
	var twice struct{ A any }
	if err := (objstore.Msgpack{}).Decode([]byte("\x82\xa1A0\xa1A0"), &twice); err == nil {
		t.Error("Msgpack took a field twice")
	}
	if err := (objstore.JSON{}).Decode([]byte(`{} {}`), &v); err == nil {
		t.Error("JSON took a second value")
	}
	if b, err := (objstore.Raw{}).Append([]byte("x"), &[]byte{1}); err != nil || string(b) != "x\x01" {
		t.Error(b, err)
	}
}

func TestMetaJSON(t *testing.T) {
	meta := fullMeta()
	meta.State = objstore.Deleted
	meta.ID = objstore.ID{Type: 1, Number: 2}
	meta.Contents = []objstore.ContentInfo{{Name: "x", Type: "text/plain", Size: 1, SHA256: objstore.SHA256{1}, CRC32C: 5}}
	b, err := json.Marshal(&meta)
	if err != nil {
		t.Fatal(err)
	}
	var back objstore.Meta
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, meta) {
		t.Errorf("%s: %+v %v", b, back, err)
	}
	for in, want := range map[string]string{
		`{"state":"gone"}`:               `unknown state "gone"`,
		`{"id":"1:x"}`:                   "bad object id",
		`{"contents":[{"sha256":"ff"}]}`: "a SHA-256 sum of 2 digits",
		`{"contents":[{"sha256":"` + strings.Repeat("g", 64) + `"}]}`: "invalid byte",
	} {
		if err := json.Unmarshal([]byte(in), &back); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", in, err)
		}
	}
	if s := objstore.State(9).String(); s != "state 9" {
		t.Error(s)
	}
}

// A value that contains itself is an error, and not the end of the process.
func TestMsgpackOfCycles(t *testing.T) {
	list := []any{nil}
	list[0] = list
	type node struct{ Next *node }
	ring := &node{}
	ring.Next = ring
	for _, v := range []any{&list, ring} {
		if b, err := (objstore.Msgpack{}).Append([]byte("before"), v); err == nil || string(b) != "before" {
			t.Errorf("%T: %.20q, %v", v, b, err)
		}
	}
}
