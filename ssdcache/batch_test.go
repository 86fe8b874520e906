package ssdcache_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

// counted counts the reads of a file.
type counted struct {
	ssdcache.File
	reads *atomic.Int64
}

func (f counted) ReadAt(p []byte, off int64) (int, error) {
	f.reads.Add(1)
	return f.File.ReadAt(p, off)
}

func (f counted) ReadCached(p []byte, off int64) error {
	err := f.File.ReadCached(p, off)
	if err == nil {
		f.reads.Add(1)
	}
	return err
}

// GetMany finds what Get finds, whatever state an item is in, while others set.
func TestCacheGetMany(t *testing.T) {
	r := rng(t)
	options := []ssdcache.Options{{}, {Compress: true, Keep: 0.5}, {Restart: ssdcache.Cold}}
	if direct(t) {
		options = append(options, ssdcache.Options{Direct: true})
	}
	for _, o := range options {
		o.SegmentSize = testSegment
		c := open(t, temp(t), 12*testSegment, &o)
		m := newModel()
		var stop atomic.Bool
		var others sync.WaitGroup
		others.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if err := c.Set(key(1000+i%200), value(1000+i%200, i), 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
		var b ssdcache.Batch
		found := 0
		for range 1500 {
			switch n := r.IntN(300); r.IntN(6) {
			case 0:
				m.dead[n] = true
				if err := c.Delete(key(n)); err != nil {
					t.Fatal(err)
				}
			case 1:
				m.dead[n] = true
				if err := c.Set(key(n), value(n, 0), time.Nanosecond); err != nil {
					t.Fatal(err)
				}
			case 2, 3:
				if err := c.Set(key(n), value(n, m.set(n)), 0); err != nil {
					t.Fatal(err)
				}
			default:
				want := make([]int, r.IntN(30))
				keys := make([][]byte, len(want))
				for i := range want {
					want[i] = r.IntN(320)
					if r.IntN(3) > 0 && i > 0 {
						want[i] = want[i-1] + 1
					}
					keys[i] = key(want[i])
				}
				if err := c.GetMany(&b, keys); err != nil || b.Len() != len(keys) {
					t.Fatal(b.Len(), err)
				}
				for i, n := range want {
					got, ok := b.Value(i)
					err := error(nil)
					if !ok {
						err = ssdcache.ErrNotFound
					} else {
						found++
					}
					m.check(t, n, got, err)
				}
			}
		}
		stop.Store(true)
		others.Wait()
		if s := c.Stats(); found == 0 || s.Corrupt != 0 || s.ReadErrors != 0 {
			t.Errorf("%d found, %+v", found, s)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.GetMany(&b, [][]byte{key(1)}); !errors.Is(err, ssdcache.ErrClosed) {
			t.Error(err)
		}
	}
}

// What was set together is read together.
func TestCacheGetManyMerges(t *testing.T) {
	var reads atomic.Int64
	o := (ssdcache.Options{SegmentSize: 1 << 20, Logger: quiet()}).WithFile(func(f ssdcache.File) ssdcache.File { return counted{f, &reads} })
	c := open(t, temp(t), 16<<20, o)
	data := make([]byte, 1000)
	for i := range 6000 {
		binary.BigEndian.PutUint64(data, uint64(i))
		if err := c.Set(key(i), data, 0); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the first segments are in the file", func() bool { _, err := c.Get(nil, key(700)); return err == nil && c.Stats().DeviceHits > 0 })
	var b ssdcache.Batch
	for _, run := range []struct{ step, reads int }{{1, 1}, {5, 1}, {30, 20}} {
		var keys [][]byte
		for i := range 20 {
			keys = append(keys, key(10+(19-i)*run.step))
		}
		before := reads.Load()
		if err := c.GetMany(&b, keys); err != nil {
			t.Fatal(err)
		}
		if n := int(reads.Load() - before); n != run.reads {
			t.Errorf("20 items, each the %d. after the one before: %d reads, want %d", run.step, n, run.reads)
		}
		for i := range 20 {
			if v, ok := b.Value(i); !ok || binary.BigEndian.Uint64(v) != uint64(10+(19-i)*run.step) {
				t.Errorf("item %d: %v", i, ok)
			}
		}
	}
}

// BenchmarkGetMany reads 20 items of 1 KB, set one after the other or at random,
// by one GetMany and by a Get each. An operation is 20 items.
func BenchmarkGetMany(b *testing.B) {
	c := benchCache(b, benchItems, nil)
	for _, together := range []bool{false, true} {
		for _, many := range []bool{false, true} {
			b.Run(fmt.Sprintf("together=%v/many=%v", together, many), func(b *testing.B) {
				crowd(b, func(w *worker) error {
					for len(w.keys) < 20 {
						w.keys = append(w.keys, make([]byte, 16))
					}
					first := w.IntN(benchItems / 2)
					for i, k := range w.keys {
						n := first + i
						if !together {
							n = w.IntN(benchItems / 2)
						}
						benchKey(k, n)
					}
					if many {
						return c.GetMany(&w.batch, w.keys)
					}
					for _, k := range w.keys {
						if _, err := c.Get(w.room, k); err != nil && !errors.Is(err, ssdcache.ErrNotFound) {
							return err
						}
					}
					return nil
				})
			})
		}
	}
}
