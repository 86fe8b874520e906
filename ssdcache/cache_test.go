package ssdcache_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

func TestSetGetDelete(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "cache"), 1<<20, nil)
	if _, err := c.Get(nil, []byte("a")); !errors.Is(err, ssdcache.ErrNotFound) {
		t.Fatal(err)
	}
	for i := range 100 {
		k := fmt.Appendf(nil, "key %d", i)
		if err := c.Set(k, fmt.Appendf(nil, "value %d", i), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		v, err := c.Get([]byte("x"), fmt.Appendf(nil, "key %d", i))
		if err != nil || string(v) != fmt.Sprintf("xvalue %d", i) {
			t.Fatalf("%q %v", v, err)
		}
	}
	if err := c.Delete([]byte("key 7")); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Get(nil, []byte("key 7")); !errors.Is(err, ssdcache.ErrNotFound) {
		t.Fatalf("%q %v", v, err)
	}
	if err := c.Set([]byte("brief"), []byte("x"), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * time.Millisecond)
	if v, err := c.Get(nil, []byte("brief")); !errors.Is(err, ssdcache.ErrNotFound) {
		t.Fatalf("%q %v", v, err)
	}
	// An expired item stays in the index until it is replaced or evicted.
	if s := c.Stats(); s.Items != 100 || s.BufferHits != 100 || s.Absent != 2 || s.Expired != 1 {
		t.Errorf("%+v", s)
	}
}

// All that is written stays readable, from memory and from the file, until its
// segment is reused; then it is gone whole.
func TestWrapsAround(t *testing.T) {
	for _, keep := range []float64{-1, 0.5} {
		c := open(t, filepath.Join(t.TempDir(), "cache"), 1<<20, &ssdcache.Options{SegmentSize: testSegment, Keep: keep})
		value := func(i int) string { return fmt.Sprintf("%d %0*d", i, i%3000, i) }
		const n = 5000
		found := 0
		for i := range n {
			if err := c.Set(fmt.Append(nil, i), []byte(value(i)), 0); err != nil {
				t.Fatal(err)
			}
			for _, j := range []int{i, i - 10, i - 300, 5} {
				v, err := c.Get(nil, fmt.Append(nil, j))
				if err == nil && string(v) != value(j) {
					t.Fatalf("%d: %q", j, v)
				}
				if err == nil {
					found++
				}
				if (j == i || j == i-10 && j >= 0) && err != nil {
					t.Fatalf("%d is gone: %v", j, err)
				}
			}
		}
		s := c.Stats()
		if s.Corrupt != 0 || s.ReadErrors != 0 || s.WriteErrors != 0 || s.Evicted == 0 || s.DeviceHits == 0 {
			t.Errorf("%+v", s)
		}
		if v, err := c.Get(nil, []byte("5")); (err == nil) != (keep > 0) {
			t.Errorf("keep %v: the item that was always read: %.20q, %v", keep, v, err)
		}
		if (s.Kept > 0) != (keep > 0) {
			t.Errorf("keep %v: %d kept", keep, s.Kept)
		}
		t.Logf("keep %v: found %d, write amplification %.2f", keep, found, float64(s.DeviceBytes)/float64(s.UserBytes))
	}
}

func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	for round := range 20 {
		c := open(t, path, 1<<20, nil)
		for back := 1; back <= min(round, 8); back++ {
			for i := range 50 {
				v, err := c.Get(nil, fmt.Append(nil, round-back, i))
				if err != nil || string(v) != fmt.Sprint("value", round-back, i) {
					t.Fatalf("round %d, %d back: %q %v", round, back, v, err)
				}
			}
		}
		for i := range 50 {
			if err := c.Set(fmt.Append(nil, round, i), fmt.Append(nil, "value", round, i), time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(c.Close(), c.Close()); err != nil {
			t.Fatal(err)
		}
		_, gerr := c.Get(nil, []byte("x"))
		if !errors.Is(gerr, ssdcache.ErrClosed) || !errors.Is(c.Set(nil, nil, 0), ssdcache.ErrClosed) || !errors.Is(c.Delete(nil), ssdcache.ErrClosed) {
			t.Fatal("not closed")
		}
	}
}
