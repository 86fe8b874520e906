package webv4

import "time"

// epoch is what moments count from.
var epoch = time.Now()

// moment is a time of the monotonic clock alone: nobody sets that clock, and to
// read it takes half as long as time.Now.
type moment int64

func now() moment { return moment(time.Since(epoch)) }

// time is the moment by the wall clock as it is set now.
func (m moment) time() time.Time {
	t := time.Now()
	return t.Add(time.Duration(m) - t.Sub(epoch))
}

// mono is the moment for what compares and subtracts only.
func (m moment) mono() time.Time { return epoch.Add(time.Duration(m)) }

// sub is how long m is after earlier.
func (m moment) sub(earlier moment) time.Duration { return time.Duration(m - earlier) }
