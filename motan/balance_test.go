package motan_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// cluster starts n nodes named by their numbers.
func cluster(t testing.TB, n int) (nodes []*node, addrs []string) {
	t.Helper()
	for i := range n {
		nd := startNode(t, fmt.Sprint(i), nil)
		nodes = append(nodes, nd)
		addrs = append(addrs, nd.addr)
	}
	return nodes, addrs
}

// shares makes n calls and counts which node answered.
func shares(t testing.TB, c *motan.Client, ctx context.Context, n int) map[string]int {
	t.Helper()
	got := map[string]int{}
	for range n {
		s, err := motan.Call[string](ctx, c, "say", "")
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(*s, ":")
		got[name]++
	}
	return got
}

func TestEvenBalances(t *testing.T) {
	_, addrs := cluster(t, 4)
	for name, tc := range map[string]struct {
		balance     motan.Balance
		least, most int // of 400 calls, for each node
	}{
		"round robin":         {motan.RoundRobin, 100, 100},
		"least recently used": {motan.LeastRecentlyUsed, 100, 100},
		"weighted, equal":     {motan.WeightedRoundRobin, 100, 100},
		"random":              {motan.Random, 40, 200},
		"least in flight":     {motan.LeastInFlight, 40, 200},
		"local first":         {motan.LocalFirst, 40, 200},
		"hash without a key":  {motan.ConsistentHash, 100, 100},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, "test.Echo", motan.Static(addrs...), &motan.ClientOptions{Balance: tc.balance, Timeout: patience})
			eventuallyUp(t, c, 4)
			got := shares(t, c, t.Context(), 400)
			for i := range addrs {
				if n := got[fmt.Sprint(i)]; n < tc.least || n > tc.most {
					t.Errorf("node %d got %d of 400 calls, want %d to %d", i, n, tc.least, tc.most)
				}
			}
		})
	}
}

func TestWeights(t *testing.T) {
	_, addrs := cluster(t, 3)
	reg := &listing{list: []motan.Endpoint{{Addr: addrs[0], Weight: 10}, {Addr: addrs[1], Weight: 20}, {Addr: addrs[2], Weight: 50}}}
	c := newClient(t, "test.Echo", reg, &motan.ClientOptions{Balance: motan.WeightedRoundRobin, Timeout: patience})
	eventuallyUp(t, c, 3)
	got := shares(t, c, t.Context(), 800)
	if got["0"] != 100 || got["1"] != 200 || got["2"] != 500 {
		t.Errorf("weights 10, 20 and 50 gave %v of 800", got)
	}
	reg.mu.Lock()
	reg.list = []motan.Endpoint{{Addr: addrs[0], Weight: 100}, {Addr: addrs[1]}, {Addr: addrs[2], Weight: 100}}
	reg.updates[0](reg.list)
	reg.mu.Unlock()
	got = shares(t, c, t.Context(), 210)
	if got["0"] != 100 || got["1"] != 10 || got["2"] != 100 {
		t.Errorf("weights 100, 10 and 100 gave %v of 210", got)
	}
}

func TestLeastInFlightAvoidsTheBusy(t *testing.T) {
	nodes, addrs := cluster(t, 3)
	c := newClient(t, "test.Echo", motan.Static(addrs...), &motan.ClientOptions{Balance: motan.LeastInFlight, Timeout: time.Hour})
	eventuallyUp(t, c, 3)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := int64(0)
	for range 30 {
		motan.Go[string](ctx, c, "wait", "")
		sent++
		eventually(t, "it is on its way", func() bool {
			n := int64(0)
			for _, e := range c.Stats().Endpoints {
				n += e.InFlight
			}
			return n == sent
		})
	}
	eventually(t, "all wait", func() bool {
		return nodes[0].srv.Stats().InFlight+nodes[1].srv.Stats().InFlight+nodes[2].srv.Stats().InFlight == 30
	})
	for i, n := range nodes {
		if got := n.srv.Stats().InFlight; got < 8 || got > 12 {
			t.Errorf("node %d has %d of 30 waiting calls", i, got)
		}
	}
}

func TestConsistentHash(t *testing.T) {
	nodes, addrs := cluster(t, 5)
	reg := &listing{}
	reg.set(addrs...)
	c := newClient(t, "test.Echo", reg, &motan.ClientOptions{Balance: motan.ConsistentHash, Timeout: patience, SlowStart: -1})
	eventuallyUp(t, c, 5)
	where := func() map[string]string {
		m := map[string]string{}
		for i := range 200 {
			key := fmt.Sprint("user-", i)
			ctx := motan.WithHashKey(t.Context(), key)
			for name := range shares(t, c, ctx, 2) {
				if old, ok := m[key]; ok && old != name {
					t.Fatalf("%s went to %s and %s", key, old, name)
				}
				m[key] = name
			}
		}
		return m
	}
	before := where()
	count := map[string]int{}
	for _, n := range before {
		count[n]++
	}
	for i := range addrs {
		if n := count[fmt.Sprint(i)]; n < 15 || n > 80 {
			t.Errorf("node %d has %d of 200 keys", i, n)
		}
	}
	reg.set(addrs[:4]...)
	for key, n := range where() {
		if before[key] != "4" && before[key] != n {
			t.Errorf("%s moved from %s to %s though its node stayed", key, before[key], n)
		}
	}
	reg.set(addrs...)
	eventuallyUp(t, c, 5)
	for key, n := range where() {
		if before[key] != n {
			t.Errorf("%s is at %s, was at %s when the same nodes were there", key, n, before[key])
		}
	}
	// One key that everybody wants does not drown its node.
	ctx, cancel := context.WithCancel(motan.WithHashKey(t.Context(), "everybody"))
	defer cancel()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { motan.Call[string](ctx, c, "wait", "") })
	}
	inFlight := func() (all, most int64) {
		for _, n := range nodes {
			f := n.srv.Stats().InFlight
			all, most = all+f, max(most, f)
		}
		return all, most
	}
	eventually(t, "all wait, or one timeout has passed", func() bool { all, _ := inFlight(); return all == 100 })
	if _, most := inFlight(); most > 40 {
		t.Errorf("one node has %d of 100 calls, want about a quarter more than its fifth", most)
	}
	cancel()
	wg.Wait()
}

func TestSlowStart(t *testing.T) {
	_, addrs := cluster(t, 2)
	for name, balance := range map[string]motan.Balance{"round robin": motan.RoundRobin, "least in flight": motan.LeastInFlight, "random": motan.Random} {
		t.Run(name, func(t *testing.T) {
			reg := &listing{}
			reg.set(addrs[0])
			c := newClient(t, "test.Echo", reg, &motan.ClientOptions{Balance: balance, SlowStart: time.Hour, Timeout: patience})
			call(t, c, "say", "")
			reg.set(addrs...)
			eventuallyUp(t, c, 2)
			if got := shares(t, c, t.Context(), 400); got["1"] > 60 {
				t.Errorf("a new node with an hour to warm up got %v", got)
			}
			// Alone it gets everything nevertheless.
			reg.set(addrs[1])
			if got := shares(t, c, t.Context(), 10); got["1"] != 10 {
				t.Errorf("alone it got %v", got)
			}
		})
	}
}

// An endpoint that is down gets nothing.
func TestBalanceSkipsWhatIsDown(t *testing.T) {
	nodes, addrs := cluster(t, 3)
	var clients []*motan.Client
	for balance := motan.RoundRobin; balance <= motan.LocalFirst; balance++ {
		c := newClient(t, "test.Echo", motan.Static(addrs...), &motan.ClientOptions{Balance: balance, Timeout: patience})
		eventuallyUp(t, c, 3)
		clients = append(clients, c)
	}
	nodes[1].srv.Close()
	for balance, c := range clients {
		eventually(t, "it is noticed", func() bool { return c.Stats().Endpoints[1].Down != "" })
		ctx := motan.WithHashKey(t.Context(), "k")
		if got := shares(t, c, ctx, 100); got["0"]+got["2"] != 100 {
			t.Errorf("balance %d: %v", balance, got)
		}
	}
}
