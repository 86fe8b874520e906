package motan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/heddle-go/heddle/watchman"
)

// CommandSource tells what operators have ordered for the services of a group, as
// the JSON that Motan's tools write. The rules:
//
//  1. WatchCommands calls update with the current command before it returns nil,
//     and again after each change, never twice at once. An empty one means that
//     there is none, or none any more.
//  2. It returns an error, and never calls update again, if it cannot tell the
//     current command.
//  3. When ctx is done, calls of update stop; one that is under way finishes.
//  4. The bytes belong to the callee of update.
//  5. WatchCommands may be called by many at once, for the same group too.
//  6. What is there is passed on even if it is no command: who obeys keeps the one
//     before then, which a source that gave nothing would take back.
//
// motantest.TestCommandSource checks them.
type CommandSource interface {
	WatchCommands(ctx context.Context, group string, update func(command []byte)) error
}

// Commands is a command of operators, in the form that Motan's registries hold:
//
//	{"clientCommandList": [{"index": 1, "version": "1.0", "commandType": 0,
//	  "pattern": "com.example.*", "mergeGroups": ["group-a:6", "group-b:4"],
//	  "routeRules": ["10.73.1.* to 10.75.1.*", "!10.75.* to !10.73.1.5"]}]}
type Commands struct {
	List []Command `json:"clientCommandList"`
}

// Command is one entry of Commands. Of those for traffic the first one, by index,
// that matches a service counts.
type Command struct {
	Index   int    `json:"index"`
	Version string `json:"version"`
	Type    int    `json:"commandType"` // one of those below; others have no effect

	// Pattern says which services are meant: *, a name, a name with * at its end, or
	// several of these with ! for not, & for and, | for or, which bind in this order,
	// and parentheses: com.example.*&!(com.example.A|com.example.B).
	// Of CommandSwitch it is the switches and their values: name:true,other:false.
	Pattern string `json:"pattern"`

	// Groups are the groups whose nodes serve, each with :WEIGHT from 1 to 100 if
	// their shares of the calls are to be set. The own group must be among them to
	// go on serving. None means the own group.
	Groups []string `json:"mergeGroups"`

	// Routes are rules "FROM to TO": where this machine's address matches FROM, only
	// nodes whose host matches TO serve. Either is an address, one with * at its
	// end, or one of these with ! in front. A rule that leaves no node is skipped.
	Routes []string `json:"routeRules"`

	Remark string `json:"remark"`
}

// Types of commands.
const (
	CommandTraffic = 0
	CommandDegrade = 1 // the services that match answer nothing: clients have no endpoint
	CommandSwitch  = 2 // turns switches of CommandedOptions.Watchman while it is there
)

// ParseCommands reads commands; nothing is no command. It tells all that is wrong.
func ParseCommands(b []byte) (Commands, error) {
	var c Commands
	if len(strings.TrimSpace(string(b))) == 0 {
		return c, nil
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return Commands{}, fmt.Errorf("motan: commands: %w", err)
	}
	var errs []error
	for i, cmd := range c.List {
		if cmd.Pattern == "" {
			errs = append(errs, fmt.Errorf("motan: command %d: no pattern", i))
		} else if cmd.Type == CommandSwitch {
			if _, err := switchValues(cmd.Pattern); err != nil {
				errs = append(errs, fmt.Errorf("motan: command %d: %w", i, err))
			}
		} else if _, err := matchPattern(cmd.Pattern, ""); err != nil && (cmd.Type == CommandTraffic || cmd.Type == CommandDegrade) {
			errs = append(errs, fmt.Errorf("motan: command %d: %w", i, err))
		}
		for _, g := range cmd.Groups {
			if _, _, err := groupWeight(g); err != nil {
				errs = append(errs, fmt.Errorf("motan: command %d: %w", i, err))
			}
		}
		for _, r := range cmd.Routes {
			if _, _, err := routeRule(r); err != nil {
				errs = append(errs, fmt.Errorf("motan: command %d: %w", i, err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return Commands{}, err
	}
	slices.SortStableFunc(c.List, func(a, b Command) int { return a.Index - b.Index })
	return c, nil
}

// groupWeight splits "group:6"; the weight is 0 if there is none.
func groupWeight(s string) (group string, weight int, err error) {
	group, w, weighted := strings.Cut(strings.TrimSpace(s), ":")
	if weighted {
		weight, err = strconv.Atoi(w)
		weight = min(max(weight, 1), 100)
	}
	if group == "" || err != nil || strings.ContainsAny(group, "/\n") {
		return "", 0, fmt.Errorf("merge group %q: want GROUP or GROUP:WEIGHT", s)
	}
	return group, weight, nil
}

// routeRule splits "from to to".
func routeRule(s string) (from, to string, err error) {
	f := strings.Fields(s)
	if len(f) != 3 || f[1] != "to" || strings.Trim(f[0], "!*") == "" && f[0] != "*" || strings.Trim(f[2], "!*") == "" && f[2] != "*" {
		return "", "", fmt.Errorf("route rule %q: want FROM to TO", s)
	}
	return f[0], f[2], nil
}

// switchValues reads "name:true,other:false".
func switchValues(s string) (map[string]bool, error) {
	values := make(map[string]bool)
	for part := range strings.SplitSeq(s, ",") {
		at := strings.LastIndexByte(part, ':')
		name := strings.TrimSpace(part[:max(at, 0)])
		on, err := strconv.ParseBool(strings.TrimSpace(part[at+1:]))
		if name == "" || err != nil {
			return nil, fmt.Errorf("switches %q: want NAME:true or NAME:false", s)
		}
		values[name] = on
	}
	return values, nil
}

// hostMatches says whether a host fits an address, a prefix with *, or what ! is not.
func hostMatches(pattern, host string) bool {
	if p, not := strings.CutPrefix(pattern, "!"); not {
		return !hostMatches(p, host)
	}
	if p, prefix := strings.CutSuffix(pattern, "*"); prefix {
		return strings.HasPrefix(host, p)
	}
	return pattern == host
}

// of returns what is ordered for a service: the command for its traffic and the one
// that degrades it, nil where there is none.
func (c *Commands) of(service string) (traffic, degrade *Command) {
	for i := range c.List {
		cmd := &c.List[i]
		if cmd.Type == CommandSwitch {
			continue
		}
		if ok, err := matchPattern(cmd.Pattern, service); !ok || err != nil { // ParseCommands has seen to the error
			continue
		}
		switch {
		case cmd.Type == CommandDegrade && degrade == nil:
			degrade = cmd
		case cmd.Type == CommandTraffic && traffic == nil:
			traffic = cmd
		}
	}
	return traffic, degrade
}

// CommandedOptions configures Commanded. The zero value is ready to use.
type CommandedOptions struct {
	LocalHost string       // this machine's address for route rules; "" means its first one that is no loopback
	Logger    *slog.Logger // nil means slog.Default()

	// Watchman has the switches that commands turn; nil means that none do.
	Watchman *watchman.Watchman
}

// Commanded is a Registry that lists what reg does, as the commands of source
// change it while it is in use: which groups serve and with what shares, which
// nodes the route rules leave, and nothing while the service is degraded. Shares
// need a Balance that heeds weights: WeightedRoundRobin, LeastInFlight or
// LocalFirst. A command that cannot be read is logged, and the one before stays.
// Switches that a command turns are as before when it goes, unless somebody else
// has turned them since; commands are heard as long as a client is there for them.
func Commanded(reg Registry, source CommandSource, opts *CommandedOptions) Registry {
	c := &commanded{
		reg: reg, source: source,
		orders: make(map[string]Commands), turned: make(map[string]map[string]watchman.SwitchState),
	}
	if opts != nil {
		c.opt = *opts
	}
	if c.opt.LocalHost == "" {
		c.opt.LocalHost = localHost()
	}
	if c.opt.Logger == nil {
		c.opt.Logger = slog.Default()
	}
	return c
}

func localHost() string {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.1"
}

type commanded struct {
	reg    Registry
	source CommandSource
	opt    CommandedOptions

	mu     sync.Mutex
	orders map[string]Commands                        // by group
	turned map[string]map[string]watchman.SwitchState // by group and name: what was before
}

// commandedWatch is one Watch of a commanded registry.
type commandedWatch struct {
	*commanded
	ctx                     context.Context
	cancel                  context.CancelFunc // called if Watch fails
	service, group, version string
	update                  func([]Endpoint)

	mu       sync.Mutex
	commands Commands
	lists    map[string][]Endpoint         // by group, once they are known
	stops    map[string]context.CancelFunc // of the groups that are watched
	begun    bool                          // the caller has its first list
	last     []Endpoint

	emitting sync.Mutex // held around update
}

// Watch implements Registry.
func (c *commanded) Watch(ctx context.Context, service, group, version string, update func([]Endpoint)) error {
	if c.reg == nil {
		return errors.New("motan: Commanded: no registry given")
	}
	if c.source == nil {
		return errors.New("motan: Commanded: no source of commands given")
	}
	w := &commandedWatch{
		commanded: c, ctx: ctx, service: service, group: or(group, defaultGroup), version: version, update: update,
		lists: make(map[string][]Endpoint), stops: make(map[string]context.CancelFunc),
	}
	w.ctx, w.cancel = context.WithCancel(ctx)
	err := c.source.WatchCommands(w.ctx, w.group, w.command)
	if err == nil {
		err = w.watchGroups()
	}
	if err != nil {
		w.cancel()
		return err
	}
	w.mu.Lock()
	w.begun = true
	w.mu.Unlock()
	w.emit(true)
	return nil
}

// command takes a new command.
func (w *commandedWatch) command(b []byte) {
	c, err := ParseCommands(b)
	if err != nil {
		w.opt.Logger.Warn("motan: command ignored", "group", w.group, "error", err)
		return
	}
	w.commanded.obey(w.group, c)
	w.mu.Lock()
	w.commands = c
	begun := w.begun
	w.mu.Unlock()
	if !begun {
		return
	}
	if err := w.watchGroups(); err != nil {
		w.opt.Logger.Warn("motan: command obeyed in part", "service", w.service, "error", err)
	}
	w.emit(false)
}

// commandsOf is what is ordered for a group.
func (c *commanded) commandsOf(group string) Commands {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.orders[group]
}

// obey turns the switches that the commands of a group are about, and gives back
// those that they are not about any more. All who watch the group bring the same
// commands; the first one has the work.
func (c *commanded) obey(group string, orders Commands) {
	by := "command of group " + group
	c.mu.Lock()
	c.orders[group] = orders
	if c.opt.Watchman == nil {
		c.mu.Unlock()
		return
	}
	now := make(map[string]watchman.SwitchState)
	for _, s := range c.opt.Watchman.Switches() {
		now[s.Name] = s
	}
	var changes []watchman.Change
	before, after := c.turned[group], make(map[string]watchman.SwitchState)
	for i := range orders.List {
		cmd := &orders.List[i]
		if cmd.Type != CommandSwitch {
			continue
		}
		values, err := switchValues(cmd.Pattern)
		if err != nil {
			continue // ParseCommands has seen to it
		}
		for name, on := range values {
			if _, earlier := after[name]; earlier {
				continue // by index, the first one counts
			}
			was, ok := before[name]
			if !ok {
				was = now[name]
			}
			after[name] = was
			if s := now[name]; s.On != on || s.By != by {
				value := 0.0
				if on {
					value = 1
				}
				changes = append(changes, watchman.Change{Name: name, Value: value, By: by, Reason: cmd.Remark})
			}
		}
	}
	for name, was := range before {
		if _, still := after[name]; still || now[name].By != by {
			continue
		}
		change := watchman.Change{Name: name, By: by, Reason: "the command is gone", Revert: true}
		if was.By != "" {
			change = watchman.Change{Name: name, By: was.By, Reason: was.Reason, Auto: was.Auto}
			if was.On {
				change.Value = 1
			}
		}
		changes = append(changes, change)
	}
	c.turned[group] = after
	c.mu.Unlock()
	for _, change := range changes {
		if err := c.opt.Watchman.Apply(change); err != nil {
			c.opt.Logger.Warn("motan: command not obeyed", "group", group, "switch", change.Name, "error", err)
		}
	}
}

// groups returns the groups that serve, and their weights, 0 for none.
func (w *commandedWatch) groups() (names []string, weights map[string]int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	traffic, _ := w.commands.of(w.service)
	if traffic == nil || len(traffic.Groups) == 0 {
		return []string{w.group}, nil
	}
	weights = make(map[string]int)
	any := false
	for _, s := range traffic.Groups {
		g, weight, err := groupWeight(s)
		if err == nil && !slices.Contains(names, g) { // ParseCommands has seen to the error
			names = append(names, g)
			weights[g] = weight
			any = any || weight > 0
		}
	}
	if !any {
		return names, nil
	}
	return names, weights
}

// watchGroups watches the groups that serve and no others.
func (w *commandedWatch) watchGroups() error {
	names, _ := w.groups()
	w.mu.Lock()
	var begin []string
	for _, g := range names {
		if w.stops[g] == nil {
			begin = append(begin, g)
		}
	}
	for g, stop := range w.stops {
		if !slices.Contains(names, g) {
			stop()
			delete(w.stops, g)
			delete(w.lists, g)
		}
	}
	w.mu.Unlock()
	var errs []error
	for _, g := range begin {
		ctx, stop := context.WithCancel(w.ctx)
		w.mu.Lock()
		w.stops[g] = stop
		w.mu.Unlock()
		err := w.reg.Watch(ctx, w.service, g, w.version, func(list []Endpoint) {
			w.mu.Lock()
			if ctx.Err() == nil {
				w.lists[g] = list
			}
			begun := w.begun
			w.mu.Unlock()
			if begun {
				w.emit(false)
			}
		})
		if err != nil {
			stop()
			w.mu.Lock()
			delete(w.stops, g)
			w.mu.Unlock()
			errs = append(errs, fmt.Errorf("group %s: %w", g, err))
		}
	}
	if len(errs) == len(names) {
		return errors.Join(errs...)
	}
	if len(errs) > 0 {
		w.opt.Logger.Warn("motan: some groups have no list", "service", w.service, "error", errors.Join(errs...))
	}
	return nil
}

// emit gives the list as it is now to the caller, if it is another than before.
func (w *commandedWatch) emit(always bool) {
	w.emitting.Lock()
	defer w.emitting.Unlock()
	names, weights := w.groups()
	w.mu.Lock()
	list := w.merge(names, weights)
	same := slices.Equal(list, w.last)
	w.last = list
	w.mu.Unlock()
	if (always || !same) && w.ctx.Err() == nil {
		w.update(slices.Clone(list))
	}
}

// merge makes one list of those of the groups. w.mu is held.
func (w *commandedWatch) merge(names []string, weights map[string]int) []Endpoint {
	traffic, degrade := w.commands.of(w.service)
	if degrade != nil {
		return nil
	}
	var list []Endpoint
	for _, g := range names {
		nodes := w.lists[g]
		if traffic != nil {
			nodes = w.route(traffic.Routes, nodes)
		}
		total := 0
		for _, e := range nodes {
			total += weightOf(e)
		}
		for _, e := range nodes {
			if weights != nil {
				// A group's share, however many nodes it has, divided by their weights.
				e.Weight = max(max(weights[g], 1)*500*weightOf(e)/(100*total), 1)
			}
			list = append(list, e)
		}
	}
	return list
}

// route leaves the nodes that the rules allow.
func (w *commandedWatch) route(rules []string, nodes []Endpoint) []Endpoint {
	for _, r := range rules {
		from, to, err := routeRule(r)
		if err != nil || !hostMatches(from, w.opt.LocalHost) {
			continue
		}
		var left []Endpoint
		for _, e := range nodes {
			host, _, err := net.SplitHostPort(e.Addr)
			if err == nil && hostMatches(to, host) {
				left = append(left, e)
			}
		}
		if len(left) > 0 {
			nodes = left
		}
	}
	return nodes
}
