//go:build unix

package main

import (
	"testing"
	"time"
)

func TestHistogramPercentile(t *testing.T) {
	for _, us := range []int64{0, 1, 15, 16, 17, 31, 32, 33, 100, 999, 12345, 250_000, 90_000_000} {
		var h histogram
		d := time.Duration(us) * time.Microsecond
		h.add(d)
		got := h.percentile(50)
		if got < d || got > d+d/8+time.Microsecond {
			t.Errorf("one value of %v: median %v, want within an eighth above", d, got)
		}
	}
}

func TestTextRoundTrip(t *testing.T) {
	seen := map[string]bool{}
	for n := range 5000 {
		text := textOf(n)
		if seen[text] {
			t.Fatalf("text %d is not unique: %q", n, text)
		}
		seen[text] = true
		if got, err := numberOf(text); err != nil || got != n {
			t.Fatalf("numberOf(%q) = %d, %v, want %d", text, got, err, n)
		}
		if text != textOf(n) {
			t.Fatalf("text %d differs the second time", n)
		}
	}
	for _, bad := range []string{"", "no number", "#", "#x", "#-3"} {
		if n, err := numberOf(bad); err == nil {
			t.Errorf("numberOf(%q) = %d, want an error", bad, n)
		}
	}
}
