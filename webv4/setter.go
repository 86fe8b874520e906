package webv4

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// setter parses a value into the variable at the given address.
type setter func(at unsafe.Pointer, value string) error

var (
	errNumber = errors.New("not a number of the right size")
	errBool   = errors.New("not true or false")
	errUTF8   = errors.New("not valid UTF-8")
)

func setterOf(t reflect.Type) (setter, error) {
	if t == reflect.TypeFor[time.Duration]() {
		return func(at unsafe.Pointer, v string) error {
			d, err := time.ParseDuration(v)
			*(*time.Duration)(at) = d
			return err
		}, nil
	}
	bits := int(t.Size()) * 8
	switch t.Kind() {
	case reflect.String:
		return func(at unsafe.Pointer, v string) error {
			if !utf8.ValidString(v) {
				return errUTF8
			}
			*(*string)(at) = v
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
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(at unsafe.Pointer, v string) error {
			n, err := strconv.ParseInt(v, 10, bits)
			if err != nil {
				return errNumber
			}
			storeInt(at, bits, uint64(n))
			return nil
		}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return func(at unsafe.Pointer, v string) error {
			n, err := strconv.ParseUint(v, 10, bits)
			if err != nil {
				return errNumber
			}
			storeInt(at, bits, n)
			return nil
		}, nil
	case reflect.Float32, reflect.Float64:
		return func(at unsafe.Pointer, v string) error {
			f, err := strconv.ParseFloat(v, bits)
			if err != nil || f-f != 0 { // neither NaN nor infinite
				return errNumber
			}
			if bits == 32 {
				*(*float32)(at) = float32(f)
			} else {
				*(*float64)(at) = f
			}
			return nil
		}, nil
	case reflect.Slice:
		elem, err := setterOf(t.Elem())
		if err != nil || t.Elem().Kind() == reflect.Slice {
			return nil, fmt.Errorf("type %s is not supported", t)
		}
		return func(at unsafe.Pointer, v string) error {
			list := reflect.NewAt(t, at).Elem()
			one := reflect.New(t.Elem())
			if err := elem(one.UnsafePointer(), v); err != nil {
				return err
			}
			list.Set(reflect.Append(list, one.Elem()))
			return nil
		}, nil
	}
	return nil, fmt.Errorf("type %s is not supported", t)
}

func storeInt(at unsafe.Pointer, bits int, n uint64) {
	switch bits {
	case 8:
		*(*uint8)(at) = uint8(n)
	case 16:
		*(*uint16)(at) = uint16(n)
	case 32:
		*(*uint32)(at) = uint32(n)
	default:
		*(*uint64)(at) = n
	}
}

// rules are what a value must satisfy beyond its type.
type rules []func(value string) error

func (r rules) check(value string) error {
	for _, c := range r {
		if err := c(value); err != nil {
			return err
		}
	}
	return nil
}

// read takes the rules from the tags: min and max for numbers, minLength and
// maxLength in characters for strings, enum for both.
func (r *rules) read(tag reflect.StructTag, t reflect.Type, bad func(string, ...any)) {
	elem := t
	if t.Kind() == reflect.Slice {
		elem = t.Elem()
	}
	add := func(text string, ok func(string) bool) {
		broken := fmt.Errorf("expect (%s)", text)
		*r = append(*r, func(v string) error {
			if ok(v) {
				return nil
			}
			return broken
		})
	}
	numeric := elem.Kind() >= reflect.Int && elem.Kind() <= reflect.Float64 && elem.Kind() != reflect.Uintptr
	for _, name := range [...]string{"min", "max"} {
		s, ok := tag.Lookup(name)
		if !ok {
			continue
		}
		limit, err := strconv.ParseFloat(s, 64)
		if err != nil || !numeric {
			bad("%s %q: want a number, on a number", name, s)
			continue
		}
		sign, text := 1.0, ">= "+s
		if name == "max" {
			sign, text = -1, "<= "+s
		}
		add(text, func(v string) bool {
			n, err := strconv.ParseFloat(v, 64)
			return err == nil && sign*n >= sign*limit
		})
	}
	for _, name := range [...]string{"minLength", "maxLength"} {
		s, ok := tag.Lookup(name)
		if !ok {
			continue
		}
		limit, err := strconv.Atoi(s)
		if err != nil || limit < 0 || elem.Kind() != reflect.String {
			bad("%s %q: want a number, on a string", name, s)
			continue
		}
		if name == "maxLength" {
			add("at most "+s+" characters", func(v string) bool { return len(v) <= limit || utf8.RuneCountInString(v) <= limit })
		} else {
			add("at least "+s+" characters", func(v string) bool { return utf8.RuneCountInString(v) >= limit })
		}
	}
	if s, ok := tag.Lookup("enum"); ok {
		values := strings.Split(s, ",")
		add(s, func(v string) bool { return slices.Contains(values, v) })
	}
}
