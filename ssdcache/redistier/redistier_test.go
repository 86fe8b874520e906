package redistier_test

import (
	"os"
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
	tiertest.Run(t, func(t *testing.T) ssdcache.Tier { return newTier(t, addr, &patient) })
}

// patient are for servers that are there, on a machine that is busy.
var patient = redistier.Options{Timeout: 20 * time.Second}

func TestFailures(t *testing.T) {
	tiertest.RunFailures(t, func(t *testing.T, addr string) ssdcache.Tier {
		return newTier(t, addr, &redistier.Options{Timeout: 20 * time.Millisecond, Failures: 3, Pause: time.Hour})
	})
}

func TestOptions(t *testing.T) {
	if _, err := redistier.New(nil, &redistier.Options{Timeout: -1}); err == nil {
		t.Error("no servers and a negative timeout")
	}
}
