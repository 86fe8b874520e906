package motan_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
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
	for name, balance := range map[string]motan.Balance{
		"round robin": motan.RoundRobin, "weighted": motan.WeightedRoundRobin, "least recently used": motan.LeastRecentlyUsed,
		"least in flight": motan.LeastInFlight, "random": motan.Random,
	} {
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

// Calls take turns by their first try, whatever further ones there are.
func TestFurtherTriesTakeNoTurn(t *testing.T) {
	for name, tc := range map[string]struct {
		balance motan.Balance
		ha      motan.HA
		calls   int
		sick    func(net.Conn, wireFrame) bool // what the first of the endpoints does
		well    int                            // how many others there are
	}{
		"round robin, rejected":         {motan.RoundRobin, motan.Failover, 100, answerException(busy), 1},
		"round robin, one of three":     {motan.RoundRobin, motan.Failover, 300, answerException(busy), 2},
		"weighted, rejected":            {motan.WeightedRoundRobin, motan.Failover, 100, answerException(busy), 1},
		"least recently used, rejected": {motan.LeastRecentlyUsed, motan.Failover, 100, answerException(busy), 1},
		"least recently used, of three": {motan.LeastRecentlyUsed, motan.Failover, 300, answerException(busy), 2},
		"round robin, slow":             {motan.RoundRobin, motan.Backup, 20, func(net.Conn, wireFrame) bool { return true }, 1},
		"least recently used, slow":     {motan.LeastRecentlyUsed, motan.Backup, 20, func(net.Conn, wireFrame) bool { return true }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make([]atomic.Int64, 1+tc.well)
			var addrs []string
			for i := range asked {
				addrs = append(addrs, startWireServer(t, func(conn net.Conn, f wireFrame) bool {
					if f.meta["M_m"] == "read" {
						asked[i].Add(1)
						if i == 0 {
							return tc.sick(conn, f)
						}
					}
					answerString(conn, f, "")
					return true
				}).addr)
			}
			c := newClient(t, "s", motan.Static(addrs...), &motan.ClientOptions{
				Balance: tc.balance, HA: tc.ha, Idempotent: []string{"read"}, Timeout: patience, Connections: 1,
				RetryBudget: -1, BackupAfter: time.Millisecond, Heartbeat: -1,
			})
			eventuallyUp(t, c, len(addrs))
			for range tc.calls {
				if _, err := motan.Call[string](t.Context(), c, "read", "x"); err != nil {
					t.Fatal(err)
				}
			}
			turns := int64(tc.calls / len(addrs))
			if n := asked[0].Load(); n != turns {
				t.Errorf("the sick one was asked %d times of %d, want %d", n, tc.calls, turns)
			}
			for i := range tc.well {
				if n := asked[1+i].Load(); n < turns || n > 2*turns {
					t.Errorf("node %d was asked %d times of %d, want %d and up to as many retries", 1+i, n, tc.calls, turns)
				}
			}
		})
	}
}

const busy = `{"errcode":10002,"errmsg":"busy","errtype":1}`

// The turns of an endpoint that is down go to all others, not only to the next.
func TestTurnsOfTheDownAreShared(t *testing.T) {
	_, addrs := cluster(t, 4)
	for name, balance := range map[string]motan.Balance{"round robin": motan.RoundRobin, "weighted": motan.WeightedRoundRobin} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, "test.Echo", motan.Static(addrs...), &motan.ClientOptions{Balance: balance, Timeout: patience})
			eventuallyUp(t, c, 4)
			if err := c.SetWeight(addrs[1], 0); err != nil {
				t.Fatal(err)
			}
			if got := shares(t, c, t.Context(), 120); got["0"] != 40 || got["2"] != 40 || got["3"] != 40 {
				t.Errorf("with node 1 out, of 120 calls the nodes got %v", got)
			}
		})
	}
}
