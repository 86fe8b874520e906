package motan_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

// nameless is an error of an application that cannot say what it is.
type nameless struct{ name string }

func (n *nameless) Error() string { return n.name }

// An *Error without a code is what its type says, whichever way it comes; one that
// is nil, or whose text panics, is the handler's fault and nobody else's.
func TestErrorsWithoutCode(t *testing.T) {
	srv := newServer(t, &motan.ServerOptions{Logger: quiet()})
	cases := []struct {
		name string
		err  error
		code int
		kind motan.ErrorType
		text string
	}{
		{"empty", &motan.Error{}, motan.CodeBusiness, motan.Business, ""},
		{"message", &motan.Error{Message: "no such user"}, motan.CodeBusiness, motan.Business, "no such user"},
		{"business", &motan.Error{Type: motan.Business, Message: "no such user"}, motan.CodeBusiness, motan.Business, "no such user"},
		{"service", &motan.Error{Type: motan.Service, Message: "broken"}, motan.CodeInternal, motan.Service, "broken"},
		{"wrapped", fmt.Errorf("x: %w", &motan.Error{Message: "no such user"}), motan.CodeBusiness, motan.Business, "no such user"},
		{"no message", &motan.Error{Code: 7, Type: motan.Business}, 7, motan.Business, ""},
		{"nil", (*motan.Error)(nil), motan.CodeInternal, motan.Service, "the handler returned a nil *motan.Error"},
		{"panics", (*nameless)(nil), motan.CodeInternal, motan.Service, "provider call panic"},
	}
	for _, tc := range cases {
		motan.Handle(srv, "s", tc.name, func(context.Context, *string) (*string, error) { return nil, tc.err })
	}
	for way, reg := range ways(t, srv) {
		c := newClient(t, "s", reg, &motan.ClientOptions{Timeout: patience, Serializer: serializerOf(way)})
		for _, tc := range cases {
			_, err := motan.Call[string](t.Context(), c, tc.name, "")
			var e *motan.Error
			if !errors.As(err, &e) || e.Code != tc.code || e.Type != tc.kind || e.Message != tc.text {
				t.Errorf("%s, %s: %v", way, tc.name, err)
			}
		}
	}
}

// explosive cannot be encoded, and panics over it.
type explosive struct{ X int }

func (explosive) MarshalJSON() ([]byte, error) { panic("on purpose") }

var _ json.Marshaler = explosive{}

// Code of the application that encodes an answer may panic as its handlers may.
func TestAnswerThatPanics(t *testing.T) {
	srv := newServer(t, &motan.ServerOptions{Logger: quiet()})
	motan.Handle(srv, "s", "explode", func(context.Context, *string) (*explosive, error) { return &explosive{}, nil })
	motan.Handle(srv, "s", "well", func(_ context.Context, s *string) (*string, error) { return s, nil })
	c := newClient(t, "s", motan.Static(startServer(t, srv)), &motan.ClientOptions{Timeout: patience, Serializer: motan.JSON{}})
	_, err := motan.Call[any](t.Context(), c, "explode", "")
	if e := wantCode(t, err, motan.CodeInternal); e.Message != "provider call panic" {
		t.Error(err)
	}
	call(t, c, "well", "x")
}
