package ssdcache_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

const testSegment = 64 << 10

// TestMain lets tests run this binary again as a process of its own.
func TestMain(m *testing.M) {
	if task := os.Getenv("SSDCACHE_TEST_TASK"); task != "" {
		tasks[task](os.Getenv("SSDCACHE_TEST_PATH"))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var tasks = map[string]func(path string){}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// open opens a cache that ends with the test.
func open(t testing.TB, path string, size int64, opts *ssdcache.Options) *ssdcache.Cache {
	t.Helper()
	if opts == nil {
		opts = &ssdcache.Options{SegmentSize: testSegment}
	}
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	c, err := ssdcache.Open(path, size, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// direct reports whether the file system of temporary files takes O_DIRECT.
func direct(t testing.TB) bool {
	c, err := ssdcache.Open(temp(t), 1<<20, &ssdcache.Options{Direct: true, Logger: quiet()})
	if err != nil {
		t.Logf("without Options.Direct here: %v", err)
		return false
	}
	return c.Close() == nil
}

func temp(t testing.TB) string { return filepath.Join(t.TempDir(), "cache") }

func key(n int) []byte { return fmt.Appendf(nil, "key-%d", n) }

// value is what version v of key n holds: it names both, and its length and
// every byte follow from them.
func value(n, v int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), uint64(v)))
	b := fmt.Appendf(nil, "%d/%d/", n, v)
	for range r.IntN(8) * r.IntN(300) {
		b = append(b, byte(r.Uint32()))
	}
	return b
}

// version reads back what value made and fails the test unless every byte is right.
func version(t testing.TB, n int, got []byte) int {
	t.Helper()
	parts := strings.SplitN(string(got), "/", 3)
	if len(parts) == 3 && parts[0] == strconv.Itoa(n) {
		if v, err := strconv.Atoi(parts[1]); err == nil && string(value(n, v)) == string(got) {
			return v
		}
	}
	t.Fatalf("key %d: wrong bytes: %.60q", n, got)
	return 0
}

// rng returns a source whose seed is in the log.
func rng(t testing.TB) *rand.Rand {
	s := uint64(time.Now().UnixNano())
	if fixed := os.Getenv("SSDCACHE_TEST_SEED"); fixed != "" {
		s, _ = strconv.ParseUint(fixed, 10, 64)
	}
	t.Logf("SSDCACHE_TEST_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// eventually waits for a condition that needs no more from this goroutine.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
