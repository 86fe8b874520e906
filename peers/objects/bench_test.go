package objects_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bwmarrin/snowflake"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/sony/sonyflake"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/s3content"
)

var ctx = context.Background()

// measure begins a measurement of the CPU time per operation.
func measure(b *testing.B) {
	// Collections are as rare as in a program that has a heap.
	heap := make([]byte, 64<<20)
	runtime.GC() // of what the preparation left
	b.ReportAllocs()
	b.ResetTimer()
	begin := cputime.Process()
	b.Cleanup(func() {
		runtime.KeepAlive(heap)
		b.ReportMetric(float64(cputime.Process()-begin)/float64(b.N), "cpu-ns/op")
	})
}

func BenchmarkID(b *testing.B) {
	b.Run("objstore", func(b *testing.B) {
		g, err := objstore.NewGenerator(&objstore.GeneratorOptions{StateFile: filepath.Join(b.TempDir(), "ids"), Ahead: 1e6 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		defer g.Close()
		measure(b)
		for range b.N {
			if _, err := g.Next(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("snowflake", func(b *testing.B) {
		node, err := snowflake.NewNode(1)
		if err != nil {
			b.Fatal(err)
		}
		measure(b)
		for range b.N {
			node.Generate()
		}
	})
	b.Run("sonyflake", func(b *testing.B) {
		s, err := sonyflake.New(sonyflake.Settings{MachineID: func() (uint16, error) { return 1, nil }})
		if err != nil {
			b.Fatal(err)
		}
		measure(b)
		for range b.N {
			if _, err := s.NextID(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

const (
	loaded    = 15_000 // objects; they fit in the cache of both
	valueSize = 1000
)

func value() []byte {
	v := make([]byte, valueSize)
	_, _ = rand.Read(v)
	return v
}

func meta(i int) objstore.Meta {
	return objstore.Meta{DisplayName: fmt.Sprint("object ", i), URL: fmt.Sprint("http://example.com/", i)}
}

// objects is a library with objects of one index.
func objects(b *testing.B) (*objstore.Collection[[]byte], []objstore.ID) {
	lib, err := objstore.Open(filepath.Join(b.TempDir(), "lib"), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { lib.Close() })
	c, err := objstore.NewCollection(lib, objstore.Type[[]byte]{Number: 1, Name: "bench", Indexes: []objstore.Index[[]byte]{{Name: "url"}}})
	if err != nil {
		b.Fatal(err)
	}
	var ids []objstore.ID
	for len(ids) < loaded {
		objs := make([]*objstore.Object[[]byte], 1000)
		for i := range objs {
			objs[i] = &objstore.Object[[]byte]{Meta: meta(len(ids) + i), Value: value()}
		}
		if err := errors.Join(c.MultiPut(ctx, objs)...); err != nil {
			b.Fatal(err)
		}
		for _, obj := range objs {
			ids = append(ids, obj.ID)
		}
	}
	return c, ids
}

func key(i int) []byte {
	return binary.BigEndian.AppendUint64([]byte("r\x00\x00\x00\x01\x00"), uint64(i)<<22)
}

// rows is a Pebble with the same options and as many rows as long.
func rows(b *testing.B) *pebble.DB {
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
	b.Cleanup(func() { db.Close() })
	for i := 0; i < loaded; {
		batch := db.NewBatch()
		for range 1000 {
			_ = batch.Set(key(i), append(value(), make([]byte, 80)...), nil)
			_ = batch.Set([]byte("x"+meta(i).URL), nil, nil)
			i++
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

type quiet struct{}

func (quiet) Infof(string, ...any)              {}
func (quiet) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func get(b *testing.B, db *pebble.DB, k []byte) {
	v, closer, err := db.Get(k)
	if err != nil {
		b.Fatal(err)
	}
	_ = bytes.Clone(v)
	closer.Close()
}

func BenchmarkGet(b *testing.B) {
	b.Run("objstore", func(b *testing.B) {
		c, ids := objects(b)
		measure(b)
		for range b.N {
			if _, err := c.Get(ctx, ids[mrand.IntN(loaded)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pebble", func(b *testing.B) {
		db := rows(b)
		measure(b)
		for range b.N {
			get(b, db, key(mrand.IntN(loaded)))
		}
	})
}

func BenchmarkMultiGet50(b *testing.B) {
	b.Run("objstore", func(b *testing.B) {
		c, ids := objects(b)
		some := make([]objstore.ID, 50)
		measure(b)
		for range b.N {
			for i := range some {
				some[i] = ids[mrand.IntN(loaded)]
			}
			if _, err := c.MultiGet(ctx, some); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("pebble", func(b *testing.B) {
		db := rows(b)
		measure(b)
		for range b.N {
			for range 50 {
				get(b, db, key(mrand.IntN(loaded)))
			}
		}
	})
}

// Of 50 goroutines, so that syncs are shared.
func BenchmarkPut(b *testing.B) {
	v := value()
	parallel := func(b *testing.B, put func(i int) error) {
		var n atomic.Int64
		b.SetParallelism(50 / runtime.GOMAXPROCS(0))
		measure(b)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := put(loaded + int(n.Add(1))); err != nil {
					b.Error(err)
				}
			}
		})
	}
	b.Run("objstore", func(b *testing.B) {
		c, _ := objects(b)
		parallel(b, func(i int) error { return c.Create(ctx, &objstore.Object[[]byte]{Meta: meta(i), Value: v}) })
	})
	b.Run("pebble", func(b *testing.B) {
		db := rows(b)
		parallel(b, func(i int) error {
			batch := db.NewBatch()
			_ = batch.Set(key(i), append(v[:valueSize:valueSize], make([]byte, 80)...), nil)
			_ = batch.Set([]byte("x"+meta(i).URL), nil, nil)
			defer batch.Close()
			return batch.Commit(pebble.Sync)
		})
	})
}

// A put of a content is, for the library, two commits of metadata besides.
func BenchmarkContent1MiB(b *testing.B) {
	addr := os.Getenv("HEDDLE_TEST_S3")
	if addr == "" {
		b.Skip("needs an S3 server, see doc.go")
	}
	u, err := url.Parse(addr)
	if err != nil {
		b.Fatal(err)
	}
	secret, _ := u.User.Password()
	client, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, "")})
	if err != nil {
		b.Fatal(err)
	}
	bucket, prefix := strings.Trim(u.Path, "/"), strings.ToLower(rand.Text())+"/"
	if err := client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
		if there, _ := client.BucketExists(ctx, bucket); !there {
			b.Fatal(err)
		}
	}
	content, err := s3content.New(client, bucket, &s3content.Options{Prefix: prefix})
	if err != nil {
		b.Fatal(err)
	}
	lib, err := objstore.Open(filepath.Join(b.TempDir(), "lib"), &objstore.Options{Content: content})
	if err != nil {
		b.Fatal(err)
	}
	defer lib.Close()
	crcOnly, err := objstore.Open(filepath.Join(b.TempDir(), "crc"), &objstore.Options{Content: content, SkipSHA256: true})
	if err != nil {
		b.Fatal(err)
	}
	defer crcOnly.Close()
	c, err := objstore.NewCollection(lib, objstore.Type[[]byte]{Number: 1, Name: "bench"})
	if err != nil {
		b.Fatal(err)
	}
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	var obj objstore.Object[[]byte]
	b.Run("put/objstore", func(b *testing.B) {
		b.SetBytes(1 << 20)
		measure(b)
		for range b.N {
			up, err := c.Upload(ctx, "x", bytes.NewReader(data), nil)
			if err == nil {
				obj = objstore.Object[[]byte]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{up}}}
				err = c.Create(ctx, &obj)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("put/minio-go", func(b *testing.B) {
		b.SetBytes(1 << 20)
		measure(b)
		for i := range b.N {
			if _, err := client.PutObject(ctx, bucket, fmt.Sprint(prefix, "raw/", i), bytes.NewReader(data), 1<<20, minio.PutObjectOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	read := func(b *testing.B, open func() (io.ReadCloser, error)) {
		b.SetBytes(1 << 20)
		measure(b)
		for range b.N {
			r, err := open()
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != 1<<20 {
				b.Fatal(n, err)
			}
			r.Close()
		}
	}
	b.Run("get/objstore", func(b *testing.B) {
		read(b, func() (io.ReadCloser, error) { return lib.OpenContent(ctx, &obj.Contents[0]) })
	})
	b.Run("get/objstore-SkipSHA256", func(b *testing.B) {
		read(b, func() (io.ReadCloser, error) { return crcOnly.OpenContent(ctx, &obj.Contents[0]) })
	})
	b.Run("get/minio-go", func(b *testing.B) {
		read(b, func() (io.ReadCloser, error) {
			return client.GetObject(ctx, bucket, fmt.Sprint(prefix, "raw/", 0), minio.GetObjectOptions{})
		})
	})
}
