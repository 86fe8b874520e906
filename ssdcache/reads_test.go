package ssdcache_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

// slowFile is a file whose disk reads when the test says so.
type slowFile struct {
	ssdcache.File
	slow   atomic.Bool // the page cache has nothing, and ReadAt waits for gate
	gate   chan error  // what the next ReadAt answers, nil for its bytes
	cached atomic.Int64
	waits  atomic.Int64
}

func (f *slowFile) ReadCached(p []byte, off int64) error {
	f.cached.Add(1)
	if f.slow.Load() {
		return ssdcache.ErrNotCached
	}
	if _, err := f.File.ReadAt(p, off); err != nil { // not every file system tells
		return ssdcache.ErrNotCached
	}
	return nil
}

func (f *slowFile) ReadAt(p []byte, off int64) (int, error) {
	if f.slow.Load() {
		f.waits.Add(1)
		if err := <-f.gate; err != nil {
			return 0, err
		}
	}
	return f.File.ReadAt(p, off)
}

const slowItems = 100

// slowCache has slowItems items in its file, which is slow from then on.
func slowCache(t *testing.T, wrap func(*slowFile) ssdcache.File) (*ssdcache.Cache, *slowFile) {
	f := &slowFile{gate: make(chan error)}
	o := (ssdcache.Options{SegmentSize: testSegment, Logger: quiet()}).WithFile(func(file ssdcache.File) ssdcache.File {
		f.File = file
		return wrap(f)
	})
	path := temp(t)
	c, err := ssdcache.Open(path, 20*testSegment, o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range slowItems {
		if err := c.Set(key(i), value(i, 1), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, path, 20*testSegment, o) // now none of them is in a buffer
	f.cached.Store(0)
	f.waits.Store(0)
	f.slow.Store(true)
	return c, f
}

func plain(f *slowFile) ssdcache.File { return f }

// gets asks for all items at the same time and returns, once all have, how many
// were there.
func gets(t *testing.T, c *ssdcache.Cache) func() int64 {
	var all sync.WaitGroup
	var found atomic.Int64
	for i := range slowItems {
		all.Go(func() {
			got, err := c.Get(nil, key(i))
			if err == nil {
				version(t, i, got)
				found.Add(1)
			} else if !errors.Is(err, ssdcache.ErrNotFound) && !errors.Is(err, ssdcache.ErrClosed) {
				t.Error(err)
			}
		})
	}
	return func() int64 { all.Wait(); return found.Load() }
}

// Few wait for the disk, whoever has its bytes reads for the others, and nobody
// is forgotten.
func TestFewWaitForTheDisk(t *testing.T) {
	c, f := slowCache(t, plain)
	done := gets(t, c)
	eventually(t, "all have asked, some wait", func() bool {
		return f.cached.Load() == slowItems && f.waits.Load() == int64(c.Leaders())
	})
	f.slow.Store(false) // all bytes come at once
	for range c.Leaders() {
		f.gate <- nil
	}
	if n := done(); n != slowItems {
		t.Errorf("%d of %d found", n, slowItems)
	}
	if n := f.waits.Load(); n != int64(c.Leaders()) {
		t.Errorf("%d waited, want %d", n, c.Leaders())
	}
	// Nobody reads for more than Share others: then the next one leads.
	served := int(f.cached.Load()) - slowItems
	if led := slowItems - served; served > led*ssdcache.Share || led > c.Leaders()+slowItems/ssdcache.Share+1 {
		t.Errorf("%d led, the bytes of %d were read for them", led, served)
	}
}

// What one read fails with is nobody else's.
func TestLeadersFail(t *testing.T) {
	c, f := slowCache(t, plain)
	done := gets(t, c)
	for i := range slowItems {
		if i%3 == 0 {
			f.gate <- errDisk
		} else {
			f.gate <- nil
		}
	}
	const failed = (slowItems + 2) / 3
	if n := done(); n != slowItems-failed {
		t.Errorf("%d found", n)
	}
	if s := c.Stats(); s.ReadErrors != failed || s.Corrupt != 0 {
		t.Errorf("%+v", s)
	}
	if n := f.waits.Load(); n != slowItems {
		t.Errorf("%d waited", n)
	}
}

// unsure cannot tell what is in the page cache.
type unsure struct{ *slowFile }

func (f unsure) ReadCached([]byte, int64) error {
	f.cached.Add(1)
	return errors.ErrUnsupported
}

// Where nobody can tell, more of them wait.
func TestNoPageCache(t *testing.T) {
	c, f := slowCache(t, func(f *slowFile) ssdcache.File { return unsure{f} })
	done := gets(t, c)
	eventually(t, "some wait", func() bool { return f.waits.Load() == ssdcache.Readers && c.Leaders() == ssdcache.Readers })
	for range slowItems {
		f.gate <- nil
	}
	if n := done(); n != slowItems {
		t.Errorf("%d of %d found", n, slowItems)
	}
	if n := f.cached.Load(); n != 0 {
		t.Errorf("the page cache was asked %d times after Open", n)
	}
}

// GetMany has the disk begin with all before it waits for one.
func TestGetManyReadsTogether(t *testing.T) {
	c, f := slowCache(t, plain)
	keys := [][]byte{key(0), key(slowItems / 2), key(slowItems - 1)} // 16 KiB apart
	var b ssdcache.Batch
	done := make(chan error)
	go func() { done <- c.GetMany(&b, keys) }()
	eventually(t, "it waits", func() bool { return f.waits.Load() == 1 })
	if n := f.cached.Load(); n < 3 {
		t.Errorf("%d reads begun", n)
	}
	f.slow.Store(false)
	f.gate <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{0, slowItems / 2, slowItems - 1} {
		if v, found := b.Value(i); !found {
			t.Errorf("key %d is not there", n)
		} else {
			version(t, n, v)
		}
	}
	if n := f.waits.Load(); n != 1 {
		t.Errorf("%d waited", n)
	}
}

// Close while many wait: all return.
func TestCloseWhileReading(t *testing.T) {
	c, f := slowCache(t, plain)
	done := gets(t, c)
	eventually(t, "all have asked, some wait", func() bool {
		return f.cached.Load() == slowItems && f.waits.Load() == int64(c.Leaders())
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	f.slow.Store(false)
	for range c.Leaders() {
		f.gate <- nil
	}
	if n := done(); n > slowItems {
		t.Error(n)
	}
	if _, err := c.Get(nil, key(1)); !errors.Is(err, ssdcache.ErrClosed) {
		t.Error(err)
	}
}
