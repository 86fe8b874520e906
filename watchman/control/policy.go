package control

import (
	"errors"
	"fmt"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Policy turns a switch or a dial while an objective is missed.
type Policy struct {
	// Name is its own, unique in a Loop. Required.
	Name string

	// Objective is the name of the one that is watched. Required.
	Objective string

	// Switch is turned to the opposite of its default; Dial is lowered by Down at
	// every bad window and raised again when the windows are good. One is required.
	Switch *watchman.Switch
	Dial   *watchman.Dial

	// Fallback is turned instead of lowering Dial further when the bad ratio
	// does not fall with the load: nothing is overloaded then, it is just slow.
	Fallback *watchman.Switch

	// Enforce lets the policy act. Without it, it only logs what it would do.
	Enforce bool

	// Window is how much time one decision looks at; at least twice the 99th
	// percentile of what it watches. One that looks bad but has too few calls to
	// be sure is made up to three times as long. 0 means 2 s.
	Window time.Duration

	// Enter is the bad ratio from which a window is bad, Leave the one up to
	// which it is good. 0 means 0.10 and 0.03.
	Enter, Leave float64

	// After is how many bad windows in a row turn a switch. 0 means 2.
	After int

	// Hold is how long a switch stays turned at least; the n-th time within ten
	// minutes n times that, ±20 %. 0 means 30 s.
	Hold time.Duration

	// Probes is how many calls it takes to see that what was turned off is well
	// again: a product lets a few through. 0 means 5.
	Probes int

	// TTL is after how long a change runs out if the loop that made it is gone.
	// 0 means 5 min.
	TTL time.Duration

	// Down is the factor that lowers a dial. 0 means 0.6.
	Down float64

	// Floor is where lowering stops. 0 means the dial's lowest value.
	Floor float64

	// Effect is the name of an objective that users feel. If its bad ratio is no
	// better four windows after a change, the change is taken back for Hold.
	// Empty means that the outcome is only written down.
	Effect string
}

func (p *Policy) fill() error {
	if p.Window == 0 {
		p.Window = 2 * time.Second
	}
	if p.Enter == 0 {
		p.Enter = 0.10
	}
	if p.Leave == 0 {
		p.Leave = 0.03
	}
	if p.After == 0 {
		p.After = 2
	}
	if p.Hold == 0 {
		p.Hold = 30 * time.Second
	}
	if p.Probes == 0 {
		p.Probes = 5
	}
	if p.TTL == 0 {
		p.TTL = 5 * time.Minute
	}
	if p.Down == 0 {
		p.Down = 0.6
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("control: policy %q: %s", p.Name, fmt.Sprintf(format, args...)))
	}
	if p.Name == "" {
		bad("no Name")
	}
	if (p.Switch == nil) == (p.Dial == nil) {
		bad("want a Switch or a Dial")
	}
	if p.Fallback != nil && p.Dial == nil {
		bad("a Fallback is for a Dial")
	}
	if !(p.Leave >= 0 && p.Leave < p.Enter && p.Enter <= 1) {
		bad("Leave %v and Enter %v: want 0 <= Leave < Enter <= 1", p.Leave, p.Enter)
	}
	if p.Window < 0 || p.Hold < 0 || p.After < 0 || p.Probes < 0 {
		bad("a negative Window, Hold, After or Probes")
	}
	if p.TTL < 2*p.Window {
		bad("TTL %v: want at least two windows of %v", p.TTL, p.Window)
	}
	if !(p.Down > 0 && p.Down < 1) {
		bad("Down %v: want between 0 and 1", p.Down)
	}
	if p.Dial != nil {
		def, low, _ := p.Dial.Bounds()
		if p.Floor == 0 {
			p.Floor = low
		}
		if p.Floor < low || p.Floor > def {
			bad("Floor %v: want %v to %v", p.Floor, low, def)
		}
	}
	return errors.Join(errs...)
}

// PolicyState is what a policy has to do with and has set now.
type PolicyState struct {
	Name      string  `json:"name"`
	Objective string  `json:"objective"`
	Setting   string  `json:"setting"`            // the switch or the dial
	Fallback  string  `json:"fallback,omitempty"` // the switch that is turned instead of lowering the dial
	Enforce   bool    `json:"enforce"`
	Value     float64 `json:"value"`   // what the policy wants the setting to be; of a switch: 0 is off, 1 on
	Default   float64 `json:"default"` // of the setting
	Turned    bool    `json:"turned"`  // Switch or Fallback is

	// Unread are those of its settings that nobody has asked for, though the
	// objective has calls: turning them does nothing. A name is wrong, most likely.
	Unread []string `json:"unread,omitempty"`
}

// Policies returns the state of every policy, in the order of New.
func (l *Loop) Policies() []PolicyState {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]PolicyState, 0, len(l.policies))
	for _, p := range l.policies {
		list = append(list, p.state())
	}
	return list
}

func (p *policyState) state() PolicyState {
	st := PolicyState{Name: p.Name, Objective: p.Policy.Objective, Enforce: p.Enforce, Turned: p.flip.turned}
	called := p.objective.total.Calls > 0
	if p.Dial != nil {
		st.Setting, st.Value, st.Default, st.Fallback = p.Dial.Name(), p.value, p.Dial.Default(), p.Fallback.Name()
		if called && p.Dial.Unread() {
			st.Unread = append(st.Unread, st.Setting)
		}
	} else {
		st.Setting, st.Default = p.Switch.Name(), p.defaultOf(p.Switch)
		if st.Value = st.Default; st.Turned {
			st.Value = 1 - st.Default
		}
	}
	if s := p.target(); called && s.Unread() {
		st.Unread = append(st.Unread, s.Name())
	}
	return st
}
