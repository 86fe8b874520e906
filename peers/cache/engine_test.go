package cache_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/VictoriaMetrics/fastcache"
	"github.com/cockroachdb/pebble/v2"
	"github.com/dgraph-io/ristretto/v2"
	"github.com/maypok86/otter/v2"

	"github.com/heddle-go/heddle/internal/cputime"
	"github.com/heddle-go/heddle/ssdcache"
)

// engine is what is measured: byte values under 16-byte keys. evict takes out
// the oldest key, which engines that are caches do by themselves.
type engine interface {
	get(key, room []byte) ([]byte, error)
	set(key, value []byte) error
	evict(key []byte) error
	close() error
}

const (
	items     = 200_000
	valueSize = 1024
	fileSize  = 256 << 20 // room for about 230,000 of them
)

type ssd struct{ *ssdcache.Cache }

func (e ssd) get(key, room []byte) ([]byte, error) { return e.Get(room, key) }
func (e ssd) set(key, value []byte) error          { return e.Set(key, value, 0) }
func (e ssd) evict([]byte) error                   { return nil }
func (e ssd) close() error                         { return e.Close() }

// peb is Pebble as a cache: first in, first out, each set deletes the oldest.
type peb struct{ *pebble.DB }

func (e peb) get(key, room []byte) ([]byte, error) {
	v, closer, err := e.Get(key)
	if err != nil {
		return nil, err
	}
	room = append(room, v...)
	return room, closer.Close()
}
func (e peb) set(key, value []byte) error { return e.Set(key, value, pebble.NoSync) }
func (e peb) evict(key []byte) error      { return e.Delete(key, pebble.NoSync) }
func (e peb) close() error                { return e.Close() }

type fast struct{ *fastcache.Cache }

func (e fast) get(key, room []byte) ([]byte, error) { return e.Get(room, key), nil }
func (e fast) set(key, value []byte) error          { e.Set(key, value); return nil }
func (e fast) evict([]byte) error                   { return nil }
func (e fast) close() error                         { e.Reset(); return nil }

type rist struct {
	*ristretto.Cache[string, []byte]
}

func (e rist) get(key, room []byte) ([]byte, error) {
	v, _ := e.Get(string(key))
	return append(room, v...), nil
}
func (e rist) set(key, value []byte) error {
	e.Set(string(key), append([]byte(nil), value...), int64(len(value)))
	return nil
}
func (e rist) evict([]byte) error { return nil }
func (e rist) close() error       { e.Close(); return nil }

type ott struct{ *otter.Cache[string, []byte] }

func (e ott) get(key, room []byte) ([]byte, error) {
	v, _ := e.GetIfPresent(string(key))
	return append(room, v...), nil
}
func (e ott) set(key, value []byte) error {
	e.Set(string(key), append([]byte(nil), value...))
	return nil
}
func (e ott) evict([]byte) error { return nil }
func (e ott) close() error       { return nil }

var engines = []struct {
	name string
	open func(dir string) (engine, error)
}{
	{"ssdcache", func(dir string) (engine, error) {
		c, err := ssdcache.Open(filepath.Join(dir, "cache"), fileSize, nil)
		return ssd{c}, err
	}},
	{"pebble,wal", func(dir string) (engine, error) { return openPebble(dir, false) }},
	{"pebble,no-wal", func(dir string) (engine, error) { return openPebble(dir, true) }},
	{"fastcache", func(string) (engine, error) { return fast{fastcache.New(fileSize)}, nil }},
	{"ristretto", func(string) (engine, error) {
		c, err := ristretto.NewCache(&ristretto.Config[string, []byte]{NumCounters: 10 * items, MaxCost: fileSize, BufferItems: 64})
		return rist{c}, err
	}},
	{"otter", func(string) (engine, error) {
		c, err := otter.New(&otter.Options[string, []byte]{MaximumSize: items})
		return ott{c}, err
	}},
}

func openPebble(dir string, noWAL bool) (engine, error) {
	cache := pebble.NewCache(64 << 20)
	defer cache.Unref()
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{Cache: cache, DisableWAL: noWAL, Logger: silent{}})
	return peb{db}, err
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

func number(key []byte, n int) []byte {
	binary.BigEndian.PutUint64(key[8:], uint64(n))
	return key
}

// BenchmarkEngine sets new items over a full cache and gets those that are
// there, in all of them with 1 KB values. fastcache, ristretto and otter are in
// memory.
func BenchmarkEngine(b *testing.B) {
	for _, en := range engines {
		b.Run(en.name, func(b *testing.B) {
			e, err := en.open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer e.close()
			r := rand.NewChaCha8([32]byte{})
			value, key, old := make([]byte, valueSize), make([]byte, 16), make([]byte, 16)
			_, _ = r.Read(value)
			next := 0
			add := func() {
				binary.BigEndian.PutUint64(value, uint64(next))
				if err := e.set(number(key, next), value); err != nil {
					b.Fatal(err)
				}
				if next >= items {
					if err := e.evict(number(old, next-items)); err != nil {
						b.Fatal(err)
					}
				}
				next++
			}
			for range items {
				add()
			}
			cpu := func(b *testing.B, begin time.Duration) {
				b.ReportMetric(float64((cputime.Process()-begin).Nanoseconds())/float64(b.N), "cpu-ns/op")
			}
			b.Run("set", func(b *testing.B) {
				begin := cputime.Process()
				for range b.N {
					add()
				}
				cpu(b, begin)
			})
			room := make([]byte, 0, 2*valueSize)
			b.Run("get", func(b *testing.B) {
				begin, found := cputime.Process(), 0
				for range b.N {
					n := next - 1 - rand.IntN(items)
					v, err := e.get(number(key, n), room)
					switch {
					case err == nil && len(v) == valueSize:
						found++
						if binary.BigEndian.Uint64(v) != uint64(n) {
							b.Fatalf("key %d has another value", n)
						}
					case err != nil && !errors.Is(err, ssdcache.ErrNotFound) && !errors.Is(err, pebble.ErrNotFound):
						b.Fatal(err)
					}
				}
				cpu(b, begin)
				b.ReportMetric(100*float64(found)/float64(b.N), "%found")
			})
		})
	}
}
