package motan

import (
	"bytes"
	"compress/gzip"
	"errors"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/timestamppb"
)

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type inner struct {
	N    int    `motan:"n"`
	Text string `motan:"text"`
}

type everything struct {
	Bool    bool
	I8      int8
	I16     int16
	I32     int32
	I64     int64
	Int     int
	U8      uint8
	U16     uint16
	U32     uint32
	U64     uint64
	F32     float32
	F64     float64
	Str     string `motan:"renamed"`
	Bytes   []byte
	Strs    []string
	Ints    []int64
	Structs []inner
	Map     map[string]string
	MapAny  map[string]any
	MapInt  map[int32]inner
	Ptr     *inner
	Nil     *inner
	Any     any
	Hidden  string `motan:"-"`
	private int
}

func full() *everything {
	return &everything{
		true, -8, -16, -32, -1 << 40, -1 << 30, 200, 60000, 4e9, 1 << 62, 1.5, -2.25, "héllo", []byte{1, 0, 255},
		[]string{"a", ""}, []int64{1, -1}, []inner{{1, "x"}, {2, "y"}}, map[string]string{"k": "v"},
		map[string]any{"list": []any{int64(1), "two", nil, true}}, map[int32]inner{7: {7, "seven"}}, &inner{9, "ptr"}, nil, "any", "", 0,
	}
}

func TestSimpleStruct(t *testing.T) {
	want := full()
	b, err := (Simple{}).Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var got everything
	if err := (Simple{}).Decode(b, &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got  %+v\nwant %+v", got, *want)
	}
	// The struct is a map to those who do not know it.
	var m map[string]any
	if err := (Simple{}).Decode(b, &m); err != nil || m["renamed"] != "héllo" || m["Hidden"] != nil {
		t.Errorf("as a map: %v, %v", m, err)
	}
	// Unknown names are passed over, missing ones keep their zero.
	var few struct {
		F64     float64
		Missing string
	}
	if err := (Simple{}).Decode(b, &few); err != nil || few.F64 != -2.25 || few.Missing != "" {
		t.Errorf("a part of it: %+v, %v", few, err)
	}
	// Every cut is refused.
	for n := 1; n < len(b); n++ {
		if err := (Simple{}).Decode(b[:n], new(everything)); !errors.Is(err, ErrSerialization) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestSimpleStringMapIntoStruct(t *testing.T) {
	b, err := (Simple{}).Append(nil, map[string]string{"text": "x", "other": "y"})
	if err != nil {
		t.Fatal(err)
	}
	var got inner
	if err := (Simple{}).Decode(b, &got); err != nil || got.Text != "x" {
		t.Errorf("%+v, %v", got, err)
	}
}

type linked struct {
	Next *linked
	V    int64
}

// Java writes any list and any map of strings alone as such, whatever its type says.
func TestSimpleStringsIntoOthers(t *testing.T) {
	b, err := (Simple{}).Append(nil, []string{"x", ""})
	if err != nil {
		t.Fatal(err)
	}
	var list []any
	if err := (Simple{}).Decode(b, &list); err != nil || !reflect.DeepEqual(list, []any{"x", ""}) {
		t.Errorf("%#v, %v", list, err)
	}
	type name string
	var names []name
	if err := (Simple{}).Decode(b, &names); err != nil || !reflect.DeepEqual(names, []name{"x", ""}) {
		t.Errorf("%#v, %v", names, err)
	}
	var ptrs []*string
	if err := (Simple{}).Decode(b, &ptrs); err != nil || len(ptrs) != 2 || *ptrs[0] != "x" || *ptrs[1] != "" {
		t.Errorf("%#v, %v", ptrs, err)
	}
	var ints []int64
	if err := (Simple{}).Decode(b, &ints); !errors.Is(err, ErrSerialization) {
		t.Errorf("numbers: %v, %v", ints, err)
	}
	if b, err = (Simple{}).Append(nil, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	var m map[any]*string
	if err := (Simple{}).Decode(b, &m); err != nil || len(m) != 1 || *m["k"] != "v" {
		t.Errorf("%#v, %v", m, err)
	}
}

func TestSimpleDepth(t *testing.T) {
	var deep any = "x"
	for range 200 {
		deep = []any{deep}
	}
	if _, err := (Simple{}).Append(nil, deep); !errors.Is(err, ErrSerialization) {
		t.Errorf("writing 200 levels: %v", err)
	}
	loop := &linked{V: 1}
	loop.Next = loop
	if _, err := (Simple{}).Append(nil, loop); !errors.Is(err, ErrSerialization) {
		t.Errorf("writing a cycle: %v", err)
	}
	short := &linked{V: 1, Next: &linked{V: 2}}
	b, err := (Simple{}).Append(nil, short)
	if err != nil {
		t.Fatal(err)
	}
	var got linked
	if err := (Simple{}).Decode(b, &got); err != nil || got.Next == nil || got.Next.V != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	bomb := []byte{tagNull}
	for range 200 {
		n := len(bomb)
		bomb = append([]byte{tagArray, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, bomb...)
	}
	var v any
	if err := (Simple{}).Decode(bomb, &v); !errors.Is(err, ErrSerialization) {
		t.Errorf("reading 200 levels: %v", err)
	}
}

func TestSimpleRefusals(t *testing.T) {
	for _, tc := range []struct {
		name string
		v    any
		want string
	}{
		{"a channel", make(chan int), "not supported"},
		{"a function in a struct", struct{ F func() }{}, "not supported"},
		{"two fields of one name", struct {
			A int `motan:"x"`
			B int `motan:"x"`
		}{}, "two fields"},
		{"more than 63 bits", uint64(1 << 63), "63 bits"},
	} {
		if _, err := (Simple{}).Append(nil, tc.v); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	big, _ := (Simple{}).Append(nil, ptr(int64(70000)))
	if err := (Simple{}).Decode(big, new(int16)); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("70000 into an int16: %v", err)
	}
	neg, _ := (Simple{}).Append(nil, ptr(int64(-1)))
	if err := (Simple{}).Decode(neg, new(uint64)); err == nil || !strings.Contains(err.Error(), "does not fit") {
		t.Errorf("-1 into a uint64: %v", err)
	}
	if err := (Simple{}).Decode(big, nil); !errors.Is(err, ErrSerialization) {
		t.Errorf("into nil: %v", err)
	}
}

func TestProtobufMessages(t *testing.T) {
	want := timestamppb.Timestamp{Seconds: 1388505600, Nanos: 7}
	b, err := (Protobuf{}).Append(nil, &want)
	if err != nil {
		t.Fatal(err)
	}
	var got timestamppb.Timestamp
	if err := (Protobuf{}).Decode(b, &got); err != nil || got.Seconds != want.Seconds || got.Nanos != want.Nanos {
		t.Errorf("%v, %v", &got, err)
	}
	var none *timestamppb.Timestamp
	if b, err := (Protobuf{}).Append(nil, none); err != nil || len(b) != 1 || b[0] != 1 {
		t.Errorf("a nil message: %x, %v", b, err)
	}
	for n := 1; n < len(b); n++ {
		if err := (Protobuf{}).Decode(b[:n], new(timestamppb.Timestamp)); !errors.Is(err, ErrSerialization) {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
	if _, err := (Protobuf{}).Append(nil, struct{}{}); !errors.Is(err, ErrSerialization) {
		t.Errorf("a plain struct: %v", err)
	}
}

func TestMsgpackBombs(t *testing.T) {
	var v any
	for name, b := range map[string][]byte{
		"deep":             bytes.Repeat([]byte{0x91}, 1<<20),
		"deep maps":        bytes.Repeat([]byte{0x81, 0xa0}, 1<<20),
		"long array":       {0xdd, 0xff, 0xff, 0xff, 0xff},
		"long map":         {0xdf, 0x7f, 0xff, 0xff, 0xff},
		"long string":      {0xdb, 0xff, 0xff, 0xff, 0xff, 'x'},
		"reserved":         {0xc1},
		"cut":              {0xcd, 1},
		"nothing in array": {0x92, 1},
	} {
		if err := (Msgpack{}).Decode(b, &v); !errors.Is(err, ErrSerialization) {
			t.Errorf("%s: %v", name, err)
		}
	}
	want := map[string]any{"a": []any{int8(1), "x", nil, 2.5, true, []byte{1, 2}}}
	b, err := (Msgpack{}).Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := (Msgpack{}).Decode(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v became %v, %v", want, got, err)
	}
}
