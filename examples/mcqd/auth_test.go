package main

import (
	"maps"
	"strings"
	"testing"
)

// The file is read as memcached reads it.
func TestAuthFile(t *testing.T) {
	got, err := readAuth(file(t, "ada:secret word\r\nbob:a:b \n#eve: x"))
	if want := map[string]string{"ada": "secret word", "bob": "a:b ", "#eve": " x"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for text, want := range map[string]string{
		"":                      "there are no users in it",
		"ada:x\nada secret\n":   "line 2: want name:password",
		"ada:x\n\nbob:y\n":      "line 2: want name:password",
		"# who may\n":           "line 1: want name:password",
		":secret\n":             "line 1: want name:password",
		"ada:\n":                "line 1: want name:password",
		"ada:x\nthe bob:y\n":    "line 2: a name has no spaces",
		"ada:x\nbob:y\nada:z\n": "line 3: ada has a password already",
	} {
		if users, err := readAuth(file(t, text)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %q, %v, want %s", text, users, err, want)
		}
	}
}
