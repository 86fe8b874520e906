package openapi

import (
	"slices"
	"strings"

	"github.com/heddle-go/heddle/webv4"
)

// placeholder is a path's parameter: :name, *name or :name.json.
func placeholder(part string) (name, suffix string, ok bool) {
	if part == "" || part[0] != ':' && part[0] != '*' {
		return "", "", false
	}
	name, suffix, dotted := strings.Cut(part[1:], ".")
	if dotted {
		suffix = "." + suffix
	}
	return name, suffix, true
}

// template writes a path's parameters in braces.
func template(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, suffix, ok := placeholder(part); ok {
			parts[i] = "{" + name + "}" + suffix
		}
	}
	return strings.Join(parts, "/")
}

// templates are the paths of a document. Two that differ only in the names of
// their parameters are one to OpenAPI, which has the first one's names.
type templates map[string]string

// settle returns the interface's path in the document, with d's path parameters
// named as there. One that no field takes is a string.
func (t templates) settle(d *webv4.Description) string {
	parts := strings.Split(d.Path, "/")
	var names []string
	for i, part := range parts {
		if name, suffix, ok := placeholder(part); ok {
			names = append(names, name)
			parts[i] = "{}" + suffix
		}
	}
	shape := strings.Join(parts, "/")
	if _, ok := t[shape]; !ok {
		t[shape] = d.Path
	}
	var first []string
	for part := range strings.SplitSeq(t[shape], "/") {
		if name, _, ok := placeholder(part); ok {
			first = append(first, name)
		}
	}
	declared := make([]bool, len(names))
	d.Parameters = slices.Clone(d.Parameters)
	for i := range d.Parameters {
		p := &d.Parameters[i]
		if p.In != "path" {
			continue
		}
		if at := slices.Index(names, p.Name); at >= 0 {
			p.Name, declared[at] = first[at], true
		}
	}
	for i, done := range declared {
		if !done {
			d.Parameters = append(d.Parameters, webv4.Parameter{Name: first[i], In: "path", Required: true, Schema: &webv4.Schema{Type: "string"}})
		}
	}
	return template(t[shape])
}
