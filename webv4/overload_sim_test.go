//go:build !race

package webv4

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// The simulation has one goroutine, so the race detector would only slow it down.
// It drives the limiter in virtual time against two servers: a pool
// of 16 workers that take 10 ms each, as before a database, and 4 cores that
// share 2 ms of CPU a call among all that are running, where a refusal costs
// 40 µs. Calls arrive at random (Poisson), clients wait 250 ms.

type simEvent struct {
	at  int64
	do  func()
	seq int
}

type simHeap []simEvent

func (h simHeap) Len() int { return len(h) }
func (h simHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h simHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *simHeap) Push(x any)   { *h = append(*h, x.(simEvent)) }
func (h *simHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

type sim struct {
	rng    *rand.Rand
	events simHeap
	now    int64
	seq    int
	server simServer
	l      *limiter
	queued []*simCall
	slow   float64 // factor on the cost of a call

	good, offered, critical, criticalGood int
	from, to                              int64 // what counts
}

type simCall struct {
	arrived, began int64
	class          Class
	w              *waiter
}

type simServer interface {
	begin(c *simCall)
	refuse()
}

func (s *sim) at(t int64, f func()) {
	s.seq++
	heap.Push(&s.events, simEvent{t, f, s.seq})
}

func (s *sim) exp(mean time.Duration) int64 { return int64(s.rng.ExpFloat64() * float64(mean)) }

func (s *sim) counts(c *simCall) bool { return c.arrived >= s.from && c.arrived < s.to }

func (s *sim) arrive() {
	c := &simCall{arrived: s.now, class: Ordinary}
	switch p := s.rng.IntN(10); {
	case p == 0:
		c.class = Critical
	case p > 3:
		c.class = Low
	}
	if s.counts(c) {
		s.offered++
		if c.class == Critical {
			s.critical++
		}
	}
	w, ok := s.l.admit(s.now, c.class)
	switch {
	case !ok:
		s.server.refuse()
	case w == nil:
		c.began = s.now
		s.server.begin(c)
	default:
		c.w = w
		s.queued = append(s.queued, c)
		s.at(s.now+int64(s.l.patience(c.class)), func() {
			if c.w != nil && !s.l.giveUp(c.w) {
				c.w = nil
				s.server.refuse()
			}
		})
	}
	s.verdicts()
}

func (s *sim) finish(c *simCall) {
	s.l.leave(c.began, s.now)
	if s.counts(c) && s.now-c.arrived <= int64(250*time.Millisecond) {
		s.good++
		if c.class == Critical {
			s.criticalGood++
		}
	}
	s.verdicts()
}

// verdicts hears what became of the calls in the queue.
func (s *sim) verdicts() {
	kept := s.queued[:0]
	for _, c := range s.queued {
		if c.w == nil {
			continue
		}
		select {
		case ok := <-c.w.verdict:
			c.w = nil
			if ok {
				c.began = s.now
				s.server.begin(c)
			} else {
				s.server.refuse()
			}
		default:
			kept = append(kept, c)
		}
	}
	s.queued = kept
}

// pool serves in order, 16 at a time.
type pool struct {
	s    *sim
	busy int
	line []*simCall
}

func (p *pool) begin(c *simCall) {
	if p.busy == 16 {
		p.line = append(p.line, c)
		return
	}
	p.busy++
	p.s.at(p.s.now+int64(float64(p.s.exp(10*time.Millisecond))*p.s.slow), func() {
		p.busy--
		if len(p.line) > 0 {
			next := p.line[0]
			p.line = p.line[1:]
			p.begin(next)
		}
		p.s.finish(c)
	})
}

func (p *pool) refuse() {}

// cores share their time among all calls that are running, refusals too.
type cores struct {
	s       *sim
	running []*share
	last    int64
	version int
}

type share struct {
	c    *simCall // nil: a refusal
	left float64
}

func (p *cores) advance() {
	if n := len(p.running); n > 0 {
		per := float64(p.s.now-p.last) * min(1, 4/float64(n))
		for _, r := range p.running {
			r.left -= per
		}
	}
	p.last = p.s.now
}

func (p *cores) add(c *simCall, work float64) {
	p.advance()
	p.running = append(p.running, &share{c, work})
	p.schedule()
}

func (p *cores) begin(c *simCall) { p.add(c, float64(p.s.exp(2*time.Millisecond))*p.s.slow) }
func (p *cores) refuse()          { p.add(nil, 40_000) }

func (p *cores) schedule() {
	p.version++
	version := p.version
	if len(p.running) == 0 {
		return
	}
	least := p.running[0]
	for _, r := range p.running {
		if r.left < least.left {
			least = r
		}
	}
	wait := max(least.left, 0) / min(1, 4/float64(len(p.running)))
	p.s.at(p.s.now+int64(wait)+1, func() {
		if p.version != version {
			return
		}
		p.advance()
		var done []*share
		kept := p.running[:0]
		for _, r := range p.running {
			if r.left <= 0.5 {
				done = append(done, r)
			} else {
				kept = append(kept, r)
			}
		}
		p.running = kept
		for _, r := range done {
			if r.c != nil {
				p.s.finish(r.c)
			}
		}
		p.schedule()
	})
}

// runSim offers load times the capacity from the fifth second on, 0.5 of it
// before, and counts from second `from` to second `to`.
func runSim(model string, load float64, from, to float64, brownout bool) (*sim, float64) {
	s := &sim{rng: rand.New(rand.NewPCG(1, 2)), slow: 1, from: int64(from * 1e9), to: int64(to * 1e9)}
	o, _ := (&Overload{}).filled()
	s.l = newLimiter(o, 0)
	capacity := 1600.0
	s.server = &pool{s: s}
	if model == "cores" {
		capacity = 2000
		s.server = &cores{s: s}
	}
	var next func()
	next = func() {
		rate := 0.5 * capacity
		if s.now >= 5e9 {
			rate = load * capacity
		}
		s.arrive()
		s.at(s.now+int64(s.rng.ExpFloat64()/rate*1e9), next)
	}
	s.at(0, next)
	if brownout {
		s.at(10e9, func() { s.slow = 3 })
		s.at(15e9, func() { s.slow = 1 })
	}
	for s.now < s.to+1e9 {
		e := heap.Pop(&s.events).(simEvent)
		s.now = e.at
		e.do()
	}
	return s, capacity
}

// With HEDDLE_TEST_LONG=1 what is said of drift is looked at after ten minutes.
func TestOverloadGoodput(t *testing.T) {
	late := [2]float64{60, 25}
	if os.Getenv("HEDDLE_TEST_LONG") == "1" {
		late = [2]float64{600, 600}
	}
	for _, tc := range []struct {
		model    string
		load     float64
		least    float64 // share of capacity
		critical float64 // share of critical calls
		from, to float64
		brownout bool
	}{
		{"pool", 0.8, 0.78, 0.99, 6, 11, false},
		{"pool", 1, 0.88, 0.99, 6, 11, false},
		{"pool", 2, 0.90, 0.99, 6, 11, false},
		{"pool", 5, 0.90, 0.99, 6, 11, false},
		{"pool", 10, 0.90, 0, 6, 11, false},
		{"cores", 0.8, 0.75, 0.99, 6, 11, false},
		{"cores", 2, 0.90, 0.99, 6, 11, false},
		{"cores", 5, 0.87, 0.99, 6, 11, false},
		{"cores", 10, 0.75, 0, 6, 11, false},
		{"pool", 5, 0.80, 0.97, 6, 7, false}, // a second after the step
		{"cores", 5, 0.80, 0.97, 6, 7, false},
		{"pool", 3, 0.85, 0.97, 20, 23, true}, // five seconds after calls were three times as dear
		{"cores", 3, 0.80, 0.97, 20, 23, true},
		{"pool", 5, 0.90, 0.99, late[0], late[0] + 4, false}, // no drift
		{"cores", 5, 0.87, 0.99, late[1], late[1] + 3, false},
	} {
		t.Run(fmt.Sprintf("%s-%gx-%gs", tc.model, tc.load, tc.from), func(t *testing.T) {
			t.Parallel()
			s, capacity := runSim(tc.model, tc.load, tc.from, tc.to, tc.brownout)
			goodput := float64(s.good) / (tc.to - tc.from) / capacity
			critical := float64(s.criticalGood) / float64(s.critical)
			t.Logf("goodput %.1f %% of capacity, critical %.1f %%, limit %.0f", 100*goodput, 100*critical, s.l.limit)
			if goodput < tc.least {
				t.Errorf("goodput %.1f %% of capacity, want %.0f %%", 100*goodput, 100*tc.least)
			}
			if tc.load <= 5 && critical < tc.critical {
				t.Errorf("%.1f %% of the critical calls succeeded, want %.0f %%", 100*critical, 100*tc.critical)
			}
		})
	}
}
