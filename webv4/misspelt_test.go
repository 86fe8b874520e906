package webv4

import (
	"slices"
	"testing"
)

// go vet would not let a struct have these tags.
func TestTagKeys(t *testing.T) {
	for tag, want := range map[string][]string{
		"": nil, `a:"1"`: {"a"}, `  a:"1"  b:"x \" y" `: {"a", "b"}, `a:"1"b:"2"`: {"a", "b"}, `a:""`: {"a"},
	} {
		if got, ok := tagKeys(tag); !ok || !slices.Equal(got, want) {
			t.Errorf("%s: got %q, %v", tag, got, ok)
		}
	}
	for _, tag := range []string{`a`, `a:`, `a: "1"`, `a:1`, `a:"1`, `:"1"`, "a:`1`", `a:"1" b`, `a b:"1"`, `a:'1'`} {
		if got, ok := tagKeys(tag); ok {
			t.Errorf("%s: taken as %q", tag, got)
		}
	}
}
