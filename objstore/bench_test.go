package objstore_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/objstore"
)

// reportCPU reports the CPU time of the process per operation, which says more
// than the time on a machine that others use too.
func reportCPU(b *testing.B) {
	// Collections are as rare as in a program that has a heap.
	heap := make([]byte, 64<<20)
	runtime.GC() // of what the preparation left
	b.ResetTimer()
	begin := cputime.Process()
	b.Cleanup(func() {
		runtime.KeepAlive(heap)
		b.ReportMetric(float64(cputime.Process()-begin)/float64(b.N), "cpu-ns/op")
	})
}

const (
	benchObjects = 15_000 // fit in the cache of both
	benchValue   = 1000   // bytes
)

func benchMeta(i int) objstore.Meta {
	return objstore.Meta{DisplayName: fmt.Sprint("object ", i), URL: fmt.Sprint("http://example.com/", i)}
}

// noises is one of many different incompressible values.
func noises(size, i int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}).Read(b)
	return b
}

// benchLibrary is a library with many objects of raw bytes, compacted to tables.
func benchLibrary(b *testing.B) (*objstore.Collection[[]byte], []objstore.ID) {
	lib := openLibrary(b, filepath.Join(b.TempDir(), "lib"), objstore.Options{})
	c := collection(b, lib, objstore.Type[[]byte]{Number: 1, Name: "bench", Indexes: []objstore.Index[[]byte]{{Name: "url"}}})
	var ids []objstore.ID
	for len(ids) < benchObjects {
		objs := make([]*objstore.Object[[]byte], 1000)
		for i := range objs {
			objs[i] = &objstore.Object[[]byte]{Meta: benchMeta(len(ids) + i), Value: noises(benchValue, len(ids)+i)}
		}
		for i, err := range c.MultiPut(ctx, objs) {
			if err != nil {
				b.Fatal(err)
			}
			ids = append(ids, objs[i].ID)
		}
	}
	if err := lib.Compact(ctx); err != nil {
		b.Fatal(err)
	}
	return c, ids
}

// benchPebble is a Pebble with the options of a library and rows as long as its.
func benchPebble(b *testing.B, n int) (*pebble.DB, [][]byte) {
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	opts := &pebble.Options{MemTableSize: 16 << 20, FormatMajorVersion: pebble.FormatNewest, Cache: cache, Logger: quiet{}}
	for i := range opts.Levels {
		opts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	db, err := pebble.Open(filepath.Join(b.TempDir(), "pebble"), opts)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	var keys [][]byte
	batch := db.NewBatch()
	for i := range n {
		key := pebbleKey(i)
		meta := benchMeta(i)
		value := objstore.EncodeRecord(&meta, 4, 0, []string{"url\x00" + meta.URL}, noises(benchValue, i))
		if err := batch.Set(key, value, nil); err != nil {
			b.Fatal(err)
		}
		keys = append(keys, key)
	}
	if err := batch.Commit(pebble.NoSync); err != nil {
		b.Fatal(err)
	}
	if err := errors.Join(db.Flush(), db.Compact(ctx, []byte{0}, []byte{255}, false)); err != nil {
		b.Fatal(err)
	}
	return db, keys
}

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func pebbleKey(i int) []byte {
	return binary.BigEndian.AppendUint64([]byte("r\x00\x00\x00\x01\x00"), uint64(i)<<22)
}

func BenchmarkGet(b *testing.B) {
	b.Run("objstore", func(b *testing.B) {
		c, ids := benchLibrary(b)
		rng := rand.New(rand.NewPCG(1, 2))
		b.ReportAllocs()
		reportCPU(b)
		for range b.N {
			if _, err := c.Get(ctx, ids[rng.IntN(len(ids))]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pebble", func(b *testing.B) {
		db, keys := benchPebble(b, benchObjects)
		rng := rand.New(rand.NewPCG(1, 2))
		b.ReportAllocs()
		reportCPU(b)
		for range b.N {
			v, closer, err := db.Get(keys[rng.IntN(len(keys))])
			if err != nil {
				b.Fatal(err)
			}
			_ = bytes.Clone(v)
			closer.Close()
		}
	})
}

func BenchmarkMultiGet50(b *testing.B) {
	b.Run("objstore", func(b *testing.B) {
		c, ids := benchLibrary(b)
		rng := rand.New(rand.NewPCG(1, 2))
		some := make([]objstore.ID, 50)
		b.ReportAllocs()
		reportCPU(b)
		for range b.N {
			for i := range some {
				some[i] = ids[rng.IntN(len(ids))]
			}
			if _, err := c.MultiGet(ctx, some); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pebble", func(b *testing.B) {
		db, keys := benchPebble(b, benchObjects)
		rng := rand.New(rand.NewPCG(1, 2))
		b.ReportAllocs()
		reportCPU(b)
		for range b.N {
			for range 50 {
				v, closer, err := db.Get(keys[rng.IntN(len(keys))])
				if err != nil {
					b.Fatal(err)
				}
				_ = bytes.Clone(v)
				closer.Close()
			}
		}
	})
}

// A put is a record, an index entry and a version check; 50 goroutines share
// the syncs.
func BenchmarkPut(b *testing.B) {
	value := noise(benchValue)
	b.Run("objstore", func(b *testing.B) {
		c, _ := benchLibrary(b)
		b.ReportAllocs()
		reportCPU(b)
		var n atomic.Int64
		b.SetParallelism(25)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := c.Create(ctx, &objstore.Object[[]byte]{Meta: benchMeta(int(n.Add(1))), Value: value}); err != nil {
					b.Error(err)
				}
			}
		})
	})
	b.Run("pebble", func(b *testing.B) {
		db, _ := benchPebble(b, benchObjects)
		b.ReportAllocs()
		reportCPU(b)
		var n atomic.Int64
		b.SetParallelism(25)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				i := int(n.Add(1))
				meta := benchMeta(i)
				batch := db.NewBatch()
				_ = batch.Set(pebbleKey(benchObjects+i), value, nil)
				_ = batch.Set([]byte("x"+meta.URL), nil, nil)
				if err := batch.Commit(pebble.Sync); err != nil {
					b.Error(err)
				}
				batch.Close()
			}
		})
	})
}

func BenchmarkUpdate(b *testing.B) {
	c, ids := benchLibrary(b)
	b.ReportAllocs()
	reportCPU(b)
	for i := range b.N {
		if _, err := c.Modify(ctx, ids[i*7919%len(ids)], func(o *objstore.Object[[]byte]) error { o.Value[0]++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMultiPut50(b *testing.B) {
	c, _ := benchLibrary(b)
	value := noise(benchValue)
	b.ReportAllocs()
	reportCPU(b)
	for i := range b.N {
		objs := make([]*objstore.Object[[]byte], 50)
		for j := range objs {
			objs[j] = &objstore.Object[[]byte]{Meta: benchMeta(i), Value: value}
		}
		for _, err := range c.MultiPut(ctx, objs) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkScan(b *testing.B) {
	c, _ := benchLibrary(b)
	b.ReportAllocs()
	reportCPU(b)
	for n := 0; n < b.N; {
		for _, err := range c.Scan(ctx, nil) {
			if err != nil {
				b.Fatal(err)
			}
			if n++; n == b.N {
				break
			}
		}
	}
}

func BenchmarkPutContent(b *testing.B) {
	for _, size := range []int{100 << 10, 1 << 20} {
		b.Run(fmt.Sprint(size>>10, "KiB"), func(b *testing.B) {
			_, pictures := newPictures(b, nil)
			data := bytes.NewReader(noise(size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			reportCPU(b)
			for range b.N {
				data.Seek(0, io.SeekStart)
				up, err := pictures.Upload(ctx, "x", data, nil)
				if err != nil {
					b.Fatal(err)
				}
				create(b, pictures, up)
			}
		})
	}
}

func BenchmarkReadContent(b *testing.B) {
	lib, pictures := newPictures(b, nil)
	up, err := pictures.Upload(ctx, "x", bytes.NewReader(noise(1<<20)), nil)
	if err != nil {
		b.Fatal(err)
	}
	obj := create(b, pictures, up)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	reportCPU(b)
	for range b.N {
		r, err := lib.OpenContent(ctx, &obj.Contents[0])
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

// What the codecs cost for one picture.
func BenchmarkCodec(b *testing.B) {
	for _, codec := range []objstore.Codec{objstore.JSON{}, objstore.Msgpack{}} {
		v := Picture{640, 480}
		data, err := codec.Append(nil, &v)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%T/append", codec)[9:], func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, 1024)
			for b.Loop() {
				if _, err := codec.Append(buf, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%T/decode", codec)[9:], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := codec.Decode(data, &v); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
