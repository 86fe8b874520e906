package motan

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Balance is how a client spreads calls over endpoints.
type Balance int

const (
	RoundRobin        Balance = iota // one after the other
	LeastRecentlyUsed                // the one whose last call is the longest ago
	ConsistentHash                   // by WithHashKey; round robin for calls without a key
)

// picker chooses endpoints from one unchanging list.
type picker struct {
	balance   Balance
	endpoints []*endpoint
	ring      []ringPoint // for ConsistentHash, by hash
	turn      *atomic.Uint64
}

type ringPoint struct {
	hash uint64
	ep   *endpoint
}

// ringCopies is how often an endpoint stands on the ring. The load of two
// endpoints then differs by some ten percent.
const ringCopies = 160

func newPicker(b Balance, endpoints []*endpoint, turn *atomic.Uint64) *picker {
	p := &picker{balance: b, endpoints: endpoints, turn: turn}
	if b == ConsistentHash {
		for _, e := range endpoints {
			for i := range ringCopies {
				p.ring = append(p.ring, ringPoint{xxhash.Sum64String(e.addr + "#" + strconv.Itoa(i)), e})
			}
		}
		slices.SortFunc(p.ring, func(a, b ringPoint) int { return cmp.Compare(a.hash, b.hash) })
	}
	return p
}

// pick returns an endpoint that can take a call and is not among tried, nil if
// there is none.
func (p *picker) pick(ctx context.Context, tried []*endpoint) *endpoint {
	usable := func(e *endpoint) bool { return !slices.Contains(tried, e) && e.unavailable() == nil }
	turn := p.turn.Add(1)
	switch p.balance {
	case ConsistentHash:
		if key, ok := ctx.Value(hashKey{}).(string); ok {
			return p.onRing(xxhash.Sum64String(key), usable)
		}
	case LeastRecentlyUsed:
		var best *endpoint
		for _, e := range p.endpoints {
			if (best == nil || e.lastUsed.Load() < best.lastUsed.Load()) && usable(e) {
				best = e
			}
		}
		if best != nil {
			best.lastUsed.Store(int64(turn))
		}
		return best
	}
	n := uint64(len(p.endpoints))
	for i := range n {
		if e := p.endpoints[(turn+i)%n]; usable(e) {
			return e
		}
	}
	return nil
}

func (p *picker) onRing(h uint64, usable func(*endpoint) bool) *endpoint {
	at, _ := slices.BinarySearchFunc(p.ring, h, func(r ringPoint, h uint64) int { return cmp.Compare(r.hash, h) })
	var last *endpoint
	for i := range p.ring {
		e := p.ring[(at+i)%len(p.ring)].ep
		if e == last {
			continue
		}
		if usable(e) {
			return e
		}
		last = e
	}
	return nil
}

type hashKey struct{}

// WithHashKey makes the calls under ctx go to the endpoint that key belongs to,
// if the client balances by ConsistentHash. When endpoints come or go, only
// their share of the keys moves.
func WithHashKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, hashKey{}, key)
}
