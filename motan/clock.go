package motan

import (
	"sync/atomic"
	"time"
)

// processStart is what ticks count from.
var processStart = time.Now()

// ticks is the monotonic clock, never 0.
func ticks() int64 { return int64(time.Since(processStart)) + 1 }

// clockSync is how long a reading of the wall clock is good for.
const clockSync = time.Second

// bothClocks is the last reading of both.
var bothClocks atomic.Pointer[time.Time]

// now is time.Now at a third of its cost, of which each call would pay several: it
// reads the monotonic clock only and adds what has passed to the last reading of
// both. Differences are exact; the wall clock that it shows is the one of a second
// ago at most, if somebody has set that meanwhile.
func now() time.Time {
	if last := bothClocks.Load(); last != nil {
		if passed := time.Since(*last); passed >= 0 && passed < clockSync {
			return last.Add(passed)
		}
	}
	t := time.Now()
	bothClocks.Store(&t)
	return t
}
