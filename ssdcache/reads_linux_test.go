package ssdcache_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/heddle-go/heddle/ssdcache"
)

// cool drops a file from the page cache, as far as it is on the disk.
func cool(t testing.TB, path string) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		t.Fatal(err)
	}
}

// Gets of what is on the disk, in the page cache, and coming, beside sets and
// evictions, with the page cache emptied again and again.
func TestColdReads(t *testing.T) {
	path := temp(t)
	c := open(t, path, 40*testSegment, &ssdcache.Options{SegmentSize: testSegment, Keep: 0.5, Wait: time.Minute})
	const workers = 24
	var stop atomic.Bool
	var all sync.WaitGroup
	var found atomic.Int64
	for w := range workers {
		all.Go(func() {
			m := newModel()
			var b ssdcache.Batch
			for i := 0; !stop.Load(); i++ {
				n := i*7%200*workers + w // of this worker only
				if i < 200 || i%20 == 0 {
					if err := c.Set(key(n), value(n, m.set(n)), 0); err != nil {
						t.Error(err)
						return
					}
				}
				got, err := c.Get(nil, key(n))
				if m.check(t, n, got, err) {
					found.Add(1)
				}
				if i%10 != 0 {
					continue
				}
				keys := [][]byte{key(w), key(n), key(100*workers + w)}
				if err := c.GetMany(&b, keys); err != nil {
					t.Error(err)
					return
				}
				for i, n := range []int{w, n, 100*workers + w} {
					if v, ok := b.Value(i); ok {
						m.check(t, n, v, nil)
					}
				}
			}
		})
	}
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
		cool(t, path)
	}
	stop.Store(true)
	all.Wait()
	if s := c.Stats(); found.Load() == 0 || s.DeviceHits == 0 || s.Corrupt != 0 || s.ReadErrors != 0 {
		t.Errorf("%d found, %+v", found.Load(), s)
	}
}

// BenchmarkGetCold is BenchmarkGet with nothing in the page cache at first and 50
// Gets at a time. Read a part of the file:
//
//	go test -run '^$' -bench GetCold -benchtime 25000x ./ssdcache
func BenchmarkGetCold(b *testing.B) {
	path := filepath.Join(b.TempDir(), "cache")
	c := benchCacheAt(b, path, benchItems, nil)
	eventually(b, "all but what is in the buffers is in the file", func() bool { return c.Stats().DeviceBytes > 400<<20 })
	cool(b, path)
	b.SetParallelism(50 / runtime.GOMAXPROCS(0))
	crowd(b, func(w *worker) error {
		benchKey(w.key, w.IntN(benchItems))
		if _, err := c.Get(w.room, w.key); err != nil && !errors.Is(err, ssdcache.ErrNotFound) {
			return err
		}
		return nil
	})
}
