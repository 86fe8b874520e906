package watchman

import (
	"errors"
	"fmt"
	"sync/atomic"
)

// ring holds the newest traces that nobody wanted, so that one can still be
// kept when it turns out, here or in another service, that it was worth it.
type ring struct {
	next  atomic.Uint64
	slots []atomic.Pointer[localTrace]
}

// ErrNoTrace is returned for a trace that is neither kept nor recent.
var ErrNoTrace = errors.New("watchman: no such trace")

// pushRecent puts a finished trace of n spans into the ring; what it pushes out
// is dropped.
func (w *Watchman) pushRecent(l *localTrace, n int) {
	i := (w.ring.next.Add(1) - 1) % uint64(len(w.ring.slots))
	old := w.ring.slots[i].Swap(l)
	if old == nil {
		w.inRing.Add(int64(n))
		return
	}
	old.mu.Lock()
	out := len(old.spans)
	old.resetLocked()
	old.mu.Unlock()
	locals.Put(old)
	if n != out {
		w.inRing.Add(int64(n - out))
	}
	w.dropped.Add(uint64(out)) // after inRing, see Stats
}

// KeepTrace keeps what the ring of recent traces still has of a trace and
// returns how many spans of it are kept now. It fails with ErrNoTrace if there
// are none. It looks through the whole ring: some 10 µs.
func (w *Watchman) KeepTrace(id TraceID, reason string) (int, error) {
	if w == nil {
		return 0, fmt.Errorf("%w: %s", ErrNoTrace, id)
	}
	if w.ring != nil && id.IsValid() {
		for i := range w.ring.slots {
			slot := &w.ring.slots[i]
			l := slot.Load()
			if l == nil {
				continue
			}
			l.mu.Lock()
			found := l.done && l.traceID == id
			l.mu.Unlock()
			if !found || !slot.CompareAndSwap(l, nil) {
				continue
			}
			// The slot was ours to empty, so l is ours now. It may have been
			// used again for another trace between the look and the swap.
			l.mu.Lock()
			n := len(l.spans)
			w.inRing.Add(-int64(n))
			if l.traceID == id {
				l.keepLocked(w, reason)
				l.mu.Unlock()
				continue
			}
			l.resetLocked()
			l.mu.Unlock()
			w.dropped.Add(uint64(n))
			locals.Put(l)
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
	if l.generation == s.generation && !l.done {
		if !l.forced {
			l.force, l.forced = reason, true
		}
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	// Without an error this means that it is kept; with one, that it has gone.
	_, _ = s.op.w.KeepTrace(s.traceID, reason)
}

// Keeping reports whether the trace's part in this process would be worth
// keeping if the span ended now with err, though its caller did not sample it.
// A server that finds it true sets the keep bit of its reply, and the client
// that reads the bit calls Keep(KeepRemote), so that a trace that failed or was
// slow at the far end is whole. Frameworks over HTTP use HeaderKeep.
func (s *Span) Keeping(err error) bool {
	if s == nil || s.flags&FlagSampled != 0 {
		return false
	}
	if err != nil || s.op.w.now()-s.start >= s.op.slowAfter.Load() {
		return true
	}
	s.local.mu.Lock()
	defer s.local.mu.Unlock()
	return s.local.generation == s.generation && (s.local.failed || s.local.forced)
}

// HeaderKeep is the reply header that carries the keep bit; its value is 1.
const HeaderKeep = "Heddle-Keep"
