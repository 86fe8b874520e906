//go:build !race

package ssdcache_test

import (
	"context"
	"errors"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

const (
	killRounds  = 100
	crashPoints = 40
	boundsSets  = 900_000
)

func TestAllocations(t *testing.T) {
	c := open(t, temp(t), 8<<20, nil)
	data := make([]byte, 1000)
	for i := range 2000 {
		if err := c.Set(key(i), data, 0); err != nil {
			t.Fatal(err)
		}
	}
	x, err := ssdcache.NewTiered(c, func(context.Context, string) (*int, error) { return new(int), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, _ = x.Get(ctx, "a")
	_, _ = x.GetMany(ctx, []string{"b"}, func(context.Context, []string) (map[string]*int, error) { return nil, nil })
	device, buffer, fresh, absent := key(1), key(1999), key(3000), key(5000)
	dst := make([]byte, 0, 2000)
	var batch ssdcache.Batch
	several := [][]byte{device, buffer, absent, key(2)}
	n := 0
	for _, run := range []struct {
		name string
		f    func() error
	}{
		{"Get from the file", func() error { _, err := c.Get(dst, device); return err }},
		{"Get from a buffer", func() error { _, err := c.Get(dst, buffer); return err }},
		{"Get of nothing", func() error {
			if _, err := c.Get(dst, absent); !errors.Is(err, ssdcache.ErrNotFound) {
				return errors.New("found")
			}
			return nil
		}},
		{"GetMany", func() error { return c.GetMany(&batch, several) }},
		{"Delete", func() error { return c.Delete(absent) }},
		{"Tiered.Get", func() error { _, err := x.Get(ctx, "a"); return err }},
		{"Tiered.Get absent", func() error { _, err := x.Get(ctx, "b"); _ = err; return nil }},
		{"Set", func() error { n++; fresh[4] = byte(n); return c.Set(fresh, data, 0) }},
	} {
		if allocs := testing.AllocsPerRun(200, func() {
			if err := run.f(); err != nil {
				t.Fatalf("%s: %v", run.name, err)
			}
		}); allocs != 0 {
			t.Errorf("%s: %v allocations", run.name, allocs)
		}
	}
	if s := c.Stats(); s.DeviceHits == 0 || s.BufferHits == 0 {
		t.Errorf("%+v", s)
	}
}
