package motan_test

import (
	"context"
	"fmt"
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
	mu      sync.Mutex
	command string
	updates []func([]byte)
}

func (o *orders) WatchCommands(_ context.Context, _ string, update func([]byte)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	update([]byte(o.command))
	o.updates = append(o.updates, update)
	return nil
}

func (o *orders) set(command string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.command = command
	for _, u := range o.updates {
		u([]byte(command))
	}
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
		{"degraded", cmd(`{"pattern":"com.*","commandType":1}`), ""},
		{"a switcher, which is not for us", cmd(`{"pattern":"*","commandType":2,"mergeGroups":["other"]}`), own},
		{"back", "", own},
	} {
		o.set(tc.command)
		if got() != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got(), tc.want)
		}
	}
	n := updates
	o.set("")
	if updates != n {
		t.Error("an update without a change")
	}
	if err := r.Watch(t.Context(), "s", "missing", "1.0", func([]motan.Endpoint) {}); err == nil {
		t.Error("a group that is not there: no error")
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
	_, err := motan.ParseCommands([]byte(`{"clientCommandList":[{"mergeGroups":["a:b",""]},{"pattern":"x","routeRules":["a","a b c","! to x"]}]}`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"no pattern", `"a:b"`, `""`, `"a"`, `"a b c"`, `"! to x"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing about %s in %v", want, err)
		}
	}
}

func FuzzCommands(f *testing.F) {
	f.Add([]byte(`{"clientCommandList":[{"index":1,"version":"1.0","dc":"yf","commandType":0,"pattern":"com.example.*","mergeGroups":["g-a:6","g-b:4"],"routeRules":["10.73.1.* to 10.75.1.*","!10.75.* to !10.73.1.5"],"remark":"x"}]}`))
	f.Add([]byte(`{"clientCommandList":[{"pattern":"[","mergeGroups":["a"],"routeRules":["* to *"]}]}`))
	reg := groups{"own": {{Addr: "10.1.0.1:1"}}}
	f.Fuzz(func(t *testing.T, b []byte) {
		o := orders{command: string(b)}
		r := motan.Commanded(reg, &o, &motan.CommandedOptions{LocalHost: "10.1.0.9", Logger: quiet()})
		r.Watch(t.Context(), "com.example.S", "own", "1.0", func([]motan.Endpoint) {})
	})
}
