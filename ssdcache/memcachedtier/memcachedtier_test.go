package memcachedtier_test

import (
	"os"
	"testing"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/ssdcache/memcachedtier"
	"github.com/heddle-go/heddle/ssdcache/tiertest"
)

func newTier(t *testing.T, addr string, opts *memcachedtier.Options) ssdcache.Tier {
	t.Helper()
	tier, err := memcachedtier.New([]string{addr}, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tier.Close() })
	return tier
}

func TestTier(t *testing.T) {
	addr := os.Getenv("HEDDLE_TEST_MEMCACHED")
	if addr == "" {
		t.Skip("HEDDLE_TEST_MEMCACHED is not set; start one with: memcached -l 127.0.0.1 -p 11299")
	}
	tiertest.Run(t, func(t *testing.T) ssdcache.Tier {
		// The server is there; the machine may be busy.
		return newTier(t, addr, &memcachedtier.Options{Timeout: 20 * time.Second})
	})
}

func TestFailures(t *testing.T) {
	tiertest.RunFailures(t, func(t *testing.T, addr string) ssdcache.Tier {
		return newTier(t, addr, &memcachedtier.Options{Timeout: 20 * time.Millisecond, Failures: 3, Pause: time.Hour})
	})
}

func TestOptions(t *testing.T) {
	if _, err := memcachedtier.New(nil, &memcachedtier.Options{Timeout: -1}); err == nil {
		t.Error("no servers and a negative timeout")
	}
	if _, err := memcachedtier.New([]string{"no port"}, nil); err == nil {
		t.Error("no port")
	}
}
