package motan

import (
	"encoding/hex"
	"errors"
	"reflect"
	"strings"
	"testing"
)

type joinArgs struct {
	Positional
	S     string
	N     int64
	Bytes []byte
	OK    bool
	F     float64
	List  []string
}

var joined = joinArgs{S: "a", N: -300, Bytes: []byte{0xde, 0xad}, OK: true, F: 1.5, List: []string{"x", "yz"}}

// The six arguments of the capture, by each way to write and read them.
func TestArguments(t *testing.T) {
	for _, tc := range []struct {
		ser  Serializer
		want string // "" where no other implementation fixes the bytes
	}{
		{Simple{}, "01000000016109d7040300000002dead05010b3ff8000000000000040000000b000000017800000002797a"},
		{Breeze{}, "016198d7049d00000002dead9aa03ff8000000000000dc023f017802797a"},
		{Msgpack{}, ""},
	} {
		v := joined
		ways := []any{
			v, &v,
			Args{v.S, v.N, v.Bytes, v.OK, v.F, v.List},
			&Args{&v.S, &v.N, &v.Bytes, &v.OK, &v.F, &v.List},
		}
		for _, way := range ways {
			b, err := tc.ser.Append(nil, way)
			if err != nil {
				t.Errorf("%T %T: %v", tc.ser, way, err)
				continue
			}
			if got := hex.EncodeToString(b); tc.want != "" && got != tc.want {
				t.Errorf("%T %T: %s", tc.ser, way, got)
			}
			var s joinArgs
			if err := tc.ser.Decode(b, &s); err != nil || !reflect.DeepEqual(s, v) {
				t.Errorf("%T into a struct: %+v, %v", tc.ser, s, err)
			}
			var a joinArgs
			if err := tc.ser.Decode(b, Args{&a.S, &a.N, &a.Bytes, &a.OK, &a.F, &a.List}); err != nil || !reflect.DeepEqual(a, v) {
				t.Errorf("%T into Args: %+v, %v", tc.ser, a, err)
			}
			var all Args
			if err := tc.ser.Decode(b, &all); err != nil || len(all) != 6 || all[0] != "a" || !reflect.DeepEqual(all[2], v.Bytes) {
				t.Errorf("%T into *Args: %v, %v", tc.ser, all, err)
			}
			if err := tc.ser.Decode(b, Args{&a.S, &a.N}); !errors.Is(err, ErrSerialization) {
				t.Errorf("%T: two of six arguments: %v", tc.ser, err)
			}
			if err := tc.ser.Decode(b[:len(b)-1], &s); !errors.Is(err, ErrSerialization) {
				t.Errorf("%T: cut arguments: %v", tc.ser, err)
			}
		}
		b, err := tc.ser.Append(nil, Args{})
		if err != nil || len(b) != 0 {
			t.Errorf("%T: no arguments: %x, %v", tc.ser, b, err)
		}
		if err := tc.ser.Decode(nil, &joinArgs{}); !errors.Is(err, ErrSerialization) {
			t.Errorf("%T: six arguments from nothing: %v", tc.ser, err)
		}
	}
	var s string
	var n int64
	b, err := (Protobuf{}).Append(nil, Args{"a", int64(-300)})
	if err != nil || (Protobuf{}).Decode(b, Args{&s, &n}) != nil || s != "a" || n != -300 {
		t.Errorf("protobuf: %x, %q, %d, %v", b, s, n, err)
	}
}

func TestPositionalNowhereInside(t *testing.T) {
	for _, v := range []any{[]joinArgs{{}}, map[string]joinArgs{}, &struct{ A joinArgs }{}, []any{joinArgs{}}} {
		if _, err := (Simple{}).Append(nil, v); err == nil || !strings.Contains(err.Error(), "Positional") {
			t.Errorf("%T: %v", v, err)
		}
	}
}
