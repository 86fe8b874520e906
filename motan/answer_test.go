package motan_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// notCarried has a field that no serialization has a form for.
type notCarried struct {
	Name string
	C    chan int
}

// What the caller's own type does not allow is no error of the server.
func TestAnswersThatTheCallerCannotHave(t *testing.T) {
	var handled atomic.Int64
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "name", func(context.Context, *string) (*string, error) {
		handled.Add(1)
		s := "a name"
		return &s, nil
	})
	for _, s := range []motan.Serializer{motan.Simple{}, motan.Breeze{}, motan.Hessian2{}, motan.JSON{}, motan.Msgpack{}, motan.Protobuf{}} {
		for way, reg := range ways(t, srv) {
			c := newClient(t, "s", reg, &motan.ClientOptions{Serializer: s, Idempotent: []string{"name"}})
			before := handled.Load()
			_, err := motan.Call[int16](t.Context(), c, "name", "x")
			var e *motan.Error
			if _, protobuf := s.(motan.Protobuf); protobuf && way == "http" {
				continue // the one form over HTTP is a message
			}
			if !errors.As(err, &e) || e.Code != motan.CodeDecode || e.Type != motan.Framework || !strings.HasPrefix(e.Message, "answer: ") {
				if _, protobuf := s.(motan.Protobuf); !protobuf { // its bytes do not tell a string from a number
					t.Errorf("%T %s: %v", s, way, err)
				}
			}
			if n := handled.Load() - before; n != 1 {
				t.Errorf("%T %s: %d tries", s, way, n)
			}
			if motan.Retryable(err) {
				t.Errorf("%T %s: %v is retryable", s, way, err)
			}
		}
	}
}

func TestAnswersThatNothingCanHaveAreNotAskedFor(t *testing.T) {
	var handled atomic.Int64
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "name", func(context.Context, *string) (*string, error) {
		handled.Add(1)
		return new(string), nil
	})
	at := motan.Static(startServer(t, srv))
	check := func(s motan.Serializer, err error) {
		t.Helper()
		var e *motan.Error
		if !errors.As(err, &e) || e.Code != motan.CodeEncode || !strings.Contains(e.Message, "answer: ") {
			t.Errorf("%T: %v", s, err)
		}
	}
	for _, s := range []motan.Serializer{motan.Simple{}, motan.Breeze{}, motan.Hessian2{}, motan.Protobuf{}} {
		c := newClient(t, "s", at, &motan.ClientOptions{Serializer: s})
		_, err := motan.Call[notCarried](t.Context(), c, "name", "x")
		check(s, err)
	}
	c := newClient(t, "s", at, &motan.ClientOptions{Serializer: motan.Protobuf{}})
	_, err := motan.Call[any](t.Context(), c, "name", "x")
	check(motan.Protobuf{}, err)
	if n := handled.Load(); n != 0 {
		t.Errorf("%d calls were executed", n)
	}
}
