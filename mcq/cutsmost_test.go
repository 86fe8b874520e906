package mcq

import "testing"

// Logs that got enough all at once are cut one part after the other, each once.
func TestCutsAreBounded(t *testing.T) {
	c := cuts{from: cutFrom}
	for id := range uint32(3*cutMost - 1) {
		c.count(&messageLog{id: id + 1, trimmed: 1}, cutFrom)
	}
	left := 3*cutMost - 1
	for range 4 {
		c.set()
		want := min(left, cutMost)
		left -= want
		n := len(*c.keys.Load())
		if want > 0 {
			want = 2 + 3*want
		}
		if n != want {
			t.Errorf("%d cuts, want %d", n, want)
		}
	}
}
