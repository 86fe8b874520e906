package watchman

import "sync"

// extra is what somebody added to a span. It is pooled: the span has it until
// End, then whoever has the span's record.
type extra struct {
	attrs  []Attr
	inline [4]Attr // the first attrs, so that a few cost one allocation
	more   *moreExtra
}

// moreExtra is what fewer spans have.
type moreExtra struct {
	phases []phaseMark
	links  []Link
	inline [8]phaseMark // the first phases, as above
}

var extras = sync.Pool{New: func() any {
	x := &extra{}
	x.attrs = x.inline[:0]
	return x
}}

func (s *Span) extras() *extra {
	if s.extra == nil {
		s.extra = extras.Get().(*extra)
	}
	return s.extra
}

func (x *extra) withMore() *moreExtra {
	if x.more == nil {
		x.more = &moreExtra{}
		x.more.phases = x.more.inline[:0]
	}
	return x.more
}

// free gives x back, without what it holds of its span.
func (x *extra) free() {
	clear(x.attrs)
	clear(x.inline[:]) // the attrs may have grown out of it
	x.attrs = x.attrs[:0]
	if m := x.more; m != nil {
		clear(m.phases)
		clear(m.inline[:])
		m.phases, m.links = m.phases[:0], nil // links are large and few have any
	}
	extras.Put(x)
}
