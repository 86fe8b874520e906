package webv4

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// keyKind is how the keys of a map are names in JSON.
type keyKind uint8

const (
	otherKeys keyKind = iota // encoding/json's business
	stringKeys
	intKeys
	uintKeys
	textKeys // by MarshalText and UnmarshalText
)

func keyKindOf(t reflect.Type) keyKind {
	writes, reads := t.Implements(textMarshaler), reflect.PointerTo(t).Implements(textUnmarshaler)
	switch {
	case writes && reads && t.Kind() != reflect.String && t.Kind() != reflect.Interface:
		return textKeys
	case writes || reads:
	case t.Kind() == reflect.String:
		return stringKeys
	case isInt(t):
		return intKeys
	case isUint(t):
		return uintKeys
	}
	return otherKeys
}

// mapEntry is a key of a map and what it is called.
type mapEntry struct {
	name string
	key  reflect.Value
}

// entries are those of a map, by name.
func (m *model) entries(v reflect.Value) ([]mapEntry, error) {
	keys := v.MapKeys()
	list := make([]mapEntry, len(keys))
	for i, key := range keys {
		list[i].key = key
		switch m.keys {
		case intKeys:
			list[i].name = strconv.FormatInt(key.Int(), 10)
		case uintKeys:
			list[i].name = strconv.FormatUint(key.Uint(), 10)
		case textKeys:
			if key.Kind() == reflect.Pointer && key.IsNil() {
				continue // as in encoding/json
			}
			text, err := key.Interface().(encoding.TextMarshaler).MarshalText()
			if err != nil {
				return nil, err
			}
			list[i].name = string(text)
		default:
			list[i].name = key.String()
		}
	}
	slices.SortFunc(list, func(a, b mapEntry) int { return strings.Compare(a.name, b.name) })
	return list, nil
}

// key reads a key; an error says what was expected.
func (m *model) key(name string) (reflect.Value, error) {
	t := m.typ.Key()
	if m.keys == stringKeys {
		return reflect.ValueOf(strings.Clone(name)).Convert(t), nil
	}
	key := reflect.New(t)
	var err error
	switch m.keys {
	case intKeys:
		var n int64
		if n, err = strconv.ParseInt(name, 10, t.Bits()); err != nil {
			err = numberError(err, errInteger)
		}
		key.Elem().SetInt(n)
	case uintKeys:
		var n uint64
		if n, err = strconv.ParseUint(name, 10, t.Bits()); err != nil {
			err = numberError(err, errUnsigned)
		}
		key.Elem().SetUint(n)
	case textKeys:
		if key.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(name)) != nil {
			err = expect(t.String())
		}
	}
	return key.Elem(), err
}
