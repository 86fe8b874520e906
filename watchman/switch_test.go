package watchman_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

func TestDials(t *testing.T) {
	w := newWatchman(t, "s", nil)
	d := w.Dial("limit", 100, 1, 1000)
	var heard []float64
	w.OnDial(d, func(v float64) { heard = append(heard, v) })
	if d.Value() != 100 || w.Dial("limit", 5, 0, 10) != d {
		t.Error("a new dial is not at its default, or there are two of one name")
	}
	if err := w.Apply(watchman.Change{Name: "limit", Value: 50, By: "ann", Reason: "drill"}); err != nil || d.Value() != 50 {
		t.Errorf("Apply: %v, now %v", err, d.Value())
	}
	for _, v := range []float64{0, 1001, math.NaN(), math.Inf(1)} {
		if err := w.Apply(watchman.Change{Name: "limit", Value: v}); !errors.Is(err, watchman.ErrRange) {
			t.Errorf("%v: %v, want ErrRange", v, err)
		}
	}
	if err := w.Apply(watchman.Change{Name: "limit", Value: 10, For: -1}); err == nil {
		t.Error("a negative time was taken")
	}
	if err := w.Apply(watchman.Change{Name: "other", Value: 50}); !errors.Is(err, watchman.ErrNoSwitch) {
		t.Errorf("an unknown dial: %v", err)
	}
	if len(heard) != 1 || heard[0] != 50 {
		t.Errorf("the listener heard %v", heard)
	}
	if list := w.Dials(); len(list) != 1 || list[0].Value != 50 || list[0].By != "ann" || list[0].Max != 1000 {
		t.Errorf("Dials = %+v", list)
	}
	for name, f := range map[string]func(){
		"a default out of bounds":   func() { w.Dial("x", 5, 0, 1) },
		"a switch that is a dial":   func() { w.Switch("limit", false) },
		"a dial that is not a size": func() { w.Dial("y", math.NaN(), 0, 1) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is taken", name)
				}
			}()
			f()
		}()
	}
}

// A human's value goes before a loop's, and a loop's before another loop's.
func TestOneOwner(t *testing.T) {
	w := newWatchman(t, "s", nil)
	s := w.Switch("stale", false)
	auto := func(by string, v float64) error {
		return w.Apply(watchman.Change{Name: "stale", Value: v, By: by, Auto: true})
	}
	if err := auto("loop a", 1); err != nil || !s.On() {
		t.Errorf("loop a: %v", err)
	}
	if err := auto("loop b", 0); !errors.Is(err, watchman.ErrOwned) || !s.On() {
		t.Errorf("loop b: %v", err)
	}
	if err := w.SetSwitch("stale", false, "ann", "no"); err != nil || s.On() {
		t.Errorf("ann: %v", err)
	}
	if err := auto("loop a", 1); !errors.Is(err, watchman.ErrOwned) || s.On() {
		t.Errorf("loop a after ann: %v", err)
	}
	if err := w.Apply(watchman.Change{Name: "stale", Revert: true, By: "ann"}); err != nil {
		t.Error(err)
	}
	if err := auto("loop b", 1); err != nil || !s.On() {
		t.Errorf("loop b after ann gave it back: %v", err)
	}
	if got := w.Changes(); len(got) != 4 || got[0].By != "loop b" || got[3].By != "loop a" || got[2].Before != 1 {
		t.Errorf("changes = %+v", got)
	}
}

func TestChangesExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchman(t, "s", nil)
		s := w.Switch("cached", false)
		var heard []bool
		w.OnChange(s, func(on bool) { heard = append(heard, on) })
		turn := func(d time.Duration) {
			if err := w.Apply(watchman.Change{Name: "cached", Value: 1, By: "loop", Auto: true, For: d}); err != nil {
				t.Fatal(err)
			}
		}
		turn(time.Minute)
		if st := w.Switches()[0]; !st.Expires.Equal(time.Now().Add(time.Minute)) || !st.Auto {
			t.Errorf("state = %+v", st)
		}
		time.Sleep(50 * time.Second)
		turn(time.Minute) // goes on
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if !s.On() {
			t.Error("the first change's end took the second away")
		}
		time.Sleep(11 * time.Second)
		synctest.Wait()
		if s.On() || len(heard) != 2 || heard[1] {
			t.Errorf("on %v, heard %v", s.On(), heard)
		}
		if c := w.Changes()[0]; c.Reason != "expired: " || !c.Revert {
			t.Errorf("the last change is %+v", c)
		}
	})
}

func TestChangesAreBounded(t *testing.T) {
	w := newWatchman(t, "s", nil)
	w.Switch("x", false)
	for i := range 1000 {
		w.SetSwitch("x", i%2 == 0, "ann", fmt.Sprint(i))
	}
	if got := w.Changes(); len(got) != 256 || got[0].Reason != "999" {
		t.Errorf("%d changes, the newest %+v", len(got), got[0])
	}
}

// A setting that no product reads shows in the lists; looking at the lists does not count.
func TestUnread(t *testing.T) {
	w := newWatchman(t, "s", nil)
	asked, heard, forgotten := w.Switch("asked", false), w.Switch("heard", false), w.Switch("forgotten", false)
	value, listened, alone := w.Dial("value", 1, 0, 2), w.Dial("listened", 1, 0, 2), w.Dial("alone", 1, 0, 2)
	asked.On()
	w.OnChange(heard, func(bool) {})
	value.Value()
	w.OnDial(listened, func(float64) {})
	for range 2 {
		if asked.Unread() || heard.Unread() || !forgotten.Unread() || value.Unread() || listened.Unread() || !alone.Unread() {
			t.Error("the wrong ones are unread")
		}
		for _, s := range w.Switches() {
			if s.Unread != (s.Name == "forgotten") {
				t.Errorf("%+v", s)
			}
		}
		for _, d := range w.Dials() {
			if d.Unread != (d.Name == "alone") {
				t.Errorf("%+v", d)
			}
		}
		if err := w.Apply(watchman.Change{Name: "alone", Value: 0}); err != nil {
			t.Fatal(err)
		}
	}
}
