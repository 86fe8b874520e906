package watchman

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Switch is a named flag that operations can turn at run time. It is safe for
// concurrent use; a nil *Switch is off.
type Switch struct{ s setting }

// Dial is a named number that operations can turn at run time: a limit, a
// weight, a rate. It is safe for concurrent use; a nil *Dial is 0.
type Dial struct{ s setting }

// setting is what a switch and a dial have in common.
type setting struct {
	name     string
	flag     bool // a switch: 0 is off, everything else on
	def      float64
	min, max float64
	bits     atomic.Uint64 // of the float64 value
	asked    atomic.Bool   // somebody has asked for the value or listens

	// The rest belongs to the switches' mutex.
	last      Change // the change that made the value; zero: nobody yet
	listeners []func(float64)
	timer     *time.Timer // reverts to def
	version   uint64      // tells a timer that it came too late
}

func (s *setting) value() float64 { return math.Float64frombits(s.bits.Load()) }

// ask is value for those whose work depends on it.
func (s *setting) ask() float64 {
	if !s.asked.Load() { // a store each time would take the cache line from the other cores
		s.asked.Store(true)
	}
	return s.value()
}

// Errors of changes.
var (
	ErrNoSwitch = errors.New("watchman: no such switch")        // a name that no product has asked for
	ErrOwned    = errors.New("watchman: owned by someone else") // an automatic change of what a human or another loop has set
	ErrRange    = errors.New("watchman: value out of range")    // a dial has bounds
)

// maxSwitches bounds the switches and dials of one Watchman, maxChanges the
// changes that are remembered.
const (
	maxSwitches = 4096
	maxChanges  = 256
)

type switches struct {
	mu      sync.Mutex
	byName  map[string]*Switch
	dials   map[string]*Dial
	changes []Change // newest last
}

// Switch returns the flag of that name, making it with the default def the
// first time; later defaults are ignored. It panics if there are 4096 already,
// or a dial of that name: switches are made at set-up, never from input.
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
	ss.roomForLocked(name)
	s := &Switch{setting{name: name, flag: true, def: number(def), max: 1}}
	s.s.bits.Store(math.Float64bits(s.s.def))
	if ss.byName == nil {
		ss.byName = map[string]*Switch{}
	}
	ss.byName[name] = s
	return s
}

// Dial returns the number of that name, making it with the default def and the
// bounds min and max the first time; later ones are ignored. It panics if def
// is out of bounds, there are 4096 already, or a switch of that name.
func (w *Watchman) Dial(name string, def, lowest, highest float64) *Dial {
	if w == nil {
		return nil
	}
	ss := &w.switches
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if d := ss.dials[name]; d != nil {
		return d
	}
	if !(lowest <= def && def <= highest) {
		panic(fmt.Sprintf("watchman: dial %q: default %v is not in %v to %v", name, def, lowest, highest))
	}
	ss.roomForLocked(name)
	d := &Dial{setting{name: name, def: def, min: lowest, max: highest}}
	d.s.bits.Store(math.Float64bits(def))
	if ss.dials == nil {
		ss.dials = map[string]*Dial{}
	}
	ss.dials[name] = d
	return d
}

func (ss *switches) roomForLocked(name string) {
	if ss.findLocked(name) != nil {
		panic(fmt.Sprintf("watchman: %q is a switch and a dial", name))
	}
	if len(ss.byName)+len(ss.dials) >= maxSwitches {
		panic("watchman: too many switches")
	}
}

func (ss *switches) findLocked(name string) *setting {
	if s := ss.byName[name]; s != nil {
		return &s.s
	}
	if d := ss.dials[name]; d != nil {
		return &d.s
	}
	return nil
}

func number(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// On reports the current value; it costs two atomic loads.
func (s *Switch) On() bool { return s != nil && s.s.ask() != 0 }

// Value is the current value; it costs two atomic loads.
func (d *Dial) Value() float64 {
	if d == nil {
		return 0
	}
	return d.s.ask()
}

// Unread reports whether nobody has called On and nobody listens: turning the
// switch does nothing then, most likely because its name is not the one that a
// product asks for.
func (s *Switch) Unread() bool { return s != nil && !s.s.asked.Load() }

// Unread is Switch.Unread for Value and OnDial.
func (d *Dial) Unread() bool { return d != nil && !d.s.asked.Load() }

// OnChange calls f with the new value after each change, on the goroutine that
// made it and with no lock held; changes made at the same time may overtake
// each other.
func (w *Watchman) OnChange(s *Switch, f func(on bool)) {
	if w == nil || s == nil {
		return
	}
	w.switches.mu.Lock()
	defer w.switches.mu.Unlock()
	s.s.asked.Store(true)
	s.s.listeners = append(s.s.listeners, func(v float64) { f(v != 0) })
}

// OnDial is OnChange for a dial.
func (w *Watchman) OnDial(d *Dial, f func(value float64)) {
	if w == nil || d == nil {
		return
	}
	w.switches.mu.Lock()
	defer w.switches.mu.Unlock()
	d.s.asked.Store(true)
	d.s.listeners = append(d.s.listeners, f)
}

// Change is a change of a switch or a dial.
type Change struct {
	Name   string    `json:"name"`
	Value  float64   `json:"value"`            // of a switch: 0 is off, 1 on
	Before float64   `json:"before"`           // filled in
	By     string    `json:"by"`               // who
	Reason string    `json:"reason,omitempty"` // why
	At     time.Time `json:"at"`               // filled in

	// For is how long the value holds; then the default comes back. 0 means
	// until somebody changes it.
	For time.Duration `json:"for_ns,omitempty"`

	// Auto marks a change made by a control loop. It is refused while a value
	// set by a human, or by another loop, is in force; a human always may.
	Auto bool `json:"auto,omitempty"`

	// Revert gives the setting back: Value is ignored, the default comes back,
	// and afterwards anybody may change it.
	Revert bool `json:"revert,omitempty"`
}

// Apply makes a change. It fails with ErrNoSwitch for a name that nobody asked
// for, ErrRange and ErrOwned; the listeners have been called when it returns.
func (w *Watchman) Apply(c Change) error {
	if w == nil {
		return fmt.Errorf("%w: %.100q", ErrNoSwitch, c.Name)
	}
	ss := &w.switches
	ss.mu.Lock()
	s := ss.findLocked(c.Name)
	if s == nil {
		ss.mu.Unlock()
		return fmt.Errorf("%w: %.100q", ErrNoSwitch, c.Name)
	}
	if err := s.mayLocked(&c); err != nil {
		ss.mu.Unlock()
		return err
	}
	call := ss.setLocked(w, s, c)
	ss.mu.Unlock()
	call()
	return nil
}

func (s *setting) mayLocked(c *Change) error {
	if c.Revert {
		c.Value = s.def
	}
	if s.flag && c.Value != 0 {
		c.Value = 1
	}
	if !(s.min <= c.Value && c.Value <= s.max) {
		return fmt.Errorf("%w: %q = %v, want %v to %v", ErrRange, s.name, c.Value, s.min, s.max)
	}
	if c.For < 0 {
		return fmt.Errorf("watchman: change of %q for %v: negative", s.name, c.For)
	}
	if c.Auto && s.ownedLocked() && !(s.last.Auto && s.last.By == c.By) {
		return fmt.Errorf("%w: %q by %.100q", ErrOwned, s.name, s.last.By)
	}
	return nil
}

// ownedLocked reports whether somebody's value is in force.
func (s *setting) ownedLocked() bool { return !s.last.At.IsZero() && !s.last.Revert }

// setLocked makes a checked change and returns what is to be called without
// the mutex.
func (ss *switches) setLocked(w *Watchman, s *setting, c Change) func() {
	c.Before, c.At = s.value(), time.Now()
	s.bits.Store(math.Float64bits(c.Value))
	s.last = c
	s.version++
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	if c.For > 0 && !c.Revert {
		version := s.version
		s.timer = time.AfterFunc(c.For, func() { w.expire(s, version) })
	}
	if len(ss.changes) == maxChanges {
		ss.changes = slices.Delete(ss.changes, 0, 1)
	}
	ss.changes = append(ss.changes, c)
	if c.Before == c.Value {
		return func() {}
	}
	listeners := slices.Clone(s.listeners)
	return func() {
		for _, f := range listeners {
			f(c.Value)
		}
	}
}

// expire gives a setting its default back when a change has run out.
func (w *Watchman) expire(s *setting, version uint64) {
	ss := &w.switches
	ss.mu.Lock()
	if s.version != version {
		ss.mu.Unlock()
		return
	}
	c := Change{Name: s.name, Value: s.def, By: s.last.By, Reason: "expired: " + s.last.Reason, Auto: s.last.Auto, Revert: true}
	call := ss.setLocked(w, s, c)
	ss.mu.Unlock()
	call()
}

// SetSwitch turns a switch until somebody turns it again, and records by whom
// and why: the short form of Apply for humans. It fails with ErrNoSwitch for a
// name that nobody asked for.
func (w *Watchman) SetSwitch(name string, on bool, by, reason string) error {
	return w.Apply(Change{Name: name, Value: number(on), By: by, Reason: reason})
}

// SwitchState is a switch in a list.
type SwitchState struct {
	Name    string    `json:"name"`
	On      bool      `json:"on"`
	Default bool      `json:"default"`
	By      string    `json:"by,omitempty"` // who set it last; empty: nobody yet
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // when the default comes back; zero: it does not
	Auto    bool      `json:"auto,omitempty"`   // a control loop set it
	Unread  bool      `json:"unread,omitempty"` // see Unread
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
		l := &s.s.last
		list = append(list, SwitchState{
			Name: s.s.name, On: s.s.value() != 0, Default: s.s.def != 0, By: l.By, Reason: l.Reason, Since: l.At, Expires: l.expires(), Auto: l.Auto, Unread: s.Unread(),
		})
	}
	slices.SortFunc(list, func(a, b SwitchState) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func (c *Change) expires() time.Time {
	if c.For == 0 || c.Revert {
		return time.Time{}
	}
	return c.At.Add(c.For)
}

// DialState is a dial in a list.
type DialState struct {
	Name    string    `json:"name"`
	Value   float64   `json:"value"`
	Default float64   `json:"default"`
	Min     float64   `json:"min"`
	Max     float64   `json:"max"`
	By      string    `json:"by,omitempty"` // who set it last; empty: nobody yet
	Reason  string    `json:"reason,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Expires time.Time `json:"expires,omitzero"` // when the default comes back; zero: it does not
	Auto    bool      `json:"auto,omitempty"`   // a control loop set it
	Unread  bool      `json:"unread,omitempty"` // see Unread
}

// Dials lists all dials by name.
func (w *Watchman) Dials() []DialState {
	if w == nil {
		return nil
	}
	ss := &w.switches
	ss.mu.Lock()
	defer ss.mu.Unlock()
	list := make([]DialState, 0, len(ss.dials))
	for _, name := range slices.Sorted(maps.Keys(ss.dials)) {
		s := &ss.dials[name].s
		l := &s.last
		list = append(list, DialState{
			Name: name, Value: s.value(), Default: s.def, Min: s.min, Max: s.max,
			By: l.By, Reason: l.Reason, Since: l.At, Expires: l.expires(), Auto: l.Auto, Unread: ss.dials[name].Unread(),
		})
	}
	return list
}

// Changes returns the last 256 changes of switches and dials, newest first.
func (w *Watchman) Changes() []Change {
	if w == nil {
		return nil
	}
	w.switches.mu.Lock()
	defer w.switches.mu.Unlock()
	list := slices.Clone(w.switches.changes)
	slices.Reverse(list)
	return list
}

// Name is the name that the switch was made with.
func (s *Switch) Name() string {
	if s == nil {
		return ""
	}
	return s.s.name
}

// Name is the name that the dial was made with.
func (d *Dial) Name() string {
	if d == nil {
		return ""
	}
	return d.s.name
}

// Bounds are the dial's default and the lowest and highest value that it takes.
func (d *Dial) Bounds() (def, lowest, highest float64) {
	if d == nil {
		return 0, 0, 0
	}
	return d.s.def, d.s.min, d.s.max
}

// Default is the value that the switch was made with.
func (s *Switch) Default() bool { return s != nil && s.s.def != 0 }

// Default is the value that the dial was made with.
func (d *Dial) Default() float64 {
	if d == nil {
		return 0
	}
	return d.s.def
}
