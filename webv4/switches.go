package webv4

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// switches are watchman's switches of a degrade point, by which operators and
// control loops degrade it: NAME means Off, webv4.NAME.STEP that step.
type switches struct {
	level  atomic.Int32 // of the strongest that is on
	probed atomic.Int64 // the moment at which a call was let through last

	mu   sync.Mutex
	list []pointSwitch
}

type pointSwitch struct {
	level Level
	on    *watchman.Switch
}

// add makes a switch, the first time, and follows it.
func (s *switches) add(w *watchman.Watchman, name string, level Level) {
	if w == nil || slices.ContainsFunc(s.list, func(p pointSwitch) bool { return p.on.Name() == name }) {
		return
	}
	on := w.Switch(name, false)
	s.mu.Lock()
	s.list = append(s.list, pointSwitch{level, on})
	s.mu.Unlock()
	w.OnChange(on, func(bool) { s.settle() })
	s.settle()
}

// settle works out the level. Changes may overtake each other: the last one to
// come here sees them all.
func (s *switches) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	level := Normal
	for _, p := range s.list {
		if p.on.On() {
			level = max(level, p.level)
		}
	}
	s.level.Store(int32(level))
}

// probePoint is the time between two calls that are let through.
const probePoint = 200 * time.Millisecond

// probe reports whether a call is let through, so that a control loop that has
// degraded the point sees whether it is well again. What a human has switched
// stays as it is.
func (s *switches) probe(w *watchman.Watchman, at moment) bool {
	last := s.probed.Load()
	if last != 0 && at.sub(moment(last)) < probePoint || !s.probed.CompareAndSwap(last, int64(at)) {
		return false
	}
	auto := false
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range w.Switches() {
		if st.On && slices.ContainsFunc(s.list, func(p pointSwitch) bool { return p.level > Trim && p.on.Name() == st.Name }) {
			if !st.Auto {
				return false
			}
			auto = true
		}
	}
	return auto
}
