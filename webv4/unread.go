package webv4

import (
	"reflect"
	"slices"
)

// A tag that nobody looks at is worse than none: who wrote it counts on it. So what
// a body's fields ask for must be within reach of what reads the body.

// rulesOf are the tags of a field that say what a value must be.
func rulesOf(tag reflect.StructTag) []string {
	var list []string
	for _, name := range slices.Concat(constraintTags[:], []string{"required", "default"}) {
		if _, ok := tag.Lookup(name); ok {
			list = append(list, name)
		}
	}
	return list
}

// unread reports the rules of a body's fields that the reader of the model does not
// come by, because a type reads itself, and fields that it cannot read.
func (m *model) unread(seen map[*model]bool, bad func(string, ...any)) {
	if seen[m] {
		return
	}
	seen[m] = true
	switch {
	case m.kind != modelForeign && m.kind != modelText:
	case m.marshals():
		rulesWithin(m.typ, map[reflect.Type]bool{}, func(t reflect.Type, field, rule string) {
			bad("%s.%s: %s is never looked at: %s reads itself", t, field, rule, m.typ)
		})
	case m.typ.Kind() == reflect.Interface:
		bad("type %s: nothing can be read into it", m.typ)
	}
	if m.elem != nil {
		m.elem.unread(seen, bad)
	}
	for i := range m.fields {
		m.fields[i].model.unread(seen, bad)
	}
}

// rulesWithin finds the rules of fields in t, at any depth.
func rulesWithin(t reflect.Type, seen map[reflect.Type]bool, found func(t reflect.Type, field, rule string)) {
	if seen[t] {
		return
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		rulesWithin(t.Elem(), seen, found)
	case reflect.Struct:
		for i := range t.NumField() {
			sf := t.Field(i)
			if !sf.IsExported() && !sf.Anonymous {
				continue
			}
			for _, rule := range rulesOf(sf.Tag) {
				found(t, sf.Name, rule)
			}
			rulesWithin(sf.Type, seen, found)
		}
	}
}
