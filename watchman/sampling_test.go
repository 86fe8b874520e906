package watchman_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

func TestSamplingChangesAtRunTime(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	a, b := w.Operation(watchman.Server, "a"), w.Operation(watchman.Server, "b")
	share := func(op *watchman.Operation) float64 {
		n := 0
		for range 20000 {
			_, s := op.Start(t.Context())
			if s.SpanContext().Sampled() {
				n++
			}
			s.End(nil)
		}
		return float64(n) / 20000
	}
	if share(a) != 0 {
		t.Error("sampled though nothing is to be")
	}
	rules := watchman.Sampling{Ratio: 0.25, Operations: map[string]float64{"b": 1}}
	if err := w.SetSampling(rules); err != nil {
		t.Fatal(err)
	}
	rules.Operations["b"] = 0 // ours, not the Watchman's
	if got := share(a); math.Abs(got-0.25) > 0.03 {
		t.Errorf("a: %v, want 0.25", got)
	}
	if share(b) != 1 || w.Operation(watchman.Server, "c").SamplingRatio() != 0.25 {
		t.Error("b is not all sampled, or a new operation follows other rules")
	}
	if got := w.Sampling(); got.Ratio != 0.25 || got.Operations["b"] != 1 {
		t.Errorf("Sampling = %+v", got)
	}
	err := w.SetSampling(watchman.Sampling{Ratio: math.NaN(), Operations: map[string]float64{"x": -1}, TracesPerMinute: -1})
	for _, want := range []string{"Ratio", `Operations["x"]`, "TracesPerMinute"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("bad rules: %v, want %s too", err, want)
		}
	}
}

// A busy, a quiet and a rare operation share a budget: the quiet ones get all
// their traces, the busy one what is left, and a surge is capped at once.
func TestSamplingBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman(t, "s", &watchman.Options{Sample: 1, TracesPerMinute: 600})
		busy, quiet := w.Operation(watchman.Server, "busy"), w.Operation(watchman.Server, "quiet")
		sampled := map[string]int{}
		call := func(op *watchman.Operation) {
			_, s := op.Start(t.Context())
			if s.SpanContext().Sampled() {
				sampled[op.Name()]++
			}
			s.End(nil)
		}
		minute := func(perSecond int) {
			clear(sampled)
			for i := range 60 {
				for range perSecond {
					call(busy)
				}
				if i%2 == 0 {
					call(quiet)
				}
				time.Sleep(time.Second)
			}
		}
		minute(1000)
		minute(1000)
		if n := sampled["busy"] + sampled["quiet"]; n < 450 || n > 750 || sampled["quiet"] != 30 {
			t.Errorf("sampled %v, want about 600 and all of quiet", sampled)
		}
		minute(5000) // five times more
		if n := sampled["busy"]; n > 900 {
			t.Errorf("a surge sampled %d, want at most a window's double more", n)
		}
		if r := busy.SamplingRatio(); r > 0.004 || quiet.SamplingRatio() != 1 {
			t.Errorf("ratios %v and %v", r, quiet.SamplingRatio())
		}
	})
}

func TestManyOperationsUnderABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman(t, "s", &watchman.Options{Sample: 1, TracesPerMinute: 60})
		n := 0
		for range 120 {
			for i := range 200 {
				_, s := w.Operation(watchman.Server, fmt.Sprint(i)).Start(t.Context())
				if s.SpanContext().Sampled() {
					n++
				}
				s.End(nil)
			}
			time.Sleep(time.Second)
		}
		if n < 60 || n > 240 {
			t.Errorf("sampled %d in two minutes, want about 120", n)
		}
	})
}

func TestSampleAll(t *testing.T) {
	w := newWatchman(t, "s", &watchman.Options{Sample: -1})
	op := w.Operation(watchman.Server, "op")
	s := w.SampleAll()
	for _, on := range []bool{true, false, true} {
		if err := w.SetSwitch(watchman.SampleAllSwitch, on, "ann", "look"); err != nil || s.On() != on {
			t.Fatal(err)
		}
		_, span := op.Start(t.Context())
		if span.SpanContext().Sampled() != on {
			t.Errorf("the switch is %v, sampled %v", on, !on)
		}
		span.End(nil)
	}
	if r := w.Operation(watchman.Server, "new").SamplingRatio(); r != 1 {
		t.Errorf("a new operation's ratio is %v", r)
	}
	if w.SampleAll() != s || len(w.Switches()) != 1 || w.Sampling().Ratio != 0 {
		t.Error("there are two switches, or the rules have changed")
	}
}
