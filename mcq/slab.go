package mcq

// slab is room for copies of bodies that are read together: an allocation for each would
// cost more than reading it.
type slab []byte

const (
	// slabSize is how much memory a body may keep that is not its own.
	slabSize = 8 << 10

	// slabLeast is the first room, which is doubled: of a queue with one message no
	// more is read, and there may be many of those.
	slabLeast = 128

	// slabMost is the largest body that shares.
	slabMost = slabSize / 8
)

// copy returns a copy of body that is not nil.
func (s *slab) copy(body []byte) []byte {
	n := len(body)
	if n > slabMost {
		return append(make([]byte, 0, n), body...)
	}
	if cap(*s)-len(*s) < n || *s == nil {
		*s = make([]byte, 0, max(min(2*cap(*s), slabSize), slabLeast, n))
	}
	at := len(*s)
	*s = append(*s, body...)
	return (*s)[at : at+n : at+n]
}
