package mcq

// window is a run of messages with consecutive numbers in memory, from base on.
type window struct {
	base  uint64
	list  []Message
	first int // list[first] is message base
	bytes int
}

func (w *window) len() int { return len(w.list) - w.first }

// end is the number behind the last message.
func (w *window) end() uint64 { return w.base + uint64(w.len()) }

// at returns message seq, nil if it is not in the window.
func (w *window) at(seq uint64) *Message {
	if seq < w.base || seq >= w.end() {
		return nil
	}
	return &w.list[w.first+int(seq-w.base)]
}

// push adds the message behind the last.
func (w *window) push(m Message) {
	if w.first > 1024 && w.first > len(w.list)/2 {
		n := copy(w.list, w.list[w.first:])
		clear(w.list[n:])
		w.list, w.first = w.list[:n], 0
	}
	w.list = append(w.list, m)
	w.bytes += len(m.Body) + messageOverhead
}

// dropBelow forgets the messages below seq.
func (w *window) dropBelow(seq uint64) {
	for w.len() > 0 && w.base < seq {
		w.dropFirst()
	}
	if w.len() == 0 {
		w.base = max(w.base, seq)
	}
}

// shrink forgets the first messages until at most limit bytes are left.
func (w *window) shrink(limit int) {
	for w.len() > 0 && w.bytes > limit {
		w.dropFirst()
	}
}

func (w *window) dropFirst() {
	w.bytes -= len(w.list[w.first].Body) + messageOverhead
	w.list[w.first] = Message{}
	w.first++
	w.base++
	if w.first == len(w.list) {
		w.list, w.first = w.list[:0], 0
	}
}
