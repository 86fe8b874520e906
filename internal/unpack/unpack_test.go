package unpack_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/heddle-go/heddle/internal/unpack"
)

type target struct {
	A any
	B string
	C []target
	D map[string]any
	E *target
}

func TestValue(t *testing.T) {
	b := []byte("\x82\xa1A\x05\xa1B\xa1xmore")
	var v target
	n, err := unpack.Value(b, &v, "", 64)
	if want := (target{A: int8(5), B: "x"}); n != len(b)-4 || err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%d bytes, %+v, %v", n, v, err)
	}
	var tagged struct {
		X int `json:"A"`
	}
	if _, err := unpack.Value(b, &tagged, "json", 64); err != nil || tagged.X != 5 {
		t.Error(tagged, err)
	}
	nested := bytes.Repeat([]byte{0x91}, 100)
	nested[99] = 0xc0
	var a any
	if n, err := unpack.Value(nested, &a, "", 99); n != 100 || err != nil {
		t.Error(n, err)
	}
}

// A timestamp is read as one, also where its bytes could begin a map.
func TestTimestamp(t *testing.T) {
	for _, at := range []time.Time{
		time.Unix(1, 0), time.Unix(0x8a000000, 0), time.Unix(0xdf00_0000, 0), time.Unix(0xde_ad_be_ef, 0), time.Unix(1<<33, 935_000_000),
		time.Unix(1<<33, 550_000_000), time.Unix(1_800_000_000, 805_306_368), time.Unix(1<<40, 5), time.Unix(-5, 1),
	} {
		b, err := msgpack.Marshal(map[string]any{"A": at, "B": "x"})
		if err != nil {
			t.Fatal(err)
		}
		var typed struct {
			A time.Time
			B string
		}
		if n, err := unpack.Value(b, &typed, "", 64); n != len(b) || err != nil || !typed.A.Equal(at) || typed.B != "x" {
			t.Errorf("%v: %d bytes, %+v, %v", at, n, typed, err)
		}
		var v any
		if _, err := unpack.Value(b, &v, "", 64); err != nil || !v.(map[string]any)["A"].(time.Time).Equal(at) {
			t.Errorf("%v: %v, %v", at, v, err)
		}
		var m struct{ A map[string]any }
		if _, err := unpack.Value(b, &m, "", 64); err == nil {
			t.Errorf("%v was taken for the map %v", at, m.A)
		}
	}
	// The longer heads that nobody writes.
	for _, in := range []string{"\xc7\x04\xff\x80\x00\x00\x00", "\xc8\x00\x04\xff\x80\x00\x00\x00", "\xc9\x00\x00\x00\x04\xff\x80\x00\x00\x00", "\xd6\x0d\x80\x00\x00\x00"} {
		var at time.Time
		if n, err := unpack.Value([]byte(in+"more"), &at, "", 64); n != len(in) || err != nil || at.Unix() != 1<<31 {
			t.Errorf("%q: %d bytes, %v, %v", in, n, at, err)
		}
	}
}

func TestHostile(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "value ends early at byte 0"},
		{"\xc1", "unknown type at byte 1"},
		{"\xdf\xff\xff\xff\xff", "length beyond the end at byte 5"},
		{"\xdd\x7f\xff\xff\xff\x00", "length beyond the end at byte 5"},
		{"\xa5abc", "length beyond the end at byte 1"},
		{strings.Repeat("\x91", 1e6), "nested deeper than 64 at byte 65"},
		{"\x82\xa1A0\xa1A0", "unaddressable"},
		{"\xc7\x05\x07\xdf\xff\xff\xff\xff", "extension of type 7 and 5 bytes, which is no timestamp, at byte 2"},
		{"\xd6\x07abcd", "extension of type 7 and 4 bytes"},
		{"\xd8\xff0123456789abcdef", "extension of type -1 and 16 bytes"},
		{"\xd7\xff\xff\xff\xff\xff\xff\xff\xff\xff", "timestamp with 1073741823 nanoseconds"},
		{"\x93\x93\x93\x00\x00\x00\x00", "length beyond the end at byte 3"}, // seven are announced, four are there
	} {
		var v target
		n, err := unpack.Value([]byte(c.in), &v, "", 64)
		if n != 0 || err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.10q: %d, %v; want %q", c.in, n, err, c.want)
		}
	}
}

func FuzzValue(f *testing.F) {
	f.Add([]byte("\x82\xa1A0\xa1A0"))
	f.Add([]byte("\x85\xa1A\x91\xc0\xa1B\xa1x\xa1C\x91\x80\xa1D\x81\xa1k\xcb\x00\x00\x00\x00\x00\x00\x00\x00\xa1E\xc0"))
	f.Add(bytes.Repeat([]byte{0x91}, 1000))
	f.Add([]byte("\xd7\xff\xde\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = unpack.Check(b, 64)
		for _, v := range []any{new(any), new(target), new(map[any]any), new([]string), new(time.Time)} {
			if n, err := unpack.Value(b, v, "", 64); n > len(b) || err == nil && n == 0 {
				t.Fatalf("%d of %d bytes", n, len(b))
			}
		}
	})
}
