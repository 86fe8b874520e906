package motan

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/cespare/xxhash/v2"
)

// Balance is how a client spreads calls over endpoints. Turns are those of first
// tries: a further one takes none, so that retries do not move the next call to the
// endpoint that failed. What is the turn of an endpoint that is down is shared out
// among all others.
type Balance int

const (
	_                  Balance = iota // the default
	RoundRobin                        // one after the other
	LeastRecentlyUsed                 // the one whose last call is the longest ago
	ConsistentHash                    // by WithHashKey, with bounded load; round robin for calls without a key
	Random                            // any
	WeightedRoundRobin                // one after the other, each as often as its weight says
	LeastInFlight                     // of up to ten, the one with the fewest unanswered calls for its weight
	LocalFirst                        // those on this machine while there are any, by LeastInFlight
)

// picker chooses endpoints from one unchanging list.
type picker struct {
	balance   Balance
	endpoints []*endpoint
	ring      []ringPoint // for ConsistentHash, by hash
	order     []*endpoint // for WeightedRoundRobin: each as often as it weighs
	local     []*endpoint // for LocalFirst
}

type ringPoint struct {
	hash uint64
	ep   *endpoint
}

const (
	// ringCopies is how often an endpoint stands on the ring. The load of two
	// endpoints then differs by some ten percent.
	ringCopies = 160

	// loadBound is how many times its fair share of the calls in flight an
	// endpoint may have before a key goes to the next one on the ring, after
	// Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads".
	loadBound = 1.25

	// inFlightChoices is how many endpoints LeastInFlight compares.
	inFlightChoices = 10

	// orderMost bounds the length of the weighted order.
	orderMost = 5120
)

func newPicker(b Balance, endpoints []*endpoint) *picker {
	p := &picker{balance: b, endpoints: endpoints}
	switch b {
	case ConsistentHash:
		for _, e := range endpoints {
			for i := range ringCopies {
				p.ring = append(p.ring, ringPoint{xxhash.Sum64String(e.addr + "#" + strconv.Itoa(i)), e})
			}
		}
		slices.SortFunc(p.ring, func(a, b ringPoint) int { return cmp.Compare(a.hash, b.hash) })
	case WeightedRoundRobin:
		p.order = weightedOrder(endpoints)
	case LocalFirst:
		here := localHosts()
		for _, e := range endpoints {
			if here(e.addr) {
				p.local = append(p.local, e)
			}
		}
	}
	return p
}

// noTurn is the turn of further tries: calls take turns by their first one, whatever
// becomes of it, lest each retry move the next call on to the endpoint that failed.
const noTurn = 0

// pick returns an endpoint that can take a call and is not among tried, nil if
// there is none. turn is the call's number among those of the client, or noTurn.
func (p *picker) pick(ctx context.Context, turn uint64, tried []*endpoint) *endpoint {
	if len(p.endpoints) == 0 {
		return nil
	}
	switch p.balance {
	case ConsistentHash:
		if key, ok := ctx.Value(hashKey{}).(string); ok {
			return p.onRing(xxhash.Sum64String(key), tried)
		}
	case LeastRecentlyUsed:
		return p.leastRecent(turn, tried)
	case Random:
		turn = noTurn
	case WeightedRoundRobin:
		return onTurn(p.order, turn, tried)
	case LeastInFlight:
		return leastInFlight(p.endpoints, tried)
	case LocalFirst:
		if e := leastInFlight(p.local, tried); e != nil {
			return e
		}
		return leastInFlight(p.endpoints, tried)
	}
	return onTurn(p.endpoints, turn, tried)
}

func usable(e *endpoint, tried []*endpoint) bool { return e.usable() && !slices.Contains(tried, e) }

// onTurn returns the endpoint of list whose turn it is, any without a turn. The
// turns of one that cannot take them, or still warms up, go to all others alike.
func onTurn(list []*endpoint, turn uint64, tried []*endpoint) *endpoint {
	if turn == noTurn {
		turn = rand.Uint64()
	}
	n := uint64(len(list))
	first := list[turn%n]
	var cold *endpoint // any that can take the call
	if usable(first, tried) {
		if first.takesTurn() {
			return first
		}
		cold = first
	}
	others := uint64(0)
	for _, e := range list {
		if e != first && usable(e, tried) {
			others++
			cold = e
		}
	}
	if others == 0 {
		return cold
	}
	skip := turn / n % others
	for i := range 2 * n {
		e := list[i%n]
		if e == first || !usable(e, tried) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if e.takesTurn() {
			return e
		}
	}
	return cold
}

// leastRecent returns the endpoint whose last turn was the longest ago.
func (p *picker) leastRecent(turn uint64, tried []*endpoint) *endpoint {
	tried = slices.Clip(tried)
	var cold *endpoint
	for {
		var best *endpoint
		var least int64
		for _, e := range p.endpoints {
			if used := e.lastUsed.Load(); (best == nil || used < least) && usable(e, tried) {
				best, least = e, used
			}
		}
		if best == nil {
			return cold
		}
		// Two callers must not take the same one for the least recent.
		if turn != noTurn && !best.lastUsed.CompareAndSwap(least, int64(turn)) {
			continue
		}
		if best.takesTurn() {
			return best
		}
		if cold == nil {
			cold = best
		}
		tried = append(tried, best) // its turn is over
	}
}

// leastInFlight compares up to inFlightChoices endpoints from a random one on.
func leastInFlight(list []*endpoint, tried []*endpoint) *endpoint {
	n := len(list)
	if n == 0 {
		return nil
	}
	var best *endpoint
	var least float64
	seen := 0
	from := rand.IntN(n)
	for i := range n {
		e := list[(from+i)%n]
		if !usable(e, tried) {
			continue
		}
		load := float64(e.inFlight.Load()+1) / (float64(e.share()) * max(e.warmth(), 0.01))
		if best == nil || load < least {
			best, least = e, load
		}
		if seen++; seen == inFlightChoices {
			break
		}
	}
	return best
}

// onRing returns the endpoint that a key belongs to. One that warms up takes its
// keys one after the other; those that are not its yet stay with the next on the
// ring, where they were before it came.
func (p *picker) onRing(h uint64, tried []*endpoint) *endpoint {
	all := int64(1)
	room := 0.0
	for _, e := range p.endpoints {
		if usable(e, tried) {
			all += e.inFlight.Load()
			room += e.warmth()
		}
	}
	// Where among its node's keys this one is: anything that does not go with the
	// place on the ring.
	nth := float64(h*0x9e3779b97f4a7c15>>11) / (1 << 53)
	at, _ := slices.BinarySearchFunc(p.ring, h, func(r ringPoint, h uint64) int { return cmp.Compare(r.hash, h) })
	var full, cold, last *endpoint
	for i := range p.ring {
		e := p.ring[(at+i)%len(p.ring)].ep
		if e == last || !usable(e, tried) {
			continue
		}
		w := e.warmth()
		switch {
		case nth >= w:
			cold = cmp.Or(cold, e)
		case float64(e.inFlight.Load()) < loadBound*float64(all)*w/room+1:
			return e
		default:
			full = cmp.Or(full, e)
		}
		last = e
	}
	return cmp.Or(full, cold)
}

// weightedOrder spreads each endpoint evenly over an order in which it stands as
// often as its weight says: the smooth weighted round robin of nginx.
func weightedOrder(endpoints []*endpoint) []*endpoint {
	weights := make([]int64, len(endpoints))
	var divisor, total int64
	for i, e := range endpoints {
		weights[i] = e.share()
		divisor = gcd(weights[i], divisor)
	}
	for i := range weights {
		weights[i] /= divisor
		total += weights[i]
	}
	if total > orderMost {
		scaled := int64(0)
		for i := range weights {
			weights[i] = max(weights[i]*orderMost/total, 1)
			scaled += weights[i]
		}
		total = scaled
	}
	order := make([]*endpoint, 0, total)
	current := make([]int64, len(endpoints))
	for range total {
		best := 0
		for i := range current {
			current[i] += weights[i]
			if current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order = append(order, endpoints[best])
	}
	return order
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// localHosts returns a function that says whether an address is this machine's.
func localHosts() func(addr string) bool {
	hosts := map[string]bool{"localhost": true}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok {
				hosts[n.IP.String()] = true
			}
		}
	}
	return func(addr string) bool {
		if nw, _ := network(addr); nw == "unix" {
			return true
		}
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return false
		}
		ip := net.ParseIP(host)
		return hosts[host] || ip != nil && (ip.IsLoopback() || hosts[ip.String()])
	}
}

// warmth is the share of its calls that an endpoint gets: less than 1 for a while
// after it came, so that its caches and connections can fill.
func (e *endpoint) warmth() float64 {
	if !e.cold.Load() {
		return 1
	}
	age, most := time.Since(e.since), e.client.opt.SlowStart
	if age >= most {
		e.cold.Store(false)
		return 1
	}
	return max(float64(age)/float64(most), 0.02)
}

// takesTurn reports whether the endpoint takes a call that is its turn: as often
// as it is warm.
func (e *endpoint) takesTurn() bool {
	w := e.warmth()
	return w >= 1 || rand.Float64() < w
}

type hashKey struct{}

// WithHashKey makes the calls under ctx go to the endpoint that key belongs to,
// if the client balances by ConsistentHash. When endpoints come or go, only
// their share of the keys moves; to one that comes they move one by one, during
// ClientOptions.SlowStart. An endpoint with a quarter more than its fair share of
// the calls in flight passes keys on to the next.
func WithHashKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, key)
}
