package objstore

import "sync/atomic"

// gate counts the calls that are inside, so that Close can wait for them and
// turn later ones away.
type gate struct {
	inside atomic.Int64  // minus gateShut once shut
	empty  chan struct{} // gets a token when the last one leaves a shut gate
}

const gateShut = 1 << 62

func (g *gate) init() { g.empty = make(chan struct{}, 1) }

func (g *gate) enter() bool {
	if g.inside.Add(1) > 0 {
		return true
	}
	g.leave()
	return false
}

func (g *gate) leave() {
	if g.inside.Add(-1) == -gateShut {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// shut turns callers away and waits for those inside. It is called once.
func (g *gate) shut() {
	if g.inside.Add(-gateShut) > -gateShut {
		<-g.empty
	}
}
