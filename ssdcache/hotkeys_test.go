package ssdcache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

// heat gets key for a tenth of n gets, and a thousand others that do not exist.
func heat(t testing.TB, x *ssdcache.Tiered[string], key string, n int) {
	t.Helper()
	for i := range n {
		if k := key; i%10 != 0 {
			_, _ = x.Get(t.Context(), "cold-"+strconv.Itoa(i%1009))
		} else if _, err := x.Get(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
}

// onlyCold keeps what nobody asks for again from being loaded.
func onlyCold(keys ...string) *ssdcache.KeyFilter {
	f := ssdcache.NewKeyFilter(100)
	for _, k := range keys {
		f.Add(k)
	}
	return f
}

// What many ask for stays in memory when its policy lets it go, and changes and
// goes at once when it is invalidated.
func TestHotKeys(t *testing.T) {
	d := &database{}
	d.set("hot", "1")
	x := tiered(t, d, &ssdcache.TieredOptions{NegativeTTL: time.Hour})
	heat(t, x, "hot", 100_000)
	if hot := x.HotKeys(); len(hot) != 1 || hot[0].Key != "hot" || hot[0].Share < 0.05 || hot[0].Share > 0.2 {
		t.Fatalf("%+v", hot)
	}
	if s := x.Stats(); s.HotKeys != 1 || s.PinnedBytes < 128 || s.PinnedBytes > 256 || s.PinHits != 0 {
		t.Fatalf("%+v", s)
	}
	loads := d.calls.Load()
	for range 10 {
		x.Evict("hot")
		want(t, x, "hot", "1")
	}
	if s := x.Stats(); s.PinHits != 10 || s.DiskHits != 0 || d.calls.Load() != loads {
		t.Errorf("%+v", s)
	}
	d.set("hot", "2")
	if err := x.Invalidate(t.Context(), "hot"); err != nil {
		t.Fatal(err)
	}
	want(t, x, "hot", "2")
	x.Evict("hot")
	want(t, x, "hot", "2")
	d.set("hot", "")
	if err := x.Invalidate(t.Context(), "hot"); err != nil {
		t.Fatal(err)
	}
	if s := x.Stats(); s.PinHits != 11 || s.PinnedBytes != 0 {
		t.Errorf("%+v", s)
	}
	if v, err := x.Get(t.Context(), "hot"); err == nil {
		t.Errorf("%q after it has gone", v)
	}
	// Another one is hot then.
	d.set("next", "3")
	heat(t, x, "next", 200_000)
	if hot := x.HotKeys(); len(hot) != 1 || hot[0].Key != "next" {
		t.Errorf("%+v", hot)
	}
	x.Evict("next")
	want(t, x, "next", "3")
	// Too large a value is not pinned, nor anything without pins.
	d.set("next", string(make([]byte, 17<<20/256)))
	if err := x.Invalidate(t.Context(), "next"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Get(t.Context(), "next"); err != nil {
		t.Fatal(err)
	}
	if s := x.Stats(); s.PinnedBytes != 0 {
		t.Errorf("%+v", s)
	}
	for _, o := range []ssdcache.TieredOptions{{HotShare: -1}, {Memory: -1}} {
		o.Keys = onlyCold("hot")
		d.set("hot", "1")
		y := tiered(t, d, &o)
		heat(t, y, "hot", 20_000)
		if s := y.Stats(); s.HotKeys != 0 || len(y.HotKeys()) != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// Of traffic in which few keys are wanted often, those are found.
func TestHotKeysSkewed(t *testing.T) {
	c := open(t, temp(t), 1<<20, nil)
	x, err := ssdcache.NewTiered(c, func(context.Context, string) (string, error) { return "v", nil },
		&ssdcache.TieredOptions{NegativeTTL: -1})
	if err != nil {
		t.Fatal(err)
	}
	r := rng(t)
	zipf := rand.NewZipf(r, 1.1, 1, 2000)
	const gets = 100_000
	count := map[string]float64{}
	for range gets {
		k := fmt.Sprint(zipf.Uint64())
		count[k] += 1.0 / gets
		if _, err := x.Get(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	hot := x.HotKeys()
	for k, share := range count {
		if share >= 0.03 && !slices.ContainsFunc(hot, func(h ssdcache.HotKey) bool { return h.Key == k }) {
			t.Errorf("%s with %.3f of the gets is not hot", k, share)
		}
	}
	for i, h := range hot {
		if count[h.Key] < 0.0025 || i > 0 && h.Share > hot[i-1].Share {
			t.Errorf("%+v of %+v, really %.4f", h, hot, count[h.Key])
		}
	}
	if len(hot) < 3 {
		t.Errorf("%+v", hot)
	}
}

// A hot key is loaded anew before its time is over, though loading is so fast
// that chance would not do it, and again if that fails.
func TestHotKeyIsRefreshed(t *testing.T) {
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		d.set("hot", "1")
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{TTL: 100 * time.Second, Jitter: -1, Keys: onlyCold("hot")})
		for range 50_000 {
			want(t, x, "hot", "1")
		}
		d.set("hot", "2")
		time.Sleep(89 * time.Second)
		want(t, x, "hot", "1")
		synctest.Wait()
		if s := x.Stats(); s.Refreshes != 0 || s.HotKeys != 1 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(2 * time.Second)
		d.fail(errDatabase)
		for range 3 {
			want(t, x, "hot", "1")
			synctest.Wait()
		}
		if s := x.Stats(); s.Refreshes != 1 || s.LoadErrors != 1 {
			t.Fatalf("%+v", s)
		}
		d.fail(nil)
		time.Sleep(time.Second)
		want(t, x, "hot", "1")
		synctest.Wait()
		want(t, x, "hot", "2")
		if s := x.Stats(); s.Refreshes != 2 || s.Stale != 0 {
			t.Errorf("%+v", s)
		}
	})
}
