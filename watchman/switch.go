package watchman

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Switch is a named flag that operations can turn at run time. It is safe for
// concurrent use; a nil *Switch is off.
type Switch struct {
	name string
	def  bool
	on   atomic.Bool

	// The rest belongs to the switches' mutex.
	by, reason string
	since      time.Time
	listeners  []func(bool)
}

// ErrNoSwitch is returned for a name that no product has asked for.
var ErrNoSwitch = errors.New("watchman: no such switch")

// maxSwitches bounds the switches of one Watchman.
const maxSwitches = 4096

type switches struct {
	mu     sync.Mutex
	byName map[string]*Switch
}

// Switch returns the flag of that name, making it with the default def the
// first time; later defaults are ignored. It panics if there are 4096 already:
// switches are made at set-up, never from input.
func (w *Watchman) Switch(name string, def bool) *Switch {
	if w == nil {
		return nil
	}
	ss := &w.switches
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if s := ss.byName[name]; s != nil {
		return s
	}
	if len(ss.byName) >= maxSwitches {
		panic("watchman: too many switches")
	}
	s := &Switch{name: name, def: def}
	s.on.Store(def)
	if ss.byName == nil {
		ss.byName = map[string]*Switch{}
	}
	ss.byName[name] = s
	return s
}

// On reports the current value; it costs one atomic load.
func (s *Switch) On() bool { return s != nil && s.on.Load() }

// OnChange calls f with the new value after each change, on the goroutine that
// made it and with no lock held; changes made at the same time may overtake
// each other.
func (w *Watchman) OnChange(s *Switch, f func(on bool)) {
	if w == nil || s == nil {
		return
	}
	w.switches.mu.Lock()
	defer w.switches.mu.Unlock()
	s.listeners = append(s.listeners, f)
}

// SetSwitch turns a switch and records by whom and why. It fails with
// ErrNoSwitch for a name that nobody asked for.
func (w *Watchman) SetSwitch(name string, on bool, by, reason string) error {
	if w == nil {
		return fmt.Errorf("%w: %q", ErrNoSwitch, name)
	}
	ss := &w.switches
	ss.mu.Lock()
	s := ss.byName[name]
	if s == nil {
		ss.mu.Unlock()
		return fmt.Errorf("%w: %.100q", ErrNoSwitch, name)
	}
	changed := s.on.Swap(on) != on
	s.by, s.reason, s.since = by, reason, time.Now()
	listeners := slices.Clone(s.listeners)
	ss.mu.Unlock()
	if changed {
		for _, f := range listeners {
			f(on)
		}
	}
	return nil
}

// SwitchState is a switch in a list.
type SwitchState struct {
	Name    string    `json:"name"`
	On      bool      `json:"on"`
	Default bool      `json:"default"`
	By      string    `json:"by,omitempty"` // who set it last; empty: nobody yet
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Switches lists all switches by name.
func (w *Watchman) Switches() []SwitchState {
	if w == nil {
		return nil
	}
	ss := &w.switches
	ss.mu.Lock()
	defer ss.mu.Unlock()
	list := make([]SwitchState, 0, len(ss.byName))
	for _, s := range ss.byName {
		list = append(list, SwitchState{Name: s.name, On: s.on.Load(), Default: s.def, By: s.by, Reason: s.reason, Since: s.since})
	}
	slices.SortFunc(list, func(a, b SwitchState) int { return cmp.Compare(a.Name, b.Name) })
	return list
}
