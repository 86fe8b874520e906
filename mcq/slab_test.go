package mcq

import (
	"bytes"
	"testing"
)

// Copies have nothing to do with each other or with what they were made of.
func TestSlab(t *testing.T) {
	var s slab
	var copies [][]byte
	sizes := []int{0, 1, slabMost, slabMost + 1, 3, slabSize, 0, 2 * slabSize}
	for i := range 1000 {
		body := bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)]+i%7)
		got := s.copy(body)
		if got == nil || cap(got) != len(got) {
			t.Fatalf("copy of %d bytes has room for %d", len(body), cap(got))
		}
		clear(body)
		copies = append(copies, got)
	}
	for i, got := range copies {
		if !bytes.Equal(got, bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)]+i%7)) {
			t.Fatalf("copy %d has changed", i)
		}
	}
}

// A body keeps no more memory than what was copied before it, or slabSize.
func TestSlabGrows(t *testing.T) {
	var s slab
	copied := 0
	for range 5000 {
		s.copy(make([]byte, 10))
		if copied += 10; cap(s) > max(slabLeast, min(2*copied, slabSize)) {
			t.Fatalf("after %d bytes there is room for %d", copied, cap(s))
		}
	}
}
