package mcq

// minHeap is a binary heap; less says which of two comes out first.
type minHeap[T any] struct {
	list []T
	less func(a, b T) bool
}

func (h *minHeap[T]) len() int { return len(h.list) }

// top is the one that comes out next; the heap must not be empty.
func (h *minHeap[T]) top() T { return h.list[0] }

func (h *minHeap[T]) push(v T) {
	h.list = append(h.list, v)
	for i := len(h.list) - 1; i > 0; {
		up := (i - 1) / 2
		if !h.less(h.list[i], h.list[up]) {
			return
		}
		h.list[i], h.list[up] = h.list[up], h.list[i]
		i = up
	}
}

func (h *minHeap[T]) pop() T {
	v := h.list[0]
	n := len(h.list) - 1
	h.list[0] = h.list[n]
	h.list = h.list[:n]
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if h.less(h.list[c], h.list[least]) {
				least = c
			}
		}
		if least == i {
			return v
		}
		h.list[i], h.list[least] = h.list[least], h.list[i]
		i = least
	}
}
