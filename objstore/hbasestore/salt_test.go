package hbasestore

import (
	"slices"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/objstore"
)

// A range that is looked for in one salt has no keys in another.
func TestSaltsOfRanges(t *testing.T) {
	const salts = 16
	object := "\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x09"
	digest := "\x00\x00\x00\x07\x01" + strings.Repeat("d", 16)
	for _, c := range []struct {
		from, to string
		one      bool
		keys     []string
	}{
		{"v" + object + "\x00\x00\x00\x00\x00\x00\x00\x00", "v" + object + "\x00\x00\x00\x00\x00\x00\x00\x05\x00", true, []string{"v" + object + "\x00\x00\x00\x00\x00\x00\x00\x04"}},
		{"v" + digest + "\x00", "v" + digest + "\x09", true, []string{"v" + digest + "\x00\x00\x00\x00\x00\x00\x00\x04"}},
		{"u7/ab/c\x00", "u7/ab/c\x01", true, []string{"u7/ab/c\x00" + object, "u7/ab/c\x00" + digest}},
		{"x\x00\x00\x00\x07tags\x00loom\x00\x01", "x\x00\x00\x00\x07tags\x00loom\x00\x02", true, []string{"x\x00\x00\x00\x07tags\x00loom\x00\x01" + object}},
		{"x\x00\x00\x00\x07tags\x00loom\x00\x01" + object + "\x00", "x\x00\x00\x00\x07tags\x00loom\x00\x02", true, []string{"x\x00\x00\x00\x07tags\x00loom\x00\x01" + digest}},
		{"x\x00\x00\x00\x07tags\x00loom", "x\x00\x00\x00\x07tags\x00loop", false, nil},
		{"x\x00\x00\x00\x07tags\x00", "x\x00\x00\x00\x07tags\x01", false, nil},
		{"r\x00\x00\x00\x07", "r\x00\x00\x00\x08", false, nil},
		{"u", "v", false, nil},
		{"", "", false, nil},
	} {
		r := objstore.Range{From: []byte(c.from), To: []byte(c.to)}
		got := saltsOf(&r, salts)
		if c.one != (len(got) == 1) {
			t.Errorf("%q to %q: salts %v", c.from, c.to, got)
		}
		for _, key := range c.keys {
			if !slices.Contains(got, saltOf([]byte(key), salts)) {
				t.Errorf("%q to %q: salts %v, and %q has %d", c.from, c.to, got, key, saltOf([]byte(key), salts))
			}
		}
	}
}

func FuzzSaltsOfRanges(f *testing.F) {
	f.Add([]byte("u7/ab\x00"), []byte("u7/ab\x01"), []byte("u7/ab\x00object"))
	f.Add([]byte("x\x00\x00\x00\x07tags\x00a\x00\x01"), []byte("x\x00\x00\x00\x07tags\x00a\x00\x02"), []byte("x\x00\x00\x00\x07tags\x00a\x00\x01o"))
	f.Add([]byte("v"), []byte(nil), []byte("v\x00\x00\x00\x07\x01"))
	f.Fuzz(func(t *testing.T, from, to, key []byte) {
		if len(to) == 0 {
			to = nil
		}
		if len(key) == 0 || string(key) < string(from) || to != nil && string(key) >= string(to) {
			return
		}
		if got := saltsOf(&objstore.Range{From: from, To: to}, 16); !slices.Contains(got, saltOf(key, 16)) {
			t.Errorf("%q to %q: salts %v, and %q has %d", from, to, got, key, saltOf(key, 16))
		}
	})
}
