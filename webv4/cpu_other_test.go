//go:build !unix

package webv4_test

import "testing"

// cpuClock is not there: benchmarks show wall time only.
type cpuClock struct{}

func startCPU() cpuClock { return cpuClock{} }

func (cpuClock) report(*testing.B) {}
