package motan_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
	"github.com/heddle-go/heddle/watchman"
)

// Other Motan clients ask for the dynamic metadata in simple or in breeze.
func TestMetaService(t *testing.T) {
	n := startNode(t, "a", nil)
	c := dialWire(t, n.addr)
	ask := func(serialization byte) []byte {
		t.Helper()
		c.send(t, wireFrame{id: 5, serialization: serialization, meta: map[string]string{
			"M_p": "com.weibo.api.motan.runtime.meta.MetaService", "M_m": "getDynamicMeta", "M_fws": "y", "M_g": "g", "M_pp": "motan2",
		}})
		f := c.read(t)
		if f.status != 0 || f.serialization != serialization {
			t.Fatalf("%+v", f)
		}
		return f.body
	}
	const breeze = 8
	for _, tc := range []struct {
		serialization byte
		weight        int
		want          []byte
	}{
		{wireSimple, 0, []byte("\x02\x00\x00\x00\x00")},
		{breeze, 0, []byte("\xdb\x00")},
		{wireSimple, 30, []byte("\x02\x00\x00\x00\x15\x00\x00\x00\x0bMETA_WEIGHT\x00\x00\x00\x0230")},
		{wireSimple, 1000, []byte("\x02\x00\x00\x00\x16\x00\x00\x00\x0bMETA_WEIGHT\x00\x00\x00\x03500")},
	} {
		n.srv.SetWeight(tc.weight)
		if got := ask(tc.serialization); !bytes.Equal(got, tc.want) {
			t.Errorf("weight %d: %q, want %q", tc.weight, got, tc.want)
		}
	}
}

// A server gets the share of the calls that it asks for, and one that cannot be
// asked what the registry says.
func TestDynamicWeights(t *testing.T) {
	nodes, addrs := cluster(t, 2)
	var asked atomic.Int64
	foreign := startWireServer(t, func(conn net.Conn, f wireFrame) bool {
		switch {
		case f.meta["M_fws"] != "":
			asked.Add(1)
			return answerException(`{"errcode":501,"errmsg":"service not support","errtype":1}`)(conn, f)
		default:
			answerString(conn, f, "2:")
			return true
		}
	})
	c := newClient(t, "test.Echo", motan.Static(append(addrs, foreign.addr)...), &motan.ClientOptions{
		Balance: motan.WeightedRoundRobin, WeightRefresh: 5 * time.Millisecond, Timeout: patience,
	})
	eventuallyUp(t, c, 3)
	weight := func(addr string) int {
		for _, e := range c.Stats().Endpoints {
			if e.Addr == addr {
				return e.Weight
			}
		}
		return -1
	}
	nodes[0].srv.SetWeight(30)
	eventually(t, "the wish is known", func() bool { return weight(addrs[0]) == 30 })
	eventually(t, "shares are 3:1:1", func() bool { // the round of before may still be going on
		got := shares(t, c, t.Context(), 100)
		return got["0"] >= 55 && got["1"] <= 23 && got["2"] <= 23
	})
	nodes[0].srv.SetWeight(0)
	eventually(t, "the wish is gone", func() bool { return weight(addrs[0]) == 10 })
	if n := asked.Load(); n < 1 || n > 2 { // once for each connection at most
		t.Errorf("the foreign server was asked %d times", n)
	}
	if weight(foreign.addr) != 10 {
		t.Errorf("its weight is %d", weight(foreign.addr))
	}
}

// A dial of watchman, which policies turn, makes a server ask for less.
func TestWeightDial(t *testing.T) {
	w := newWatchman(t, "server", nil)
	relieved := newServer(t, &motan.ServerOptions{Watchman: w})
	addr := startServer(t, relieved)
	c := newClient(t, "test.Echo", motan.Static(addr), &motan.ClientOptions{
		Balance: motan.WeightedRoundRobin, WeightRefresh: 5 * time.Millisecond, Timeout: patience,
	})
	eventuallyUp(t, c, 1)
	for _, tc := range []struct {
		weight int // of SetWeight
		share  float64
		want   int
	}{{0, 0.3, 3}, {0, 0.01, 1}, {200, 0.01, 2}, {200, 1, 200}, {0, 1, 10}} {
		relieved.SetWeight(tc.weight)
		if err := w.Apply(watchman.Change{Name: motan.WeightDial, Value: tc.share, By: "test"}); err != nil {
			t.Fatal(err)
		}
		eventually(t, fmt.Sprintf("the weight is %d", tc.want), func() bool { return c.Stats().Endpoints[0].Weight == tc.want })
	}
}

// An operator sets the share of an endpoint, takes it out, and gives it back.
func TestSetWeight(t *testing.T) {
	_, addrs := cluster(t, 2)
	c := newClient(t, "test.Echo", motan.Static(addrs...), &motan.ClientOptions{Balance: motan.WeightedRoundRobin, WeightRefresh: -1, Timeout: patience})
	if err := c.SetWeight(addrs[0], 1); !errors.Is(err, motan.ErrNoSuchEndpoint) {
		t.Errorf("before the list is known: %v", err)
	}
	eventuallyUp(t, c, 2)
	for _, tc := range []struct {
		weight    int
		want0     int // of 100 calls
		listedFor int
	}{{30, 75, 30}, {0, 0, 10}, {-1, 50, 10}} {
		if err := c.SetWeight(addrs[0], tc.weight); err != nil {
			t.Fatal(err)
		}
		if got := shares(t, c, t.Context(), 100); got["0"] != tc.want0 || got["1"] != 100-tc.want0 {
			t.Errorf("weight %d: %v, want %d", tc.weight, got, tc.want0)
		}
		if w := c.Stats().Endpoints[0].Weight; w != tc.listedFor {
			t.Errorf("weight %d: listed for %d", tc.weight, w)
		}
	}
	for _, a := range addrs {
		if err := c.SetWeight(a, 0); err != nil {
			t.Fatal(err)
		}
	}
	_, err := motan.Call[string](t.Context(), c, "say", "")
	if e := wantCode(t, err, motan.CodeNoEndpoint); !strings.Contains(e.Message, addrs[0]+": taken out by an operator") {
		t.Error(err)
	}
}
