package webv4

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Level is how far something is degraded, from Normal to Off. An interface acts
// on the strongest step of its degrade tag that is not beyond the level.
type Level int

const (
	Normal Level = iota
	Trim         // leave out what is optional: fields tagged trim:"true", and what handlers skip
	Stale        // answer with the last good reply to the same request; without one that is young enough, get one
	Static       // answer with a value of your own: static or fallback
	Shed         // refuse calls that are not critical
	Off          // refuse all calls
)

var levelNames = [...]string{"normal", "trim", "stale", "static", "shed", "off"}

// String returns the level's name in lower case.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("Level(%d)", int(l))
	}
	return levelNames[l]
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	i := slices.Index(levelNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("webv4: level %.40q: want normal, trim, stale, static, shed or off", text)
	}
	*l = Level(i)
	return nil
}

// Degradation is what Degrade sets.
type Degradation struct {
	Level   Level         `json:"level"`
	Percent int           `json:"percent"` // of the clients, by address, the same ones each time and in each process; 0 means all
	TTL     time.Duration `json:"-"`       // ends by itself after that; 0 means never
	DryRun  bool          `json:"dry_run"` // count what would be degraded and degrade nothing
	By      string        `json:"by"`      // who sets it
	Why     string        `json:"why"`
}

// ErrNoPoint is returned for a name that no degrade tag and no group has.
var ErrNoPoint = errors.New("webv4: no such degrade point")

// Everything is the degrade point of all interfaces that have a degrade tag.
const Everything = "*"

// point is what can be degraded by its name: an interface or several, a group,
// or everything.
type point struct {
	name     string
	switches switches
	state    atomic.Pointer[pointState]
	degraded atomic.Uint64
	dry      atomic.Uint64
}

type pointState struct {
	Degradation
	since, until time.Time
}

// point returns the degrade point of that name, making it the first time, with
// switches for the levels that have is true for.
func (c *core) point(name string, has [Off + 1]bool) *point {
	p := c.points[name]
	if p == nil {
		p = &point{name: name}
		p.switches.add(c.opt.Watchman, name, Off)
		c.points[name] = p
	}
	for l := Trim; l <= Off; l++ {
		if has[l] {
			p.switches.add(c.opt.Watchman, "webv4."+name+"."+l.String(), l)
		}
	}
	return p
}

// allLevels are for points of many interfaces.
var allLevels = [Off + 1]bool{Trim: true, Stale: true, Static: true, Shed: true, Off: true}

// level is what applies to a client now.
func (p *point) level(a *API, c *call) Level {
	level := Level(p.switches.level.Load())
	if level > Trim && p.switches.probe(a.opt.Watchman, c.began) {
		level = Normal
	}
	s := p.state.Load()
	switch {
	case s == nil || !s.until.IsZero() && !time.Now().Before(s.until):
		return level
	case s.Percent > 0 && s.Percent < 100 && rank(c.ip()) >= s.Percent:
		return level
	case s.DryRun:
		p.dry.Add(1)
		return level
	}
	return max(level, s.Level)
}

// rank puts an address among a hundred, in each process alike (FNV-1a).
func rank(ip string) int {
	h := uint64(14695981039346656037)
	for i := range len(ip) {
		h = (h ^ uint64(ip[i])) * 1099511628211
	}
	return int(h >> 32 % 100)
}

// Degrade sets how far the interfaces of a degrade point are degraded: that of
// a degrade tag, of GroupOptions.Degrade, or Everything. Level Normal ends it.
// It takes effect with the next request and is safe for concurrent use. It
// fails with ErrNoPoint for a name that nothing has, and if d is not sensible.
func (a *API) Degrade(name string, d Degradation) error {
	p := a.points[name]
	if p == nil {
		return fmt.Errorf("%w: %.100q", ErrNoPoint, name)
	}
	if d.Level < Normal || d.Level > Off || d.Percent < 0 || d.Percent > 100 || d.TTL < 0 {
		return fmt.Errorf("webv4: Degrade %q: level %v, %d %%, for %v: out of range", name, d.Level, d.Percent, d.TTL)
	}
	s := &pointState{Degradation: d, since: time.Now()}
	if d.TTL > 0 {
		s.until = s.since.Add(d.TTL)
	}
	if d.Level == Normal {
		s = nil
	}
	p.state.Store(s)
	a.opt.Logger.Info("webv4: degradation set", "point", name, "level", d.Level.String(), "percent", d.Percent, "ttl", d.TTL, "dry_run", d.DryRun, "by", d.By, "why", d.Why)
	return nil
}

// PointState is a degrade point in a list.
type PointState struct {
	Name     string `json:"name"`
	Switched Level  `json:"switched"` // what watchman's switches make of it, besides Level
	Degradation
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Degraded uint64    `json:"degraded"` // replies so far that it degraded
	Dry      uint64    `json:"dry"`      // calls so far that a dry run would have degraded
}

// Points lists the degrade points by name and what is set on them.
func (a *API) Points() []PointState {
	list := make([]PointState, 0, len(a.points))
	now := time.Now()
	for _, p := range a.points {
		st := PointState{Name: p.name, Switched: Level(p.switches.level.Load()), Degraded: p.degraded.Load(), Dry: p.dry.Load()}
		if s := p.state.Load(); s != nil && (s.until.IsZero() || now.Before(s.until)) {
			st.Degradation, st.Since, st.Until = s.Degradation, s.since, s.until
		}
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b PointState) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// LevelFrom returns how far the call that ctx belongs to is degraded. A handler
// skips optional work if it is not Normal.
func LevelFrom(ctx context.Context) Level {
	if c := callFrom(ctx); c != nil {
		return Level(c.level)
	}
	return Normal
}

// steps are what an interface does when it is degraded.
type steps struct {
	name  string // the point's, "" for none
	has   [Off + 1]bool
	stale time.Duration // how old a stale reply may be
	fall  bool          // the Static step is a Fallback, not a SetStatic
}

// parseSteps reads a degrade tag: NAME=STEP,STEP….
func parseSteps(tag string) (s steps, err error) {
	name, list, _ := strings.Cut(tag, "=")
	s.name = name
	for step := range strings.SplitSeq(list, ",") {
		kind, arg, _ := strings.Cut(step, ":")
		var at Level
		switch kind {
		case "trim":
			at = Trim
		case "stale":
			at = Stale
			if s.stale, err = time.ParseDuration(arg); err != nil || s.stale <= 0 {
				return s, fmt.Errorf("degrade %q: stale needs an age, such as stale:30s", tag)
			}
			arg = ""
		case "static":
			at = Static
		case "fallback":
			at, s.fall = Static, true
		case "shed":
			at = Shed
		case "off":
			at = Off
		}
		if at == Normal || arg != "" || s.has[at] || name == "" || name == Everything {
			return s, fmt.Errorf("degrade %q: want NAME= and of trim, stale:AGE, static or fallback, shed and off, each at most once", tag)
		}
		s.has[at] = true
	}
	return s, nil
}

// step is what the interface does at a level.
func (s *steps) step(l Level) Level {
	for ; l > Normal; l-- {
		if s.has[l] {
			return l
		}
	}
	return Normal
}

// cause is what degraded a call.
type cause int

const (
	byPoint cause = iota
	byOverload
	byBreaker
)

// degradedBy are the X-Degraded headers of an interface: the step, and its
// point's name or another cause.
type degradedBy [byBreaker + 1][Off + 1][]string

func newDegradedBy(point string) *degradedBy {
	var d degradedBy
	for l := Trim; l <= Off; l++ {
		d[byPoint][l] = []string{l.String() + ";" + point}
		d[byOverload][l] = []string{l.String() + ";overload"}
		d[byBreaker][l] = []string{l.String() + ";breaker"}
	}
	return &d
}

// degrade finds the step that applies to a call.
func (a *API) degrade(c *call, op *operation) Level {
	var level Level
	var by *point
	for _, p := range op.points {
		if l := p.level(a, c); l > level {
			level, by = l, p
		}
	}
	why := byPoint
	if l := op.limiter.degraded(); l > level {
		level, by, why = l, nil, byOverload
	}
	if level == Normal {
		return Normal
	}
	step := op.plan.steps.step(level)
	if step == Shed && op.plan.class == Critical {
		step = op.plan.steps.step(Static)
	}
	if step == Normal {
		return Normal
	}
	c.level = int8(level)
	if by != nil {
		by.degraded.Add(1)
	}
	a.degraded(c, op, step, why)
	return step
}

// degraded notes that a reply is.
func (a *API) degraded(c *call, op *operation, step Level, why cause) {
	if !c.out.degraded {
		c.out.degraded = true
		a.stats.degraded.Add(1)
	}
	c.out.w.Header()["X-Degraded"] = op.degraded[why][step]
}
