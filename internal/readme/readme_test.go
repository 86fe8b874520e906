// Package readme_test keeps the README honest: its snippets are lines of the
// packages' Example functions, and what it links to exists.
package readme_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// flat drops the indentation, which differs between a function's body and the page.
func flat(code string) string {
	lines := strings.Split(strings.TrimSpace(code), "\n")
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return strings.Join(lines, "\n")
}

var snippet = regexp.MustCompile("(?s)### ([a-z0-9]+)\n.*?```go\n(.*?)```")

func TestSnippetsAreExamples(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range snippet.FindAllStringSubmatch(readme(t), -1) {
		pkg, code := m[1], m[2]
		seen[pkg] = true
		b, err := os.ReadFile(filepath.Join(root, pkg, "example_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(code, "\n\n") {
			if !strings.Contains(flat(string(b)), flat(part)) {
				t.Errorf("this part of the snippet of %s is not in its example_test.go:\n%s", pkg, part)
			}
		}
		if lines := strings.Count(strings.TrimSpace(code), "\n") + 1; lines > 12 {
			t.Errorf("the snippet of %s has %d lines", pkg, lines)
		}
	}
	for _, pkg := range []string{"webv4", "motan", "mcq", "objstore", "ssdcache", "watchman"} {
		if !seen[pkg] {
			t.Errorf("no snippet of %s", pkg)
		}
	}
}

var (
	link  = regexp.MustCompile(`\]\(([^)#]+)\)`)
	fence = regexp.MustCompile("(?s)```.*?```")
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(readme(t), ""), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("link to %s: %v", m[1], err)
		}
	}
}
