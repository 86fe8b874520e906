package mcq

// window is a run of messages with consecutive numbers in memory, from base on.
// It is a ring: messages are copied only when it grows.
type window struct {
	base  uint64
	ring  []Message
	first int // ring[first] is message base
	n     int
	bytes int
}

func (w *window) len() int { return w.n }

// end is the number behind the last message.
func (w *window) end() uint64 { return w.base + uint64(w.n) }

// at returns message seq, nil if it is not in the window.
func (w *window) at(seq uint64) *Message {
	if seq < w.base || seq >= w.end() {
		return nil
	}
	return w.slot(int(seq - w.base))
}

// slot is where message base+i is, or will be.
func (w *window) slot(i int) *Message {
	if i += w.first; i >= len(w.ring) {
		i -= len(w.ring)
	}
	return &w.ring[i]
}

// push adds the message behind the last.
func (w *window) push(m *Message) {
	if w.n == len(w.ring) {
		w.resize(max(w.n+w.n/2, leastRing))
	}
	*w.slot(w.n) = *m
	w.n++
	w.bytes += len(m.Body) + messageOverhead
}

const leastRing = 4

// resize makes room for so many messages in all, at least those that are there.
func (w *window) resize(room int) {
	ring := make([]Message, room)
	front := w.ring[w.first:min(w.first+w.n, len(w.ring))]
	copy(ring[copy(ring, front):], w.ring[:w.n-len(front)])
	w.ring, w.first = ring, 0
}

// dropBelow forgets the messages below seq.
func (w *window) dropBelow(seq uint64) {
	for w.n > 0 && w.base < seq {
		w.dropFirst()
	}
	if w.n == 0 {
		w.base = max(w.base, seq)
	}
}

// shrink forgets the first messages until at most limit bytes are left.
func (w *window) shrink(limit int) {
	for w.n > 0 && w.bytes > limit {
		w.dropFirst()
	}
}

func (w *window) dropFirst() {
	m := &w.ring[w.first]
	w.bytes -= len(m.Body) + messageOverhead
	*m = Message{}
	if w.first++; w.first == len(w.ring) {
		w.first = 0
	}
	w.n--
	w.base++
}
