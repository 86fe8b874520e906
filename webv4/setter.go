package webv4

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// setter parses a value into the variable at the given address.
type setter func(at unsafe.Pointer, value string) error

var (
	errInteger  = expect("integer")
	errUnsigned = expect("integer >= 0")
	errRange    = expect("number within the type's range")
	errNumber   = expect("number")
	errBool     = expect("true or false")
	errUTF8     = expect("valid UTF-8")
	errDuration = expect("duration such as 1m30s")
)

// setterOf returns the setter for type t; each value it sets satisfies the
// rules. A slice's setter appends.
func setterOf(t reflect.Type, rules []rule) (setter, error) {
	if isList(t) {
		elem, err := scalarSetter(t.Elem())
		if err != nil {
			return nil, err
		}
		return func(at unsafe.Pointer, v string) error {
			one := reflect.New(t.Elem())
			if err := setChecked(elem, rules, one.UnsafePointer(), v); err != nil {
				return err
			}
			list := reflect.NewAt(t, at).Elem()
			list.Set(reflect.Append(list, one.Elem()))
			return nil
		}, nil
	}
	set, err := scalarSetter(t)
	if err != nil || len(rules) == 0 {
		return set, err
	}
	return func(at unsafe.Pointer, v string) error { return setChecked(set, rules, at, v) }, nil
}

func setChecked(set setter, rules []rule, at unsafe.Pointer, v string) error {
	if err := set(at, v); err != nil {
		return err
	}
	return check(rules, at)
}

func scalarSetter(t reflect.Type) (setter, error) {
	size := int(t.Size())
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return func(at unsafe.Pointer, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil {
				return errDuration
			}
			*(*time.Duration)(at) = d
			return nil
		}, nil
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		broken := expect(t.String())
		return func(at unsafe.Pointer, v string) error {
			if reflect.NewAt(t, at).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(v)) != nil {
				return broken
			}
			return nil
		}, nil
	case isInt(t):
		return func(at unsafe.Pointer, v string) error {
			n, ok := shortInt(v)
			if !ok || size < 4 {
				var err error
				if n, err = strconv.ParseInt(v, 10, size*8); err != nil {
					return numberError(err, errInteger)
				}
			}
			storeInt(at, size, uint64(n))
			return nil
		}, nil
	case isUint(t):
		return func(at unsafe.Pointer, v string) error {
			n, err := strconv.ParseUint(v, 10, size*8)
			if err != nil {
				return numberError(err, errUnsigned)
			}
			storeInt(at, size, n)
			return nil
		}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(at unsafe.Pointer, v string) error {
			if !utf8.ValidString(v) {
				return errUTF8
			}
			*(*string)(at) = v
			return nil
		}, nil
	case reflect.Slice: // of bytes
		return func(at unsafe.Pointer, v string) error {
			*(*[]byte)(at) = []byte(v)
			return nil
		}, nil
	case reflect.Bool:
		return func(at unsafe.Pointer, v string) error {
			b, err := strconv.ParseBool(v)
			if err != nil {
				return errBool
			}
			*(*bool)(at) = b
			return nil
		}, nil
	case reflect.Float32, reflect.Float64:
		return func(at unsafe.Pointer, v string) error {
			f, err := strconv.ParseFloat(v, size*8)
			if err != nil || f-f != 0 { // neither NaN nor infinite
				return numberError(err, errNumber)
			}
			storeFloat(at, size, f)
			return nil
		}, nil
	}
	return nil, fmt.Errorf("type %s is not supported", t)
}

// shortInt reads up to nine digits, which most numbers are; false for all else.
func shortInt(v string) (n int64, ok bool) {
	if v == "" || len(v) > 9 {
		return 0, false
	}
	for i := range len(v) {
		d := v[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = 10*n + int64(d)
	}
	return n, true
}

func storeFloat(at unsafe.Pointer, size int, f float64) {
	if size == 4 {
		*(*float32)(at) = float32(f)
	} else {
		*(*float64)(at) = f
	}
}

func numberError(err, otherwise error) error {
	if errors.Is(err, strconv.ErrRange) {
		return errRange
	}
	return otherwise
}
