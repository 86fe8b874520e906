package ssdcache_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/ssdcache"
)

var errDisk = errors.New("the disk is broken")

// faulty is a file that fails as it is told.
type faulty struct {
	ssdcache.File
	mu                sync.Mutex
	r                 *rand.Rand
	read, write, sync float64       // probabilities
	slow              chan struct{} // writes wait for it
}

func (f *faulty) fails(p *float64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.r.Float64() < *p
}

func (f *faulty) set(read, write, sync float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.read, f.write, f.sync = read, write, sync
}

func (f *faulty) ReadAt(p []byte, off int64) (int, error) {
	if f.fails(&f.read) {
		return 0, errDisk
	}
	return f.File.ReadAt(p, off)
}

func (f *faulty) ReadCached(p []byte, off int64) error {
	if f.fails(&f.read) {
		return errDisk
	}
	return f.File.ReadCached(p, off)
}

func (f *faulty) WriteAt(p []byte, off int64) (int, error) {
	if f.slow != nil && len(p) > 4096 {
		<-f.slow
	}
	if f.fails(&f.write) {
		n, _ := f.File.WriteAt(p[:len(p)/2], off)
		return n, errDisk
	}
	return f.File.WriteAt(p, off)
}

func (f *faulty) Sync() error {
	if f.fails(&f.sync) {
		return errDisk
	}
	return f.File.Sync()
}

// Whatever the disk refuses, no wrong or old bytes come out, not after Close
// and not after a crash either, except where an error said so.
func TestDiskErrors(t *testing.T) {
	r := rng(t)
	const keys = 300
	size := int64(12 * testSegment)
	base := ssdcache.Options{SegmentSize: testSegment, Logger: quiet(), Keep: 0.5}
	for round := range 12 {
		path := temp(t)
		f := &faulty{r: rand.New(rand.NewPCG(r.Uint64(), 0))}
		opts := base.WithFile(func(file ssdcache.File) ssdcache.File { f.File = file; return f })
		c, err := ssdcache.Open(path, size, opts)
		if err != nil {
			t.Fatal(err)
		}
		f.set([]float64{0, 0.1, 1}[r.IntN(3)], []float64{0.01, 0.1, 1}[r.IntN(3)]*float64(r.IntN(2)), 0)
		m, unsure := newModel(), map[int]bool{}
		for range 2000 {
			n := r.IntN(keys)
			switch r.IntN(5) {
			case 0:
				m.dead[n] = true
				if err := c.Delete(key(n)); err != nil {
					unsure[n] = true
					if !errors.Is(err, errDisk) {
						t.Fatal(err)
					}
				}
			case 1:
				got, err := c.Get(nil, key(n))
				m.check(t, n, got, err)
			default:
				if err := c.Set(key(n), value(n, m.set(n)), 0); err != nil {
					unsure[n] = true
					if !errors.Is(err, errDisk) {
						t.Fatal(err)
					}
				}
			}
		}
		check := func(c *ssdcache.Cache, crashed bool) {
			for n := range keys {
				got, err := c.Get(nil, key(n))
				if err == nil && crashed && unsure[n] {
					version(t, n, got)
					continue
				}
				m.check(t, n, got, err)
			}
		}
		check(c, false)
		s := c.Stats()
		if f.write == 1 && s.WriteErrors == 0 || f.read == 1 && f.write == 0 && s.ReadErrors == 0 {
			t.Errorf("%+v", s)
		}
		f.set(0, 0, 0)
		var crashed []byte
		eventually(t, "an idle cache", func() bool {
			before := c.Stats().DeviceBytes
			crashed, err = os.ReadFile(path)
			again, err2 := os.ReadFile(path)
			return err == nil && err2 == nil && string(crashed) == string(again) && before == c.Stats().DeviceBytes
		})
		fails := r.IntN(3) == 0
		if fails {
			f.set(0, 0, 1)
		}
		if err := c.Close(); errors.Is(err, errDisk) != fails || !fails && err != nil {
			t.Fatalf("round %d: Close: %v", round, err)
		}
		again := open(t, path, size, &base)
		check(again, fails)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, crashed, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(path + ".index")
		again = open(t, path, size, &base)
		check(again, true)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenFails(t *testing.T) {
	path := temp(t)
	f := &faulty{r: rand.New(rand.NewPCG(1, 1)), write: 1}
	opts := (ssdcache.Options{Logger: quiet()}).WithFile(func(file ssdcache.File) ssdcache.File { f.File = file; return f })
	if _, err := ssdcache.Open(path, 1<<20, opts); !errors.Is(err, errDisk) || !strings.Contains(err.Error(), path) {
		t.Fatal(err)
	}
	f.set(1, 0, 0)
	if _, err := ssdcache.Open(path, 1<<20, opts); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	f.set(0, 0, 1)
	if _, err := ssdcache.Open(path, 1<<20, opts); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	f.set(0, 0, 0)
	c := open(t, path, 1<<20, opts) // and each failure gave the file free
	_ = c.Set(key(1), value(1, 1), 0)
}

func TestNotEnoughDisk(t *testing.T) {
	path := temp(t)
	first := open(t, path, 1<<20, nil)
	if err := first.Set(key(1), value(1, 1), 0); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	c, err := ssdcache.Open(path, 1<<41, &ssdcache.Options{SegmentSize: 64 << 20, Logger: quiet()})
	if err == nil {
		t.Log("this disk takes files of 2 TiB, or cannot reserve room")
		_ = c.Close()
		return
	}
	if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "allocate") {
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() != 1<<20 {
		t.Errorf("%v, %v", info.Size(), err)
	}
	again := open(t, path, 1<<20, nil)
	if got, err := again.Get(nil, key(1)); err != nil || version(t, 1, got) != 1 {
		t.Error(err)
	}
}

// A file that somebody makes shorter under the cache costs items.
func TestShrinkingFile(t *testing.T) {
	path := temp(t)
	c := open(t, path, 20*testSegment, nil)
	m := newModel()
	for i := range 3000 {
		if i%700 == 699 {
			if err := os.Truncate(path, int64(i%5)*testSegment); err != nil {
				t.Fatal(err)
			}
		}
		n := i * 7 % 400
		if err := c.Set(key(n), value(n, m.set(n)), 0); err != nil {
			t.Fatal(err)
		}
		got, err := c.Get(nil, key(i%400))
		m.check(t, i%400, got, err)
	}
}

// What Set does while the disk is behind.
func TestFull(t *testing.T) {
	for _, full := range []ssdcache.Full{ssdcache.Block, ssdcache.Drop, ssdcache.Fail} {
		f := &faulty{r: rand.New(rand.NewPCG(1, 1)), slow: make(chan struct{})}
		var once sync.Once
		release := func() { once.Do(func() { close(f.slow) }) }
		c := open(t, temp(t), 20*testSegment, (ssdcache.Options{SegmentSize: testSegment, Logger: quiet(), Full: full, Wait: time.Millisecond}).
			WithFile(func(file ssdcache.File) ssdcache.File { f.File = file; return f }))
		defer release()
		data := make([]byte, 8000)
		var err error
		set := 0
		for ; set < 100 && err == nil && c.Stats().Refused == 0; set++ {
			err = c.Set(key(set), data, 0)
		}
		if set < 14 || set > 17 { // two buffers of eight
			t.Errorf("%d sets", set)
		}
		if want := full != ssdcache.Drop; errors.Is(err, ssdcache.ErrBusy) != want || !want && err != nil {
			t.Errorf("%v: %v", full, err)
		}
		if s := c.Stats(); s.Refused != 1 || (s.Blocked == 1) != (full == ssdcache.Block) {
			t.Errorf("%+v", s)
		}
		// The value before does not outlive a refused one, and Delete does not fail.
		if err := c.Set(key(3), data, 0); (err != nil) != (full != ssdcache.Drop) {
			t.Error(err)
		}
		if err := c.Delete(key(4)); err != nil {
			t.Error(err)
		}
		for _, n := range []int{3, 4, set - 1} {
			if _, err := c.Get(nil, key(n)); !errors.Is(err, ssdcache.ErrNotFound) {
				t.Errorf("key %d: %v", n, err)
			}
		}
		if _, err := c.Get(nil, key(5)); err != nil {
			t.Error(err)
		}
		release()
		eventually(t, "sets again", func() bool { return c.Set(key(3), data, 0) == nil && c.Stats().Items > 0 })
	}
}

// A Set that waits for the disk, and all others, end when the cache is closed.
func TestCloseWhileBusy(t *testing.T) {
	f := &faulty{r: rand.New(rand.NewPCG(1, 1)), slow: make(chan struct{})}
	c := open(t, temp(t), 20*testSegment, (ssdcache.Options{SegmentSize: testSegment, Logger: quiet(), Wait: time.Hour}).
		WithFile(func(file ssdcache.File) ssdcache.File { f.File = file; return f }))
	const workers = 8
	errs := make(chan error, workers)
	var acknowledged atomic.Int64
	for w := range workers {
		go func() {
			for i := 0; ; i++ {
				if err := c.Set(fmt.Append(nil, w, i), make([]byte, 5000), 0); err != nil {
					errs <- err
					return
				}
				acknowledged.Add(1)
			}
		}()
	}
	eventually(t, "all wait", func() bool { return c.Stats().Blocked >= workers })
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	for range workers {
		if err := <-errs; !errors.Is(err, ssdcache.ErrClosed) {
			t.Error(err)
		}
	}
	close(f.slow)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func init() {
	tasks["hold"] = func(path string) {
		c, err := ssdcache.Open(path, 1<<20, &ssdcache.Options{Logger: quiet()})
		fmt.Println("opened", err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		if err == nil {
			_ = c.Set(key(1), value(1, 1), 0)
			_ = c.Close()
		}
	}
}

func TestTwoProcesses(t *testing.T) {
	path := temp(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SSDCACHE_TEST_TASK=hold", "SSDCACHE_TEST_PATH="+path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "opened <nil>\n" {
		t.Fatal(line, err)
	}
	if _, err := ssdcache.Open(path, 1<<20, nil); !errors.Is(err, ssdcache.ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	c := open(t, path, 1<<20, &ssdcache.Options{})
	if got, err := c.Get(nil, key(1)); err != nil || version(t, 1, got) != 1 {
		t.Error(err)
	}
	if _, err := ssdcache.Open(path, 1<<20, nil); !errors.Is(err, ssdcache.ErrLocked) {
		t.Error(err)
	}
}

// The clock of a synctest bubble stands in the year 2000, so a file that goes in
// or out of one sees its clock jump by decades.
func TestClockSteps(t *testing.T) {
	path := temp(t)
	const size = 20 * testSegment
	fill := func(from int) {
		c, err := ssdcache.Open(path, size, &ssdcache.Options{SegmentSize: testSegment, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			ttl := time.Duration(i%2) * time.Hour
			if err := c.Set(key(from+i), value(from+i, 1), ttl); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []int{from + 4, from + 5} {
			if err := c.Delete(key(n)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	check := func(from int, brief bool) {
		t.Helper()
		c, err := ssdcache.Open(path, size, &ssdcache.Options{SegmentSize: testSegment, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 30 {
			got, err := c.Get(nil, key(from+i))
			want := i != 4 && i != 5 && (brief || i%2 == 0)
			if want != (err == nil) {
				t.Errorf("key %d: %v", i, err)
			}
			if err == nil {
				version(t, from+i, got)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	fill(0)
	synctest.Test(t, func(t *testing.T) {
		check(0, true) // back: not yet expired
		fill(100)
		check(100, true)
	})
	check(100, false) // forward: expired
	check(0, true)
}
