package webv4

import (
	"fmt"
	"strings"
	"sync"
)

// Replies with fewer fields are written from a model with fewer fields, made
// once: for all that is trimmed, and for each selection that clients ask for.

// trimmed returns the model without the fields tagged trim:"true".
func (m *model) trimmed(made map[*model]*model) *model {
	if t := made[m]; t != nil {
		return t
	}
	t := *m
	made[m] = &t
	if m.elem != nil {
		t.elem = m.elem.trimmed(made)
	}
	t.fields = nil
	for _, f := range m.fields {
		if f.trim {
			continue
		}
		f.model = f.model.trimmed(made)
		t.fields = append(t.fields, f)
	}
	return &t
}

// trims reports whether trimming leaves anything out.
func (m *model) trims(seen map[*model]bool) bool {
	if seen[m] {
		return false
	}
	seen[m] = true
	for i := range m.fields {
		if f := &m.fields[i]; f.trim || f.model.trims(seen) {
			return true
		}
	}
	return m.elem != nil && m.elem.trims(seen)
}

// selection is the fields that a client wants, by name; one that is empty wants
// all there is below.
type selection map[string]selection

// maxSelected bounds what a selection may name.
const maxSelected = 100

// parseSelection reads a list such as id,user.name.
func parseSelection(s string) (selection, error) {
	root := selection{}
	n := 0
	for path := range strings.SplitSeq(s, ",") {
		at := root
		for name := range strings.SplitSeq(path, ".") {
			if n++; n > maxSelected || name == "" {
				return nil, fmt.Errorf("expect (at most %d names, such as id,user.name)", maxSelected)
			}
			next := at[name]
			if next == nil {
				next = selection{}
				at[name] = next
			}
			at = next
		}
	}
	return root, nil
}

// selected returns the model with the wanted fields only.
func (m *model) selected(want selection) (*model, error) {
	if len(want) == 0 {
		return m, nil
	}
	t := *m
	switch m.kind {
	case modelPointer, modelList, modelArray, modelMap, modelOpt:
		elem, err := m.elem.selected(want)
		t.elem = elem
		return &t, err
	case modelStruct:
		t.fields = nil
		found := 0
		for _, f := range m.fields {
			below, ok := want[f.name]
			if !ok {
				continue
			}
			found++
			var err error
			if f.model, err = f.model.selected(below); err != nil {
				return nil, err
			}
			t.fields = append(t.fields, f)
		}
		if found < len(want) {
			for name := range want {
				if m.field(name, -1) < 0 {
					return nil, fmt.Errorf("expect (names of the reply's fields; %s is none)", shorten(name))
				}
			}
		}
		return &t, nil
	}
	return nil, fmt.Errorf("expect (names of the reply's fields; there is nothing below one of them)")
}

// selections are the models made for clients' selections: the newest hundred
// or so of one interface.
type selections struct {
	mu sync.Mutex
	m  map[string]*picked
}

// picked is what a selection leaves of a reply, and of a trimmed one.
type picked struct{ all, trimmed *model }

const maxSelections = 128

func (s *selections) model(base *model, text string) (*picked, error) {
	s.mu.Lock()
	p := s.m[text]
	s.mu.Unlock()
	if p != nil {
		return p, nil
	}
	want, err := parseSelection(text)
	if err != nil {
		return nil, err
	}
	all, err := base.selected(want)
	if err != nil {
		return nil, err
	}
	p = &picked{all, all.trimmed(map[*model]*model{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || len(s.m) >= maxSelections {
		s.m = map[string]*picked{}
	}
	s.m[strings.Clone(text)] = p
	return p, nil
}
