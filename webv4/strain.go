package webv4

import (
	"sync/atomic"
	"time"
)

// strain is what a limiter's refusals mean to others: to interfaces, which are
// degraded by themselves, and to callers, who are told which classes get in. Its
// methods, but those that only load, need the limiter's mutex. Times are the limiter's.
type strain struct {
	level  atomic.Int32 // how far interfaces are degraded
	refuse atomic.Int32 // the least Class of which nothing was refused, as Low minus it

	now   int64
	start int64 // of the window
	asked int   // calls in the window
	over  int   // calls in the window that were refused
	last  [Low + 1]int64

	bad, good int   // windows in a row
	need      int   // good windows in a row that end a level
	left      int64 // when one ended last
}

const (
	badShare     = 20  // a window is bad if one call in so many was refused
	goodShare    = 100 // and good if at most one in so many was
	badWindows   = 3
	goodWindows  = 10
	mostWindows  = 300
	soonAgain    = int64(10 * time.Second)
	admitsForget = int64(time.Second)
)

// refused notes that a call of that class was.
func (s *strain) refused(class Class) {
	s.over++
	s.last[class] = s.now + 1 // never zero, which is never
	s.settle()
}

// settle works out which classes get in.
func (s *strain) settle() {
	admits := Low
	for c := Low; c >= Critical; c-- {
		if s.last[c] != 0 && s.now-s.last[c] < admitsForget {
			admits = c - 1
		}
	}
	s.refuse.Store(int32(Low - admits))
}

// admits is the least class of which nothing was refused in the last second:
// Low if nothing was, one below Critical if even critical calls were.
func (s *strain) admits() Class { return Low - Class(s.refuse.Load()) }

// roll ends the window if it is time, and changes the level by at most one for
// bad windows, by as many as it takes for time without calls. most is the highest level.
func (s *strain) roll(now int64, most Level) {
	s.now = now
	took := now - s.start
	if took < int64(window) {
		return
	}
	windows := int(took / int64(window)) // all but one of them without calls
	asked, over := s.asked, s.over
	s.start, s.asked, s.over = now, 0, 0
	if s.refuse.Load() != 0 {
		s.settle()
	}
	level := Level(s.level.Load())
	switch {
	case over*badShare >= asked && over > 0:
		s.good = 0
		if s.bad++; s.bad < badWindows || level >= most {
			return
		}
		s.bad = 0
		if level == Normal {
			if s.left != 0 && now-s.left < soonAgain {
				s.need = min(2*s.need, mostWindows)
			} else {
				s.need = goodWindows
			}
		}
		s.level.Store(int32(level + 1))
	case over*goodShare <= asked:
		s.bad = 0
		if level == Normal {
			return
		}
		for s.good += windows; s.good >= s.need && level > Normal; s.good -= s.need {
			level--
			s.left = now
		}
		s.level.Store(int32(level))
	default:
		s.bad, s.good = 0, 0
	}
}

// degraded is how far the interfaces of the limiter's class are degraded; nil is Normal.
func (l *limiter) degraded() Level {
	if l == nil || l.opt.DegradeDry {
		return Normal
	}
	return Level(l.strain.level.Load())
}
