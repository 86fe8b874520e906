package webv4

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Tags that this package and openapi read: of interfaces and of fields.
var (
	interfaceTags = []string{
		"route", "auth", "scopes", "level", "quota", "degrade", "breaker", "idempotent", "timeout", "class", "cost", "with", "select",
		"trim", "etag", "cache", "summary", "doc", "tags", "id", "deprecated", "security", "replies",
	}
	// beside are those of interfaces that mean nothing else on a field.
	beside = []string{"route", "auth", "scopes", "quota", "degrade", "breaker", "idempotent", "timeout", "etag", "cache", "select"}

	fieldTags = slices.Concat(sourceTags[:], constraintTags[:], []string{"required", "default", "maxSize", "doc", "example", "trim"})
)

// othersTags are other packages' that look like misspelt ones.
var othersTags = []string{"enums", "examples", "map"}

// checkTag reports what is wrong with a struct tag as such: it is not well formed, has one
// of known or json twice, or a key that is hardly anything but one of known misspelt.
func checkTag(tag reflect.StructTag, known []string, bad func(string, ...any)) {
	keys, ok := tagKeys(string(tag))
	if !ok {
		bad("tag `%s`: want key:\"value\" pairs with a space between them", tag)
	}
	for i, key := range keys {
		if key == "json" || slices.Contains(known, key) {
			if slices.Contains(keys[:i], key) {
				bad("%s twice in the tag", key)
			}
			continue
		}
		if slices.Contains(othersTags, key) {
			continue
		}
		if meant := nearest(key, known); meant != "" {
			bad("unknown tag %s: is it %s?", key, meant)
		}
	}
}

// tagKeys are the keys of a struct tag in the form that package reflect reads; false
// if there is more, which nobody would see.
func tagKeys(tag string) (keys []string, ok bool) {
	for tag = strings.TrimLeft(tag, " "); tag != ""; tag = strings.TrimLeft(tag, " ") {
		key, rest, found := strings.Cut(tag, ":")
		if !found || key == "" || strings.ContainsFunc(key, func(c rune) bool { return c <= ' ' || c == '"' || c == 0x7f }) {
			return keys, false
		}
		value, err := strconv.QuotedPrefix(rest)
		if err != nil || value[0] != '"' {
			return keys, false
		}
		keys, tag = append(keys, key), rest[len(value):]
	}
	return keys, true
}

// nearest is the word that key is a slip of, "" if there is none: one letter wrong, two in
// long words, their order, or case, and the beginning right.
func nearest(key string, words []string) string {
	low := strings.ToLower(key)
	for _, word := range words {
		want := strings.ToLower(word)
		slips := 1
		if len(word) >= 8 {
			slips = 2
		}
		switch {
		case low == want:
			return word
		case len(word) < 3 || len(low) < 3:
		case low[0] != want[0] && (low[0] != want[1] || low[1] != want[0]):
		case distance(low, want) <= slips, letters(low) == letters(want):
			return word
		}
	}
	return ""
}

// letters are those of a word, in order.
func letters(word string) string {
	b := []byte(word)
	slices.Sort(b)
	return string(b)
}

// distance is how many letters must be put in, left out, changed or swapped with
// their neighbour to make b of a (optimal string alignment).
func distance(a, b string) int {
	if d := len(a) - len(b); d > 3 || d < -3 {
		return 3
	}
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
