package motan_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// chain nests through a pointer, which leaves nothing on the wire.
type chain struct {
	Next *chain `motan:"next" breeze:"1" json:"next,omitempty" msgpack:"next,omitempty"`
}

func lists(n int) any {
	var v any = "x"
	for range n {
		v = []any{v}
	}
	return v
}

func chains(n int) *chain {
	var c *chain
	for range n {
		c = &chain{c}
	}
	return c
}

// Every serialization takes values nested 64 deep, in both directions, and no
// deeper ones.
func TestDepthIsTheSameEverywhere(t *testing.T) {
	srv := echoAny(t)
	at := motan.Static(startServer(t, srv))
	for _, s := range []motan.Serializer{motan.Simple{}, motan.Breeze{}, motan.Hessian2{}, motan.JSON{}, motan.Msgpack{}} {
		t.Run(fmt.Sprintf("%T", s), func(t *testing.T) {
			c := newClient(t, "s", at, &motan.ClientOptions{Serializer: s})
			for n, want := range map[int]bool{31: true, 32: true, 33: true, 63: true, 64: true, 65: false} {
				v := lists(n)
				b, err := s.Append(nil, v)
				if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "deep") {
					t.Errorf("%d lists are encoded: %v", n, err)
				}
				if err == nil {
					var back any
					if err := s.Decode(b, &back); err != nil {
						t.Errorf("%d lists are decoded: %v", n, err)
					}
				}
				back, err := motan.Call[any](t.Context(), c, "echo", &v)
				if (err == nil) != want {
					t.Errorf("%d lists there and back: %v", n, err)
				} else if want && fmt.Sprint(*back) != fmt.Sprint(v) {
					t.Errorf("%d lists came back as %v", n, *back)
				}
			}
			for n, want := range map[int]bool{33: true, 64: true, 66: false} {
				b, err := s.Append(nil, chains(n))
				if (err == nil) != want {
					t.Errorf("a chain of %d is encoded: %v", n, err)
				}
				if err == nil {
					var back chain
					if err := s.Decode(b, &back); err != nil {
						t.Errorf("a chain of %d is decoded: %v", n, err)
					}
				}
			}
			deep := nestedBody(s, 65)
			var v any
			if err := s.Decode(deep, &v); err == nil || !strings.Contains(err.Error(), "deep") {
				t.Errorf("65 lists are decoded: %v", err)
			}
		})
	}
}

// nestedBody is n lists, one inside the other, the innermost with a one in it.
func nestedBody(s motan.Serializer, n int) []byte {
	switch s.(type) {
	case motan.Simple:
		b := []byte{5, 1}
		for range n {
			b = append([]byte{21, 0, 0, byte(len(b) >> 8), byte(len(b))}, b...)
		}
		return b
	case motan.Breeze:
		return append([]byte(strings.Repeat("\xda\x01", n)), 0x51)
	case motan.Hessian2:
		return append([]byte(strings.Repeat("\x79", n)), 0x91)
	case motan.JSON:
		return []byte(strings.Repeat("[", n) + "1" + strings.Repeat("]", n))
	}
	return append([]byte(strings.Repeat("\x91", n)), 1) // msgpack
}

// A value that contains itself ends in an error, through whatever it does.
func TestCyclesEnd(t *testing.T) {
	type self *self
	var p self
	p = &p
	var loop any
	loop = &loop
	list, keyed, ring := []any{nil}, map[string]any{}, &chain{}
	list[0], keyed["k"], ring.Next = list, []any{keyed}, ring
	cycles := map[string]any{
		"a pointer to itself": &p, "an interface of itself": &loop, "a list of itself": list, "a map of itself": keyed, "a struct of itself": ring,
	}
	for _, s := range []motan.Serializer{motan.Simple{}, motan.Breeze{}, motan.Hessian2{}, motan.JSON{}, motan.Msgpack{}} {
		for name, v := range cycles {
			if _, refers := s.(motan.Hessian2); refers && v == any(ring) {
				continue // it has a form for that
			}
			if _, err := s.Append(nil, v); err == nil || !errors.Is(err, motan.ErrSerialization) {
				t.Errorf("%T: %s: %v", s, name, err)
			}
			if _, err := s.Append(nil, motan.Args{"x", v}); err == nil {
				t.Errorf("%T: %s has a form as an argument", s, name)
			}
		}
	}
}

func echoAny(t testing.TB) *motan.Server {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "echo", func(_ context.Context, v *any) (*any, error) { return v, nil })
	return srv
}
