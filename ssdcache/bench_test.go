package ssdcache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/ssdcache"
)

// worker is what a goroutine of crowd has for itself.
type worker struct {
	*rand.Rand
	key, room []byte
	keys      [][]byte
	batch     ssdcache.Batch
}

// crowd runs f from all processors' goroutines and reports CPU time an operation.
func crowd(b *testing.B, f func(w *worker) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cputime.Process()
	b.RunParallel(func(p *testing.PB) {
		w := &worker{rand.New(rand.NewPCG(rand.Uint64(), 1)), make([]byte, 16), make([]byte, 0, 2000), nil, ssdcache.Batch{}}
		for p.Next() {
			if err := f(w); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64((cputime.Process()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

func benchKey[N int | int64](k []byte, n N) { binary.BigEndian.PutUint64(k[8:], uint64(n)) }

// benchItems items of 1 KB are at least four times the memory that a cache gets:
// two buffers of 16 MiB and 16 bytes an item.
const benchItems = 400_000

func benchCache(b *testing.B, items int, opts *ssdcache.Options) *ssdcache.Cache {
	return benchCacheAt(b, filepath.Join(b.TempDir(), "cache"), items, opts)
}

func benchCacheAt(b *testing.B, path string, items int, opts *ssdcache.Options) *ssdcache.Cache {
	c, err := ssdcache.Open(path, 1<<30, opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	k, v := make([]byte, 16), make([]byte, 1024)
	for i := range items {
		benchKey(k, i)
		binary.BigEndian.PutUint64(v, uint64(i))
		if err := c.Set(k, v, 0); err != nil {
			b.Fatal(err)
		}
	}
	return c
}

// BenchmarkGet reads 1 KB values at random, from the page cache and around it.
func BenchmarkGet(b *testing.B) {
	for _, direct := range []bool{false, true} {
		b.Run(map[bool]string{false: "page-cache", true: "direct"}[direct], func(b *testing.B) {
			benchmarkGet(b, benchCache(b, benchItems, &ssdcache.Options{Direct: direct}), direct)
		})
	}
}

func benchmarkGet(b *testing.B, c *ssdcache.Cache, direct bool) {
	k, dst, missing := make([]byte, 16), make([]byte, 0, 2000), 0
	for i := 0; i < benchItems && !direct; i++ { // once each, to have it there
		benchKey(k, i)
		if _, err := c.Get(dst, k); err != nil {
			missing++ // two keys with the same place in the index
		}
	}
	if missing > 10 {
		b.Fatalf("%d items are missing", missing)
	}
	crowd(b, func(w *worker) error {
		n := w.IntN(benchItems)
		benchKey(w.key, n)
		v, err := c.Get(w.room, w.key)
		if errors.Is(err, ssdcache.ErrNotFound) {
			return nil
		}
		if err == nil && binary.BigEndian.Uint64(v) != uint64(n) {
			err = errors.New("another value")
		}
		return err
	})
}

// BenchmarkMiss asks for keys that are not there.
func BenchmarkMiss(b *testing.B) {
	c := benchCache(b, benchItems, nil)
	crowd(b, func(w *worker) error {
		benchKey(w.key, benchItems+w.Int64N(1<<40))
		if _, err := c.Get(nil, w.key); !errors.Is(err, ssdcache.ErrNotFound) {
			return fmt.Errorf("found: %v", err)
		}
		return nil
	})
}

// BenchmarkSet writes new 1 KB items. The file holds a million, so with a million
// there already each new one evicts one.
func BenchmarkSet(b *testing.B) {
	for _, run := range []struct {
		name  string
		items int
		opts  ssdcache.Options
		share float64 // of the sets that read an item too
	}{
		{"fill", 0, ssdcache.Options{}, 0},
		{"fill,direct", 0, ssdcache.Options{Direct: true}, 0},
		{"churn,direct", 1_000_000, ssdcache.Options{Direct: true}, 0},
		{"churn", 1_000_000, ssdcache.Options{}, 0},
		{"churn,kept", 1_000_000, ssdcache.Options{Keep: 0.25}, 0.5},
	} {
		b.Run(run.name, func(b *testing.B) {
			c := benchCache(b, run.items, &run.opts)
			v := make([]byte, 1024)
			before := c.Stats()
			crowd(b, func(w *worker) error {
				if w.Float64() < run.share {
					clear(w.key)
					benchKey(w.key, w.IntN(benchItems))
					_, _ = c.Get(w.room, w.key)
				}
				binary.BigEndian.PutUint64(w.key, w.Uint64()|1)
				return c.Set(w.key, v, 0)
			})
			s := c.Stats()
			b.ReportMetric(float64(s.DeviceBytes-before.DeviceBytes)/float64(s.UserBytes-before.UserBytes), "bytes-written/byte")
			b.ReportMetric(float64(s.Refused-before.Refused), "refused")
		})
	}
}

// BenchmarkReplace overwrites items, which under Warm takes a note each.
func BenchmarkReplace(b *testing.B) {
	for _, restart := range []ssdcache.Restart{ssdcache.Warm, ssdcache.WarmAfterClose} {
		b.Run([]string{"warm", "warm-after-close"}[restart], func(b *testing.B) {
			c := benchCache(b, benchItems, &ssdcache.Options{Restart: restart})
			v := make([]byte, 1024)
			before := c.Stats()
			crowd(b, func(w *worker) error {
				benchKey(w.key, w.IntN(benchItems))
				return c.Set(w.key, v, 0)
			})
			s := c.Stats()
			b.ReportMetric(float64(s.DeviceBytes-before.DeviceBytes)/float64(s.UserBytes-before.UserBytes), "bytes-written/byte")
		})
	}
}

// BenchmarkOpen is a start after Close and after a crash, in time an item.
func BenchmarkOpen(b *testing.B) {
	for _, closed := range []bool{true, false} {
		b.Run(map[bool]string{true: "closed", false: "crashed"}[closed], func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "cache")
			opts := &ssdcache.Options{Logger: quiet()}
			c, err := ssdcache.Open(path, 256<<20, opts)
			if err != nil {
				b.Fatal(err)
			}
			k, v := make([]byte, 16), make([]byte, 100)
			for i := range 1_200_000 {
				benchKey(k, i)
				if err := c.Set(k, v, 0); err != nil {
					b.Fatal(err)
				}
			}
			if err := c.Close(); err != nil {
				b.Fatal(err)
			}
			found := int64(0)
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				if !closed {
					_ = os.Remove(path + ".index")
				}
				b.StartTimer()
				c, err := ssdcache.Open(path, 256<<20, opts)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				found += c.Stats().Found
				if err := c.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(found), "ns/item")
			b.ReportMetric(float64(found)/float64(b.N), "items")
		})
	}
}

// BenchmarkTiered reads through the typed path: values in memory, with hot keys
// looked for and without, and on disk.
func BenchmarkTiered(b *testing.B) {
	for _, run := range []struct {
		name string
		opts ssdcache.TieredOptions
	}{
		{"memory", ssdcache.TieredOptions{Memory: 256 << 20}},
		{"memory,no-hot-keys", ssdcache.TieredOptions{Memory: 256 << 20, HotShare: -1}},
		{"disk", ssdcache.TieredOptions{Memory: -1}},
	} {
		b.Run(run.name, func(b *testing.B) {
			c := benchCache(b, 0, nil)
			run.opts.Codec = raw{}
			x, err := ssdcache.NewTiered(c, func(context.Context, string) ([]byte, error) { return make([]byte, 1024), nil }, &run.opts)
			if err != nil {
				b.Fatal(err)
			}
			const keys = 50_000
			names := make([]string, keys)
			for i := range names {
				names[i] = fmt.Sprint("user-", i)
				if _, err := x.Get(b.Context(), names[i]); err != nil {
					b.Fatal(err)
				}
			}
			ctx := b.Context()
			crowd(b, func(w *worker) error {
				_, err := x.Get(ctx, names[w.IntN(keys)])
				return err
			})
		})
	}
}

// raw is a Codec for []byte.
type raw struct{}

func (raw) Append(dst []byte, v any) ([]byte, error) { return append(dst, *v.(*[]byte)...), nil }
func (raw) Decode(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
