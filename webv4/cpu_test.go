//go:build unix

package webv4_test

import (
	"syscall"
	"testing"
	"time"
)

// cpuClock measures the process's CPU time, which other work on the machine
// disturbs less than wall time.
type cpuClock time.Duration

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func startCPU() cpuClock { return cpuClock(cpuTime()) }

func (c cpuClock) report(b *testing.B) {
	b.ReportMetric(float64(cpuTime()-time.Duration(c))/float64(b.N), "cpu-ns/op")
}
