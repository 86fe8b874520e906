package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

func TestChanges(t *testing.T) {
	clk := newClock()
	dir := filepath.Join(t.TempDir(), "lib")
	opts := objstore.Options{Feed: time.Hour, SweepEvery: -1}
	opts.SetClock(clk.Now)
	lib, err := objstore.Open(dir, &opts)
	if err != nil {
		t.Fatal(err)
	}
	pictures := collection(t, lib, pictureType)
	obj := create(t, pictures)
	stale := *obj
	if err := pictures.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	fails(t, "Update", pictures.Update(ctx, &stale), objstore.ErrConflict)
	other := create(t, pictures)
	if err := errors.Join(pictures.Delete(ctx, obj.ID), pictures.Purge(ctx, obj.ID)); err != nil {
		t.Fatal(err)
	}
	type change struct {
		id      objstore.ID
		version uint64
		purged  bool
	}
	want := []change{{obj.ID, 1, false}, {obj.ID, 2, false}, {other.ID, 1, false}, {obj.ID, 3, false}, {obj.ID, 3, true}}
	var last uint64
	read := func(lib *objstore.Library, after uint64, want []change) {
		t.Helper()
		i := 0
		for e, err := range lib.Changes(ctx, after) {
			if err != nil {
				t.Fatal(err)
			}
			if got := (change{e.ID, e.Version, e.Purged}); got != want[i] || e.Number <= last && after == last {
				t.Errorf("event %d: %+v, want %+v", i, e, want[i])
			}
			last = e.Number
			if i++; i == len(want) {
				break
			}
		}
	}
	read(lib, 0, want)
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}

	lib, err = objstore.Open(dir, &opts)
	if err != nil {
		t.Fatal(err)
	}
	pictures = collection(t, lib, pictureType)
	clk.Add(2 * time.Hour)
	sweep(t, lib) // leaves the last one
	if _, err := pictures.Modify(ctx, other.ID, func(*objstore.Object[Picture]) error { return nil }); err != nil {
		t.Fatal(err)
	}
	read(lib, 0, []change{{obj.ID, 3, true}, {other.ID, 2, false}})

	// A reader that waits is woken by the next change, by its context, by Close.
	got := make(chan objstore.Event)
	ctx, cancel := context.WithCancel(ctx)
	errs := make(chan error, 2)
	var wg sync.WaitGroup
	for _, ctx := range []context.Context{ctx, context.Background()} {
		wg.Go(func() {
			for e, err := range lib.Changes(ctx, last) {
				if err != nil {
					errs <- err
					return
				}
				got <- e
			}
		})
	}
	obj = create(t, pictures)
	for range 2 {
		if e := <-got; e.ID != obj.ID {
			t.Error(e)
		}
	}
	cancel()
	fails(t, "Changes", <-errs, context.Canceled)
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, "Changes", <-errs, objstore.ErrClosed)
	wg.Wait()
}

// Whoever reads while many write sees everything once and in order.
func TestChangesUnderWrites(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{Feed: time.Hour})
	pictures := collection(t, lib, pictureType)
	const workers, each = 4, 30
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			obj := create(t, pictures)
			for range each - 1 {
				if err := pictures.Update(ctx, obj); err != nil {
					t.Error(err)
				}
			}
		})
	}
	versions := make(map[objstore.ID]uint64)
	n, last := 0, uint64(0)
	for e, err := range lib.Changes(ctx, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Number <= last || e.Version != versions[e.ID]+1 {
			t.Errorf("%+v after number %d, version %d", e, last, versions[e.ID])
		}
		versions[e.ID], last = e.Version, e.Number
		if n++; n == workers*each {
			break
		}
	}
	wg.Wait()
}

func TestNoFeed(t *testing.T) {
	lib, _ := newPictures(t, nil)
	for _, err := range lib.Changes(ctx, 0) {
		if err == nil {
			t.Fatal("an event without a feed")
		}
	}
}

func FuzzEvent(f *testing.F) {
	key := []byte("l\x00\x00\x00\x00\x00\x00\x00\x01")
	f.Add(key, []byte("\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00\x09"))
	f.Add(key, []byte("\xff\x00\x00\x00\x00\x00\x00\x01\x00\xff\xff\x00"))
	f.Fuzz(func(t *testing.T, key, b []byte) {
		e, again, err := objstore.ParseEvent(key, b)
		if err != nil {
			return
		}
		e2, third, err := objstore.ParseEvent(key, again)
		if err != nil || e2 != e || !bytes.Equal(again, third) {
			t.Fatalf("%x: %+v, then %+v, %v", b, e, e2, err)
		}
	})
}

// memory is a cache in memory that counts.
type memory struct {
	mu   sync.Mutex
	m    map[string][]byte
	hits int
	fail error
}

func (c *memory) Get(dst, key []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[string(key)]
	if !ok {
		return dst, errors.New("miss")
	}
	c.hits++
	return append(dst, v...), nil
}

func (c *memory) Set(key, value []byte, _ time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[string(key)] = bytes.Clone(value)
	return nil
}

func (c *memory) Delete(key []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	delete(c.m, string(key))
	return nil
}

func TestCache(t *testing.T) {
	cache := &memory{m: make(map[string][]byte)}
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{Cache: cache})
	pictures := collection(t, lib, pictureType)
	a, b := create(t, pictures), create(t, pictures)
	for range 3 {
		if got, err := pictures.Get(ctx, a.ID); err != nil || got.Version != 1 {
			t.Fatal(got, err)
		}
	}
	objs, err := pictures.MultiGet(ctx, []objstore.ID{b.ID, a.ID, {Type: 1042, Number: 1}})
	if err != nil || objs[0].ID != b.ID || objs[1].ID != a.ID || objs[2] != nil {
		t.Fatal(objs, err)
	}
	if s := lib.Stats(); cache.hits != 3 || s.CacheHits != 3 {
		t.Errorf("%d hits, %+v", cache.hits, s)
	}
	if err := pictures.Update(ctx, a); err != nil {
		t.Fatal(err)
	}
	if got, err := pictures.Get(ctx, a.ID); err != nil || got.Version != 2 {
		t.Fatal(got, err)
	}
	cache.fail = errors.New("mine")
	fails(t, "Update that cannot invalidate", pictures.Update(ctx, a), cache.fail)
	if got, err := pictures.Get(ctx, a.ID); err != nil || got.Version != 2 {
		t.Fatal(got, err)
	}
}

// A cache that stays does not show what was changed without it.
func TestCacheThatStays(t *testing.T) {
	cache := &memory{m: make(map[string][]byte)}
	dir := filepath.Join(t.TempDir(), "lib")
	var id objstore.ID
	for round, c := range []objstore.Cache{cache, cache, nil, cache} {
		lib, err := objstore.Open(dir, &objstore.Options{Cache: c})
		if err != nil {
			t.Fatal(err)
		}
		pictures := collection(t, lib, pictureType)
		if round == 0 {
			id = create(t, pictures).ID
		}
		want := []uint64{1, 1, 1, 2}[round]
		for range 2 {
			if got, err := pictures.Get(ctx, id); err != nil || got.Version != want {
				t.Errorf("round %d: %+v, %v", round, got, err)
			}
		}
		if hits := lib.Stats().CacheHits; hits != []uint64{1, 2, 0, 1}[round] {
			t.Errorf("round %d: %d hits", round, hits)
		}
		if c == nil {
			if _, err := pictures.Modify(ctx, id, func(*objstore.Object[Picture]) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if err := lib.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Nobody reads a version that is older than one whose write had returned.
func TestCacheUnderRaces(t *testing.T) {
	cache := &memory{m: make(map[string][]byte)}
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{Cache: cache})
	pictures := collection(t, lib, pictureType)
	obj := create(t, pictures)
	id := obj.ID // Update writes obj
	var mu sync.Mutex
	written := obj.Version
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.Lock()
				least := written
				mu.Unlock()
				got, err := pictures.Get(ctx, id)
				if err != nil || got.Version < least {
					t.Errorf("version %d, least %d, %v", got.Version, least, err)
					return
				}
			}
		})
	}
	for range 200 {
		if err := pictures.Update(ctx, obj); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		written = obj.Version
		mu.Unlock()
	}
	close(done)
	wg.Wait()
	if cache.hits == 0 {
		t.Error("the cache was never hit")
	}
}
