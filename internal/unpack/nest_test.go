package unpack

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

type node struct {
	Next  *node
	Owner *node `msgpack:"-"`
	up    *node
}

type embedded struct{ *embedded }

type (
	itself *itself
	holder struct{ P itself }
	inner  struct{ V any }
	outer  struct{ inner }
	flat   struct {
		A []string
		T time.Time
		M map[string][]int
		E error
	}
	tagged struct {
		Skip any `json:"-"`
	}
	own struct{ v any }
)

func (own) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeNil() }

func lists(n int) any {
	var v any = 1
	for range n {
		v = []any{v}
	}
	return v
}

func nodes(n int) *node {
	var v *node
	for range n {
		v = &node{Next: v}
	}
	return v
}

func TestNests(t *testing.T) {
	const most = 10
	list := []any{nil}
	list[0] = list
	keyed := map[string]any{}
	keyed["k"] = []any{keyed}
	var loop any
	loop = &loop
	var p itself
	p = &p
	ring := &node{}
	ring.Next = ring
	aside := &node{}
	aside.Owner, aside.up = aside, aside
	named := map[string]*node{"n": ring}
	var typed [2]map[int]any
	typed[0] = map[int]any{1: &typed}
	for name, tc := range map[string]struct {
		v  any
		ok bool
	}{
		"nil":                       {nil, true},
		"lists":                     {lists(most), true},
		"too many lists":            {lists(most + 1), false},
		"structs":                   {nodes(most), true},
		"too many structs":          {nodes(most + 1), false},
		"embedded structs":          {outer{inner{lists(most - 1)}}, true},
		"too deep in an embedded":   {outer{inner{lists(most)}}, false},
		"a list of itself":          {list, false},
		"a map of itself":           {keyed, false},
		"an interface of itself":    {loop, false},
		"a pointer to itself":       {p, false},
		"a nil pointer to its type": {holder{}, false},
		"a struct of itself":        {ring, false},
		"a map of those":            {named, false},
		"a map in an array":         {&typed, false},
		"a type that embeds itself": {embedded{}, false},
		"fields that are not there": {aside, true},
		"a flat struct":             {flat{E: fmt.Errorf("x")}, true},
		"what encodes itself":       {own{list}, true},
		"a field of another tag":    {tagged{list}, false},
		"pointers to pointers":      {new(new(new(1))), true},
		"a time":                    {time.Now(), true},
	} {
		err := Nests(tc.v, "", most)
		if (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil {
			continue
		}
		// What passes the library can encode, and Value takes it.
		b, err := msgpack.Marshal(tc.v)
		if err != nil || Check(b, most) != nil {
			t.Errorf("%s is encoded as %x, %v: %v", name, b, err, Check(b, most))
		}
	}
	deep := lists(most)
	if err := Nests(&deep, "", most); err != nil {
		t.Errorf("a pointer to %d lists: %v", most, err)
	}
	if err := Nests(tagged{list}, "json", most); err != nil {
		t.Error(err)
	}
	if err := Nests(list, "", most); err == nil || !strings.Contains(err.Error(), "nested deeper than 10") {
		t.Error(err)
	}
}

// Of values that nest it says what Check says of their encoding.
func FuzzNests(f *testing.F) {
	f.Add([]byte("\x91\x91\x01"))
	f.Add([]byte("\x81\xa1a\x92\xc0\x80"))
	f.Add([]byte("\x81\xa4Next\x81\xa4Next\xc0"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 3
		var v any
		n, err := Value(b, &v, "", 100)
		if err != nil || n != len(b) {
			return
		}
		var buf bytes.Buffer
		if err := msgpack.NewEncoder(&buf).Encode(v); err != nil {
			return
		}
		if nests, check := Nests(v, "", most), Check(buf.Bytes(), most); (nests == nil) != (check == nil) {
			t.Errorf("%v: %v and %v", v, nests, check)
		}
	})
}

func BenchmarkNests(b *testing.B) {
	for name, v := range map[string]any{"string": "x", "flat": &flat{}, "any": map[string]any{"a": []any{1, 2, "x"}, "b": "y"}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := Nests(v, "", 64); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
