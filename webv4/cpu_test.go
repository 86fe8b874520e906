package webv4_test

import (
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

// cpuClock measures the process's CPU time, which other work on the machine
// disturbs less than wall time.
type cpuClock time.Duration

func startCPU() cpuClock { return cpuClock(cputime.Process()) }

func (c cpuClock) report(b *testing.B) {
	b.ReportMetric(float64(cputime.Process()-time.Duration(c))/float64(b.N), "cpu-ns/op")
}
