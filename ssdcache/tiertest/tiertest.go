// Package tiertest is the conformance test of ssdcache.Tier.
package tiertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

// Run checks the rules of ssdcache.Tier. open returns a tier each time it is
// called, all of the same server, which may have other things in it.
func Run(t *testing.T, open func(t *testing.T) ssdcache.Tier) {
	t.Run("Lease", func(t *testing.T) { testLease(t, open(t), open(t)) })
	t.Run("Keys", func(t *testing.T) { testKeys(t, open(t)) })
	t.Run("Expiry", func(t *testing.T) { testExpiry(t, open(t)) })
	t.Run("Processes", func(t *testing.T) { testProcesses(t, open) })
	t.Run("Invalidate", func(t *testing.T) { testInvalidate(t, open) })
}

// RunFailures checks that a Tiered goes on without its tier's server, and that a
// breaker keeps it from waiting for it each time. open returns a tier of the
// server at addr, which is not there or never answers, with a timeout of some
// 20 ms and a breaker that opens after a few failures and stays open.
func RunFailures(t *testing.T, open func(t *testing.T, addr string) ssdcache.Tier) {
	silent, gone := listen(t), listen(t)
	must(t, gone.Close())
	t.Run("Silent", func(t *testing.T) { testFailures(t, open(t, silent.Addr().String())) })
	t.Run("Gone", func(t *testing.T) { testFailures(t, open(t, gone.Addr().String())) })
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func testFailures(t *testing.T, tier ssdcache.Tier) {
	c, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), 1<<20, nil)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	x, err := ssdcache.NewTiered(c, func(_ context.Context, key string) (string, error) { return "value of " + key, nil },
		&ssdcache.TieredOptions{Tier: tier, Memory: -1})
	must(t, err)
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
}

const lease = 10 * time.Second

func name(s string) string { return s + rand.Text() }

func testLease(t *testing.T, a, b ssdcache.Tier) {
	ctx := t.Context()
	k := name("lease")
	value, token, err := a.Get(ctx, k, lease)
	if value != nil || token == "" || err != nil {
		t.Fatalf("Get of nothing: %q, %q, %v", value, token, err)
	}
	if _, _, err := b.Get(ctx, k, lease); !errors.Is(err, ssdcache.ErrLeased) {
		t.Errorf("Get of another one: %v", err)
	}
	must(t, a.Fill(ctx, k, []byte("one"), time.Minute, token))
	value, second, err := b.Get(ctx, k, lease)
	if string(value) != "one" || second == "" || second == token || err != nil {
		t.Errorf("Get after Fill: %q, %q, %v", value, second, err)
	}
	must(t, a.Fill(ctx, k, []byte("late"), time.Minute, token)) // it stands no more
	must(t, b.Fill(ctx, k, []byte("two"), 0, second))           // this one does
	value, third, err := a.Get(ctx, k, lease)
	if string(value) != "two" || err != nil {
		t.Errorf("Get after the second Fill: %q, %v", value, err)
	}
	must(t, a.Delete(ctx, k))
	must(t, a.Delete(ctx, k))
	must(t, b.Fill(ctx, k, []byte("late"), time.Minute, third))
	value, token, err = a.Get(ctx, k, lease)
	if value != nil || token == "" || err != nil {
		t.Errorf("Get after Delete: %q, %q, %v", value, token, err)
	}
	// A key that was deleted while it was being loaded stays out.
	must(t, b.Delete(ctx, k))
	must(t, a.Fill(ctx, k, []byte("late"), time.Minute, token))
	if value, _, err = b.Get(ctx, k, lease); value != nil || err != nil {
		t.Errorf("Get after Delete and Fill: %q, %v", value, err)
	}
}

func testKeys(t *testing.T, a ssdcache.Tier) {
	ctx := t.Context()
	base := name("")
	for i, k := range []string{"", "a b", "#x", "line\r\nend", "\x00\xff", strings.Repeat("long", 1000), "日本"} {
		k = k + base
		if i == 0 {
			k = base
		}
		_, token, err := a.Get(ctx, k, lease)
		if err != nil {
			t.Errorf("%.20q: %v", k, err)
			continue
		}
		want := fmt.Appendf(nil, "%d\r\n\x00", i)
		if i == 0 {
			want = []byte{}
		}
		must(t, a.Fill(ctx, k, want, time.Minute, token))
		if got, _, err := a.Get(ctx, k, lease); string(got) != string(want) || got == nil || err != nil {
			t.Errorf("%.20q: %q, %v", k, got, err)
		}
		must(t, a.Delete(ctx, k))
	}
}

func testExpiry(t *testing.T, a ssdcache.Tier) {
	ctx := t.Context()
	k, held := name("expiry"), name("lease")
	_, token, err := a.Get(ctx, k, lease)
	must(t, err)
	must(t, a.Fill(ctx, k, []byte("x"), time.Second, token))
	_, token, err = a.Get(ctx, held, time.Second)
	must(t, err)
	eventually(t, "the value has expired", func() bool {
		v, _, err := a.Get(ctx, k, lease)
		return v == nil && err == nil
	})
	eventually(t, "the lease has run out", func() bool {
		v, again, err := a.Get(ctx, held, lease)
		return v == nil && err == nil && again != token
	})
	must(t, a.Fill(ctx, held, []byte("late"), time.Minute, token))
	if v, _, err := a.Get(ctx, held, lease); v != nil || !errors.Is(err, ssdcache.ErrLeased) {
		t.Errorf("Fill with a lease that has run out: %q, %v", v, err)
	}
}

// process is what one process has: a disk of its own over the shared tier.
func process(t *testing.T, tier ssdcache.Tier, name string, load func(context.Context, string) (string, error)) *ssdcache.Tiered[string] {
	t.Helper()
	c, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	x, err := ssdcache.NewTiered(c, load, &ssdcache.TieredOptions{Name: name, Tier: tier})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// Of several processes that miss a key one loads.
func testProcesses(t *testing.T, open func(t *testing.T) ssdcache.Tier) {
	var loads atomic.Int64
	gate := make(chan struct{})
	set := name("processes")
	var all []*ssdcache.Tiered[string]
	for range 4 {
		all = append(all, process(t, open(t), set, func(ctx context.Context, key string) (string, error) {
			loads.Add(1)
			<-gate
			return "value of " + key, nil
		}))
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if v, err := all[i%len(all)].Get(context.Background(), "k"); v != "value of k" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
		})
	}
	eventually(t, "a load", func() bool { return loads.Load() > 0 })
	close(gate)
	wg.Wait()
	if n := loads.Load(); n != 1 {
		t.Errorf("%d loads", n)
	}
}

// What one process invalidates while another loads it does not come back.
func testInvalidate(t *testing.T, open func(t *testing.T) ssdcache.Tier) {
	set := name("invalidate")
	var value atomic.Value
	value.Store("old")
	loading, gate := make(chan struct{}, 1), make(chan struct{})
	a := process(t, open(t), set, func(context.Context, string) (string, error) {
		v := value.Load().(string)
		loading <- struct{}{}
		<-gate
		return v, nil
	})
	b := process(t, open(t), set, func(context.Context, string) (string, error) { return value.Load().(string), nil })
	got := make(chan string)
	go func() {
		v, err := a.Get(context.Background(), "k")
		got <- fmt.Sprint(v, err)
	}()
	<-loading
	value.Store("new")
	must(t, b.Invalidate(t.Context(), "k"))
	close(gate)
	if v := <-got; v != "old<nil>" {
		t.Error(v)
	}
	if v, err := b.Get(t.Context(), "k"); v != "new" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}
