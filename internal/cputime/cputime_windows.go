package cputime

import (
	"syscall"
	"time"
)

// Split is Process in its two parts.
func Split() (user, system time.Duration) {
	self, err := syscall.GetCurrentProcess()
	if err != nil {
		return 0, 0
	}
	var created, ended, kernel, own syscall.Filetime
	if syscall.GetProcessTimes(self, &created, &ended, &kernel, &own) != nil {
		return 0, 0
	}
	// Durations come in units of 100 ns.
	ticks := func(f syscall.Filetime) time.Duration {
		return time.Duration(int64(f.HighDateTime)<<32|int64(f.LowDateTime)) * 100
	}
	return ticks(own), ticks(kernel)
}
