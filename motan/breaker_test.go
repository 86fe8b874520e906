package motan

import (
	"testing"
	"time"
)

// clock is a time that the test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newTestBreaker() (*breaker, *clock) {
	c := &clock{time.Unix(1000, 0)}
	return &breaker{now: c.now, began: c.t}, c
}

func report(b *breaker, n int, o outcome) {
	for range n {
		b.done(false, o)
	}
}

func TestBreakerOpensByRate(t *testing.T) {
	for _, tc := range []struct {
		name           string
		ok, bad, other int
		open           bool
	}{
		{"nothing", 0, 0, 0, false},
		{"too few to tell", 0, breakerMin - 1, 0, false},
		{"all of enough", 0, breakerMin, 0, true},
		{"half", 50, 50, 0, true},
		{"less than half", 51, 50, 0, false},
		{"many that say nothing", 0, 5, 1000, false},
	} {
		b, _ := newTestBreaker()
		report(b, tc.ok, succeeded)
		report(b, tc.other, ignored)
		report(b, tc.bad, failed)
		if b.open.Load() != tc.open || b.ready() == tc.open {
			t.Errorf("%s: open %v, ready %v", tc.name, b.open.Load(), b.ready())
		}
	}
}

func TestBreakerForgets(t *testing.T) {
	b, c := newTestBreaker()
	report(b, breakerMin-1, failed)
	c.t = c.t.Add(3 * breakerWindow)
	report(b, breakerMin-1, failed)
	if b.open.Load() {
		t.Error("failures of long ago count")
	}
	// The window before still does.
	c.t = c.t.Add(breakerWindow + time.Second)
	report(b, 1, failed)
	if !b.open.Load() {
		t.Error("failures of the window before do not count")
	}
}

func TestBreakerProbes(t *testing.T) {
	b, c := newTestBreaker()
	report(b, breakerMin, failed)
	if _, ok := b.allow(); ok {
		t.Fatal("a call while it is open")
	}
	c.t = c.t.Add(breakerRest)
	for i := range breakerProbes {
		probe, ok := b.allow()
		if !ok || !probe {
			t.Fatalf("probe %d is not allowed", i)
		}
		if _, ok := b.allow(); ok || b.ready() {
			t.Fatal("two probes at once")
		}
		if i == 1 { // one that says nothing changes nothing
			b.done(probe, ignored)
			if probe, ok = b.allow(); !ok {
				t.Fatal("no further probe")
			}
		}
		b.done(probe, succeeded)
	}
	if probe, ok := b.allow(); !ok || probe || !b.ready() {
		t.Error("not closed after its probes")
	}
	// After a failed probe it rests longer.
	report(b, breakerMin, failed)
	rest := breakerRest
	for range 10 {
		c.t = c.t.Add(rest)
		probe, ok := b.allow()
		if !ok {
			t.Fatalf("no probe after %v", rest)
		}
		b.done(probe, failed)
		rest = min(2*rest, breakerRestMost)
		c.t = c.t.Add(rest/2 - time.Millisecond)
		if _, ok := b.allow(); ok {
			t.Fatalf("a probe before half of %v", rest)
		}
	}
	if n := b.opened(); n != 12 {
		t.Errorf("opened %d times", n)
	}
	// A late answer to a call from before does not disturb.
	b.done(false, failed)
	b.done(false, succeeded)
	if !b.open.Load() {
		t.Error("closed by a late answer")
	}
}

func TestLatencyPercentile(t *testing.T) {
	var l latency
	if _, ok := l.percentile(0.9); ok {
		t.Error("a percentile of nothing")
	}
	for i := range 10000 {
		l.add(time.Duration(i%100+1) * time.Millisecond)
	}
	for share, want := range map[float64]time.Duration{0.5: 51 * time.Millisecond, 0.9: 91 * time.Millisecond, 0.99: 100 * time.Millisecond} {
		if d, ok := l.percentile(share); !ok || d < want*9/10 || d > want*5/4 {
			t.Errorf("percentile %v is %v, want %v", share, d, want)
		}
	}
	// What is new outweighs what was.
	for range 10 * latencyWindow {
		l.add(time.Second)
	}
	if d, _ := l.percentile(0.5); d < time.Second {
		t.Errorf("after many of 1 s the median is %v", d)
	}
	l.add(0)
	l.add(1 << 62)
	var fast latency
	for range 100 {
		fast.add(time.Microsecond)
	}
	if d, _ := fast.percentile(0.9); d != latencyFloor {
		t.Errorf("%v, want the floor", d)
	}
}

func TestBudget(t *testing.T) {
	var b budget
	b.init(0.5)
	for range budgetReserve {
		if !b.take() {
			t.Fatal("the reserve is too small")
		}
	}
	if b.take() {
		t.Error("more than the reserve")
	}
	b.call()
	if b.take() {
		t.Error("half a try was enough")
	}
	b.call()
	if !b.take() || b.take() {
		t.Error("two calls at 0.5 are not one try")
	}
	for range 10 * budgetReserve {
		b.call()
	}
	if left := b.left.Load(); left > (budgetReserve+1)*1000 {
		t.Errorf("%d saved up", left)
	}
	var free budget
	free.init(-1)
	for range 3 * budgetReserve {
		if !free.take() {
			t.Fatal("bounded")
		}
	}
}

func TestPace(t *testing.T) {
	var p pace
	if p.quick() {
		t.Error("quick at first")
	}
	for range paceFirst {
		p.took(time.Microsecond)
	}
	if !p.quick() {
		t.Error("not quick after many quick runs")
	}
	p.took(5 * paceQuick)
	if p.quick() {
		t.Error("still quick after a slower one, with none saved up")
	}
	for range paceFirst + paceSlack {
		p.took(time.Microsecond)
	}
	p.took(5 * paceQuick)
	p.took(50 * paceQuick)
	if !p.quick() {
		t.Error("not quick after two slower ones of very many")
	}
	for i := range 2000 {
		p.took([]time.Duration{1, 2 * paceQuick}[max(i%20-18, 0)])
	}
	if p.quick() {
		t.Error("quick though one of twenty is not")
	}
	p.delayed()
	for range 2*paceFirst - 1 {
		p.took(time.Microsecond)
	}
	if p.quick() {
		t.Error("quick too soon after others had to wait")
	}
	for range paceTrust + 2 {
		p.took(time.Microsecond)
	}
	if !p.quick() || p.needed() != paceFirst {
		t.Errorf("quick %v, %d needed after it was quick so often", p.quick(), p.needed())
	}
	for range 100 {
		p.delayed()
	}
	if p.need.Load() != paceMost {
		t.Errorf("need %d", p.need.Load())
	}
}
