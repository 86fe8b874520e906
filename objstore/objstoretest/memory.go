package objstoretest

import (
	"runtime"
	"time"
)

// PeakHeap runs f and returns by how many bytes the heap in use was larger at
// some time meanwhile than before. It looks every millisecond.
func PeakHeap(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, peak := m.HeapAlloc, m.HeapAlloc
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapAlloc)
		select {
		case <-done:
			return peak - before
		case <-tick.C:
		}
	}
}
