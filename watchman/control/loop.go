package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Options configure New. The zero value is ready to use.
type Options struct {
	// Interval is the time between two looks at everything. 0 means 500 ms.
	Interval time.Duration

	// Log receives every decision as a line of JSON, and again with its outcome.
	// It is written from Run's goroutine; nil writes nothing. See Verify.
	Log io.Writer

	// OnDecision is called with every decision after it is written, from Run's
	// goroutine, which waits for it: the place to tell somebody. nil means nothing.
	OnDecision func(Decision)

	// OnBreach is called, likewise, when an objective becomes breached: the place
	// to trigger a snapshot of package flight. nil means nothing.
	OnBreach func(Verdict)

	// Seed makes the jitter repeatable. 0 means random.
	Seed uint64
}

// Loop evaluates objectives and policies. Its methods are safe for concurrent use.
type Loop struct {
	w       *watchman.Watchman
	opt     Options
	enabled *watchman.Switch
	journal journal

	mu         sync.Mutex
	objectives []*objectiveState
	policies   []*policyState
	random     *rand.Rand
}

type objectiveState struct {
	Objective
	total   Counts // since the start
	windows windows
	state   State // at the last step, if somebody wants to be told
}

// EnabledSwitch is the name of the switch that stops all policies.
const EnabledSwitch = "control.enabled"

// New returns a Loop over w, which must not be nil. It sets the operations'
// latency targets. It does nothing until Run or Step is called.
func New(w *watchman.Watchman, objectives []Objective, policies []Policy, opts *Options) (*Loop, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Interval == 0 {
		o.Interval = 500 * time.Millisecond
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	var errs []error
	if w == nil {
		errs = append(errs, errors.New("control: no Watchman"))
	}
	if o.Interval < 0 {
		errs = append(errs, fmt.Errorf("control: Options.Interval %v: negative", o.Interval))
	}
	l := &Loop{w: w, opt: o, journal: journal{out: o.Log}, random: rand.New(rand.NewPCG(o.Seed, 0))}
	byName := map[string]*objectiveState{}
	for _, ob := range objectives {
		errs = append(errs, ob.fill())
		if byName[ob.Name] != nil {
			errs = append(errs, fmt.Errorf("control: two objectives %q", ob.Name))
		}
		st := &objectiveState{Objective: ob, windows: newWindows()}
		byName[ob.Name] = st
		l.objectives = append(l.objectives, st)
	}
	names := map[string]bool{}
	for _, p := range policies {
		errs = append(errs, p.fill())
		if names[p.Name] {
			errs = append(errs, fmt.Errorf("control: two policies %q", p.Name))
		}
		names[p.Name] = true
		st := &policyState{Policy: p, loop: l, objective: byName[p.Objective], effect: byName[p.Effect]}
		if st.objective == nil {
			errs = append(errs, fmt.Errorf("control: policy %q: no objective %q", p.Name, p.Objective))
		}
		if p.Effect != "" && st.effect == nil {
			errs = append(errs, fmt.Errorf("control: policy %q: no objective %q", p.Name, p.Effect))
		}
		if st.effect == nil {
			st.effect = st.objective
		}
		l.policies = append(l.policies, st)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	l.enabled = w.Switch(EnabledSwitch, true)
	now := time.Now()
	for _, ob := range l.objectives {
		if ob.Latency > 0 {
			w.Operation(ob.Kind, ob.Operation).SetTarget(ob.Latency)
		}
		ob.total = ob.read(w)
	}
	for _, p := range l.policies {
		p.begin(now)
	}
	return l, nil
}

// Run evaluates at every Options.Interval until ctx is done, and then gives
// back what the policies have set.
func (l *Loop) Run(ctx context.Context) {
	t := time.NewTicker(l.opt.Interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			l.release("the loop stops")
			return
		case <-t.C:
			l.Step()
		}
	}
}

// Step evaluates once. Run calls it; tests and simulations may.
func (l *Loop) Step() {
	now := time.Now()
	l.mu.Lock()
	for _, ob := range l.objectives {
		c := ob.read(l.w)
		delta := c.sub(ob.total)
		ob.total = c
		ob.windows.add(now, delta.Calls, delta.Bad)
	}
	breached := l.breachedLocked(now)
	var todo []action
	for _, p := range l.policies {
		if l.enabled.On() {
			todo = append(todo, p.step(now)...)
		} else {
			todo = append(todo, p.giveBack(now, "the switch "+EnabledSwitch+" is off")...)
		}
	}
	l.mu.Unlock()
	for _, v := range breached {
		l.opt.OnBreach(v)
	}
	l.do(todo)
}

// breachedLocked is the verdicts that have become breached since the last step.
func (l *Loop) breachedLocked(now time.Time) []Verdict {
	if l.opt.OnBreach == nil {
		return nil
	}
	var list []Verdict
	for _, ob := range l.objectives {
		v := ob.verdict(&ob.windows, now)
		if v.State == Breached && ob.state != Breached {
			list = append(list, v)
		}
		ob.state = v.State
	}
	return list
}

func (l *Loop) release(why string) {
	now := time.Now()
	l.mu.Lock()
	var todo []action
	for _, p := range l.policies {
		todo = append(todo, p.giveBack(now, why)...)
	}
	l.mu.Unlock()
	l.do(todo)
}

// action is what a policy wants done, without the loop's mutex held: changes
// call listeners, decisions are written.
type action struct {
	p       *policyState
	change  *watchman.Change // nil: only the outcome
	d       Decision         // without Mode; no Reason: a renewal, nothing to write
	outcome *Outcome
	id      uint64
}

func (l *Loop) do(todo []action) {
	for i := range todo {
		a := &todo[i]
		if a.outcome != nil {
			l.journal.outcome(a.id, *a.outcome)
		}
		if a.change == nil {
			continue
		}
		a.d.Mode = ModeObserve
		var err error
		if a.p.Enforce {
			a.d.Mode = ModeAuto
			if err = l.w.Apply(*a.change); err != nil {
				a.d.Mode = ModeRefused
				a.d.Reason += "; " + err.Error()
			}
		}
		if a.d.Reason == "" {
			continue
		}
		if err == nil {
			l.mu.Lock()
			before := a.p.supersede(a.d.At)
			l.mu.Unlock()
			for _, b := range before {
				l.journal.outcome(b.id, *b.outcome)
			}
		}
		a.d.Traces, a.d.ErrorGroup = l.evidence(a.p.objective)
		id := l.journal.add(a.d)
		if l.opt.OnDecision != nil {
			a.d.ID = id
			l.opt.OnDecision(a.d)
		}
		l.mu.Lock()
		a.p.decided(id, err != nil, a.d.At)
		l.mu.Unlock()
	}
}

// evidence is kept traces of the operation and its most recent kind of error.
func (l *Loop) evidence(ob *objectiveState) (traces []watchman.TraceID, group string) {
	for _, g := range l.w.Errors() {
		if g.Kind == ob.Kind && g.Operation == ob.Operation {
			group = g.Chain
			traces = append(traces, g.Traces...)
			break
		}
	}
	for _, e := range l.w.Operation(ob.Kind, ob.Operation).Exemplars() {
		traces = append(traces, e.TraceID)
	}
	slices.Reverse(traces) // the slowest first
	if len(traces) > 5 {
		traces = traces[:5]
	}
	return traces, group
}

// Verdicts returns how every objective does, in the order of New.
func (l *Loop) Verdicts() []Verdict {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Verdict, 0, len(l.objectives))
	for _, ob := range l.objectives {
		list = append(list, ob.verdict(&ob.windows, now))
	}
	return list
}

// Objectives returns the objectives as they were filled in.
func (l *Loop) Objectives() []Objective {
	list := make([]Objective, 0, len(l.objectives))
	for _, ob := range l.objectives {
		list = append(list, ob.Objective)
	}
	return list
}

// Decisions returns the newest 256 decisions, newest first.
func (l *Loop) Decisions() []Decision {
	l.journal.mu.Lock()
	defer l.journal.mu.Unlock()
	list := slices.Clone(l.journal.list)
	slices.Reverse(list)
	return list
}

// Stats are a Loop's own counters.
type Stats struct {
	Decisions uint64 `json:"decisions"`  // only grows
	LogErrors uint64 `json:"log_errors"` // lines that Options.Log did not take; only grows
}

// Stats returns a snapshot.
func (l *Loop) Stats() Stats {
	l.journal.mu.Lock()
	n := l.journal.total
	l.journal.mu.Unlock()
	l.journal.writeMu.Lock()
	defer l.journal.writeMu.Unlock()
	return Stats{n, l.journal.failed}
}

// saved is the form of Save.
type saved struct {
	Objectives map[string][3][]savedSlot `json:"objectives"`
}

type savedSlot struct {
	At    int64  `json:"at"` // Unix seconds
	Calls uint64 `json:"calls"`
	Bad   uint64 `json:"bad"`
}

// Save writes the objectives' windows as JSON, so that Load carries their
// budgets over a restart.
func (l *Loop) Save(w io.Writer) error {
	s := saved{map[string][3][]savedSlot{}}
	l.mu.Lock()
	for _, ob := range l.objectives {
		var rings [3][]savedSlot
		for i := range ob.windows.rings {
			r := &ob.windows.rings[i]
			for k := range r.slots {
				sl := r.slots[(r.next+k)%len(r.slots)]
				rings[i] = append(rings[i], savedSlot{sl.at.Unix(), sl.calls, sl.bad})
			}
		}
		s.Objectives[ob.Name] = rings
	}
	l.mu.Unlock()
	return json.NewEncoder(w).Encode(s)
}

// maxSaved bounds what Load reads: 64 objectives' windows and more.
const maxSaved = 8 << 20

// Load reads what Save wrote and puts it before what has been seen since New.
// Objectives that are no more, and slots from the future, are left out. Call
// it before Run. Nothing is changed if it fails.
func (l *Loop) Load(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, maxSaved+1))
	if err != nil {
		return fmt.Errorf("control: load: %w", err)
	}
	if len(b) > maxSaved {
		return fmt.Errorf("control: load: more than %d bytes", maxSaved)
	}
	var s saved
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("control: load: %w", err)
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ob := range l.objectives {
		old := s.Objectives[ob.Name]
		fresh := newWindows()
		for i := range fresh.rings {
			slots := old[i]
			slices.SortFunc(slots, func(a, b savedSlot) int { return int(max(min(a.At-b.At, 1), -1)) })
			for _, sl := range slots {
				if at := time.Unix(sl.At, 0); !at.After(now) && sl.Bad <= sl.Calls && sl.Calls < 1<<48 {
					fresh.rings[i].add(at, sl.Calls, sl.Bad)
				}
			}
			r := &ob.windows.rings[i]
			for k := range r.slots {
				sl := r.slots[(r.next+k)%len(r.slots)]
				fresh.rings[i].add(sl.at, sl.calls, sl.bad)
			}
		}
		ob.windows = fresh
	}
	return nil
}
