package motan

import (
	"sync/atomic"
	"time"
)

// pace decides whether a method's handler runs on the goroutine that reads the
// connection. For one that takes some microseconds the hand-over to another
// goroutine is most of the work; one that may wait must not keep the requests
// behind it waiting. So a handler has to show that it is quick, many times in a
// row, and longer with each time that it let others wait.
type pace struct {
	run  atomic.Int64 // quick ones in a row
	need atomic.Int64 // how many it takes, 0 means paceFirst
}

const (
	paceQuick = 20 * time.Microsecond
	paceFirst = 256
	paceMost  = 1 << 18
	// paceSlack quick ones more can be saved up. A slower run, most often the
	// scheduler's doing, costs paceGlitch, one that is much slower twice as many: a
	// handler stays quick if no more than one in a hundred is. One that made others
	// wait costs all that can be saved up: on a machine that has other work to do,
	// any handler is interrupted now and then.
	paceSlack  = 4096
	paceGlitch = 64
	// paceTrust quick ones more, and half of what it takes is forgiven.
	paceTrust = 8192
)

func (p *pace) needed() int64 { return max(p.need.Load(), paceFirst) }

func (p *pace) quick() bool { return p.run.Load() >= p.needed() }

// took reports how long the handler ran.
func (p *pace) took(d time.Duration) {
	run, need := p.run.Load(), p.needed()
	switch {
	case d > 10*paceQuick:
		p.run.Store(max(run-2*paceGlitch, 0))
	case d > paceQuick:
		p.run.Store(max(run-paceGlitch, 0))
	case run < need+paceSlack || need > paceFirst && run < need+paceTrust:
		p.run.Add(1)
	case need > paceFirst:
		p.need.Store(need / 2)
		p.run.Store(need/2 + paceSlack)
	}
}

// delayed reports that others had to be served by another goroutine meanwhile.
func (p *pace) delayed() {
	need := p.needed()
	if left := p.run.Load() - paceSlack; left >= need {
		p.run.Store(left)
		return
	}
	p.run.Store(0)
	p.need.Store(min(2*need, paceMost))
}
