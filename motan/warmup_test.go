package motan

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// warming returns n endpoints of which the last is new: of its hour to warm up a
// share has passed.
func warming(n int, passed float64) []*endpoint {
	c := &Client{opt: ClientOptions{SlowStart: time.Hour}}
	var list []*endpoint
	for i := range n {
		e := &endpoint{addr: fmt.Sprint("node-", i), client: c}
		e.weight.Store(10)
		list = append(list, e)
	}
	list[n-1].cold.Store(true)
	list[n-1].since = time.Now().Add(-time.Duration(passed * float64(time.Hour)))
	return list
}

// A new endpoint gets the more of its turns, the longer it has been there; the
// others share the rest.
func TestTurnsWhileWarmingUp(t *testing.T) {
	const calls, nodes = 40_000, 4
	for name, balance := range map[string]Balance{
		"round robin": RoundRobin, "weighted": WeightedRoundRobin, "least recently used": LeastRecentlyUsed, "random": Random,
	} {
		for _, passed := range []float64{0, 0.25, 0.5, 0.75, 1} {
			t.Run(fmt.Sprint(name, ", ", passed), func(t *testing.T) {
				p := newPicker(balance, warming(nodes, passed))
				got := map[string]float64{}
				for turn := range uint64(calls) {
					got[p.pick(t.Context(), turn+1, nil).addr]++
				}
				fresh := max(passed, 0.02) / nodes
				for i, e := range p.endpoints {
					want := fresh
					if i < nodes-1 {
						want = (1 - fresh) / (nodes - 1)
					}
					if share := got[e.addr] / calls; share < want-0.02 || share > want+0.02 {
						t.Errorf("%s got %.3f of the calls, want %.3f", e.addr, share, want)
					}
				}
				// Alone it gets everything.
				p = newPicker(balance, p.endpoints[nodes-1:])
				if e := p.pick(t.Context(), 1, nil); e != p.endpoints[0] {
					t.Errorf("alone it gets nothing")
				}
			})
		}
	}
}

// A new endpoint takes its keys one after the other: each moves once, from where it
// was before the endpoint came.
func TestKeysMoveWhileWarmingUp(t *testing.T) {
	const keys, nodes = 20_000, 4
	where := func(list []*endpoint) []string {
		p := newPicker(ConsistentHash, list)
		at := make([]string, keys)
		for i := range at {
			at[i] = p.pick(WithHashKey(t.Context(), fmt.Sprint("user-", i)), 1, nil).addr
		}
		return at
	}
	before, after := where(warming(nodes, 0)[:nodes-1]), where(warming(nodes, 1))
	fresh := fmt.Sprint("node-", nodes-1)
	moves := 0
	for i := range after {
		if after[i] == fresh {
			moves++
		} else if after[i] != before[i] {
			t.Fatalf("key %d moved from %s to %s, of which neither is new", i, before[i], after[i])
		}
	}
	last := before
	for _, passed := range []float64{0, 0.1, 0.25, 0.5, 0.75, 0.9, 1} {
		now := where(warming(nodes, passed))
		moved := 0
		for i := range now {
			switch {
			case now[i] == fresh:
				moved++
			case last[i] == fresh:
				t.Fatalf("after %v of the time key %d is back at %s", passed, i, now[i])
			case now[i] != before[i]:
				t.Fatalf("after %v of the time key %d is at %s, neither at %s nor the new one", passed, i, now[i], before[i])
			}
		}
		if share, want := float64(moved)/float64(moves), max(passed, 0.02); share < want-0.03 || share > want+0.03 {
			t.Errorf("after %v of the time %.3f of its keys have moved", passed, share)
		}
		last = now
	}
}

// The bound on an endpoint's load is for as much of it as is warm.
func TestLoadBoundWhileWarmingUp(t *testing.T) {
	const nodes, calls = 4, 400
	p := newPicker(ConsistentHash, warming(nodes, 0.1))
	ctx := WithHashKey(context.Background(), "everybody")
	for range calls {
		p.pick(ctx, 1, nil).inFlight.Add(1)
	}
	var load []int64
	for _, e := range p.endpoints {
		load = append(load, e.inFlight.Load())
	}
	if cold := load[nodes-1]; cold > 20 { // 1.25 × 400 × 0.1 / 3.1, and 1
		t.Errorf("the new one has %d of %d calls in flight", cold, calls)
	}
	if most := slices.Max(load); most > 170 { // 1.25 × 400 / 3.1, and 1
		t.Errorf("one has %d of %d calls in flight", most, calls)
	}
}

// Endpoints that are down have no share in the load.
func TestLoadBoundHeedsWhatIsUp(t *testing.T) {
	const nodes, calls = 8, 100
	p := newPicker(ConsistentHash, warming(nodes, 1))
	for _, e := range p.endpoints[2:] {
		e.forced.Store(1)
	}
	ctx := WithHashKey(context.Background(), "everybody")
	for range calls {
		p.pick(ctx, 1, nil).inFlight.Add(1)
	}
	for _, e := range p.endpoints[:2] {
		if n := e.inFlight.Load(); n > 65 { // 1.25 × 50, and 1
			t.Errorf("%s has %d of %d calls in flight", e.addr, n, calls)
		}
	}
}
