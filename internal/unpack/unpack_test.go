package unpack_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

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

func TestHostile(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", "value ends early at byte 0"},
		{"\xc1", "unknown type at byte 1"},
		{"\xdf\xff\xff\xff\xff", "length beyond the end at byte 5"},
		{"\xdd\x7f\xff\xff\xff\x00", "length beyond the end at byte 5"},
		{"\xa5abc", "length beyond the end at byte 1"},
		{strings.Repeat("\x91", 1e6), "nested deeper than 64 at byte 65"},
		{"\x82\xa1A0\xa1A0", "unaddressable"},
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
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []any{new(any), new(target), new(map[any]any), new([]string)} {
			if n, err := unpack.Value(b, v, "", 64); n > len(b) || err == nil && n == 0 {
				t.Fatalf("%d of %d bytes", n, len(b))
			}
		}
	})
}
