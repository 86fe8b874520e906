package ssdcache_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

// The index takes at most 16 bytes an item, also just after it has grown and
// when the file is full of the smallest items; memory and goroutines stay what
// Stats says.
func TestBounds(t *testing.T) {
	const size = 32 << 20
	var before, after runtime.MemStats
	goroutines := runtime.NumGoroutine()
	runtime.GC()
	runtime.ReadMemStats(&before)
	path := temp(t)
	c := open(t, path, size, &ssdcache.Options{SegmentSize: 1 << 20})
	k := make([]byte, 8)
	worst := 0.0
	for i := range boundsSets {
		binary.LittleEndian.PutUint64(k, uint64(i))
		if err := c.Set(k, k, 0); err != nil {
			t.Fatal(err)
		}
		if i%4096 == 0 && i > 200_000 {
			s := c.Stats()
			worst = max(worst, float64(s.IndexBytes)/float64(s.Items))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	s := c.Stats()
	if worst > 16 {
		t.Errorf("%.1f bytes an item", worst)
	}
	if s.IndexBytes > s.IndexMax || s.Evicted == 0 {
		t.Errorf("%+v", s)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > s.IndexBytes+s.BufferBytes+1<<20 {
		t.Errorf("%d bytes of heap, want %d of index and %d of buffers", grown, s.IndexBytes, s.BufferBytes)
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() != size || s.FileBytes != size {
		t.Errorf("%d bytes of file, %+v, %v", info.Size(), s, err)
	}
	t.Logf("%d items, at most %.1f bytes of index each", s.Items, worst)

	var wg sync.WaitGroup
	for w := range 200 {
		wg.Go(func() {
			k := make([]byte, 8)
			for i := range 50 {
				binary.LittleEndian.PutUint64(k, uint64(boundsSets-1-w*50-i))
				if _, err := c.Get(nil, k); err != nil && !errors.Is(err, ssdcache.ErrNotFound) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// One that was told to end may take a moment.
	eventually(t, "one goroutine more than before", func() bool { return runtime.NumGoroutine() <= goroutines+1 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) != 2 {
		t.Errorf("%v, %v", files, err)
	}
}
