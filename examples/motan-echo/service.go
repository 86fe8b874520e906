package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/heddle-go/heddle/motan"
)

// echo is the service. Its methods go by their names with a lower-case letter in
// front.
type echo struct{}

func (echo) Hello(_ context.Context, name string) (string, error) { return "hello " + name, nil }

func (echo) Join(_ context.Context, s string, n int64, b []byte, ok bool, f float64, list []string) (string, error) {
	return fmt.Sprintf("%s|%d|%x|%t|%g|%s", s, n, b, ok, f, strings.Join(list, ",")), nil
}

func (echo) HelloMap(_ context.Context, m map[string]string) (map[string]string, error) {
	return map[string]string{"keys": strings.Join(slices.Sorted(maps.Keys(m)), ",")}, nil
}

func (echo) EchoAny(_ context.Context, v any) (any, error)      { return v, nil }
func (echo) EchoList(_ context.Context, v []any) ([]any, error) { return v, nil }
func (echo) Bytes(_ context.Context, v []byte) ([]byte, error)  { return v, nil }
func (echo) Int64(_ context.Context, v int64) (int64, error)    { return v, nil }
func (echo) Int32(_ context.Context, v int32) (int32, error)    { return v, nil }
func (echo) Int16(_ context.Context, v int16) (int16, error)    { return v, nil }
func (echo) Byte(_ context.Context, v byte) (byte, error)       { return v, nil }
func (echo) F32(_ context.Context, v float32) (float32, error)  { return v, nil }
func (echo) F64(_ context.Context, v float64) (float64, error)  { return v, nil }
func (echo) Nothing(context.Context) error                      { return nil }
func (echo) Panic(context.Context) error                        { panic("asked to") }
func (echo) Fail(context.Context) error {
	return &motan.Error{Code: motan.CodeBusiness, Type: motan.Business, Message: "asked to fail"}
}
