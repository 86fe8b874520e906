// Package layers_test keeps the platform's layering: the products stand on
// watchman and on internal packages and know nothing of each other, and
// watchman stands on the standard library alone.
package layers_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/heddle-go/heddle"

var products = []string{"webv4", "motan", "mcq", "objstore", "ssdcache"}

// imports calls see with every import of every Go file under dir.
func imports(t *testing.T, dir string, see func(file, path string)) {
	t.Helper()
	files := 0
	root := filepath.Join("..", "..", dir)
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		files++
		for _, spec := range f.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			see(name, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 {
		t.Fatalf("no Go files under %s", dir)
	}
}

// within reports whether path is the package pkg or below it.
func within(path, pkg string) bool { return path == pkg || strings.HasPrefix(path, pkg+"/") }

func TestProductsKnowNothingOfEachOther(t *testing.T) {
	for _, p := range products {
		allowed := []string{module + "/" + p, module + "/watchman", module + "/internal"}
		imports(t, p, func(file, path string) {
			if within(path, module) && !slices.ContainsFunc(allowed, func(a string) bool { return within(path, a) }) {
				t.Errorf("%s imports %s", file, path)
			}
		})
	}
}

func TestInternalKnowsNoProduct(t *testing.T) {
	imports(t, "internal", func(file, path string) {
		for _, p := range products {
			if within(path, module+"/"+p) {
				t.Errorf("%s imports %s", file, path)
			}
		}
	})
}

// Packages below watchman are for heavy clients and may need more; its tests may
// use what is internal.
func TestWatchmanStandsOnTheStandardLibrary(t *testing.T) {
	imports(t, "watchman", func(file, path string) {
		if filepath.Base(filepath.Dir(file)) != "watchman" {
			return
		}
		if strings.HasSuffix(file, "_test.go") && within(path, module+"/internal") {
			return
		}
		if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") && !within(path, module+"/watchman") {
			t.Errorf("%s imports %s", file, path)
		}
	})
}
