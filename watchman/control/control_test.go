package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/watchman/control"
)

// rig is a loop over one operation, and a way to have calls happen.
type rig struct {
	t    *testing.T
	w    *watchman.Watchman
	op   *watchman.Operation
	loop *control.Loop
	log  bytes.Buffer
	told []control.Decision
	r    *rand.Rand
}

var objective = control.Objective{
	Name: "db", Kind: watchman.Client, Operation: "db", Latency: 300 * time.Millisecond, Target: 0.99, MinCalls: 20,
}

func newRig(t *testing.T, policy func(w *watchman.Watchman) control.Policy, extra ...control.Objective) *rig {
	t.Helper()
	w, err := watchman.New("s", &watchman.Options{Sample: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, w: w, op: w.Operation(watchman.Client, "db"), r: rand.New(rand.NewPCG(1, 2))}
	var policies []control.Policy
	if policy != nil {
		policies = append(policies, policy(w))
	}
	r.loop, err = control.New(w, append(extra, objective), policies, &control.Options{Log: &r.log, Seed: 1, OnDecision: func(d control.Decision) { r.told = append(r.told, d) }})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run lets calls happen at perSecond for d; call says how one goes.
func (r *rig) run(d time.Duration, perSecond int, call func() (time.Duration, error)) {
	for range d / (500 * time.Millisecond) {
		for range perSecond / 2 {
			took, err := call()
			r.op.Observe(context.Background(), took, err)
		}
		time.Sleep(500 * time.Millisecond)
		r.loop.Step()
	}
}

func fine() (time.Duration, error) { return 20 * time.Millisecond, nil }
func slow() (time.Duration, error) { return 500 * time.Millisecond, nil }

func fallback(w *watchman.Watchman) control.Policy {
	return control.Policy{
		Name: "db to cache", Objective: "db", Switch: w.Switch("db.cached", false), Enforce: true,
		Window: time.Second, Hold: 5 * time.Second,
	}
}

// A healthy hour with a few errors and a tail of slow calls decides nothing.
func TestHealthyHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fallback)
		r.run(time.Hour, 100, func() (time.Duration, error) {
			switch x := r.r.Float64(); {
			case x < 0.0005:
				return 10 * time.Millisecond, errors.New("now and then")
			case x < 0.004:
				return 350 * time.Millisecond, nil
			default:
				return time.Duration(r.r.ExpFloat64() * float64(20*time.Millisecond)), nil
			}
		})
		if d := r.loop.Decisions(); len(d) != 0 {
			t.Errorf("a healthy hour made %d decisions: %+v", len(d), d[0])
		}
		if v := r.loop.Verdicts()[0]; v.State != control.OK || v.BudgetLeft < 0.3 || v.BudgetLeft > 0.8 {
			t.Errorf("verdict = %+v", v)
		}
	})
}

func TestSwitchIsTurnedAndTurnedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fallback)
		s := r.w.Switch("db.cached", false)
		r.run(30*time.Second, 100, fine)
		began := time.Now()
		for !s.On() && time.Since(began) < 20*time.Second {
			r.run(500*time.Millisecond, 100, slow)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("turned after %v, want at most 3 s", took)
		}
		r.run(20*time.Second, 8, slow) // probes only, which stay bad
		if !s.On() {
			t.Error("turned back though the probes are bad")
		}
		began = time.Now()
		for s.On() && time.Since(began) < 20*time.Second {
			r.run(500*time.Millisecond, 20, fine)
		}
		if took := time.Since(began); took > 3500*time.Millisecond {
			t.Errorf("turned back after %v, want at most 3.5 s", took)
		}
		r.run(30*time.Second, 100, fine)
		d := r.loop.Decisions()
		if len(d) != 2 || d[1].After != 1 || d[0].After != 0 || d[1].Mode != control.ModeAuto {
			t.Fatalf("decisions = %+v", d)
		}
		if d[1].Outcome == nil || !strings.Contains(d[1].Reason, "bad windows in a row") || d[1].Window.Bad == 0 || d[1].Burn <= 0 {
			t.Errorf("the first decision = %+v", d[1])
		}
		if len(r.told) != 2 || r.told[1].ID != d[0].ID {
			t.Errorf("told of %+v", r.told)
		}
		if c := r.w.Changes(); len(c) != 2 || !c[0].Revert || c[1].By != "policy db to cache" {
			t.Errorf("changes = %+v", c)
		}
		if n, err := control.Verify(bytes.NewReader(r.log.Bytes())); err != nil || n < 3 {
			t.Errorf("the log has %d lines, %v", n, err)
		}
		broken := bytes.Replace(r.log.Bytes(), []byte(`"after":1`), []byte(`"after":0`), 1)
		if _, err := control.Verify(bytes.NewReader(broken)); err == nil {
			t.Error("a changed log passes")
		}
	})
}

// A policy whose switch or dial no product reads says so, once its objective has calls.
func TestUnreadSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(w *watchman.Watchman) control.Policy {
			p := limitPolicy(w)
			p.Fallback = w.Switch("db.cahced", false)
			return p
		})
		if p := r.loop.Policies(); len(p) != 1 || p[0].Setting != "db.limit" || p[0].Fallback != "db.cahced" || len(p[0].Unread) != 0 {
			t.Errorf("before the first call: %+v", p)
		}
		r.run(5*time.Second, 100, fine)
		if p := r.loop.Policies()[0]; len(p.Unread) != 2 || p.Unread[0] != "db.limit" || p.Unread[1] != "db.cahced" || p.Value != p.Default || p.Turned {
			t.Errorf("with calls: %+v", p)
		}
		r.run(5*time.Second, 100, slow)
		d := r.loop.Decisions()
		if len(d) == 0 || !strings.Contains(d[len(d)-1].Reason, "nobody has asked for this setting") {
			t.Errorf("decisions = %+v", d)
		}
		if p := r.loop.Policies()[0]; p.Value >= p.Default {
			t.Errorf("lowered: %+v", p)
		}
		r.w.Dial("db.limit", 0, 0, 0).Value()
		if p := r.loop.Policies()[0]; len(p.Unread) != 1 || p.Unread[0] != "db.cahced" {
			t.Errorf("the dial is read: %+v", p)
		}
	})
}

func TestObserveOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(w *watchman.Watchman) control.Policy {
			p := fallback(w)
			p.Enforce = false
			return p
		})
		r.run(10*time.Second, 100, slow)
		r.run(20*time.Second, 100, fine)
		d := r.loop.Decisions()
		if len(d) != 2 || d[0].Mode != control.ModeObserve || len(r.w.Changes()) != 0 {
			t.Errorf("decisions %+v, changes %+v", d, r.w.Changes())
		}
	})
}

// Ten seconds on, ten off: the hold time grows, so that the switch does not follow.
func TestPeriodicLoadDoesNotOscillate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fallback)
		for range 12 {
			r.run(10*time.Second, 100, slow)
			r.run(10*time.Second, 100, fine)
		}
		n := len(r.loop.Decisions())
		if n < 2 || n > 16 { // of 24 turns of the load
			t.Errorf("%d decisions in four minutes", n)
		}
		for i, d := range r.loop.Decisions()[:n-1] {
			if gap := d.At.Sub(r.loop.Decisions()[i+1].At); d.After == 0 && gap < 4*time.Second {
				t.Errorf("turned back after %v", gap)
			}
		}
	})
}

func TestAHumanGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fallback)
		r.w.SetSwitch("db.cached", false, "ann", "leave it")
		r.run(20*time.Second, 100, slow)
		d := r.loop.Decisions()
		if len(d) == 0 || len(d) > 5 || d[0].Mode != control.ModeRefused || !strings.Contains(d[0].Reason, "ann") || r.w.Switch("db.cached", false).On() {
			t.Errorf("%d decisions: %+v", len(d), d)
		}
	})
}

func TestKillSwitchAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, fallback)
		s := r.w.Switch("db.cached", false)
		r.run(10*time.Second, 100, slow)
		if !s.On() {
			t.Fatal("not turned")
		}
		r.w.SetSwitch(control.EnabledSwitch, false, "ann", "enough")
		r.run(10*time.Second, 100, slow)
		if s.On() {
			t.Error("still turned though the loop is off")
		}
		r.w.SetSwitch(control.EnabledSwitch, true, "ann", "go on")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.loop.Run(ctx); close(done) }()
		for range 20 {
			for range 100 {
				r.op.Observe(ctx, time.Second, nil)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if !s.On() {
			t.Error("Run does not turn it")
		}
		cancel()
		<-done
		if s.On() {
			t.Error("Run leaves it turned")
		}
	})
}

// If nobody renews, what a loop has set runs out.
func TestChangesRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(w *watchman.Watchman) control.Policy {
			p := fallback(w)
			p.TTL = time.Minute
			return p
		})
		s := r.w.Switch("db.cached", false)
		r.run(5*time.Minute, 100, slow)
		if !s.On() {
			t.Error("it ran out though it was renewed")
		}
		time.Sleep(2 * time.Minute) // the loop hangs
		if s.On() {
			t.Error("it did not run out")
		}
	})
}

func limitPolicy(w *watchman.Watchman) control.Policy {
	return control.Policy{
		Name: "less", Objective: "db", Dial: w.Dial("db.limit", 100, 5, 100), Fallback: w.Switch("db.cached", false),
		Enforce: true, Window: time.Second, Hold: 5 * time.Second,
	}
}

// An overloaded dependency gets well when the load falls: the dial does it.
func TestDialFollowsCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, limitPolicy)
		d := r.w.Dial("db.limit", 0, 0, 0)
		capacity := 100.0
		serve := func(seconds int) {
			for range seconds {
				rate := d.Value()
				r.run(time.Second, int(rate), func() (time.Duration, error) {
					if r.r.Float64() > capacity/rate {
						return slow()
					}
					return fine()
				})
			}
		}
		serve(20)
		if len(r.loop.Decisions()) != 0 {
			t.Fatalf("decided without need: %+v", r.loop.Decisions())
		}
		capacity = 30
		serve(40)
		if v := d.Value(); v < 10 || v > 60 {
			t.Errorf("the dial is at %v, want near 30", v)
		}
		if r.w.Switch("db.cached", false).On() {
			t.Error("fell back though lowering helps")
		}
		capacity = 100
		serve(40)
		if d.Value() != 100 {
			t.Errorf("the dial is at %v, want 100 again", d.Value())
		}
		for _, x := range r.loop.Decisions()[1:] {
			if x.Outcome == nil || x.Outcome.After <= 0 {
				t.Errorf("decision %d, %v to %v, has the outcome %+v", x.ID, x.Before, x.After, x.Outcome)
			}
		}
	})
}

// One that is slow whatever the load is not cured by less of it.
func TestIntrinsicSlownessFallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, limitPolicy)
		d, s := r.w.Dial("db.limit", 0, 0, 0), r.w.Switch("db.cached", false)
		for range 12 {
			rate := d.Value()
			if s.On() {
				rate = 10 // probes
			}
			r.run(time.Second, int(rate), slow)
		}
		if !s.On() || d.Value() != 100 {
			t.Errorf("fallback %v, dial %v; %+v", s.On(), d.Value(), r.loop.Decisions())
		}
		if n := len(r.loop.Decisions()); n > 5 {
			t.Errorf("%d decisions", n)
		}
	})
}

// A change that does not help those it was meant for is taken back.
func TestUselessChangeIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := control.Objective{Name: "page", Kind: watchman.Server, Operation: "page", Target: 0.99, MinCalls: 20}
		r := newRig(t, func(w *watchman.Watchman) control.Policy {
			p := fallback(w)
			p.Effect, p.Hold = "page", time.Minute
			return p
		}, users)
		page := r.w.Operation(watchman.Server, "page")
		r.run(12*time.Second, 100, func() (time.Duration, error) {
			page.Observe(t.Context(), time.Millisecond, errors.New("still bad"))
			return slow()
		})
		d := r.loop.Decisions()
		if len(d) != 2 || r.w.Switch("db.cached", false).On() || d[1].Outcome == nil || d[1].Outcome.Helped || !d[1].Outcome.Reverted {
			t.Errorf("decisions = %+v", d)
		}
	})
}

func TestBurnRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, nil)
		if v := r.loop.Verdicts()[0]; v.State != control.Unknown {
			t.Errorf("without calls: %+v", v)
		}
		r.run(10*time.Minute, 20, fine)
		if v := r.loop.Verdicts()[0]; v.State != control.OK || v.BudgetLeft != 1 {
			t.Errorf("all good: %+v", v)
		}
		r.run(5*time.Minute, 20, slow) // a third of the hour so far: burn 33
		v := r.loop.Verdicts()[0]
		if v.State != control.Breached || v.Burns[2].Window != time.Hour || v.Burns[2].Rate < 33 || v.Burns[2].Rate > 34 || v.BudgetLeft > -30 {
			t.Errorf("after five bad minutes: %+v", v)
		}
		var b bytes.Buffer
		if err := r.loop.Save(&b); err != nil {
			t.Fatal(err)
		}
		again := newRig(t, nil)
		if err := again.loop.Load(bytes.NewReader(b.Bytes())); err != nil {
			t.Fatal(err)
		}
		if got := again.loop.Verdicts()[0]; fmt.Sprint(got) != fmt.Sprint(v) {
			t.Errorf("restarted: %+v, want %+v", got, v)
		}
		r.run(20*time.Minute, 20, fine)
		if v := r.loop.Verdicts()[0]; v.State == control.Breached && v.Burns[0].Bad > 0 {
			t.Errorf("long after: %+v", v)
		}
	})
}

// Who asks is told once when an objective becomes breached, and again the next time.
func TestOnBreach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, err := watchman.New("s", &watchman.Options{Sample: -1})
		if err != nil {
			t.Fatal(err)
		}
		var told []control.Verdict
		r := &rig{t: t, w: w, op: w.Operation(watchman.Client, "db")}
		r.loop, err = control.New(w, []control.Objective{objective}, nil, &control.Options{OnBreach: func(v control.Verdict) {
			told = append(told, v)
			r.loop.Verdicts() // no lock is held
		}})
		if err != nil {
			t.Fatal(err)
		}
		r.run(time.Minute, 20, fine)
		if len(told) != 0 {
			t.Fatalf("told of %+v", told)
		}
		for want := 1; want <= 2; want++ {
			r.run(5*time.Minute, 20, slow)
			if len(told) != want || told[want-1].State != control.Breached || told[want-1].Reason == "" {
				t.Fatalf("told of %+v, want %d", told, want)
			}
			r.run(35*time.Minute, 20, fine)
		}
	})
}

func TestLanesAndCallers(t *testing.T) {
	w, _ := watchman.New("s", nil)
	lane := control.Objective{Name: "canary", Kind: watchman.Server, Operation: "op", Lane: "canary", Target: 0.9, MinCalls: 1}
	caller := control.Objective{Name: "from web", Kind: watchman.Server, Operation: "op", CallerService: "web", Target: 0.9, MinCalls: 1, CountRejected: true}
	loop, err := control.New(w, []control.Objective{lane, caller}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	op := w.Operation(watchman.Server, "op")
	parent := watchman.FromFields("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "heddle=web", "heddle.lane=canary")
	for range 10 {
		_, s := op.StartRemote(t.Context(), parent)
		s.End(fmt.Errorf("full: %w", watchman.ErrRejected))
		_, s = op.Start(t.Context())
		s.End(nil)
	}
	loop.Step()
	v := loop.Verdicts()
	if v[0].Recent.Calls != 0 || v[1].Recent.Calls != 10 || v[1].Recent.Bad != 10 {
		t.Errorf("verdicts = %+v", v)
	}
}

func TestNewRejects(t *testing.T) {
	w, _ := watchman.New("s", nil)
	s := w.Switch("x", false)
	_, err := control.New(w,
		[]control.Objective{{}, {Name: "a", Operation: "o", Target: 1, MinCalls: -1, Latency: -1}, objective, objective},
		[]control.Policy{{}, {Name: "p", Objective: "none", Switch: s, Enter: 0.1, Leave: 0.2, Window: -1, Down: 2}, {Name: "p", Objective: "db", Switch: s, Effect: "none", TTL: 1}},
		&control.Options{Interval: -1})
	for _, want := range []string{"no Name", "no Operation", "Target 1", "MinCalls -1", "two objectives", "a Switch or a Dial", `no objective "none"`, "Leave 0.2", "Down 2", "two policies", "TTL", "Interval"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error about %s in\n%v", want, err)
		}
	}
	if _, err := control.New(nil, nil, nil, nil); err == nil {
		t.Error("no Watchman was taken")
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"objectives":{"db":[[{"at":1,"calls":5,"bad":1}],[],[]]}}`))
	f.Add([]byte(`{"objectives":{"db":[[{"at":9223372036854775807,"calls":18446744073709551615,"bad":1}]]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, _ := watchman.New("s", nil)
		loop, err := control.New(w, []control.Objective{objective}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if loop.Load(bytes.NewReader(b)) != nil {
			return
		}
		loop.Verdicts()
		if err := loop.Save(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}
