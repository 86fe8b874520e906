//go:build !race

package motan

import (
	"strings"
	"testing"
)

// Encoding the plain kinds allocates nothing; decoding takes what the value needs.
func TestPlainKindsAllocateNothing(t *testing.T) {
	buf := make([]byte, 0, 4096)
	text, blob, n, yes, f := strings.Repeat("x", 100), make([]byte, 100), int64(1<<40), true, 1.5
	user := struct {
		ID   int64
		Name string
		OK   bool
	}{7, "ray", true}
	for _, s := range []Serializer{Simple{}, Breeze{}} {
		for _, v := range []any{&text, &blob, &n, &yes, &f, &user} {
			if _, names := s.(Breeze); names && v == any(&user) {
				continue // it remembers the names of messages
			}
			if got := testing.AllocsPerRun(100, func() {
				if _, err := s.Append(buf, v); err != nil {
					t.Error(err)
				}
			}); got != 0 {
				t.Errorf("%T writes %T: %g allocations", s, v, got)
			}
		}
	}
	for _, tc := range []struct {
		v    any
		want float64
	}{{&text, 1}, {&blob, 1}, {&n, 0}, {&yes, 0}, {&f, 0}, {&user, 1}} {
		b, err := (Simple{}).Append(nil, tc.v)
		if err != nil {
			t.Fatal(err)
		}
		if got := testing.AllocsPerRun(100, func() {
			if err := (Simple{}).Decode(b, tc.v); err != nil {
				t.Error(err)
			}
		}); got > tc.want {
			t.Errorf("reading %T: %g allocations, want %g", tc.v, got, tc.want)
		}
	}
}
