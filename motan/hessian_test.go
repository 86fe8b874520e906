package motan

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

var hessianRun = regexp.MustCompile(`\[([0-9a-f]+)\*(\d+)\]`)

// goldenHessian returns what Java's library wrote, by name.
func goldenHessian(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/hessian2.txt")
	if err != nil {
		t.Fatal(err)
	}
	golden := map[string][]byte{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, digits, _ := strings.Cut(strings.TrimSpace(line), " ")
		digits = hessianRun.ReplaceAllStringFunc(digits, func(run string) string {
			m := hessianRun.FindStringSubmatch(run)
			n, err := strconv.Atoi(m[2])
			if err != nil {
				t.Fatal(err)
			}
			return strings.Repeat(m[1], n)
		})
		golden[name] = unhex(t, digits)
	}
	if len(golden) < 100 {
		t.Fatalf("only %d golden values", len(golden))
	}
	return golden
}

type hessianUser struct {
	_      struct{} `motan:"com.example.User"`
	ID     int64
	Name   string
	Age    int32
	OK     bool
	Score  float64
	Born   time.Time
	Photo  []byte
	Tags   []string
	Counts map[string]int32
	Best   *hessianUser
	Color  *JavaObject
	Money  *JavaObject
}

func javaUser() *hessianUser {
	return &hessianUser{
		ID: 7, Name: "ray", Age: 30, OK: true, Score: 1.5, Born: time.UnixMilli(1388505600123).UTC(), Photo: []byte{0xde, 0xad},
		Tags: []string{"x", "yz"}, Counts: map[string]int32{"k": 1},
		Color: &JavaObject{"com.example.Color", map[string]any{"name": "RED"}}, Money: &JavaObject{"java.math.BigDecimal", map[string]any{"value": "9.99"}},
	}
}

// Scalars, strings, binaries and objects have the very bytes that Java writes.
func TestGoldenHessianBytes(t *testing.T) {
	ann := &hessianUser{ID: 8, Name: "ann"}
	friends, cycle := javaUser(), javaUser()
	friends.Best = ann
	cycle.Best = &hessianUser{ID: 8, Name: "ann", Best: cycle}
	values := map[string]any{
		"null": nil, "true": true, "false": false,
		"list:a,b": []any{"a", "b"}, "list:empty": []any{}, "list:0..8": []int32{0, 1, 2, 3, 4, 5, 6, 7, 8},
		"map:k=v": map[string]any{"k": "v"}, "map:empty": map[any]any{}, "map:7=seven": map[int32]string{7: "seven"},
		"enum:GREEN":    &JavaObject{"com.example.Color", map[string]any{"name": "GREEN"}},
		"decimal:12.50": JavaObject{"java.math.BigDecimal", map[string]any{"value": "12.50"}},
		"args":          joined, "args:none": Args{}, "args:shared": Args{ann, ann}, "same": []*hessianUser{ann, ann, ann},
		"user": javaUser(), "friends": friends, "cycle": cycle,
	}
	golden := goldenHessian(t)
	for name := range golden {
		kind, text, _ := strings.Cut(name, ":")
		switch n, _ := strconv.ParseInt(text, 10, 64); kind {
		case "int":
			values[name] = int32(n)
		case "long":
			values[name] = n
		case "double":
			f, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			values[name] = f
		case "date":
			values[name] = time.UnixMilli(n).UTC()
		case "bytes":
			values[name] = bytes.Repeat([]byte{0xab}, int(n))
		case "string":
			text = strings.Replace(text, "😀*16384", strings.Repeat("😀", 16384), 1)
			values[name] = text
		}
		if n, ok := strings.CutPrefix(name, "x*"); ok {
			count, err := strconv.Atoi(n)
			if err != nil {
				t.Fatal(err)
			}
			values[name] = strings.Repeat("x", count)
		}
	}
	n := 0
	for name, v := range values {
		want, ok := golden[name]
		if !ok {
			t.Errorf("%s: not in the capture", name)
			continue
		}
		out, err := (Hessian2{}).Append(nil, v)
		if err != nil || !bytes.Equal(out, want) {
			t.Errorf("%s: %.100x\nwant %.100x, %v", name, out, want, err)
		}
		n++
		// And back.
		if _, several := arguments(v); several || v == nil {
			continue
		}
		got := reflect.New(reflect.TypeOf(v))
		if err := (Hessian2{}).Decode(want, got.Interface()); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f, ok := v.(float64); ok && math.IsNaN(f) {
			continue
		}
		if name == "cycle" {
			if u := got.Elem().Interface().(*hessianUser); u.Best == nil || u.Best.Best != u || u.Best.Name != "ann" {
				t.Errorf("the cycle came back as %+v", u)
			}
			continue
		}
		if !reflect.DeepEqual(got.Elem().Interface(), v) {
			t.Errorf("%s: %.200v\nwant %.200v", name, fmt.Sprintf("%+v", got.Elem()), fmt.Sprintf("%+v", v))
		}
	}
	if n < 80 {
		t.Errorf("only %d values compared", n)
	}
}

// What Java writes in forms of its own.
func TestGoldenHessianReads(t *testing.T) {
	golden := goldenHessian(t)
	for _, tc := range []struct {
		name string
		want any // a pointer to the value
	}{
		{"float:0.5", ptr(float32(0.5))}, {"float:0.5", ptr(any(0.5))},
		{"short:-2", ptr(int16(-2))}, {"byte:7", ptr(byte(7))}, {"byte:7", ptr(any(int32(7)))}, {"short:-2", ptr(-2.0)},
		{"linkedlist:a,b", &[]string{"a", "b"}}, {"arrayslist:a,b", &[]any{"a", "b"}}, {"strings:a,b", &[]string{"a", "b"}},
		{"linkedlists:1,2", &[][]int{{1}, {2}}}, {"ints:1,2", &[]int32{1, 2}}, {"longs:1,2", ptr(any([]any{int64(1), int64(2)}))},
		{"set:a", &[]string{"a"}}, {"treemap:k=1", &map[string]int64{"k": 1}}, {"map:7=seven", ptr(any(map[any]any{int32(7): "seven"}))},
		{"linkedmap", &map[string]any{"i": int64(5), "l": []any{"s", int32(-1), true, nil, 1.5}}},
		{"enum:GREEN", ptr("GREEN")}, {"decimal:12.50", ptr("12.50")}, {"decimal:12.50", ptr(12.5)},
		{"int:47", ptr(int64(47))}, {"int:47", ptr(47.0)}, {"long:-9", ptr(int8(-9))}, {"null", ptr("")}, {"long:1099511627776", ptr(time.UnixMilli(1 << 40).UTC())},
		{"string:é😀x", &[]byte{0xc3, 0xa9, 0xf0, 0x9f, 0x98, 0x80, 'x'}},
		{"user", &struct{ Name, Color string }{"ray", "RED"}},
		{"user", &struct{ Tags any }{[]any{"x", "yz"}}},
	} {
		got := reflect.New(reflect.TypeOf(tc.want).Elem())
		if err := (Hessian2{}).Decode(golden[tc.name], got.Interface()); err != nil || !reflect.DeepEqual(got.Interface(), tc.want) {
			t.Errorf("%s into %T: %+v, %v", tc.name, tc.want, got.Elem(), err)
		}
	}
	var m map[string]any
	if err := (Hessian2{}).Decode(golden["friends"], &m); err != nil || m["best"].(*JavaObject).Fields["name"] != "ann" {
		t.Errorf("a user as a map: %v, %v", m, err)
	}
	var v any
	if err := (Hessian2{}).Decode(golden["user"], &v); err != nil || v.(*JavaObject).Class != "com.example.User" || v.(*JavaObject).Fields["age"] != int32(30) {
		t.Errorf("a user as anything: %v, %v", v, err)
	}
	if err := (Hessian2{}).Decode(golden["cycle"], &v); !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), "contains itself") {
		t.Errorf("a cycle as anything: %v", err)
	}
	var same []any
	if err := (Hessian2{}).Decode(golden["same"], &same); err != nil || len(same) != 3 || same[0] != same[1] {
		t.Errorf("three times one user: %v, %v", same, err)
	}
	var users []hessianUser
	if err := (Hessian2{}).Decode(golden["same"], &users); err != nil || len(users) != 3 || users[2].Name != "ann" {
		t.Errorf("three times one user, by value: %+v, %v", users, err)
	}
	var shared struct {
		Positional
		A, B *hessianUser
	}
	if err := (Hessian2{}).Decode(golden["args:shared"], &shared); err != nil || shared.A != shared.B || shared.A.ID != 8 {
		t.Errorf("one user as two arguments: %+v, %v", shared, err)
	}
	var six joinArgs
	if err := (Hessian2{}).Decode(golden["args"], &six); err != nil || !reflect.DeepEqual(six, joined) {
		t.Errorf("six arguments: %+v, %v", six, err)
	}
	var all Args
	if err := (Hessian2{}).Decode(golden["args"], &all); err != nil || len(all) != 6 || all[4] != 1.5 {
		t.Errorf("whatever arguments: %v, %v", all, err)
	}
	for name, b := range golden {
		for n := 1; n < len(b) && len(b) < 1000 && !strings.HasPrefix(name, "args"); n++ {
			if err := (Hessian2{}).Decode(b[:n], &v); !errors.Is(err, ErrSerialization) {
				t.Fatalf("%s cut to %d of %d bytes: %v, %v", name, n, len(b), v, err)
			}
		}
	}
}

func TestHessianStruct(t *testing.T) {
	want := full()
	want.MapAny = map[string]any{"list": []any{int64(1), "two", nil, true}}
	b, err := (Hessian2{}).Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var got everything
	if err := (Hessian2{}).Decode(b, &got); err != nil || !reflect.DeepEqual(&got, want) {
		t.Errorf("got  %+v\nwant %+v\n%v", got, *want, err)
	}
	// Without a class it is a map.
	var m map[string]any
	if err := (Hessian2{}).Decode(b, &m); err != nil || m["renamed"] != "héllo" || m["i32"] != int32(-32) {
		t.Errorf("%v, %v", m, err)
	}
	for in, want := range map[string]string{"ID": "id", "Name": "name", "URLPath": "urlPath", "UserID": "userID", "I32": "i32", "A": "a"} {
		if got := javaName(in); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
	// Names match without regard to case where no other does.
	var u struct{ UserID int64 }
	b = unhex(t, "48"+"06"+hex.EncodeToString([]byte("userId"))+"97"+"5a")
	if err := (Hessian2{}).Decode(b, &u); err != nil || u.UserID != 7 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestHessianRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, hex string
		into      any
		want      string
	}{
		{"long string", "5300ff61", new(string), "body ends"},
		{"long binary", "4200ff61", new([]byte), "left"},
		{"many elements", "58497fffffff", &[]int32{}, "left"},
		{"fewer than no elements", "588f", &[]int32{}, "left"},
		{"many fields", "430141497fffffff", new(any), "left"},
		{"class that is not there", "60", new(any), "class"},
		{"type that is not there", "7191", new(any), "type"},
		{"value that is not there", "5190", new(any), "value"},
		{"list in itself", "795190", new(any), "contains itself"},
		{"map in itself", "48016151905a", new(any), "contains itself"},
		{"reserved", "40", new(any), "unknown tag"},
		{"half a character", "01c3", new(string), "malformed"},
		{"no character", "01ff", new(string), "in a string"},
		{"too large a number", "d7ffff", new(int16), "does not fit"},
		{"a list as text", "78", new(string), "want a string"},
		{"a map as key", "48485a905a", new(any), "map key"},
		{"two values", "9090", new(int32), "after the value"},
		{"a reference to a whole list", "7a785191", &[]any{}, ""},
		{"a map as list", "485a", &[]string{}, "want a list"},
	} {
		err := (Hessian2{}).Decode(unhex(t, tc.hex), tc.into)
		if tc.want == "" {
			if err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	var v any
	for name, b := range map[string][]byte{
		"lists": append(bytes.Repeat([]byte{0x79}, 200), 'N'),
		"maps":  append(bytes.Repeat([]byte{'H', 0x90}, 200), 'N'),
	} {
		if err := (Hessian2{}).Decode(b, &v); !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), "deeper") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A megabyte of objects without fields would be hundreds of them.
	bomb := append(unhex(t, "43014190"+"57"), bytes.Repeat([]byte{0x60}, 1<<20)...)
	if err := (Hessian2{}).Decode(bomb, new([]everything)); !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), "too many values") {
		t.Errorf("objects: %v", err)
	}
	// Nine lists of ten references to the list before would be a billion values.
	laughs := unhex(t, "589a"+"58a2"+strings.Repeat("00", 18)) // a list of ten lists, the first of 18 strings
	for i := range 9 {
		laughs = append(laughs, 0x58, 0x9a)
		for range 10 {
			laughs = append(laughs, 'Q', byte(0x91+i))
		}
	}
	if err := (Hessian2{}).Decode(laughs, &v); !errors.Is(err, ErrSerialization) || !strings.Contains(err.Error(), "too many values") {
		t.Errorf("references to references: %v", err)
	}
	type wide struct{ A [0]int }
	for _, v := range []any{make(chan int), struct{ T map[string]chan int }{}, uint64(1 << 63), wide{}} {
		if _, err := (Hessian2{}).Append(nil, v); !errors.Is(err, ErrSerialization) {
			t.Errorf("%T: %v", v, err)
		}
	}
	var deep any = "x"
	for range 200 {
		deep = []any{deep}
	}
	if _, err := (Hessian2{}).Append(nil, deep); !errors.Is(err, ErrSerialization) {
		t.Errorf("writing 200 levels: %v", err)
	}
}

func FuzzHessian2(f *testing.F) {
	for _, b := range goldenHessian(f) {
		if len(b) < 1000 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if (Hessian2{}).Decode(b, &v) == nil {
			out, err := (Hessian2{}).Append(nil, v)
			if err != nil {
				t.Fatalf("%#v: %v", v, err)
			}
			if err := (Hessian2{}).Decode(out, new(any)); err != nil {
				t.Fatalf("%#v written as %x: %v", v, out, err)
			}
		}
		for _, s := range []any{new(fuzzTarget), new(hessianUser)} {
			if (Hessian2{}).Decode(b, s) == nil {
				out, err := (Hessian2{}).Append(nil, s)
				if err != nil {
					t.Fatalf("%#v: %v", s, err)
				}
				if err := (Hessian2{}).Decode(out, s); err != nil {
					t.Fatalf("%#v written as %x: %v", s, out, err)
				}
			}
		}
		var all Args
		(Hessian2{}).Decode(b, &all)
	})
}
