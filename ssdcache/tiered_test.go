package ssdcache_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
	"github.com/heddle-go/heddle/watchman"
)

// database is a loader that counts and can be made slow, stuck or broken.
type database struct {
	calls  atomic.Int64
	mu     sync.Mutex
	values map[string]string
	err    error
	delay  time.Duration
	gate   chan struct{} // if not nil, loads wait for it
}

func (d *database) load(ctx context.Context, key string) (string, error) {
	d.calls.Add(1)
	d.mu.Lock()
	v, ok := d.values[key]
	err, delay, gate := d.err, d.delay, d.gate
	d.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	if err == nil && !ok {
		err = fmt.Errorf("row %s: %w", key, ssdcache.ErrNotFound)
	}
	return v, err
}

func (d *database) set(key, value string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.values == nil {
		d.values = map[string]string{}
	}
	if value == "" {
		delete(d.values, key)
	} else {
		d.values[key] = value
	}
}

func (d *database) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func tiered(t testing.TB, d *database, opts *ssdcache.TieredOptions) *ssdcache.Tiered[string] {
	t.Helper()
	return tieredOn(t, open(t, temp(t), 1<<20, nil), d, opts)
}

func tieredOn(t testing.TB, c *ssdcache.Cache, d *database, opts *ssdcache.TieredOptions) *ssdcache.Tiered[string] {
	t.Helper()
	x, err := ssdcache.NewTiered(c, d.load, opts)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func want(t testing.TB, x *ssdcache.Tiered[string], key, value string) {
	t.Helper()
	if v, err := x.Get(t.Context(), key); err != nil || v != value {
		t.Fatalf("%s: %q, %v; want %q", key, v, err, value)
	}
}

var errDatabase = errors.New("database gone")

// in runs f in a synctest bubble with a cache that is closed at its end.
func in(t *testing.T, f func(t *testing.T, c *ssdcache.Cache)) {
	path := temp(t)
	synctest.Test(t, func(t *testing.T) {
		c, err := ssdcache.Open(path, 1<<20, &ssdcache.Options{SegmentSize: testSegment, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(t, c)
	})
}

func TestStampede(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		d := &database{gate: make(chan struct{})}
		d.set("hot", "value")
		x := tiered(t, d, &ssdcache.TieredOptions{Memory: memory})
		const callers = 1000
		var wg sync.WaitGroup
		for range callers {
			wg.Go(func() {
				if v, err := x.Get(context.Background(), "hot"); v != "value" || err != nil {
					t.Error(v, err)
				}
			})
		}
		// Some come while the load is under way, some after it has ended.
		eventually(t, "a load", func() bool { return d.calls.Load() > 0 && x.Stats().Joined > callers/2 })
		close(d.gate)
		wg.Wait()
		if n := d.calls.Load(); n != 1 {
			t.Errorf("%d loads", n)
		}
	}
}

// A caller can miss, and get to the flights only when the load it should have
// joined is over.
func TestNoSecondLoad(t *testing.T) {
	d := &database{}
	x := tiered(t, d, nil)
	for i := range 300 {
		k := strconv.Itoa(i)
		d.set(k, "value")
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if v, err := x.Get(context.Background(), k); v != "value" || err != nil {
					t.Error(v, err)
				}
			})
		}
		wg.Wait()
		if n := d.calls.Swap(0); n != 1 {
			t.Fatalf("key %d: %d loads", i, n)
		}
	}
}

func TestTiersInTurn(t *testing.T) {
	d := &database{}
	d.set("a", "1")
	path := temp(t)
	c := open(t, path, 1<<20, nil)
	x := tieredOn(t, c, d, nil)
	want(t, x, "a", "1")
	want(t, x, "a", "1")
	if s := x.Stats(); s.Loads != 1 || s.MemoryHits != 1 || s.DiskHits != 0 || s.MemoryItems != 1 {
		t.Errorf("%+v", s)
	}
	eventually(t, "its weight", func() bool { return x.Stats().MemoryBytes > 0 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	x = tieredOn(t, open(t, path, 1<<20, nil), d, nil)
	want(t, x, "a", "1")
	want(t, x, "a", "1")
	if s := x.Stats(); s.Loads != 0 || s.MemoryHits != 1 || s.DiskHits != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCallersLeave(t *testing.T) {
	d := &database{gate: make(chan struct{})}
	d.set("a", "1")
	x := tiered(t, d, nil)
	cause := errors.New("enough")
	ctx1, leave1 := context.WithCancelCause(t.Context())
	ctx2, leave2 := context.WithCancelCause(t.Context())
	errs := make(chan error, 2)
	go func() { _, err := x.Get(ctx1, "a"); errs <- err }()
	eventually(t, "a load", func() bool { return d.calls.Load() == 1 })
	go func() { _, err := x.Get(ctx2, "a"); errs <- err }()
	eventually(t, "a second caller", func() bool { return x.Stats().Joined == 1 })
	leave1(cause) // the one that began the load; it goes on for the other
	if err := <-errs; err != cause {
		t.Fatal(err)
	}
	if s := x.Stats(); s.LoadErrors != 0 {
		t.Fatalf("%+v", s)
	}
	leave2(cause)
	if err := <-errs; err != cause {
		t.Fatal(err)
	}
	eventually(t, "the load was cancelled", func() bool { return x.Stats().LoadErrors == 1 })
	close(d.gate)
	want(t, x, "a", "1")
	if n := d.calls.Load(); n != 2 {
		t.Errorf("%d loads", n)
	}
}

// Invalidate beats a load that began before it, at whatever moment it comes.
func TestInvalidateBeatsFill(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		d := &database{gate: make(chan struct{})}
		d.set("a", "old")
		x := tiered(t, d, &ssdcache.TieredOptions{Memory: memory})
		got := make(chan string)
		go func() {
			v, err := x.Get(context.Background(), "a")
			got <- fmt.Sprint(v, err)
		}()
		eventually(t, "a load", func() bool { return d.calls.Load() == 1 })
		d.set("a", "new")
		if err := x.Invalidate(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		close(d.gate)
		want(t, x, "a", "new")
		if v := <-got; v != "old<nil>" {
			t.Error(v)
		}
		want(t, x, "a", "new") // and what the first left behind is nothing
		if s := x.Stats(); s.Unfilled != 1 || s.Invalidated != 1 {
			t.Errorf("%+v", s)
		}
	}
}

// Many readers and one writer that changes the database and then invalidates:
// what begins after that never sees the old value.
func TestInvalidateUnderLoad(t *testing.T) {
	for _, memory := range []int64{1 << 10, 1 << 20} { // without room for what is hot, and with it
		testInvalidateUnderLoad(t, memory)
	}
}

func testInvalidateUnderLoad(t *testing.T, memory int64) {
	d := &database{}
	x := tiered(t, d, &ssdcache.TieredOptions{Memory: memory})
	var low [4]atomic.Int64 // versions that are invalidated up to
	for i := range low {
		d.set(strconv.Itoa(i), "1")
		low[i].Store(1)
	}
	for i := range 50_000 {
		want(t, x, strconv.Itoa(i%len(low)), "1")
	}
	if s := x.Stats(); s.HotKeys != len(low) || (s.PinnedBytes > 0) != (memory == 1<<20) {
		t.Fatalf("%+v", s)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				k := i % len(low)
				if i%16 == 0 {
					x.Evict(strconv.Itoa(k)) // what is pinned is there nevertheless
				}
				least := low[k].Load()
				v, err := x.Get(context.Background(), strconv.Itoa(k))
				if n, _ := strconv.ParseInt(v, 10, 64); err != nil || n < least {
					t.Errorf("key %d: %q, %v, want at least %d", k, v, err, least)
					return
				}
			}
		})
	}
	for n := int64(2); n < 2000; n++ {
		k := int(n) % len(low)
		d.set(strconv.Itoa(k), strconv.FormatInt(n, 10))
		if err := x.Invalidate(t.Context(), strconv.Itoa(k)); err != nil {
			t.Error(err)
		}
		low[k].Store(n)
	}
	close(stop)
	wg.Wait()
}

func TestNotFound(t *testing.T) {
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{NegativeTTL: 2 * time.Second})
		for range 3 {
			if _, err := x.Get(t.Context(), "nobody"); !errors.Is(err, ssdcache.ErrNotFound) {
				t.Fatal(err)
			}
		}
		if s := x.Stats(); s.Loads != 1 || s.NotFound != 1 || s.AbsentHits != 2 || s.LoadErrors != 0 {
			t.Errorf("%+v", s)
		}
		d.set("nobody", "somebody")
		if _, err := x.Get(t.Context(), "nobody"); !errors.Is(err, ssdcache.ErrNotFound) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		want(t, x, "nobody", "somebody")
		// Gone again: the value in the tiers goes when its time is over.
		d.set("nobody", "")
		want(t, x, "nobody", "somebody")
		time.Sleep(time.Hour)
		if _, err := x.Get(t.Context(), "nobody"); !errors.Is(err, ssdcache.ErrNotFound) {
			t.Fatal(err)
		}
		if err := x.Invalidate(t.Context(), "nobody"); err != nil {
			t.Fatal(err)
		}
		d.set("nobody", "somebody")
		want(t, x, "nobody", "somebody")
	})
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{NegativeTTL: -1})
		for range 3 {
			_, _ = x.Get(t.Context(), "nobody")
		}
		if n := d.calls.Load(); n != 3 {
			t.Errorf("%d loads", n)
		}
	})
}

func TestTTL(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		in(t, func(t *testing.T, c *ssdcache.Cache) {
			d := &database{}
			d.set("a", "1")
			x := tieredOn(t, c, d, &ssdcache.TieredOptions{TTL: time.Minute, Jitter: -1, Memory: memory})
			want(t, x, "a", "1")
			d.set("a", "2")
			time.Sleep(time.Minute - time.Second)
			want(t, x, "a", "1")
			time.Sleep(time.Second)
			want(t, x, "a", "2")
			// Without TTL, for ever.
			y := tieredOn(t, c, d, &ssdcache.TieredOptions{Name: "y", TTL: -1, Memory: memory})
			want(t, y, "a", "2")
			d.set("a", "3")
			time.Sleep(10000 * time.Hour)
			want(t, y, "a", "2")
		})
	}
}

func TestJitter(t *testing.T) {
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{TTL: 100 * time.Second, Jitter: 0.5})
		for i := range 200 {
			d.set(strconv.Itoa(i), "1")
			want(t, x, strconv.Itoa(i), "1")
		}
		reload := func() int64 {
			d.calls.Store(0)
			for i := range 200 {
				want(t, x, strconv.Itoa(i), "1")
			}
			return d.calls.Load()
		}
		time.Sleep(49 * time.Second)
		if n := reload(); n != 0 {
			t.Errorf("%d loads after 49 s", n)
		}
		time.Sleep(26 * time.Second)
		if n := reload(); n < 60 || n > 140 {
			t.Errorf("%d loads after 75 s", n)
		}
	})
}

// One of many readers loads anew before the time is over, and nobody waits.
func TestEarlyRefresh(t *testing.T) {
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{delay: 200 * time.Millisecond}
		d.set("a", "1")
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{TTL: 10 * time.Second, Jitter: -1})
		want(t, x, "a", "1")
		for range 60_000 { // a minute
			begin := time.Now()
			want(t, x, "a", "1")
			if time.Since(begin) > 0 {
				t.Fatal("had to wait")
			}
			time.Sleep(time.Millisecond)
		}
		if s := x.Stats(); s.Refreshes < 6 || s.Refreshes > 12 || s.Refreshes != s.Loads-1 {
			t.Errorf("%+v", s)
		}
		synctest.Wait()
	})
}

func TestStale(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		in(t, func(t *testing.T, c *ssdcache.Cache) {
			d := &database{}
			d.set("a", "1")
			x := tieredOn(t, c, d, &ssdcache.TieredOptions{TTL: time.Minute, Jitter: -1, Early: -1, Stale: time.Minute, Memory: memory})
			want(t, x, "a", "1")
			d.set("a", "2")
			time.Sleep(90 * time.Second)
			want(t, x, "a", "1") // and loads
			synctest.Wait()
			want(t, x, "a", "2")
			d.set("a", "3")
			time.Sleep(2 * time.Minute)
			want(t, x, "a", "3") // too old
			if s := x.Stats(); s.Loads != 3 || s.Refreshes != 1 || s.Stale != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestStaleIfError(t *testing.T) {
	for _, memory := range []int64{0, -1} {
		in(t, func(t *testing.T, c *ssdcache.Cache) {
			d := &database{}
			for i := range 50 {
				d.set(strconv.Itoa(i), "1")
			}
			x := tieredOn(t, c, d, &ssdcache.TieredOptions{TTL: time.Minute, Jitter: -1, StaleIfError: time.Hour, LoadTimeout: time.Second, Memory: memory})
			for i := range 50 {
				want(t, x, strconv.Itoa(i), "1")
			}
			d.fail(errDatabase)
			time.Sleep(30 * time.Minute)
			for i := range 50 {
				want(t, x, strconv.Itoa(i), "1")
			}
			_, err := x.Get(t.Context(), "77")
			var le *ssdcache.LoadError
			if !errors.As(err, &le) || le.Key != "77" || !errors.Is(err, errDatabase) {
				t.Errorf("%v", err)
			}
			// The same when it does not answer, within the time.
			d.fail(nil)
			d.mu.Lock()
			d.delay = time.Hour
			d.mu.Unlock()
			begin := time.Now()
			want(t, x, "7", "1")
			if _, err := x.Get(t.Context(), "77"); !errors.As(err, &le) || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if took := time.Since(begin); took != 2*time.Second {
				t.Errorf("took %v", took)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if v, err := x.Get(ctx, "7"); v != "1" || err != nil {
				t.Errorf("%q %v", v, err)
			}
			// Too old in the end.
			time.Sleep(time.Hour)
			if _, err := x.Get(t.Context(), "7"); !errors.As(err, &le) {
				t.Errorf("%v", err)
			}
			// A row that is gone is no error.
			d.mu.Lock()
			d.delay = 0
			d.mu.Unlock()
			want(t, x, "7", "1")
			d.set("7", "")
			time.Sleep(time.Minute)
			if _, err := x.Get(t.Context(), "7"); !errors.Is(err, ssdcache.ErrNotFound) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestStaleSwitch(t *testing.T) {
	w, err := watchman.New("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		d.set("a", "1")
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{Name: "x", TTL: time.Minute, StaleIfError: time.Hour, Watchman: w})
		want(t, x, "a", "1")
		d.set("a", "2")
		d.set("b", "3")
		time.Sleep(10 * time.Minute)
		if err := w.SetSwitch("ssdcache.stale x", true, "ann", "the database is slow"); err != nil {
			t.Fatal(err)
		}
		want(t, x, "a", "1")
		want(t, x, "b", "3") // what is not there is loaded
		if err := w.SetSwitch("ssdcache.stale x", false, "ann", "it is well again"); err != nil {
			t.Fatal(err)
		}
		want(t, x, "a", "2")
	})
}

// What the database's limit refuses is marked as refused, for the caller and in
// the figures that objectives are compared with; what is cached is answered for.
func TestLoaderRejects(t *testing.T) {
	w, err := watchman.New("test", nil)
	if err != nil {
		t.Fatal(err)
	}
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		d.set("a", "1")
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{Name: "x", TTL: time.Minute, StaleIfError: time.Hour, Watchman: w})
		want(t, x, "a", "1")
		d.fail(fmt.Errorf("too many queries: %w", watchman.ErrRejected))
		time.Sleep(10 * time.Minute)
		want(t, x, "a", "1")
		var le *ssdcache.LoadError
		if _, err := x.Get(t.Context(), "b"); !errors.As(err, &le) || !errors.Is(err, watchman.ErrRejected) {
			t.Error(err)
		}
		load := func(ctx context.Context, keys []string) (map[string]string, error) {
			_, err := d.load(ctx, keys[0])
			return nil, err
		}
		if _, err := x.GetMany(t.Context(), []string{"b", "c"}, load); !errors.Is(err, watchman.ErrRejected) {
			t.Error(err)
		}
		f := w.Operation(watchman.Internal, "ssdcache.load x").Stats()
		if f.Calls != 4 || f.Errors != 3 || f.Rejected != 3 {
			t.Errorf("%+v", f)
		}
	})
}

// A loader that does not look at its ctx keeps nobody beyond the time.
func TestLoaderDoesNotReturn(t *testing.T) {
	release := make(chan struct{})
	c := open(t, temp(t), 1<<20, nil)
	x, err := ssdcache.NewTiered(c, func(context.Context, string) (int, error) { <-release; return 1, nil },
		&ssdcache.TieredOptions{LoadTimeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var le *ssdcache.LoadError
	if _, err := x.Get(context.Background(), "a"); !errors.As(err, &le) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(release)
	if v, err := x.Get(context.Background(), "a"); v != 1 || err != nil {
		t.Error(v, err)
	}
}

func TestLoaderPanics(t *testing.T) {
	c := open(t, temp(t), 1<<20, nil)
	x, err := ssdcache.NewTiered(c, func(_ context.Context, key string) (int, error) {
		if key == "exit" {
			runtime.Goexit()
		}
		panic("no " + key)
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var le *ssdcache.LoadError
	if _, err := x.Get(t.Context(), "a"); !errors.As(err, &le) || !strings.Contains(err.Error(), "no a") {
		t.Error(err)
	}
	if _, err := x.Get(t.Context(), "exit"); !errors.As(err, &le) {
		t.Error(err)
	}
	many, err := x.GetMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]int, error) { panic("many") })
	if len(many) != 0 || !errors.As(err, &le) {
		t.Error(many, err)
	}
	many, err = x.GetMany(t.Context(), []string{"a", "b"}, func(context.Context, []string) (map[string]int, error) { runtime.Goexit(); return nil, nil })
	if len(many) != 0 || !errors.As(err, &le) {
		t.Error(many, err)
	}
}

func TestTieredClosed(t *testing.T) {
	d := &database{gate: make(chan struct{})}
	d.set("a", "1")
	c := open(t, temp(t), 1<<20, nil)
	x := tieredOn(t, c, d, nil)
	errs := make(chan error)
	go func() { _, err := x.Get(context.Background(), "a"); errs <- err }()
	eventually(t, "a load", func() bool { return d.calls.Load() == 1 })
	if err := c.Close(); err != nil { // cancels it and waits
		t.Fatal(err)
	}
	if err := <-errs; !errors.Is(err, ssdcache.ErrClosed) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := x.Get(t.Context(), "a"); !errors.Is(err, ssdcache.ErrClosed) {
		t.Error(err)
	}
	if _, err := x.GetMany(t.Context(), []string{"a"}, nil); !errors.Is(err, ssdcache.ErrClosed) {
		t.Error(err)
	}
	if err := x.Invalidate(t.Context(), "a"); !errors.Is(err, ssdcache.ErrClosed) {
		t.Error(err)
	}
}

func TestGetMany(t *testing.T) {
	in(t, func(t *testing.T, c *ssdcache.Cache) {
		d := &database{}
		for i := range 20 {
			d.set(strconv.Itoa(i), "v"+strconv.Itoa(i))
		}
		x := tieredOn(t, c, d, &ssdcache.TieredOptions{StaleIfError: time.Hour, TTL: time.Minute})
		want(t, x, "3", "v3")
		var asked [][]string
		load := func(ctx context.Context, keys []string) (map[string]string, error) {
			asked = append(asked, keys)
			found := map[string]string{}
			for _, k := range keys {
				if v, err := d.load(ctx, k); err == nil {
					found[k] = v
				} else if !errors.Is(err, ssdcache.ErrNotFound) {
					return nil, err
				}
			}
			return found, nil
		}
		keys := []string{"1", "2", "3", "2", "nobody", "1"}
		for range 2 {
			got, err := x.GetMany(t.Context(), keys, load)
			if err != nil || fmt.Sprint(got) != "map[1:v1 2:v2 3:v3]" {
				t.Fatal(got, err)
			}
		}
		if fmt.Sprint(asked) != "[[1 2 nobody]]" {
			t.Errorf("asked for %v", asked)
		}
		// Without a batch loader the Tiered's own; and what is under way is joined.
		d.gate = make(chan struct{})
		d.calls.Store(0)
		single := make(chan string)
		go func() { v, _ := x.Get(context.Background(), "5"); single <- v }()
		synctest.Wait()
		many := make(chan map[string]string)
		go func() {
			got, _ := x.GetMany(context.Background(), []string{"5", "6", "7"}, nil)
			many <- got
		}()
		synctest.Wait()
		close(d.gate)
		if v := <-single; v != "v5" {
			t.Error(v)
		}
		if got := <-many; fmt.Sprint(got) != "map[5:v5 6:v6 7:v7]" || d.calls.Load() != 3 {
			t.Error(got, d.calls.Load())
		}
		// When the load fails: what is cached, stale or not, and an error for the rest.
		d.fail(errDatabase)
		time.Sleep(10 * time.Minute)
		got, err := x.GetMany(t.Context(), []string{"1", "5", "8", "9"}, load)
		var le *ssdcache.LoadError
		if fmt.Sprint(got) != "map[1:v1 5:v5]" || !errors.As(err, &le) || !errors.Is(err, errDatabase) {
			t.Error(got, err)
		}
	})
}

// Made-up keys do not reach the database.
func TestPenetration(t *testing.T) {
	d := &database{}
	known := ssdcache.NewKeyFilter(10_000)
	for i := range 10_000 {
		k := "user-" + strconv.Itoa(i)
		d.set(k, "x")
		known.Add(k)
	}
	x := tiered(t, d, &ssdcache.TieredOptions{Keys: known})
	for i := range 10_000 {
		if !known.MayContain("user-" + strconv.Itoa(i)) {
			t.Fatalf("key %d is missing", i)
		}
	}
	want(t, x, "user-77", "x")
	d.calls.Store(0)
	const storm = 50_000
	for i := range storm {
		if _, err := x.Get(t.Context(), "attack-"+strconv.Itoa(i)); !errors.Is(err, ssdcache.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if n := d.calls.Load(); n > storm/100 {
		t.Errorf("%d of %d reached the database", n, storm)
	} else {
		t.Logf("%d of %d reached the database; %d bytes for %d keys", n, storm, known.Bytes(), known.Len())
	}
	got, err := x.GetMany(t.Context(), []string{"attack", "user-1"}, nil)
	if err != nil || len(got) != 1 {
		t.Error(got, err)
	}
}

// An older program's values are loaded anew, a newer one's codec fails softly.
func TestOtherCodec(t *testing.T) {
	path := temp(t)
	c := open(t, path, 1<<20, nil)
	d := &database{}
	d.set("a", "1")
	want(t, tieredOn(t, c, d, nil), "a", "1")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	c = open(t, path, 1<<20, nil)
	x, err := ssdcache.NewTiered(c, func(context.Context, string) (int, error) { return 7, nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := x.Get(t.Context(), "a"); v != 7 || err != nil {
		t.Error(v, err)
	}
	if s := x.Stats(); s.Undecoded == 0 || s.Loads != 1 {
		t.Errorf("%+v", s)
	}
	// What cannot be encoded is an error that names the type.
	y, err := ssdcache.NewTiered(c, func(context.Context, string) (any, error) { return func() {}, nil }, &ssdcache.TieredOptions{Name: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.Get(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "encode func()") {
		t.Error(err)
	}
}

func TestTieredOptions(t *testing.T) {
	c := open(t, temp(t), 1<<20, nil)
	load := func(context.Context, string) (int, error) { return 0, nil }
	_, err := ssdcache.NewTiered(c, load, &ssdcache.TieredOptions{Name: "a\x00", Jitter: 2, Early: 1000, HotShare: 1e-9, Stale: -1, LoadTimeout: -1})
	for _, part := range []string{"Name", "Jitter", "Early", "HotShare", "Stale", "LoadTimeout"} {
		if err == nil || !strings.Contains(err.Error(), "TieredOptions."+part) {
			t.Errorf("%s: %v", part, err)
		}
	}
	if _, err := ssdcache.NewTiered[int](nil, nil, nil); err == nil {
		t.Error("no cache, no loader")
	}
	if _, err := ssdcache.NewTiered(c, load, &ssdcache.TieredOptions{Name: "a"}); err != nil {
		t.Error(err)
	}
	if _, err := ssdcache.NewTiered(c, load, &ssdcache.TieredOptions{Name: "a"}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("the same name twice: %v", err)
	}
}

func TestOptions(t *testing.T) {
	_, err := ssdcache.Open(temp(t), 1<<20, &ssdcache.Options{SegmentSize: 5000, Buffers: 1, Full: 9, Wait: -1, Keep: 0.9, Restart: 7})
	for _, part := range []string{"SegmentSize", "Buffers", "Full", "Wait", "Keep", "Restart"} {
		if err == nil || !strings.Contains(err.Error(), "Options."+part) {
			t.Errorf("%s: %v", part, err)
		}
	}
	for _, size := range []int64{-1, 0, 1000, 200 << 10, 1 << 62} {
		if c, err := ssdcache.Open(temp(t), size, nil); err == nil {
			t.Errorf("size %d", size)
			_ = c.Close()
		}
	}
	c := open(t, temp(t), 1<<20, nil)
	if err := c.Set(make([]byte, ssdcache.MaxKeySize+1), nil, 0); !errors.Is(err, ssdcache.ErrTooLarge) {
		t.Error(err)
	}
	if err := c.Set(nil, make([]byte, c.Stats().MaxItem-24), 0); err != nil {
		t.Error(err)
	}
	if err := c.Set(nil, make([]byte, c.Stats().MaxItem-23), 0); !errors.Is(err, ssdcache.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := c.Get(nil, nil); !errors.Is(err, ssdcache.ErrNotFound) {
		t.Errorf("the value before outlived one that was too large: %v", err)
	}
}
