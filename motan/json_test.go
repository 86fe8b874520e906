package motan

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type jsonUser struct {
	ID    int64             `json:"id"`
	Name  string            `json:"name"`
	Photo []byte            `json:"photo"`
	Tags  map[string]string `json:"tags"`
}

// What fastjson writes for the same values.
func TestJSON(t *testing.T) {
	user := jsonUser{7, "ray", []byte{0xde, 0xad}, map[string]string{"k": "v"}}
	const text = `{"id":7,"name":"ray","photo":"3q0=","tags":{"k":"v"}}`
	b, err := (JSON{}).Append(nil, &user)
	if err != nil || string(b) != text {
		t.Errorf("%s, %v", b, err)
	}
	var got jsonUser
	if err := (JSON{}).Decode(b, &got); err != nil || !reflect.DeepEqual(got, user) {
		t.Errorf("%+v, %v", got, err)
	}
	// A request's arguments stand in an array, also a single one.
	for _, tc := range []struct {
		v    any
		text string
	}{
		{argument(JSON{}, &user), "[" + text + "]"},
		{argument(JSON{}, []string{"x"}), `[["x"]]`},
		{argument(JSON{}, Args{"x", int64(1)}), `["x",1]`},
		{argument(JSON{}, joined), `["a",-300,"3q0=",true,1.5,["x","yz"]]`},
		{argument(JSON{}, Args{}), `[]`},
		{argument(JSON{}, Args(nil)), `[]`},
		{argument(Simple{}, "x"), `"x"`},
	} {
		if b, err := (JSON{}).Append(nil, tc.v); err != nil || string(b) != tc.text {
			t.Errorf("%T: %s, %v, want %s", tc.v, b, err, tc.text)
		}
	}
	var list []string
	if err := decodeArgument(JSON{}, []byte(`[["x","y"]]`), &list); err != nil || !reflect.DeepEqual(list, []string{"x", "y"}) {
		t.Errorf("%v, %v", list, err)
	}
	var six joinArgs
	if err := decodeArgument(JSON{}, []byte(`["a",-300,"3q0=",true,1.5,["x","yz"]]`), &six); err != nil || !reflect.DeepEqual(six, joined) {
		t.Errorf("%+v, %v", six, err)
	}
	var all Args
	if err := decodeArgument(JSON{}, []byte(`["a",null,{"k":[1]}]`), &all); err != nil || len(all) != 3 || all[0] != "a" {
		t.Errorf("%v, %v", all, err)
	}
	name := "kept"
	if err := decodeArgument(JSON{}, nil, &name); err != nil || name != "kept" {
		t.Errorf("%q, %v", name, err)
	}
	if err := decodeArgument(Simple{}, []byte("\x01\x00\x00\x00\x01x"), &name); err != nil || name != "x" {
		t.Errorf("%q, %v", name, err)
	}
	for _, bad := range []string{`["a"]`, `{`, `"a"`, `["a",-300,"3q0=",true,1.5,["x"],1]`, strings.Repeat("[", 100) + strings.Repeat("]", 100)} {
		if err := (JSON{}).Decode([]byte(bad), &six); !errors.Is(err, ErrSerialization) {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
	if _, err := (JSON{}).Append(nil, make(chan int)); !errors.Is(err, ErrSerialization) {
		t.Errorf("a channel: %v", err)
	}
	// Brackets inside strings do not nest.
	if err := (JSON{}).Decode([]byte(`"`+strings.Repeat(`[{\"`, 200)+`"`), &name); err != nil {
		t.Error(err)
	}
}

// What Motan Java writes with the same values, and what of it is lost: classes.
func TestJSONFromJava(t *testing.T) {
	var six joinArgs
	if err := (JSON{}).Decode([]byte(`["a",-300L,x'dead',true,1.5D,["x","yz"]]`), &six); err != nil || !reflect.DeepEqual(six, joined) {
		t.Errorf("%+v, %v", six, err)
	}
	var all Args
	text := `[{"@type":"java.util.HashMap","k":Set["L1L",7L],"e":{"@type":"java.util.HashMap"}},"x'00'","\"@type\":\"",TreeSet[1.0F,2S,3B,-1.0E300D]]`
	want := Args{map[string]any{"k": []any{"L1L", 7.0}, "e": map[string]any{}}, "x'00'", `"@type":"`, []any{1.0, 2.0, 3.0, -1e300}}
	if err := (JSON{}).Decode([]byte(text), &all); err != nil || !reflect.DeepEqual(all, want) {
		t.Errorf("%v, %v", all, err)
	}
	for _, bad := range []string{`["a`, `[x'de`, `[x'zz']`, `["@type":"x`, `[1LL]`, `["@type":"a"]`, `L`} {
		if err := (JSON{}).Decode([]byte(bad), &six); !errors.Is(err, ErrSerialization) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// dated has dates where beans may have them.
type dated struct {
	ID     int64                `json:"id"`
	Born   time.Time            `json:"born"`
	Died   *time.Time           `json:"died"`
	Visits []time.Time          `json:"visits"`
	Named  map[string]time.Time `json:"named"`
	Next   *dated               `json:"next"`
	Any    any                  `json:"any"`
	Number int64                `json:"number"`
	inside
}

type inside struct{ Seen time.Time }

// Dates as fastjson writes them: by their constructor where it tells classes, as
// milliseconds where it takes the class as known, and as objects if they are of a
// database.
func TestJSONDates(t *testing.T) {
	const ms = 1388505600123
	at := time.UnixMilli(ms).UTC()
	for _, text := range []string{
		`new Date(1388505600123)`, `1388505600123`, `"2013-12-31T16:00:00.123Z"`, `{"@type":"java.sql.Timestamp","val":1388505600123}`,
	} {
		var got time.Time
		if err := (JSON{}).Decode([]byte(text), &got); err != nil || !got.Equal(at) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		one := time.Time{}
		n := int64(0)
		if err := (JSON{}).Decode([]byte(`[`+text+`,7]`), Args{&one, &n}); err != nil || !one.Equal(at) || n != 7 {
			t.Errorf("%s among arguments: %v %d, %v", text, one, n, err)
		}
	}
	var got dated
	err := (JSON{}).Decode([]byte(`{"id":7,"born":1388505600123,"died":new Date(1388505600123),"visits":[1388505600123,-1],"named":{"k":{"@type":"java.sql.Timestamp","val":1388505600123}},
		"next":{"Born":1388505600123,"next":null,"other":[1,{"born":2}]},"any":new Date(-1),"number":1388505600123,"seen":1388505600123}`), &got)
	before := time.UnixMilli(-1).UTC()
	want := dated{
		ID: 7, Born: at, Died: &at, Visits: []time.Time{at, before}, Named: map[string]time.Time{"k": at},
		Next: &dated{Born: at}, Any: "1969-12-31T23:59:59.999Z", Number: ms, inside: inside{at},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	var loose any
	if err := (JSON{}).Decode([]byte(`["new Date(1)",new Date(1)]`), &loose); err != nil || !reflect.DeepEqual(loose, []any{"new Date(1)", "1970-01-01T00:00:00.001Z"}) {
		t.Errorf("%v, %v", loose, err)
	}
	for _, bad := range []string{`new Date(`, `new Date(x)`, `new Date()`, `new Date(9223372036854775807)`, `new Date(1`, `1.5`, `true`, `{"val":"x"}`, `9223372036854775807`, `"1"`} {
		if err := (JSON{}).Decode([]byte(bad), &got.Born); !errors.Is(err, ErrSerialization) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// Java takes .1 for a millisecond and no more than three digits.
	want.Born, want.Any = at.Add(-23*time.Millisecond), []any{&at, map[int]time.Time{-7: at.Add(-3 * time.Millisecond)}, "2013-12-31T16:00:00.1Z"}
	want.Visits = []time.Time{at.Truncate(time.Second), at.Add(456789).In(time.FixedZone("", 8*3600))}
	b, err := (JSON{}).Append([]byte("before "), argument(JSON{}, &want))
	const text = `before [{"id":7,"born":"2013-12-31T16:00:00.100Z","died":"2013-12-31T16:00:00.123Z","visits":["2013-12-31T16:00:00.000Z","2014-01-01T00:00:00.123+08:00"],` +
		`"named":{"k":"2013-12-31T16:00:00.123Z"},"next":{"id":0,"born":"2013-12-31T16:00:00.123Z","died":null,"visits":null,"named":null,"next":null,"any":null,"number":0,"Seen":"0001-01-01T00:00:00.000Z"},` +
		`"any":["2013-12-31T16:00:00.123Z",{"-7":"2013-12-31T16:00:00.120Z"},"2013-12-31T16:00:00.1Z"],"number":1388505600123,"Seen":"2013-12-31T16:00:00.123Z"}]`
	if err != nil || string(b) != text {
		t.Errorf("%s, %v, want %s", b, err, text)
	}
	// Types that contain themselves, with and without times.
	type list []list
	if err := (JSON{}).Decode([]byte(`[[1]]`), new(list)); !errors.Is(err, ErrSerialization) {
		t.Error(err)
	}
	if err := (JSON{}).Decode([]byte(`1`), nil); !errors.Is(err, ErrSerialization) {
		t.Error(err)
	}
}

func TestGRPCPb(t *testing.T) {
	want := &timestamppb.Timestamp{Seconds: 300}
	b, err := (GRPCPb{}).Append(nil, want)
	if err != nil || string(b) != "\x08\xac\x02" {
		t.Errorf("%x, %v", b, err)
	}
	for _, v := range []any{new(timestamppb.Timestamp), Args{new(timestamppb.Timestamp)}} {
		if err := (GRPCPb{}).Decode(b, v); err != nil {
			t.Errorf("%T: %v", v, err)
		}
	}
	got := &timestamppb.Timestamp{Seconds: 1}
	if err := (GRPCPb{}).Decode(b, got); err != nil || got.Seconds != 300 {
		t.Errorf("%v, %v", got, err)
	}
	if err := (GRPCPb{}).Decode(nil, got); err != nil || got.Seconds != 0 {
		t.Errorf("no bytes are a message of zeros: %v, %v", got, err)
	}
	for _, v := range []any{nil, "x", (*timestamppb.Timestamp)(nil), Args{want, want}, Args{}} {
		if _, err := (GRPCPb{}).Append(nil, v); !errors.Is(err, ErrSerialization) {
			t.Errorf("%T written: %v", v, err)
		}
		if err := (GRPCPb{}).Decode(b, v); !errors.Is(err, ErrSerialization) {
			t.Errorf("%T read: %v", v, err)
		}
	}
	if err := (GRPCPb{}).Decode([]byte{0x0a, 5, 'x'}, new(wrapperspb.StringValue)); !errors.Is(err, ErrSerialization) {
		t.Errorf("a cut message: %v", err)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{`["a",-300,"3q0=",true,1.5,["x","yz"]]`, `{"A":"a","D":[{"B":1}],"E":{"x":[1.5]},"G":{"k":"v"}}`, `"\"[{"`, `[`, `null`, `["a",-300L,x'dead',true,1.5D,Set["x"],{"@type":"a","b":1F}]`,
		`{"born":1388505600123,"died":new Date(7),"visits":[{"val":-1},"2013-12-31T16:00:00.1Z"],"next":{"named":{"\\u0061" : 7} } }`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var all Args
		(JSON{}).Decode(b, &all)
		var six joinArgs
		(JSON{}).Decode(b, &six)
		var s fuzzTarget
		if (JSON{}).Decode(b, &s) == nil {
			if _, err := (JSON{}).Append(nil, &s); err != nil {
				t.Fatal(err)
			}
		}
		var d dated
		if (JSON{}).Decode(b, &d) == nil {
			out, err := (JSON{}).Append(nil, &d)
			if err != nil {
				t.Fatal(err)
			}
			if err := (JSON{}).Decode(out, new(dated)); err != nil || !json.Valid(out) {
				t.Fatalf("%v: %s", err, out)
			}
		}
	})
}

func FuzzGRPCPb(f *testing.F) {
	f.Add([]byte{0x08, 0xac, 0x02})
	f.Add([]byte{0x0a, 5, 'x'})
	f.Fuzz(func(t *testing.T, b []byte) {
		v := new(wrapperspb.StringValue)
		if (GRPCPb{}).Decode(b, v) == nil {
			if _, err := (GRPCPb{}).Append(nil, v); err != nil {
				t.Fatal(err)
			}
		}
	})
}
