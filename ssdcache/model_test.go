package ssdcache_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

// model is what a cache may answer: the last version of each key, or a miss.
type model struct {
	versions map[int]int // of each key ever set, the last version
	dead     map[int]bool
}

func newModel() *model { return &model{map[int]int{}, map[int]bool{}} }

func (m *model) set(n int) (v int) {
	m.versions[n]++
	m.dead[n] = false
	return m.versions[n]
}

// check fails the test if an answer is not the last version or a miss.
func (m *model) check(t testing.TB, n int, got []byte, err error) (hit bool) {
	t.Helper()
	if errors.Is(err, ssdcache.ErrNotFound) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	if v := version(t, n, got); v != m.versions[n] || m.dead[n] {
		t.Fatalf("key %d: version %d came back, the last is %d, deleted %v", n, v, m.versions[n], m.dead[n])
	}
	return true
}

// Whatever happens, a key has its last value or none.
func TestModel(t *testing.T) {
	r := rng(t)
	canDirect := direct(t)
	for range 6 {
		path := temp(t)
		buffers, keep := 2+r.IntN(3), float64(r.IntN(4)-1)/4
		opts := &ssdcache.Options{SegmentSize: testSegment << r.IntN(2), Buffers: buffers, Keep: keep, Logger: quiet(), Restart: ssdcache.Restart(r.IntN(2)), Direct: canDirect && r.IntN(2) == 0, Compress: r.IntN(2) == 0}
		size := int64(opts.SegmentSize * (buffers + 4 + r.IntN(12)))
		t.Logf("size %d, %+v", size, opts)
		c := open(t, path, size, opts)
		m := newModel()
		keys, hits, brief := 50+r.IntN(2000), 0, map[int]bool{}
		for range 6000 {
			n := r.IntN(keys)
			switch p := r.IntN(1000); {
			case p < 400:
				got, err := c.Get(nil, key(n))
				if m.check(t, n, got, err) {
					hits++
				}
			case p < 900:
				var ttl time.Duration
				if brief[n] = r.IntN(4) == 0; brief[n] {
					ttl = time.Duration(1 + r.IntN(int(2*time.Millisecond)))
				}
				if err := c.Set(key(n), value(n, m.set(n)), ttl); err != nil {
					t.Fatal(err)
				}
				got, err := c.Get(nil, key(n))
				if !m.check(t, n, got, err) && !brief[n] {
					t.Fatalf("key %d is not there right after Set", n)
				}
			case p < 997:
				m.dead[n] = true
				if err := c.Delete(key(n)); err != nil {
					t.Fatal(err)
				}
			default:
				before := c.Stats().Items
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				c = open(t, path, size, opts)
				// The next segment may have been emptied meanwhile.
				if s := c.Stats(); s.Found > before || s.Found < before/2 {
					t.Fatalf("found %d of %d items", s.Found, before)
				}
			}
		}
		if s := c.Stats(); hits == 0 || s.Corrupt != 0 || s.ReadErrors != 0 || s.WriteErrors != 0 {
			t.Errorf("%d hits, %+v", hits, s)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The same from several goroutines, each with keys of its own.
func TestModelConcurrently(t *testing.T) {
	c := open(t, temp(t), 20*testSegment, &ssdcache.Options{SegmentSize: testSegment, Keep: 0.5})
	seed := rng(t).Uint64()
	done := make(chan bool)
	const workers = 4
	for w := range workers {
		go func() {
			defer func() { done <- true }()
			m, x := newModel(), seed+uint64(w)
			for range 4000 {
				x = x*6364136223846793005 + 1442695040888963407
				n := int(x>>33)%100*workers + w
				if x>>60 < 6 {
					if err := c.Set(key(n), value(n, m.set(n)), 0); err != nil {
						t.Error(err)
						return
					}
				} else if x>>60 == 6 {
					m.dead[n] = true
					if err := c.Delete(key(n)); err != nil {
						t.Error(err)
						return
					}
				}
				got, err := c.Get(nil, key(n))
				if errors.Is(err, ssdcache.ErrNotFound) {
					continue
				}
				if want := value(n, m.versions[n]); err != nil || m.dead[n] || string(got) != string(want) {
					t.Errorf("key %d: got %.20q, %v; want version %d, deleted %v", n, got, err, m.versions[n], m.dead[n])
					return
				}
			}
		}()
	}
	for range workers {
		<-done
	}
	if s := c.Stats(); s.Kept == 0 || s.Corrupt != 0 {
		t.Errorf("%+v", s)
	}
}

// Several goroutines set and delete the same keys, by turns, and all of them read:
// nobody finds what had been replaced or deleted when the Get began, from buffers,
// from the file, or while an item moves from one to the other.
func TestReadersBesideWriters(t *testing.T) {
	r := rng(t)
	for _, keep := range []float64{-1, 0.5} {
		c := open(t, temp(t), 12*testSegment, &ssdcache.Options{SegmentSize: testSegment, Keep: keep, Compress: keep > 0, Wait: time.Minute})
		const keys = 400
		var items [keys]struct {
			mu             sync.Mutex   // held to write
			begun          atomic.Int64 // the version of the latest Set
			replaced, gone atomic.Int64 // versions below and up to these do not come back
		}
		check := func(n int, replaced, gone int64, got []byte) {
			if v := int64(version(t, n, got)); v < replaced || v <= gone || v > items[n].begun.Load() {
				t.Errorf("key %d: version %d, replaced below %d, deleted up to %d", n, v, replaced, gone)
			}
		}
		var all sync.WaitGroup
		var hits atomic.Int64
		for range 6 {
			r := rand.New(rand.NewPCG(r.Uint64(), 0))
			all.Go(func() {
				var b ssdcache.Batch
				for range 3000 {
					n := r.IntN(1 + r.IntN(keys))
					it := &items[n]
					replaced, gone := it.replaced.Load(), it.gone.Load()
					switch r.IntN(8) {
					case 0, 1, 2:
						it.mu.Lock()
						v := it.begun.Add(1)
						if err := c.Set(key(n), value(n, int(v)), 0); err != nil {
							t.Error(err)
						}
						it.replaced.Store(v)
						it.mu.Unlock()
					case 3:
						it.mu.Lock()
						if err := c.Delete(key(n)); err != nil {
							t.Error(err)
						}
						it.gone.Store(it.begun.Load())
						it.mu.Unlock()
					case 4:
						if err := c.GetMany(&b, [][]byte{key(n), key(keys)}); err != nil {
							t.Error(err)
						}
						if got, found := b.Value(0); found {
							check(n, replaced, gone, got)
						}
					default:
						got, err := c.Get(nil, key(n))
						if err == nil {
							hits.Add(1)
							check(n, replaced, gone, got)
						} else if !errors.Is(err, ssdcache.ErrNotFound) {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		if s := c.Stats(); hits.Load() == 0 || s.DeviceHits == 0 || s.BufferHits == 0 || s.Corrupt != 0 {
			t.Errorf("%d hits, %+v", hits.Load(), s)
		}
	}
}
