package objstore_test

import (
	"errors"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/disk"
	"github.com/heddle-go/heddle/objstore"
)

func newGenerator(t testing.TB, opts objstore.GeneratorOptions, now func() time.Time) *objstore.Generator {
	t.Helper()
	if now == nil {
		now = time.Now
	}
	g, err := objstore.NewGeneratorClock(&opts, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}

func next(t testing.TB, g *objstore.Generator) int64 {
	t.Helper()
	n, err := g.Next()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestGeneratorLayout(t *testing.T) {
	at := time.Unix(1540990583, 0)
	g := newGenerator(t, objstore.GeneratorOptions{IDC: 13, Business: 2, Standby: true}, func() time.Time { return at })
	for i := range int64(3) {
		n := next(t, g)
		if want := (at.Unix()-515483463)<<22 | 13<<18 | 2<<16 | i<<1 | 1; n != want {
			t.Errorf("id %d = %d, want %d", i, n, want)
		}
		id := objstore.ID{Type: 1, Number: n}
		if !id.Time().Equal(at) || id.Node() != 13 || id.Business() != 2 {
			t.Error(id.Time(), id.Node(), id.Business())
		}
	}
	if n := next(t, newGenerator(t, objstore.GeneratorOptions{}, nil)); bits.Len64(uint64(n)) != 53 {
		t.Errorf("%d has %d bits", n, bits.Len64(uint64(n)))
	}
}

func TestGeneratorConcurrent(t *testing.T) {
	g := newGenerator(t, objstore.GeneratorOptions{StateFile: filepath.Join(t.TempDir(), "ids"), Ahead: time.Minute}, nil)
	const workers, each = 8, 50_000
	all := make([][]int64, workers)
	var wg sync.WaitGroup
	for w := range all {
		wg.Go(func() {
			for range each {
				all[w] = append(all[w], next(t, g))
			}
		})
	}
	wg.Wait()
	for _, ids := range all {
		if !slices.IsSorted(ids) {
			t.Error("a goroutine got ids out of order")
		}
	}
	ids := slices.Concat(all...)
	slices.Sort(ids)
	if n := len(slices.Compact(ids)); n != workers*each {
		t.Errorf("%d ids, %d different", workers*each, n)
	}
	if s := g.Stats(); s.Issued != workers*each || s.Writes == 0 || s.Last != ids[len(ids)-1] {
		t.Errorf("%+v", s)
	}
}

func TestGeneratorBorrowsBounded(t *testing.T) {
	var clock atomic.Int64
	clock.Store(1_800_000_000)
	g := newGenerator(t, objstore.GeneratorOptions{Ahead: 2 * time.Second}, func() time.Time { return time.Unix(clock.Load(), 0) })
	take := func() (n int) {
		for {
			if _, err := g.Next(); err != nil {
				if !errors.Is(err, objstore.ErrNoIDs) {
					t.Fatal(err)
				}
				return n
			}
			n++
		}
	}
	if n := take(); n != 2*32768 {
		t.Errorf("%d ids before the first refusal", n)
	}
	clock.Add(1)
	if n := take(); n != 32768 {
		t.Errorf("%d ids in the next second", n)
	}
	clock.Add(-3600) // set back: it refuses until the clock has caught up
	if n := take(); n != 0 {
		t.Errorf("%d ids after the clock was set back", n)
	}
	clock.Add(3601)
	if n := take(); n != 32768 {
		t.Errorf("%d ids when the clock had caught up", n)
	}
	if s := g.Stats(); s.Refused != 4 || s.Issued != 4*32768 || s.Ahead != time.Second {
		t.Errorf("%+v", s)
	}
}

func TestGeneratorRestarts(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ids")
	clock := time.Unix(1_800_000_000, 0)
	var last int64
	for round := range 50 {
		at := clock.Add([]time.Duration{0, -time.Second, 300 * time.Millisecond, -3 * time.Second}[round%4])
		g, err := objstore.NewGeneratorClock(&objstore.GeneratorOptions{StateFile: name}, func() time.Time { return at })
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + round*37%300 {
			n := next(t, g)
			if n <= last {
				t.Fatalf("round %d: %d after %d", round, n, last)
			}
			last = n
		}
		if err := errors.Join(g.Close(), g.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := g.Next(); !errors.Is(err, objstore.ErrClosed) {
			t.Fatal(err)
		}
	}
	// A clean stop gives the rest of the reservation back.
	if at := (objstore.ID{Number: last}).Time(); at.After(clock.Add(time.Second)) {
		t.Errorf("ids are %v ahead after clean restarts", at.Sub(clock))
	}
}

func TestGeneratorStateFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "ids")
	open := func() error {
		g, err := objstore.NewGenerator(&objstore.GeneratorOptions{StateFile: name})
		if err == nil {
			next(t, g)
			err = g.Close()
		}
		return err
	}
	if err := open(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(); err == nil || !strings.Contains(err.Error(), name) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if err := os.WriteFile(name, good[:i], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(); err == nil {
			t.Fatalf("opened with %d bytes", i)
		}
	}
	for _, bad := range []string{string(good) + "x", "heddle-ids 2 mark=1", strings.Repeat("x", 1<<20)} {
		if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(); err == nil {
			t.Fatalf("opened %.40q", bad)
		}
	}
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
	g := newGenerator(t, objstore.GeneratorOptions{StateFile: name}, nil)
	if err := open(); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("a second generator on one file: %v", err)
	}
	next(t, g)
}

// A mark that cannot be written must stop ids, not repeat them.
func TestGeneratorCannotWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	g, err := objstore.NewGenerator(&objstore.GeneratorOptions{StateFile: filepath.Join(dir, "ids")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if n, err := g.Next(); err == nil {
		t.Errorf("id %d without a mark", n)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestGeneratorOptions(t *testing.T) {
	_, err := objstore.NewGenerator(&objstore.GeneratorOptions{IDC: 16, Business: -1, Ahead: -1})
	for _, field := range []string{"IDC", "Business", "Ahead"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s is missing in: %v", field, err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	for _, kind := range []string{"memory", "statefile"} {
		generator := func(b *testing.B) *objstore.Generator {
			b.ReportAllocs()
			opts := objstore.GeneratorOptions{Ahead: 1e6 * time.Second}
			if kind == "statefile" {
				opts.StateFile = filepath.Join(b.TempDir(), "ids")
			}
			return newGenerator(b, opts, nil)
		}
		b.Run(kind, func(b *testing.B) {
			g := generator(b)
			for b.Loop() {
				if _, err := g.Next(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(kind+"/parallel", func(b *testing.B) {
			g := generator(b)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := g.Next(); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

func BenchmarkShort(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if objstore.Short(4404101091169383) == "" {
			b.Fatal()
		}
	}
}

func BenchmarkParseID(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := objstore.ParseID("1034:4301288616219477"); err != nil {
			b.Fatal(err)
		}
	}
}
