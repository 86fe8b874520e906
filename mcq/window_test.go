package mcq

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// A window is held against a list, with all it takes counted.
func TestWindow(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		w := window{base: 7}
		list, base, next := []int(nil), uint64(7), uint64(7) // lengths of the bodies
		for step := range 300 {
			switch n := rnd.IntN(20); {
			case n < 14:
				m := Message{ID: next, Body: make([]byte, rnd.IntN(50))}
				w.push(&m)
				list = append(list, len(m.Body))
				next++
			case n < 17:
				drop := min(rnd.IntN(12), len(list))
				base += uint64(drop)
				list = list[drop:]
				w.dropBelow(base)
			case n == 17:
				limit := rnd.IntN(3000)
				for size(list) > limit {
					base++
					list = list[1:]
				}
				w.shrink(limit)
			case n == 18:
				w.fit()
				if w.held() != w.bytes {
					t.Fatalf("%d held after fit, %d bytes", w.held(), w.bytes)
				}
			default:
				if len(list) == 0 { // what was never in the window
					base += 5
					next = base
					w.dropBelow(base)
				}
			}
			var got []int
			for seq := base; seq < next; seq++ {
				m := w.at(seq)
				if m == nil || m.ID != seq {
					t.Fatalf("round %d, step %d: message %d is %+v", round, step, seq, m)
				}
				got = append(got, len(m.Body))
			}
			if !slices.Equal(got, list) || w.len() != len(list) || w.end() != next || w.bytes != size(list) || w.held() < w.bytes {
				t.Fatalf("round %d, step %d: %d messages to %d of %d bytes, %d held; want %d to %d of %d", round, step, w.len(), w.end(), w.bytes, w.held(), len(list), next, size(list))
			}
			if w.at(base-1) != nil || w.at(next) != nil {
				t.Fatalf("round %d, step %d: there is a message outside", round, step)
			}
		}
	}
}

func size(list []int) (n int) {
	for _, body := range list {
		n += body + messageOverhead
	}
	return n
}
