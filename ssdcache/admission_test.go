package ssdcache_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

func TestRejectFirst(t *testing.T) {
	c := open(t, temp(t), 1<<20, &ssdcache.Options{SegmentSize: testSegment, Admission: ssdcache.RejectFirst, Logger: quiet()})
	there := func(n, v int) bool {
		got, err := c.Get(nil, key(n))
		if errors.Is(err, ssdcache.ErrNotFound) {
			return false
		}
		return version(t, n, got) == v
	}
	set := func(n, v int) {
		if err := c.Set(key(n), value(n, v), 0); err != nil {
			t.Fatal(err)
		}
	}
	set(1, 1)
	if there(1, 1) {
		t.Error("admitted at once")
	}
	set(1, 2)
	if !there(1, 2) {
		t.Error("rejected twice")
	}
	set(1, 3)
	if !there(1, 3) {
		t.Error("a new value for what is cached was rejected")
	}
	// Keys that come once only do not push out the one that is read.
	for n := range 20_000 {
		set(100+n, 1)
		if n%100 == 0 && !there(1, 3) {
			t.Fatalf("gone after %d other keys", n)
		}
	}
	s := c.Stats()
	if s.Rejected < 19_000 || s.Sets > 1000 || s.AdmitBytes == 0 || s.AdmitBytes > 64<<10 {
		t.Errorf("%+v", s)
	}
}

func TestWriteBudget(t *testing.T) {
	path := temp(t)
	synctest.Test(t, func(t *testing.T) {
		const hour = 1 << 20 // bytes
		c, err := ssdcache.Open(path, 2<<20, &ssdcache.Options{SegmentSize: testSegment, WriteBudget: 24 * hour, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		data := make([]byte, 1000)
		n := 0
		burst := func() (written uint64) {
			before := c.Stats().DeviceBytes
			for range 4000 {
				n++
				if err := c.Set(key(n%10_000), data, 0); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			return c.Stats().DeviceBytes - before
		}
		// What is in memory when the budget ends is written still.
		if w := burst(); w < hour || w > hour+3*testSegment {
			t.Errorf("%d bytes at once", w)
		}
		if w := burst(); w > testSegment {
			t.Errorf("%d bytes more", w)
		}
		if c.Stats().Rejected == 0 {
			t.Error("nothing was rejected")
		}
		// A key that could not be replaced is gone rather than old.
		if err := c.Set(key(1), data, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(nil, key(1)); !errors.Is(err, ssdcache.ErrNotFound) {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour)
		if w := burst(); w < hour || w > 2*hour+3*testSegment {
			t.Errorf("%d bytes after two hours", w)
		}
	})
}
