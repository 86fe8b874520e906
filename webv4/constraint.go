package webv4

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/mail"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// rule checks the variable at an address; its error says what was expected.
type rule func(at unsafe.Pointer) error

// constraints are what a value must satisfy beyond its type.
type constraints struct {
	value []rule // of a value, or of each item of a list
	list  []rule // of a list as a whole

	maxItems int // 0: as many as the body holds
}

func check(rules []rule, at unsafe.Pointer) error {
	for _, r := range rules {
		if err := r(at); err != nil {
			return err
		}
	}
	return nil
}

// check checks a variable of type t that was read as a whole.
func (c *constraints) check(t reflect.Type, at unsafe.Pointer) error {
	if !isList(t) {
		return check(c.value, at)
	}
	list := (*sliceHeader)(at)
	for i := range list.len {
		item := unsafe.Add(list.data, uintptr(i)*t.Elem().Size())
		if t.Elem().Kind() == reflect.Pointer {
			if item = *(*unsafe.Pointer)(item); item == nil {
				continue
			}
		}
		if err := check(c.value, item); err != nil {
			return err
		}
	}
	return check(c.list, at)
}

// isList reports whether constraints are about the items of t.
func isList(t reflect.Type) bool {
	return t.Kind() == reflect.Slice && t.Elem().Kind() != reflect.Uint8
}

// constraintTags are the tags that readConstraints knows.
var constraintTags = [...]string{"min", "max", "minLength", "maxLength", "pattern", "format", "enum", "minItems", "maxItems", "uniqueItems"}

// readConstraints compiles the tags of a variable of type t: min and max for
// numbers and durations, minLength and maxLength in characters, pattern and
// format for strings, enum for strings and numbers, minItems, maxItems and
// uniqueItems for lists, whose items the others are about.
func readConstraints(tag reflect.StructTag, t reflect.Type, bad func(string, ...any)) constraints {
	var c constraints
	elem := t
	if isList(t) {
		elem = t.Elem()
	}
	if elem.Kind() == reflect.Pointer {
		elem = elem.Elem()
	}
	for _, name := range constraintTags {
		s, ok := tag.Lookup(name)
		if !ok {
			continue
		}
		var r rule
		var err error
		onList := false
		switch name {
		case "min", "max":
			r, err = boundRule(name, s, elem)
		case "minLength", "maxLength":
			r, err = lengthRule(name, s, elem)
		case "pattern", "format":
			r, err = textRule(name, s, elem)
		case "enum":
			r, err = enumRule(s, elem)
		default:
			onList = true
			r, err = itemsRule(name, s, t)
		}
		switch {
		case err != nil:
			bad("%s %q: %v", name, s, err)
		case onList:
			c.list = append(c.list, r)
			if name == "maxItems" {
				c.maxItems, _ = strconv.Atoi(s)
			}
		default:
			c.value = append(c.value, r)
		}
	}
	c.contradictions(tag, elem, bad)
	return c
}

// contradictions reports rules that nothing can keep, or that make others idle.
func (c *constraints) contradictions(tag reflect.StructTag, elem reflect.Type, bad func(string, ...any)) {
	for _, pair := range [...][2]string{{"min", "max"}, {"minLength", "maxLength"}, {"minItems", "maxItems"}} {
		if low, high := tag.Get(pair[0]), tag.Get(pair[1]); exceeds(low, high) {
			bad("%s %q is above %s %q", pair[0], low, pair[1], high)
		}
	}
	enum, ok := tag.Lookup("enum")
	set, err := scalarSetter(elem)
	if !ok || err != nil {
		return
	}
	texts := strings.Split(enum, ",")
	for i, text := range texts {
		v := reflect.New(elem).UnsafePointer()
		if slices.Contains(texts[:i], text) {
			bad("enum %q has %q twice", enum, text)
		} else if set(v, text) == nil {
			if err := check(c.value, v); err != nil {
				bad("enum %q: %q breaks another rule: %v", enum, text, err)
			}
		}
	}
}

// exceeds compares two numbers or two durations exactly; false for what is neither.
func exceeds(a, b string) bool {
	x, ok := new(big.Rat).SetString(a)
	y, also := new(big.Rat).SetString(b)
	if ok && also {
		return x.Cmp(y) > 0
	}
	d, err := time.ParseDuration(a)
	e, err2 := time.ParseDuration(b)
	return err == nil && err2 == nil && d > e
}

func expect(text string) error { return fmt.Errorf("expect (%s)", text) }

// boundRule compares numbers in their own type, so that large ones are exact.
func boundRule(name, s string, t reflect.Type) (rule, error) {
	text := ">= " + s
	if name == "max" {
		text = "<= " + s
	}
	broken := expect(text)
	sign := 1 // of value-limit
	if name == "max" {
		sign = -1
	}
	size := int(t.Size())
	if t != reflect.TypeFor[time.Duration]() && !isNumber(s) {
		return nil, errors.New("want a number as JSON has it")
	}
	switch {
	case t == reflect.TypeFor[time.Duration]():
		limit, err := time.ParseDuration(s)
		return func(at unsafe.Pointer) error {
			if order(*(*time.Duration)(at), limit)*sign < 0 {
				return broken
			}
			return nil
		}, err
	case isInt(t):
		limit, err := strconv.ParseInt(s, 10, size*8)
		return func(at unsafe.Pointer) error {
			if order(loadInt(at, size), limit)*sign < 0 {
				return broken
			}
			return nil
		}, err
	case isUint(t):
		limit, err := strconv.ParseUint(s, 10, size*8)
		return func(at unsafe.Pointer) error {
			if order(loadUint(at, size), limit)*sign < 0 {
				return broken
			}
			return nil
		}, err
	case t.Kind() == reflect.Float64:
		limit, err := strconv.ParseFloat(s, 64)
		return func(at unsafe.Pointer) error {
			if order(*(*float64)(at), limit)*sign < 0 {
				return broken
			}
			return nil
		}, err
	case t.Kind() == reflect.Float32:
		limit, err := strconv.ParseFloat(s, 64)
		return func(at unsafe.Pointer) error {
			if order(float64(*(*float32)(at)), limit)*sign < 0 {
				return broken
			}
			return nil
		}, err
	}
	return nil, fmt.Errorf("type %s is no number", t)
}

// isNumber reports whether s is a number by JSON's grammar, in which it will stand
// in the schema.
func isNumber(s string) bool {
	return s != "" && (s[0] == '-' || s[0] >= '0' && s[0] <= '9') && json.Valid([]byte(s))
}

func order[T int64 | uint64 | float64 | time.Duration](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func lengthRule(name, s string, t reflect.Type) (rule, error) {
	limit, err := strconv.Atoi(s)
	if err != nil || limit < 0 || !isNumber(s) {
		return nil, errors.New("want a number of characters")
	}
	if t.Kind() != reflect.String {
		return nil, fmt.Errorf("type %s is no string", t)
	}
	if name == "maxLength" {
		broken := expect("at most " + s + " characters")
		return func(at unsafe.Pointer) error {
			// A string has no more characters than bytes.
			if v := *(*string)(at); len(v) > limit && utf8.RuneCountInString(v) > limit {
				return broken
			}
			return nil
		}, nil
	}
	broken := expect("at least " + s + " characters")
	return func(at unsafe.Pointer) error {
		if v := *(*string)(at); utf8.RuneCountInString(v) < limit {
			return broken
		}
		return nil
	}, nil
}

// formats are checked as far as their grammar goes.
var formats = map[string]func(string) bool{
	"email": func(s string) bool {
		a, err := mail.ParseAddress(s)
		return err == nil && a.Address == s
	},
	"uri": func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && u.Scheme != ""
	},
	"date":      func(s string) bool { _, err := time.Parse(time.DateOnly, s); return err == nil },
	"date-time": func(s string) bool { _, err := time.Parse(time.RFC3339, s); return err == nil },
	"ip":        func(s string) bool { _, err := netip.ParseAddr(s); return err == nil },
	"uuid": regexp.MustCompile(
		`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`).MatchString,
}

func textRule(name, s string, t reflect.Type) (rule, error) {
	if t.Kind() != reflect.String {
		return nil, fmt.Errorf("type %s is no string", t)
	}
	ok, known := formats[s]
	if name == "pattern" {
		re, err := regexp.Compile(s)
		if err != nil {
			return nil, err
		}
		ok, known = re.MatchString, true
	}
	if !known {
		return nil, errors.New("want email, uri, date, date-time, ip or uuid")
	}
	broken := expect(s)
	return func(at unsafe.Pointer) error {
		if !ok(*(*string)(at)) {
			return broken
		}
		return nil
	}, nil
}

func enumRule(s string, t reflect.Type) (rule, error) {
	if s == "" {
		return nil, errors.New("want the values there are")
	}
	texts := strings.Split(s, ",")
	broken := expect(s)
	size := int(t.Size())
	switch {
	case t.Kind() == reflect.String:
		return func(at unsafe.Pointer) error {
			if !slices.Contains(texts, *(*string)(at)) {
				return broken
			}
			return nil
		}, nil
	case (isInt(t) || isUint(t)) && t != reflect.TypeFor[time.Duration]():
		// Both kinds of integers are compared by their bits.
		set, err := scalarSetter(t)
		if err != nil {
			return nil, err
		}
		var allowed []uint64
		for _, text := range texts {
			v := reflect.New(t).UnsafePointer()
			if err := set(v, text); err != nil {
				return nil, err
			}
			allowed = append(allowed, loadUint(v, size))
		}
		return func(at unsafe.Pointer) error {
			if !slices.Contains(allowed, loadUint(at, size)) {
				return broken
			}
			return nil
		}, nil
	}
	return nil, fmt.Errorf("type %s is neither a string nor an integer", t)
}

func itemsRule(name, s string, t reflect.Type) (rule, error) {
	if !isList(t) {
		return nil, fmt.Errorf("type %s is no list", t)
	}
	if name == "uniqueItems" {
		if s != "true" || !strictlyComparable(t.Elem()) {
			return nil, errors.New("want true, on items that are compared by what is in them: no pointers, no interfaces")
		}
		broken := expect("items that differ")
		return func(at unsafe.Pointer) error {
			list := reflect.NewAt(t, at).Elem()
			seen := make(map[any]bool, list.Len())
			for i := range list.Len() {
				v := list.Index(i).Interface()
				if seen[v] {
					return broken
				}
				seen[v] = true
			}
			return nil
		}, nil
	}
	limit, err := strconv.Atoi(s)
	if err != nil || limit < 0 || !isNumber(s) {
		return nil, errors.New("want a number of items")
	}
	length := func(at unsafe.Pointer) int { return (*sliceHeader)(at).len }
	if name == "maxItems" {
		broken := expect("at most " + s + " items")
		return func(at unsafe.Pointer) error {
			if length(at) > limit {
				return broken
			}
			return nil
		}, nil
	}
	broken := expect("at least " + s + " items")
	return func(at unsafe.Pointer) error {
		if length(at) < limit {
			return broken
		}
		return nil
	}, nil
}

// strictlyComparable reports whether values of a type can be compared, and are equal
// if what clients see of them is.
func strictlyComparable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface, reflect.Pointer:
		return false
	case reflect.Array:
		return strictlyComparable(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			// A type's own pointers are its own business: netip.Addr, time.Time.
			if f := t.Field(i); !strictlyComparable(f.Type) && (f.IsExported() || f.Type.Kind() != reflect.Pointer) && !t.Implements(textMarshaler) {
				return false
			}
		}
	}
	return t.Comparable()
}

// sliceHeader is how a slice lies in memory.
type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

func isInt(t reflect.Type) bool { return t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 }

func isUint(t reflect.Type) bool { return t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 }

func loadInt(at unsafe.Pointer, size int) int64 {
	switch size {
	case 1:
		return int64(*(*int8)(at))
	case 2:
		return int64(*(*int16)(at))
	case 4:
		return int64(*(*int32)(at))
	}
	return *(*int64)(at)
}

func loadUint(at unsafe.Pointer, size int) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(at))
	case 2:
		return uint64(*(*uint16)(at))
	case 4:
		return uint64(*(*uint32)(at))
	}
	return *(*uint64)(at)
}

// storeInt stores a signed or unsigned integer that is known to fit.
func storeInt(at unsafe.Pointer, size int, n uint64) {
	switch size {
	case 1:
		*(*uint8)(at) = uint8(n)
	case 2:
		*(*uint16)(at) = uint16(n)
	case 4:
		*(*uint32)(at) = uint32(n)
	default:
		*(*uint64)(at) = n
	}
}
