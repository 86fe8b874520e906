package mcq

import (
	"encoding/binary"
	"errors"
	"slices"
)

// interval is the numbers from up to, but not including, to.
type interval struct{ from, to uint64 }

// progress is which messages of a queue have been acknowledged: all below
// cursor, and those in the intervals beyond it, which are sorted, disjoint and
// do not touch.
type progress struct {
	cursor uint64
	beyond []interval
}

// add marks from..to-1 as acknowledged. Doing so twice changes nothing.
func (p *progress) add(from, to uint64) {
	if from = max(from, p.cursor); from >= to {
		return
	}
	// The first interval that ends at or behind from, and the first behind to.
	i, _ := slices.BinarySearchFunc(p.beyond, from, func(v interval, f uint64) int {
		if v.to < f {
			return -1
		}
		return 1
	})
	j := i
	for j < len(p.beyond) && p.beyond[j].from <= to {
		from, to = min(from, p.beyond[j].from), max(to, p.beyond[j].to)
		j++
	}
	p.beyond = slices.Replace(p.beyond, i, j, interval{from, to})
	if p.beyond[0].from <= p.cursor {
		p.cursor = p.beyond[0].to
		p.beyond = slices.Delete(p.beyond, 0, 1)
	}
}

// has reports whether seq has been acknowledged.
func (p *progress) has(seq uint64) bool {
	if seq < p.cursor {
		return true
	}
	i, _ := slices.BinarySearchFunc(p.beyond, seq, func(v interval, s uint64) int {
		if v.to <= s {
			return -1
		}
		return 1
	})
	return i < len(p.beyond) && p.beyond[i].from <= seq
}

// end is the number behind the last one that has been acknowledged.
func (p *progress) end() uint64 {
	if n := len(p.beyond); n > 0 {
		return p.beyond[n-1].to
	}
	return p.cursor
}

// done is how many messages have been acknowledged in all.
func (p *progress) done() uint64 {
	n := p.cursor - 1
	for _, v := range p.beyond {
		n += v.to - v.from
	}
	return n
}

// append writes p as uvarints: cursor, number of intervals, and for each the
// distance from the end of the one before and its length.
func (p *progress) append(b []byte) []byte {
	b = binary.AppendUvarint(b, p.cursor)
	b = binary.AppendUvarint(b, uint64(len(p.beyond)))
	at := p.cursor
	for _, v := range p.beyond {
		b = binary.AppendUvarint(b, v.from-at)
		b = binary.AppendUvarint(b, v.to-v.from)
		at = v.to
	}
	return b
}

var errProgress = errors.New("mcq: malformed cursor")

func parseProgress(b []byte) (p progress, err error) {
	next := func() (v uint64) {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<62 {
			err = errProgress
			return 0
		}
		b = b[n:]
		return v
	}
	p.cursor = next()
	n := next()
	if err != nil || p.cursor == 0 || n > uint64(len(b)) {
		return progress{cursor: 1}, errProgress
	}
	at := p.cursor
	for range n {
		gap, size := next(), next()
		if err != nil || gap == 0 || size == 0 || at+gap+size > 1<<62 {
			return progress{cursor: 1}, errProgress
		}
		p.beyond = append(p.beyond, interval{at + gap, at + gap + size})
		at += gap + size
	}
	if len(b) != 0 {
		return progress{cursor: 1}, errProgress
	}
	return p, nil
}
