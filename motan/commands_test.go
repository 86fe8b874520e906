package motan_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/motan/motantest"
)

// orders is a CommandSource that the test commands.
type orders struct {
	mu       sync.Mutex
	commands map[string]string
	updates  []ordered
}

type ordered struct {
	ctx    context.Context
	group  string
	update func([]byte)
}

func (o *orders) WatchCommands(ctx context.Context, group string, update func([]byte)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	update([]byte(o.commands[group]))
	o.updates = append(o.updates, ordered{ctx, group, update})
	return nil
}

func (o *orders) set(group, command string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.commands == nil {
		o.commands = make(map[string]string)
	}
	o.commands[group] = command
	for _, u := range o.updates {
		if u.group == group && u.ctx.Err() == nil {
			u.update([]byte(command))
		}
	}
}

func TestOrdersIsACommandSource(t *testing.T) {
	motantest.TestCommandSource(t, func(t *testing.T) motantest.CommandTarget {
		o := new(orders)
		return motantest.CommandTarget{Source: o, Set: func(group string, command []byte) { o.set(group, string(command)) }}
	})
}

// groups is a Registry with a fixed list for each group.
type groups map[string][]motan.Endpoint

func (g groups) Watch(_ context.Context, _, group, _ string, update func([]motan.Endpoint)) error {
	list, ok := g[group]
	if !ok {
		return fmt.Errorf("no group %s", group)
	}
	update(slices.Clone(list))
	return nil
}

func TestCommands(t *testing.T) {
	point := func(addr string) motan.Endpoint { return motan.Endpoint{Addr: addr} }
	reg := groups{
		"own":   {point("10.1.0.1:1"), point("10.1.0.2:1")},
		"other": {point("10.2.0.1:1")},
	}
	var o orders
	r := motan.Commanded(reg, &o, &motan.CommandedOptions{LocalHost: "10.1.0.9", Logger: quiet()})
	var last []motan.Endpoint
	updates := 0
	if err := r.Watch(t.Context(), "com.example.S", "own", "1.0", func(list []motan.Endpoint) { last = list; updates++ }); err != nil {
		t.Fatal(err)
	}
	got := func() string {
		var b strings.Builder
		for _, e := range last {
			fmt.Fprintf(&b, "%s/%d ", strings.TrimSuffix(e.Addr, ":1"), e.Weight)
		}
		return strings.TrimSpace(b.String())
	}
	const own = "10.1.0.1/0 10.1.0.2/0"
	cmd := func(rest string) string { return `{"clientCommandList":[` + rest + `]}` }
	for _, tc := range []struct{ name, command, want string }{
		{"none", "", own},
		{"another service", cmd(`{"pattern":"com.other.*","mergeGroups":["other"]}`), own},
		{"group switch", cmd(`{"pattern":"com.example.*","mergeGroups":["other"]}`), "10.2.0.1/0"},
		{"all mixed", cmd(`{"pattern":"*","mergeGroups":["own","other"]}`), own + " 10.2.0.1/0"},
		{"weighted", cmd(`{"pattern":"com.example.S","mergeGroups":["own:6","other:4"]}`), "10.1.0.1/15 10.1.0.2/15 10.2.0.1/20"},
		{"nonsense", "{", "10.1.0.1/15 10.1.0.2/15 10.2.0.1/20"},
		{"bad weight", cmd(`{"pattern":"*","mergeGroups":["own:x"]}`), "10.1.0.1/15 10.1.0.2/15 10.2.0.1/20"},
		{"first by index", cmd(`{"index":2,"pattern":"*","mergeGroups":["own"]},{"index":1,"pattern":"*","mergeGroups":["other"]}`), "10.2.0.1/0"},
		{"a group that is not there", cmd(`{"pattern":"*","mergeGroups":["own","missing"]}`), own},
		{"route", cmd(`{"pattern":"*","routeRules":["10.1.* to 10.1.0.2"]}`), "10.1.0.2/0"},
		{"route, not", cmd(`{"pattern":"*","routeRules":["!10.9.* to !10.1.0.2"]}`), "10.1.0.1/0"},
		{"route from elsewhere", cmd(`{"pattern":"*","routeRules":["10.9.* to 10.1.0.2"]}`), own},
		{"route to nobody", cmd(`{"pattern":"*","routeRules":["10.1.* to 10.7.*"]}`), own},
		{"routes in order", cmd(`{"pattern":"*","mergeGroups":["own","other"],"routeRules":["10.1.* to 10.1.*","* to !10.1.0.1"]}`), "10.1.0.2/0 10.2.0.1/0"},
		{"pattern with operators", cmd(`{"pattern":"com.other.*|com.example.*&!com.example.T","mergeGroups":["other"]}`), "10.2.0.1/0"},
		{"pattern that excludes", cmd(`{"pattern":"* & !(com.example.S | com.example.T)","mergeGroups":["other"]}`), own},
		{"degraded by operators", cmd(`{"pattern":"!com.other.*","commandType":1}`), ""},
		{"degraded", cmd(`{"pattern":"com.*","commandType":1}`), ""},
		{"switches", cmd(`{"pattern":"a:true,b:false","commandType":2,"mergeGroups":["other"]}`), own},
		{"not of a type that is known", cmd(`{"pattern":"*","commandType":3,"mergeGroups":["other"]}`), own},
		{"back", "", own},
	} {
		o.set("own", tc.command)
		if got() != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got(), tc.want)
		}
	}
	n := updates
	o.set("own", "")
	if updates != n {
		t.Error("an update without a change")
	}
	if err := r.Watch(t.Context(), "s", "missing", "1.0", func([]motan.Endpoint) {}); err == nil {
		t.Error("a group that is not there: no error")
	}
}

// What the patterns mean is what Motan Java 1.2.2 makes of them.
func TestCommandPatterns(t *testing.T) {
	point := []motan.Endpoint{{Addr: "10.1.0.1:1"}}
	for _, tc := range []struct {
		pattern, service string
		want             bool
	}{
		{"com.a|com.b&com.c", "com.a", true},
		{"com.a&com.b|com.a", "com.a", true},
		{"com.a|com.a&com.b", "com.a", true},
		{"(com.a|com.a)&com.b", "com.a", false},
		{"!com.b", "com.a", true},
		{"!com.b&com.a", "com.a", true},
		{"!com.a|com.a", "com.a", true},
		{"!(com.a|com.b)", "com.a", false},
		{"(com.a*&!com.ab*)", "com.abc", false},
		{"(com.a*&!com.ab*)", "com.ac", true},
		{"com.a", "com.ab", false},
		{"com.*", "com.ab", true},
		{"com.*.x", "com.b.x", true},
		{"com.a | com.b ", "com.b", true},
		{"!!com.b", "com.b", true},
		{"com.$a", "com.$a", true},
	} {
		var o orders
		o.set("own", `{"clientCommandList":[{"pattern":"`+tc.pattern+`","commandType":1}]}`)
		r := motan.Commanded(groups{"own": point}, &o, &motan.CommandedOptions{Logger: quiet()})
		matched := false
		if err := r.Watch(t.Context(), tc.service, "own", "1.0", func(list []motan.Endpoint) { matched = len(list) == 0 }); err != nil {
			t.Fatal(err)
		}
		if matched != tc.want {
			t.Errorf("%s matches %s: %v", tc.pattern, tc.service, matched)
		}
	}
	for _, bad := range []string{"com.a||com.b", "(com.a", "com.a)", "com.a&", "|com.a", "!", "()", "com.a com.b", "[", strings.Repeat("!", 100) + "a", strings.Repeat("(", 1e5)} {
		if _, err := motan.ParseCommands([]byte(`{"clientCommandList":[{"pattern":"` + bad + `"}]}`)); err == nil || !strings.Contains(err.Error(), "pattern") {
			t.Errorf("%.20q: %v", bad, err)
		}
	}
}

// Commands turn switches while they are there, for all who watch the group at once,
// and leave alone what somebody else has turned since.
func TestCommandsTurnSwitches(t *testing.T) {
	w := newWatchman(t, "switches", nil)
	a, b, c := w.Switch("a", false), w.Switch("b", true), w.Switch("c:x", false)
	if err := w.SetSwitch("b", true, "an operator", "to be sure"); err != nil {
		t.Fatal(err)
	}
	var o orders
	r := motan.Commanded(groups{"own": {{Addr: "10.1.0.1:1"}}}, &o, &motan.CommandedOptions{Watchman: w, Logger: quiet()})
	for _, service := range []string{"s", "t"} {
		if err := r.Watch(t.Context(), service, "own", "1.0", func([]motan.Endpoint) {}); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what string, wantA, wantB, wantC bool, changes int) {
		t.Helper()
		if a.On() != wantA || b.On() != wantB || c.On() != wantC || len(w.Changes()) != changes {
			t.Errorf("%s: %v %v %v after %d changes, want %v %v %v after %d", what, a.On(), b.On(), c.On(), len(w.Changes()), wantA, wantB, wantC, changes)
		}
	}
	is("at first", false, true, false, 1)
	o.set("own", `{"clientCommandList":[{"index":2,"commandType":2,"pattern":"a:false, c:x:true"},
		{"index":1,"commandType":2,"pattern":"a:true,b:false,no.such:true","remark":"drill"}]}`)
	is("commanded", true, false, true, 4)
	if ch := w.Changes()[0]; ch.By != "command of group own" {
		t.Errorf("%+v", ch)
	}
	o.set("own", `{"clientCommandList":[{"commandType":2,"pattern":"a:true,b:false"}]}`)
	is("one less", true, false, false, 5)
	if err := w.SetSwitch("a", true, "an operator", "keep it"); err != nil {
		t.Fatal(err)
	}
	o.set("own", "")
	is("no more", true, true, false, 7)
	for _, s := range w.Switches() {
		if s.Name == "b" && (s.By != "an operator" || s.Reason != "to be sure") {
			t.Errorf("who had turned it is forgotten: %+v", s)
		}
	}

	// Admin shows them.
	cl := newClient(t, "com.example.S", r, &motan.ClientOptions{Group: "own", Timeout: 10 * time.Millisecond})
	other := newClient(t, "com.example.S", groups{"own": nil}, nil)
	motan.Send(t.Context(), cl, "m", "") // it fails; the group is being watched then
	o.set("own", `{"clientCommandList":[{"index":2,"pattern":"com.*","remark":"drain"},{"index":1,"pattern":"other"},{"index":3,"commandType":1,"pattern":"*"}]}`)
	list, ok := cl.Commands()
	if _, none := other.Commands(); !ok || none || len(list) != 3 || list[0].Index != 1 {
		t.Errorf("%v %v, and %v of a registry without commands", list, ok, none)
	}
	rec := httptest.NewRecorder()
	(&motan.Admin{Clients: []*motan.Client{cl, other}}).Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/commands", nil))
	var shown []motan.CommandState
	if err := json.Unmarshal(rec.Body.Bytes(), &shown); err != nil || len(shown) != 1 || shown[0].Traffic == nil || shown[0].Traffic.Remark != "drain" || !shown[0].Degraded {
		t.Errorf("%v: %s", err, rec.Body)
	}
}

func TestCommandedIsARegistry(t *testing.T) {
	motantest.TestRegistry(t, func(t *testing.T) motantest.Target {
		f := &registryFile{path: filepath.Join(t.TempDir(), "endpoints.json")}
		reg, err := motan.NewFile(f.path, &motan.FileOptions{Every: time.Millisecond, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		return motantest.Target{Registry: motan.Commanded(reg, &orders{}, nil), Set: func(service, group, version string, list []motan.Endpoint) {
			f.set(t, service, group, version, list)
		}}
	})
}

func TestParseCommandsTellsAllThatIsWrong(t *testing.T) {
	_, err := motan.ParseCommands([]byte(`{"clientCommandList":[{"mergeGroups":["a:b",""]},{"pattern":"x","routeRules":["a","a b c","! to x"]},
		{"commandType":2,"pattern":"on"},{"commandType":2,"pattern":"a:true,:false"},{"commandType":2,"pattern":"a:2"}]}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no pattern", `"on"`, `"a:true,:false"`, `"a:2"`, `"a:b"`, `""`, `"a"`, `"a b c"`, `"! to x"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in %v", want, err)
		}
	}
}

func FuzzCommands(f *testing.F) {
	f.Add([]byte(`{"clientCommandList":[{"index":1,"version":"1.0","dc":"yf","commandType":0,"pattern":"com.example.*","mergeGroups":["g-a:6","g-b:4"],"routeRules":["10.73.1.* to 10.75.1.*","!10.75.* to !10.73.1.5"],"remark":"x"}]}`))
	f.Add([]byte(`{"clientCommandList":[{"commandType":2,"pattern":"a:true,b:x:false"}]}`))
	f.Add([]byte(`{"clientCommandList":[{"pattern":"[","mergeGroups":["a"],"routeRules":["* to *"]}]}`))
	reg := groups{"own": {{Addr: "10.1.0.1:1"}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := orders{commands: map[string]string{"own": string(b)}}
		r := motan.Commanded(reg, &o, &motan.CommandedOptions{LocalHost: "10.1.0.9", Logger: quiet()})
		r.Watch(t.Context(), "com.example.S", "own", "1.0", func([]motan.Endpoint) {})
	})
}

func TestDegradedSaysSo(t *testing.T) {
	for _, tc := range []struct{ remark, want string }{
		{"new year", "no endpoint of s: degraded by a command of group default_rpc: new year"},
		{"", "no endpoint of s: degraded by a command of group default_rpc"},
	} {
		var o orders
		o.set("default_rpc", fmt.Sprintf(`{"clientCommandList":[{"commandType":1,"pattern":"*","remark":%q}]}`, tc.remark))
		c := newClient(t, "s", motan.Commanded(motan.Static("127.0.0.1:1"), &o, nil), nil)
		_, err := motan.Call[string](t.Context(), c, "m", "x")
		var e *motan.Error
		if !errors.As(err, &e) || e.Code != motan.CodeNoEndpoint || e.Message != tc.want {
			t.Errorf("%v, want %s", err, tc.want)
		}
	}
	var o orders
	c := newClient(t, "s", motan.Commanded(groups{"default_rpc": nil}, &o, nil), nil)
	if _, err := motan.Call[string](t.Context(), c, "m", "x"); err == nil || !strings.Contains(err.Error(), "none is registered") {
		t.Error(err)
	}
}
