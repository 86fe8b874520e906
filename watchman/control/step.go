package control

import (
	"fmt"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// policyState is a policy and what it remembers. It belongs to the loop's mutex.
type policyState struct {
	Policy
	loop      *Loop
	objective *objectiveState
	effect    *objectiveState

	began      time.Time // of the window
	total      Counts    // of the objective, then
	effectWas  Counts    // of the effect's objective, then
	lastEffect Counts    // of the effect's objective, in the last window

	badRuns, goodRuns int
	blocked           time.Time // no engagement before

	flip    flip    // the switch, or the fallback of a dial
	value   float64 // of the dial
	renewed time.Time
	raises  int // in a row, which grow

	// What the last lowering was decided on, to see whether load matters.
	load, ratio float64
	insensitive int

	check check
}

// flip is a switch that is turned for a while.
type flip struct {
	turned    bool
	since     time.Time
	holdUntil time.Time
	renewed   time.Time
	probes    uint64 // calls since it was turned
	times     int    // turned within repeatWithin
}

// check is the decisions of one step, whose outcome is to be measured.
type check struct {
	ids    []uint64
	due    int // windows left
	at     time.Time
	before Counts
	now    Counts
}

const (
	outcomeWindows = 4
	repeatWithin   = 10 * time.Minute
	maxRepeat      = 10 // bounds the hold time
)

func (p *policyState) begin(now time.Time) {
	p.began, p.total, p.effectWas = now, p.objective.total, p.effect.total
	if p.Dial != nil {
		p.value, _, _ = p.Dial.Bounds()
	}
}

// target is the switch that the policy may turn.
func (p *policyState) target() *watchman.Switch {
	if p.Switch != nil {
		return p.Switch
	}
	return p.Fallback
}

// step decides once a window.
func (p *policyState) step(now time.Time) []action {
	if now.Sub(p.began) < p.Window {
		return nil
	}
	win := p.objective.total.sub(p.total)
	win.Span = now.Sub(p.began)
	if now.Sub(p.began) < extend*p.Window && !p.flip.turned && win.Calls > 0 && p.unsure(win) {
		return nil // a longer window will tell
	}
	eff := p.effect.total.sub(p.effectWas)
	eff.Span = win.Span
	p.lastEffect = eff
	p.began, p.total, p.effectWas = now, p.objective.total, p.effect.total

	todo := p.measure(now, eff)
	bad := win.Calls >= uint64(p.objective.MinCalls) && win.AtLeast() >= p.Enter
	good := win.Calls >= uint64(p.Probes) && win.BadRatio() <= p.Leave
	switch {
	case bad:
		p.badRuns, p.goodRuns = p.badRuns+1, 0
	case good:
		p.badRuns, p.goodRuns = 0, p.goodRuns+1
	case win.Calls >= uint64(p.Probes):
		p.badRuns, p.goodRuns = 0, 0
	}
	if p.flip.turned {
		return append(todo, p.whileTurned(now, win)...)
	}
	if p.Dial != nil {
		return append(todo, p.dial(now, win, bad, good)...)
	}
	if p.badRuns >= p.After && !now.Before(p.blocked) {
		runs := "a bad window: "
		if p.badRuns > 1 {
			runs = fmt.Sprintf("%d bad windows in a row: ", p.badRuns)
		}
		return append(todo, p.turn(now, win, runs+p.words(win)))
	}
	return todo
}

// extend is how many times its length a window may get when it is unsure.
const extend = 3

// unsure reports whether a window looks bad but has too few calls to say so.
func (p *policyState) unsure(win Counts) bool {
	return win.BadRatio() >= p.Enter && (win.Calls < uint64(p.objective.MinCalls) || win.AtLeast() < p.Enter)
}

func (p *policyState) words(win Counts) string {
	s := fmt.Sprintf("%d of %d calls bad in %v (%.1f %%, at least %.1f %%; bad from %.0f %%, good up to %.0f %%)",
		win.Bad, win.Calls, win.Span.Round(time.Millisecond), 100*win.BadRatio(), 100*win.AtLeast(), 100*p.Enter, 100*p.Leave)
	if win.Rejected > 0 {
		s += fmt.Sprintf(", %d refused", win.Rejected)
	}
	return s
}

// turn engages the switch.
func (p *policyState) turn(now time.Time, win Counts, reason string) action {
	f := &p.flip
	if now.Sub(f.since) > repeatWithin {
		f.times = 0
	}
	f.times = min(f.times+1, maxRepeat)
	jitter := 0.8 + 0.4*p.loop.random.Float64()
	hold := time.Duration(float64(p.Hold) * float64(f.times) * jitter)
	f.turned, f.since, f.renewed, f.holdUntil, f.probes = true, now, now, now.Add(hold), 0
	p.badRuns, p.goodRuns = 0, 0
	s := p.target()
	def := p.defaultOf(s)
	reason = fmt.Sprintf("%s; held for %v", reason, hold.Round(time.Millisecond))
	if s.Unread() {
		reason += unreadWords
	}
	return p.act(now, win, s.Name(), def, 1-def, reason)
}

// unreadWords are added to the reason of a change that does nothing.
const unreadWords = "; nobody has asked for this setting yet: is its name the one that a product reads?"

func (p *policyState) defaultOf(s *watchman.Switch) float64 {
	if s.Default() {
		return 1
	}
	return 0
}

// whileTurned renews the change or ends it.
func (p *policyState) whileTurned(now time.Time, win Counts) []action {
	f := &p.flip
	f.probes += win.Calls
	switch {
	case now.Before(f.holdUntil):
	case p.goodRuns >= 2:
		return []action{p.turnBack(now, win, "two good windows in a row: "+p.words(win))}
	case f.probes == 0:
		return []action{p.turnBack(now, win, "the hold time is over and no calls came that would tell: try again")}
	}
	if now.Sub(f.renewed) < p.TTL/2 {
		return nil
	}
	f.renewed = now
	s := p.target()
	a := p.act(now, win, s.Name(), 0, 1-p.defaultOf(s), "")
	return []action{a}
}

func (p *policyState) turnBack(now time.Time, win Counts, reason string) action {
	p.flip.turned = false
	p.badRuns, p.goodRuns = 0, 0
	s := p.target()
	def := p.defaultOf(s)
	return p.act(now, win, s.Name(), 1-def, def, reason).revert()
}

// dial lowers and raises the dial.
func (p *policyState) dial(now time.Time, win Counts, bad, good bool) []action {
	def, _, _ := p.Dial.Bounds()
	load := float64(win.Calls) / win.Span.Seconds()
	switch {
	case bad && !now.Before(p.blocked):
		if p.load > 0 {
			if load < 0.8*p.load && win.BadRatio() > 0.8*p.ratio {
				p.insensitive++
			} else if load < 0.8*p.load {
				p.insensitive = 0
			}
		}
		p.load, p.ratio, p.raises = load, win.BadRatio(), 0
		if p.Fallback != nil && p.insensitive >= 2 {
			p.insensitive, p.load = 0, 0
			todo := []action{p.turn(now, win, fmt.Sprintf("the load fell to %.0f calls/s and the bad ratio did not: slow, not overloaded; %s", load, p.words(win)))}
			if p.value < def {
				todo = append(todo, p.move(now, win, def, "lowering did not help"))
			}
			return todo
		}
		if to := max(p.Floor, p.value*p.Down); to < p.value {
			reason := p.words(win)
			if p.Dial.Unread() {
				reason += unreadWords
			}
			return []action{p.move(now, win, to, reason)}
		}
	case good && p.value < def:
		p.raises++
		to := min(def, p.value+(def-p.Floor)*0.05*float64(int(1)<<min(p.raises-1, 5)))
		p.insensitive, p.load = 0, 0
		return []action{p.move(now, win, to, "raised again: "+p.words(win))}
	}
	if p.value < def && now.Sub(p.renewed) >= p.TTL/2 {
		p.renewed = now
		return []action{p.act(now, win, p.Dial.Name(), p.value, p.value, "")}
	}
	return nil
}

func (p *policyState) move(now time.Time, win Counts, to float64, reason string) action {
	def, _, _ := p.Dial.Bounds()
	a := p.act(now, win, p.Dial.Name(), p.value, to, reason)
	p.value, p.renewed = to, now
	if to == def {
		a = a.revert()
	}
	return a
}

func (p *policyState) act(now time.Time, win Counts, setting string, before, after float64, reason string) action {
	allowed := 1 - p.objective.Target
	short := reason
	if short == "" {
		short = "still so"
	}
	return action{
		p:      p,
		change: &watchman.Change{Name: setting, Value: after, By: "policy " + p.Name, Reason: short, For: p.TTL, Auto: true},
		d: Decision{
			At: now, Policy: p.Name, Objective: p.objective.Name, Setting: setting, Before: before, After: after,
			TTL: p.TTL, Reason: reason, Window: win, Enter: p.Enter, Leave: p.Leave,
			Burn: p.objective.windows.sum(now, time.Hour).BadRatio() / allowed,
		},
	}
}

// revert makes a change one that gives the setting back.
func (a action) revert() action {
	a.change.Revert, a.change.For, a.d.TTL = true, 0, 0
	return a
}

// decided notes that a decision was written; refused says that the setting is
// somebody else's.
func (p *policyState) decided(id uint64, refused bool, at time.Time) {
	if refused {
		p.flip.turned = false
		p.blocked = at.Add(p.Hold)
		if p.Dial != nil {
			p.value, _, _ = p.Dial.Bounds()
		}
		return
	}
	if len(p.check.ids) > 0 && p.check.at.Equal(at) {
		p.check.ids = append(p.check.ids, id)
		return
	}
	p.check = check{ids: []uint64{id}, due: outcomeWindows, at: at, before: p.lastEffect}
}

// supersede ends the measuring of an earlier step's decisions because the next
// one is made: what the last window was like is their outcome.
func (p *policyState) supersede(at time.Time) []action {
	c := &p.check
	if len(c.ids) == 0 || c.at.Equal(at) {
		return nil
	}
	c.now = p.lastEffect
	return p.outcomes(at)
}

// outcomes ends the measuring.
func (p *policyState) outcomes(at time.Time) []action {
	c := &p.check
	o := Outcome{After: at.Sub(c.at), Objective: p.effect.Name, Before: c.before, Now: c.now}
	o.Helped = c.now.BadRatio() < p.Enter || c.now.BadRatio() <= 0.9*c.before.BadRatio()
	var list []action
	for _, id := range c.ids {
		list = append(list, action{p: p, outcome: &o, id: id})
	}
	c.ids = nil
	return list
}

// measure writes down what became of the last decision, and takes it back if
// it did not help those it was meant to help.
func (p *policyState) measure(now time.Time, eff Counts) []action {
	c := &p.check
	if len(c.ids) == 0 {
		return nil
	}
	c.due--
	if c.due >= 2 {
		return nil // it takes a while to show
	}
	c.now.Calls += eff.Calls
	c.now.Bad += eff.Bad
	c.now.Rejected += eff.Rejected
	c.now.Span += eff.Span
	if c.due > 0 {
		return nil
	}
	todo := p.outcomes(now)
	o := todo[0].outcome // which they share
	if !o.Helped && p.Effect != "" && (p.flip.turned || p.Dial != nil && p.value < p.Dial.Default()) {
		o.Reverted = true
		todo = append(todo, p.giveBack(now, fmt.Sprintf("it did not help: %s had %.1f %% bad before and %.1f %% after", p.effect.Name, 100*c.before.BadRatio(), 100*c.now.BadRatio()))...)
		p.blocked = now.Add(p.Hold)
	}
	return todo
}

// giveBack ends whatever the policy has set.
func (p *policyState) giveBack(now time.Time, why string) []action {
	var todo []action
	if p.flip.turned {
		todo = append(todo, p.turnBack(now, Counts{}, why))
	}
	if p.Dial != nil {
		if def := p.Dial.Default(); p.value != def {
			todo = append(todo, p.move(now, Counts{}, def, why))
		}
	}
	return todo
}
