package redistier_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/redistier"
	"github.com/heddle-go/heddle/ssdcache/tiertest"
)

func newTier(t *testing.T, addr string, opts *redistier.Options) ssdcache.Tier {
	t.Helper()
	tier, err := redistier.New(&redis.UniversalOptions{Addrs: []string{addr}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tier.Close() })
	return tier
}

func TestTier(t *testing.T) {
	addr := os.Getenv("HEDDLE_TEST_REDIS")
	if addr == "" {
		t.Skip("HEDDLE_TEST_REDIS is not set; start one with: redis-server --port 6399")
	}
	tiertest.Run(t, func(t *testing.T) ssdcache.Tier { return newTier(t, addr, nil) })
}

// Without its server, or with one that never answers, the path goes on and the
// breaker keeps it from waiting each time.
func TestFailures(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for _, addr := range []string{silent.Addr().String(), gone.Addr().String()} {
		tier := newTier(t, addr, &redistier.Options{Timeout: 20 * time.Millisecond, Failures: 3, Pause: time.Hour})
		c, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), 1<<20, nil)
		if err != nil {
			t.Fatal(err)
		}
		x, err := ssdcache.NewTiered(c, func(_ context.Context, key string) (string, error) { return "value of " + key, nil },
			&ssdcache.TieredOptions{Tier: tier, Memory: -1})
		if err != nil {
			t.Fatal(err)
		}
		for range 200 { // each waiting for the server would take 4 s
			if v, err := x.Get(t.Context(), "k"); v != "value of k" || err != nil {
				t.Fatalf("%q, %v", v, err)
			}
		}
		if s := x.Stats(); s.Loads != 1 || s.DiskHits != 199 || s.TierErrors < 200 {
			t.Errorf("%+v", s)
		}
		if err := x.Invalidate(t.Context(), "k"); err == nil {
			t.Error("Invalidate does not say that the value may come back")
		}
		begin := time.Now()
		for range 1000 {
			if _, _, err := tier.Get(t.Context(), "k", time.Second); err == nil || errors.Is(err, ssdcache.ErrLeased) {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("1000 calls of an open breaker took %v", took)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOptions(t *testing.T) {
	if _, err := redistier.New(nil, &redistier.Options{Timeout: -1}); err == nil {
		t.Error("no servers and a negative timeout")
	}
}
