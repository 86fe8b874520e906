// Package motantest holds the executable form of motan's contracts. An
// implementation of [motan.Registry], [motan.Announcer] or [motan.CommandSource] runs
// it in a test of its own.
package motantest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// Target is a registry under test.
type Target struct {
	Registry motan.Registry

	// Announcer makes offers known to Registry. If it is nil, Set does.
	Announcer motan.Announcer

	// Set makes list, which is not empty, what the registry has of a service. If it
	// is nil too, the registry never changes: then it must list Fixed for
	// every service.
	Set   func(service, group, version string, list []motan.Endpoint)
	Fixed []motan.Endpoint
}

// patience is how long a registry may take to pass a change on.
const patience = 30 * time.Second

// TestRegistry checks the rules of motan.Registry, and those of motan.Announcer if
// there is one. open is called once for each part and cleans up by t.Cleanup.
func TestRegistry(t *testing.T, open func(t *testing.T) Target) {
	t.Run("first list before return", func(t *testing.T) { testFirst(t, open(t)) })
	t.Run("many watchers", func(t *testing.T) { testMany(t, open(t)) })
	t.Run("list is the callee's", func(t *testing.T) { testOwnership(t, open(t)) })
	if target := open(t); target.Announcer != nil || target.Set != nil {
		t.Run("changes", func(t *testing.T) { testChanges(t, open(t)) })
		t.Run("no updates after the end", func(t *testing.T) { testEnd(t, open(t)) })
		t.Run("services are kept apart", func(t *testing.T) { testApart(t, open(t)) })
	}
}

// watcher collects the lists that update is called with.
type watcher struct{ recorder[[]motan.Endpoint] }

func (w *watcher) update(list []motan.Endpoint) {
	w.record(slices.Clone(list))
	for i := range list { // rule 4: it is ours
		list[i] = motan.Endpoint{Addr: "overwritten:1"}
	}
}

// wants waits until the last list has the given addresses.
func (w *watcher) wants(addrs ...string) {
	w.t.Helper()
	slices.Sort(addrs)
	var got []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		got = got[:0]
		for _, e := range w.last() {
			got = append(got, e.Addr)
		}
		if slices.Sort(got); slices.Equal(got, addrs) {
			return
		}
	}
	w.t.Fatalf("after %v the list is %v, want %v", patience, got, addrs)
}

func start(t *testing.T, ctx context.Context, r motan.Registry, service, group, version string) *watcher {
	t.Helper()
	w := &watcher{recorder[[]motan.Endpoint]{t: t}}
	if err := r.Watch(ctx, service, group, version, w.update); err != nil {
		t.Fatalf("Watch: %v", err)
	}
	if w.count() == 0 {
		t.Fatal("Watch returned before it had called update")
	}
	return w
}

// offers keeps what is known of one service.
type offers struct {
	t                       *testing.T
	target                  Target
	service, group, version string
	leave                   map[string]func(context.Context) error
}

func (o *offers) set(addrs ...string) {
	o.t.Helper()
	if o.target.Announcer == nil {
		var list []motan.Endpoint
		for _, a := range addrs {
			list = append(list, motan.Endpoint{Addr: a, Weight: 10})
		}
		o.target.Set(o.service, o.group, o.version, list)
		return
	}
	if o.leave == nil {
		o.leave = make(map[string]func(context.Context) error)
	}
	for _, a := range addrs {
		if o.leave[a] == nil {
			leave, err := o.target.Announcer.Announce(o.t.Context(), motan.Offer{
				Service: o.service, Group: o.group, Version: o.version, Endpoint: motan.Endpoint{Addr: a, Weight: 10},
			})
			if err != nil {
				o.t.Fatalf("Announce %s: %v", a, err)
			}
			o.leave[a] = leave
		}
	}
	for a, leave := range o.leave {
		if !slices.Contains(addrs, a) {
			if err := leave(o.t.Context()); err != nil {
				o.t.Fatalf("leave of %s: %v", a, err)
			}
			delete(o.leave, a)
		}
	}
}

// given makes a service known and returns its addresses.
func (t Target) given(tb *testing.T, service string) (o *offers, addrs []string) {
	o = &offers{t: tb, target: t, service: service, group: "motantest", version: "1.0"}
	if t.Announcer == nil && t.Set == nil {
		for _, e := range t.Fixed {
			addrs = append(addrs, e.Addr)
		}
		return o, addrs
	}
	addrs = []string{"127.0.0.1:1001", "127.0.0.1:1002"}
	o.set(addrs...)
	return o, addrs
}

func testFirst(t *testing.T, target Target) {
	_, addrs := target.given(t, "test.First")
	w := start(t, t.Context(), target.Registry, "test.First", "motantest", "1.0")
	w.wants(addrs...)
}

func testMany(t *testing.T, target Target) {
	_, addrs := target.given(t, "test.Many")
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			w := &watcher{recorder[[]motan.Endpoint]{t: t}}
			if err := target.Registry.Watch(t.Context(), "test.Many", "motantest", "1.0", w.update); err != nil {
				t.Errorf("Watch: %v", err)
				return
			}
			if n := len(w.last()); n != len(addrs) {
				t.Errorf("%d endpoints, want %d", n, len(addrs))
			}
		})
	}
	wg.Wait()
}

func testOwnership(t *testing.T, target Target) {
	_, addrs := target.given(t, "test.Ownership")
	// The first watcher overwrites its list.
	start(t, t.Context(), target.Registry, "test.Ownership", "motantest", "1.0").wants(addrs...)
	start(t, t.Context(), target.Registry, "test.Ownership", "motantest", "1.0").wants(addrs...)
}

func testChanges(t *testing.T, target Target) {
	o, addrs := target.given(t, "test.Changes")
	a, b := start(t, t.Context(), target.Registry, "test.Changes", "motantest", "1.0"), start(t, t.Context(), target.Registry, "test.Changes", "motantest", "1.0")
	both := func(addrs ...string) {
		t.Helper()
		o.set(addrs...)
		a.wants(addrs...)
		b.wants(addrs...)
	}
	both(addrs[0])
	both(addrs[0], addrs[1], "127.0.0.1:1003")
	both("127.0.0.1:1003")
	for i := range 20 { // in quick succession only the last one counts
		o.set(fmt.Sprintf("127.0.0.1:%d", 2000+i), "127.0.0.1:1003")
	}
	both("127.0.0.1:2019", "127.0.0.1:1003")
}

func testEnd(t *testing.T, target Target) {
	o, addrs := target.given(t, "test.End")
	ctx, cancel := context.WithCancel(t.Context())
	ended := start(t, ctx, target.Registry, "test.End", "motantest", "1.0")
	other := start(t, t.Context(), target.Registry, "test.End", "motantest", "1.0")
	o.set(addrs[0])
	ended.wants(addrs[0])
	other.wants(addrs[0])
	cancel()
	// An update that was under way may finish.
	n := ended.count()
	o.set(addrs[0], "127.0.0.1:1003")
	other.wants(addrs[0], "127.0.0.1:1003")
	o.set(addrs[0], "127.0.0.1:1004")
	other.wants(addrs[0], "127.0.0.1:1004")
	if more := ended.count() - n; more > 1 {
		t.Errorf("%d updates after the context was done", more)
	}
}

func testApart(t *testing.T, target Target) {
	for i, o := range []*offers{
		{t: t, target: target, service: "test.Apart", group: "motantest", version: "1.0"},
		{t: t, target: target, service: "test.Apart", group: "motantest", version: "2.0"},
		{t: t, target: target, service: "test.Apart", group: "motantest2", version: "1.0"},
		{t: t, target: target, service: "test.Apart2", group: "motantest", version: "1.0"},
	} {
		o.set(fmt.Sprintf("127.0.0.1:%d", 3000+i))
	}
	for i, k := range [][3]string{{"test.Apart", "motantest", "1.0"}, {"test.Apart", "motantest", "2.0"}, {"test.Apart", "motantest2", "1.0"}, {"test.Apart2", "motantest", "1.0"}} {
		start(t, t.Context(), target.Registry, k[0], k[1], k[2]).wants(fmt.Sprintf("127.0.0.1:%d", 3000+i))
	}
}
