package motan

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return b
}

// Every breeze body of the capture, read into its type and written again.
func TestGoldenBreezeBodies(t *testing.T) {
	type pair struct{ req, res func() any }
	same := func(f func() any) pair { return pair{f, f} }
	str := func() any { return new(string) }
	methods := map[string]pair{
		"hello": same(str), "join": {func() any { return new(joinArgs) }, str}, "helloMap": same(func() any { return new(map[string]string) }),
		"bytes": same(func() any { return new([]byte) }), "int64": same(func() any { return new(int64) }), "int32": same(func() any { return new(int32) }),
		"int16": same(func() any { return new(int16) }), "byte": same(func() any { return new(byte) }), "f32": same(func() any { return new(float32) }),
		"f64": same(func() any { return new(float64) }), "echoAny": same(func() any { return new(any) }),
	}
	n := 0
	for _, g := range goldenFrames(t) {
		f, err := readFrame(g.bytes)
		if err != nil || f.serialization != idBreeze {
			continue
		}
		m, known := methods[g.method]
		if !known {
			t.Errorf("%s: what is that?", g.title)
			continue
		}
		v := m.res()
		if g.request {
			v = m.req()
		}
		if err := (Breeze{}).Decode(f.body, v); err != nil {
			t.Errorf("%s: %v", g.title, err)
			continue
		}
		out, err := (Breeze{}).Append(nil, v)
		if g.method == "helloMap" || g.method == "echoAny" { // the order in a map is random
			again := reflect.New(reflect.TypeOf(v).Elem())
			if err := (Breeze{}).Decode(out, again.Interface()); err != nil || !reflect.DeepEqual(again.Interface(), v) || len(out) != len(f.body) {
				t.Errorf("%s: %x became %x, %v", g.title, f.body, out, err)
			}
		} else if err != nil || !bytes.Equal(out, f.body) {
			t.Errorf("%s: %x became %x, %v", g.title, f.body, out, err)
		}
		if j, ok := v.(*joinArgs); ok && !reflect.DeepEqual(*j, joined) {
			t.Errorf("%s: %+v", g.title, *j)
		}
		n++
	}
	if n < 20 {
		t.Errorf("only %d bodies compared", n)
	}
}

// Bytes by the type table of the specification.
func TestBreezeValues(t *testing.T) {
	long := strings.Repeat("x", 0x3f)
	for _, tc := range []struct {
		hex   string
		value any // a pointer to what the bytes mean
		other bool
	}{
		{"03526179", ptr("Ray"), false},
		{"00", ptr(""), false},
		{"3f3f" + hex.EncodeToString([]byte(long)), ptr(long), false},
		{"3e" + hex.EncodeToString([]byte(long[1:])), ptr(long[1:]), false},
		{"40", ptr(int32(-16)), false},
		{"50", ptr(int32(0)), false},
		{"7e", ptr(int32(46)), false},
		{"7f5e", ptr(int32(47)), false},
		{"7f21", ptr(int32(-17)), false},
		{"7fffffffff0f", ptr(int32(math.MinInt32)), false},
		{"7fffffffffffffffffff01", ptr(int32(math.MinInt32)), true}, // sign-extended
		{"80", ptr(int64(-8)), false},
		{"97", ptr(int64(15)), false},
		{"9820", ptr(int64(16)), false},
		{"98ffffffffffffffffff01", ptr(int64(math.MinInt64)), false},
		{"88", ptr(0), false},
		{"9a", ptr(true), false},
		{"9b", ptr(false), false},
		{"9cc8", ptr(byte(200)), false},
		{"9d00000002dead", &[]byte{0xde, 0xad}, false},
		{"9efffe", ptr(int16(-2)), false},
		{"9f3f000000", ptr(float32(0.5)), false},
		{"a0bfd0000000000000", ptr(-0.25), false},
		{"dc023f0178 02797a", &[]string{"x", "yz"}, false},
		{"dc00", &[]string{}, false},
		{"db00", &map[string]string{}, false},
		{"d900", &map[string]string{}, true},
		{"da00", &[]int32{}, true},
		{"db013f3f016b0176", &map[string]string{"k": "v"}, false},
		{"dc029a9a9b", &[]bool{true, false}, false},
		{"dc02dc 00 01 98 02", &[][]int64{{}, {1}}, false},
		{"da0250 0161", &[]any{int32(0), "a"}, false},
		{"99", ptr(""), true},
		// Conversions.
		{"7f5e", ptr(int64(47)), true},
		{"8f", ptr(int32(7)), true},
		{"9e0007", ptr(int64(7)), true},
		{"0137", ptr(int32(7)), true},
		{"57", ptr("7"), true},
		{"98 20", ptr("16"), true},
		{"a0bfd0000000000000", ptr("-0.25"), true},
		{"9f3f000000", ptr(0.5), true},
		{"03302e35", ptr(0.5), true},
		{"02dead", &[]byte{0xde, 0xad}, true},
		{"dc027f0204", &[]int64{1, 2}, true},
		{"dc027f0204", &[]any{int32(1), int32(2)}, true},
	} {
		b := unhex(t, tc.hex)
		got := reflect.New(reflect.TypeOf(tc.value).Elem())
		if err := (Breeze{}).Decode(b, got.Interface()); err != nil {
			t.Errorf("%s: %v", tc.hex, err)
			continue
		}
		if !reflect.DeepEqual(got.Interface(), tc.value) {
			t.Errorf("%s: %v, want %v", tc.hex, got.Elem(), reflect.ValueOf(tc.value).Elem())
		}
		if tc.other {
			continue
		}
		if out, err := (Breeze{}).Append(nil, tc.value); err != nil || !bytes.Equal(out, b) {
			t.Errorf("%v written as %x, %v, want %s", reflect.ValueOf(tc.value).Elem(), out, err, tc.hex)
		}
	}
}

type breezeUser struct {
	_       struct{} `motan:"com.example.User"`
	ID      int64    `breeze:"1"`
	Name    string   `breeze:"2"`
	Friends []*breezeUser
	Best    *breezeUser
	Tags    map[string]any
	Hidden  string `motan:"-"`
}

func TestBreezeMessages(t *testing.T) {
	want := &breezeUser{ID: 7, Name: "ray", Friends: []*breezeUser{{ID: 8}, {Name: "ann"}}, Best: &breezeUser{ID: 9}, Tags: map[string]any{"a": int32(1)}}
	b, err := (Breeze{}).Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	// Name once, references after; fields of zero value left out.
	fixed := "de10636f6d2e6578616d706c652e55736572 00000028" + "01 8f" + "02 03726179" +
		"03 dc02 e0 00000002 0190 00000005 0203616e6e" + "04 e0 00000002 0191" + "05 d901 0161 51"
	if !bytes.Equal(b, unhex(t, fixed)) {
		t.Errorf("%x\nwant %s", b, strings.ReplaceAll(fixed, " ", ""))
	}
	var got breezeUser
	if err := (Breeze{}).Decode(b, &got); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	// Fields that are not known are passed over.
	var few struct {
		Best struct{ ID int64 } `breeze:"4"`
	}
	if err := (Breeze{}).Decode(b, &few); err != nil || few.Best.ID != 9 {
		t.Errorf("%+v, %v", few, err)
	}
	// A message that nobody here declared.
	var v any
	if err := (Breeze{}).Decode(b, &v); err != nil {
		t.Fatal(err)
	}
	m := v.(*BreezeMessage)
	if m.Name != "com.example.User" || m.Fields[1] != int64(7) || m.Fields[4].(*BreezeMessage).Fields[1] != int64(9) {
		t.Errorf("%+v", m)
	}
	again, err := (Breeze{}).Append(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	var back breezeUser
	if err := (Breeze{}).Decode(again, &back); err != nil || !reflect.DeepEqual(&back, want) {
		t.Errorf("%+v, %v", back, err)
	}
	var direct BreezeMessage
	if err := (Breeze{}).Decode(b, &direct); err != nil || direct.Fields[2] != "ray" {
		t.Errorf("%+v, %v", direct, err)
	}
	for n := 1; n < len(b); n++ {
		if err := (Breeze{}).Decode(b[:n], new(breezeUser)); !errors.Is(err, ErrSerialization) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestBreezeStruct(t *testing.T) {
	want := full()
	want.Strs = []string{"a", "b"}
	want.MapAny = map[string]any{"list": []any{int64(1), "two", nil, true}}
	b, err := (Breeze{}).Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var got everything
	if err := (Breeze{}).Decode(b, &got); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("got  %+v\nwant %+v\n%v", got, *want, err)
	}
}

// Dates as Java's breeze writes them: messages with the milliseconds as field 1.
func TestBreezeDates(t *testing.T) {
	at := time.UnixMilli(1388505600123).UTC()
	const body = "de 0e 6a6176612e7574696c2e44617465 00000008 01 98 f6c19096e950"
	b, err := (Breeze{}).Append(nil, at)
	if want := unhex(t, body); err != nil || !bytes.Equal(b, want) {
		t.Errorf("%x, %v, want %x", b, err, want)
	}
	var got time.Time
	if err := (Breeze{}).Decode(unhex(t, body), &got); err != nil || !got.Equal(at) {
		t.Errorf("%v, %v", got, err)
	}
	for _, h := range []string{body, "de 12 6a6176612e73716c2e54696d657374616d70 00000008 01 98 f6c19096e950"} {
		var v any
		if err := (Breeze{}).Decode(unhex(t, h), &v); err != nil || v != at {
			t.Errorf("%s into any: %v, %v", h, v, err)
		}
	}
	for h, want := range map[string]time.Time{
		"de 0e 6a6176612e7574696c2e44617465 00000000":               time.UnixMilli(0).UTC(), // Java leaves out what is zero
		"de 0e 6a6176612e7574696c2e44617465 00000005 02 0178 01 87": time.UnixMilli(-1).UTC(),
		"98 f6c19096e950": at,
		"99":              {},
	} {
		got := time.Time{}
		if err := (Breeze{}).Decode(unhex(t, h), &got); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v, want %v", h, got, err, want)
		}
	}
	for _, bad := range []string{"9a", "0178", "de 01 78 00000000", "de 0e 6a6176612e7574696c2e44617465 00000002 01 9a", "de 0e 6a6176612e7574696c2e44617465 00000009 01 98"} {
		if err := (Breeze{}).Decode(unhex(t, bad), &got); !errors.Is(err, ErrSerialization) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	type life struct {
		Born   time.Time
		Died   time.Time
		Visits []time.Time
		Named  map[string]time.Time
		Maybe  *time.Time
		Any    any
	}
	want := life{Born: at, Visits: []time.Time{at, time.UnixMilli(0).UTC()}, Named: map[string]time.Time{"k": at}, Maybe: &at, Any: []any{at, "x"}}
	if b, err = (Breeze{}).Append(nil, &want); err != nil {
		t.Fatal(err)
	}
	var back life
	if err := (Breeze{}).Decode(b, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("%+v, %v", back, err)
	}
	if b, err = (Breeze{}).Append(nil, time.Time{}); err != nil || !bytes.Equal(b, []byte{breezeNull}) {
		t.Errorf("a zero time: %x, %v", b, err)
	}
}

func TestBreezeRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		into      any
		want      string
	}{
		{"long string", "3fffffffff07", new(string), "left"},
		{"many elements", "dcffffffff077f", &[]int32{}, "left"},
		{"many pairs", "dbffffffff073f3f", &map[string]string{}, "left"},
		{"long bytes", "9dffffffff", new([]byte), "left"},
		{"long message", "de0141ffffffff", new(breezeUser), "left"},
		{"reference to nothing", "e000000000", new(breezeUser), "reference"},
		{"elements of type null", "dc019900", new(any), "cannot be that of all"},
		{"elements of a short string's type", "dc0103616161", new(any), "cannot be that of all"},
		{"schema", "dd00", new(any), "unknown type"},
		{"too large a number", "98808004", new(int16), "does not fit"},
		{"text as number", "0161", new(int64), "no integer"},
		{"message for text", "de014100000000", new(string), "want an integer"},
		{"a map as key", "d901d90050", new(any), "map key"},
		{"two values", "5050", new(int32), "after the value"},
	} {
		if err := (Breeze{}).Decode(unhex(t, tc.hex), tc.into); !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	var v any
	for name, b := range map[string][]byte{
		"arrays":        append(bytes.Repeat([]byte{0xda, 1}, 200), 0x99),
		"packed arrays": append(append([]byte{0xdc, 1}, bytes.Repeat([]byte{0xdc, 1}, 200)...), 0x7f, 0),
	} {
		if err := (Breeze{}).Decode(b, &v); !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), "deeper") {
			t.Errorf("%s: %v", name, err)
		}
	}
	loop := &linked{V: 1}
	loop.Next = loop
	for _, v := range []any{loop, make(chan int), struct{ T map[string]chan int }{}, uint64(1 << 63), []*linked{nil}, struct {
		A int `breeze:"1"`
		B int `breeze:"1"`
	}{}} {
		if _, err := (Breeze{}).Append(nil, v); !errors.Is(err, ErrSerialization) {
			t.Errorf("%T: %v", v, err)
		}
	}
}

func FuzzBreeze(f *testing.F) {
	for _, g := range goldenFrames(f) {
		if fr, err := readFrame(g.bytes); err == nil && fr.serialization == idBreeze {
			f.Add(fr.body)
		}
	}
	seed, _ := (Breeze{}).Append(nil, &fuzzTarget{A: "a", D: []fuzzTarget{{B: 1}}, E: map[string]any{"x": []any{1.5}}, F: &fuzzTarget{J: 7}, G: map[string]string{"k": "v"}, I: []string{"s"}})
	f.Add(seed)
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if (Breeze{}).Decode(b, &v) == nil {
			out, err := (Breeze{}).Append(nil, v)
			if err != nil {
				t.Fatalf("%#v: %v", v, err)
			}
			if err := (Breeze{}).Decode(out, new(any)); err != nil {
				t.Fatalf("%#v written as %x: %v", v, out, err)
			}
		}
		var s fuzzTarget
		if (Breeze{}).Decode(b, &s) == nil {
			out, err := (Breeze{}).Append(nil, &s)
			if err != nil {
				t.Fatalf("%#v: %v", s, err)
			}
			if err := (Breeze{}).Decode(out, new(fuzzTarget)); err != nil {
				t.Fatalf("%#v written as %x: %v", s, out, err)
			}
		}
		var all Args
		(Breeze{}).Decode(b, &all)
	})
}
