package motan

import (
	"testing"
	"testing/synctest"
	"time"
)

// The clock that calls read goes exactly as package time's does, in a bubble of
// package synctest too.
func TestNow(t *testing.T) {
	same := func(what string) {
		t.Helper()
		for range 1000 {
			before := time.Now()
			got := now()
			if after := time.Now(); got.Before(before) || got.After(after) {
				t.Fatalf("%s: %v between %v and %v", what, got, before, after)
			}
		}
	}
	same("at first")
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{time.Nanosecond, clockSync / 3, clockSync, time.Hour} {
			same("in a bubble")
			began := now()
			time.Sleep(d)
			if passed := now().Sub(began); passed != d {
				t.Errorf("%v passed, want %v", passed, d)
			}
			if wall := now().Round(0); !wall.Equal(time.Now().Round(0)) {
				t.Errorf("the wall clock is at %v, want %v", wall, time.Now())
			}
		}
	})
	same("outside again")
}
