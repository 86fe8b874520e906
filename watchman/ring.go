package watchman

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ring holds the newest traces that nobody wanted, so that one can still be
// kept when it turns out, here or in another service, that it was worth it.
//
// Every trace goes through it, so a push touches nothing that another processor
// has touched lately: it fills a chunk of this processor's stripe, and only a full
// chunk goes into the circle that all share.
type ring struct {
	perChunk int // traces
	stripes  []stripe
	near     sync.Pool // of *stripe: mostly the one that this processor had last
	handed   atomic.Uint32

	mu      sync.Mutex
	circle  []*chunk // full ones, the oldest first from at on; at most cap
	at      int
	dropped uint64 // spans that were pushed out
}

// stripe is a chunk that is being filled. Which goroutines do that is chance, but
// they rarely meet.
type stripe struct {
	mu   sync.Mutex // before ring.mu
	open *chunk
	_    [48]byte // a cache line each
}

// chunk is a number of traces one behind the other. One in the circle belongs to
// the ring's mutex, an open one to its stripe's.
type chunk struct {
	traces []recentTrace
	spanEnds
	live int // spans that have not been taken out
}

// recentTrace says where the spans of a trace are in its chunk, the local root
// first.
type recentTrace struct {
	id    TraceID // invalid: taken out
	first uint32
	n     uint16
	late  bool // this is a span that ended after its local root
}

// A chunk is a 64th of the ring, fewestChunks, and at most mostPerChunk traces. The open ones
// hold a few beyond what the circle does, which maxStripes bounds.
const (
	fewestChunks = 64
	mostPerChunk = 32
	maxStripes   = 16
)

func newRing(traces, processors int) *ring {
	r := &ring{perChunk: min(max(traces/fewestChunks, 1), mostPerChunk), stripes: make([]stripe, min(processors, maxStripes))}
	r.circle = make([]*chunk, 0, traces/r.perChunk)
	for i := range r.stripes {
		r.stripes[i].open = r.newChunk()
	}
	r.near.New = func() any { return &r.stripes[r.handed.Add(1)%uint32(len(r.stripes))] }
	return r
}

func (r *ring) newChunk() *chunk {
	c := &chunk{traces: make([]recentTrace, 0, r.perChunk)}
	c.spans = make([]spanEnd, 0, r.perChunk)
	return c
}

// push files a trace: its local root and the spans that below has, nil for none.
func (r *ring) push(id TraceID, root spanEnd, x rareEnd, below *part) {
	st := r.near.Get().(*stripe)
	st.mu.Lock()
	c := st.open
	t := recentTrace{id: id, first: uint32(len(c.spans)), n: 1}
	c.append(root, x)
	if below != nil {
		t.n += uint16(len(below.spans))
		c.move(&below.spanEnds, 0, len(below.spans))
	}
	r.filedLocked(st, t)
	st.mu.Unlock()
	r.near.Put(st)
}

// pushLate files a span whose local root has ended.
func (r *ring) pushLate(id TraceID, s spanEnd, x rareEnd) {
	st := r.near.Get().(*stripe)
	st.mu.Lock()
	t := recentTrace{id: id, first: uint32(len(st.open.spans)), n: 1, late: true}
	st.open.append(s, x)
	r.filedLocked(st, t)
	st.mu.Unlock()
	r.near.Put(st)
}

func (r *ring) filedLocked(st *stripe, t recentTrace) {
	c := st.open
	c.traces = append(c.traces, t)
	c.live += int(t.n)
	if len(c.traces) == r.perChunk {
		st.open = r.turn(c)
	}
}

// turn puts a full chunk into the circle and returns an empty one: the oldest, if
// there is no more room.
func (r *ring) turn(full *chunk) *chunk {
	r.mu.Lock()
	if len(r.circle) < cap(r.circle) {
		r.circle = append(r.circle, full)
		r.mu.Unlock()
		return r.newChunk()
	}
	c := r.circle[r.at]
	r.circle[r.at] = full
	r.at = (r.at + 1) % len(r.circle)
	r.dropped += uint64(c.live)
	r.mu.Unlock()
	c.clear()
	c.traces, c.live = c.traces[:0], 0
	return c
}

// take takes the traces with an id out, oldest first but for late spans, which
// come last.
func (r *ring) take(id TraceID) (found, late []*part) {
	var open []*part
	for i := range r.stripes {
		st := &r.stripes[i]
		st.mu.Lock()
		open, late = st.open.take(id, open, late)
		st.mu.Unlock()
	}
	// A chunk that was full meanwhile has been looked through already.
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.circle {
		found, late = r.circle[(r.at+i)%len(r.circle)].take(id, found, late)
	}
	return append(found, open...), late
}

func (c *chunk) take(id TraceID, found, late []*part) (withMore, withMoreLate []*part) {
	for i := range c.traces {
		t := &c.traces[i]
		if t.id != id {
			continue
		}
		p := takePart()
		p.move(&c.spanEnds, int(t.first), int(t.n))
		c.live -= int(t.n)
		t.id = TraceID{}
		if t.late {
			late = append(late, p)
		} else {
			found = append(found, p)
		}
	}
	return found, late
}

// counts is how many spans are in the ring now and how many were pushed out.
func (r *ring) counts() (in int, dropped uint64) {
	for i := range r.stripes {
		r.stripes[i].mu.Lock()
		defer r.stripes[i].mu.Unlock()
		in += r.stripes[i].open.live
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.circle {
		in += c.live
	}
	return in, r.dropped
}

// ErrNoTrace is returned for a trace that is neither kept nor recent.
var ErrNoTrace = errors.New("watchman: no such trace")

// KeepTrace keeps what the ring of recent traces still has of a trace and
// returns how many spans of it are kept now. It fails with ErrNoTrace if there
// are none. It looks through the whole ring: some 10 µs.
func (w *Watchman) KeepTrace(id TraceID, reason string) (int, error) {
	if w == nil {
		return 0, fmt.Errorf("%w: %s", ErrNoTrace, id)
	}
	if w.ring != nil && id.IsValid() {
		found, late := w.ring.take(id)
		if len(found)+len(late) > 0 {
			w.store.noteFromRing(id)
		}
		for _, p := range late {
			if n := len(found); n > 0 && len(found[n-1].spans) < maxPartSpans {
				found[n-1].move(&p.spanEnds, 0, 1)
				p.release()
			} else {
				found = append(found, p)
			}
		}
		for _, p := range found {
			w.store.add(p, id, reason)
		}
	}
	if n := w.store.spans(id); n > 0 {
		return n, nil
	}
	return 0, fmt.Errorf("%w: %s", ErrNoTrace, id)
}

// Keep marks the span's trace: its part in this process is kept when its local
// root ends, however it ends, or at once if it has. The reason is shown with
// the trace. Traces kept so share the operation's budget with failed and slow ones.
func (s *Span) Keep(reason string) {
	if s == nil || reason == "" {
		return
	}
	l := s.local
	l.mu.Lock()
	if l.fate == undecided {
		if !l.forced {
			l.forced = true
			if l.below == nil {
				l.below = takePart()
			}
			l.below.force = reason
		}
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	// Without an error this means that it is kept; with one, that it has gone.
	_, _ = s.op.w.KeepTrace(l.traceID, reason)
}

// Keeping reports whether the trace's part in this process would be worth
// keeping if the span ended now with err, though its caller did not sample it.
// A server that finds it true sets the keep bit of its reply, and the client
// that reads the bit calls Keep(KeepRemote), so that a trace that failed or was
// slow at the far end is whole. Frameworks over HTTP use HeaderKeep.
func (s *Span) Keeping(err error) bool {
	return s.KeepingAt(time.Time{}, err)
}

// KeepingAt is Keeping for a caller that has read the clock just now: it saves a
// reading. The zero time means now.
func (s *Span) KeepingAt(now time.Time, err error) bool {
	if s == nil || s.local.flags&FlagSampled != 0 {
		return false
	}
	if err != nil || s.op.w.offset(now)-s.start >= s.op.slowAfter.Load() {
		return true
	}
	l := s.local
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fate == undecided && (l.failed || l.forced)
}

// HeaderKeep is the reply header that carries the keep bit; its value is 1.
const HeaderKeep = "Heddle-Keep"
