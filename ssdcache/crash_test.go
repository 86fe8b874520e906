package ssdcache_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

// recorder is a file that remembers the order of what was written to it.
type recorder struct {
	ssdcache.File
	done *atomic.Int64 // operations that have returned

	mu     sync.Mutex
	writes []write
}

type write struct {
	off  int64
	data []byte
	done int64 // operations that had returned before it
}

func (r *recorder) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	r.writes = append(r.writes, write{off, slices.Clone(p), r.done.Load()})
	r.mu.Unlock()
	return r.File.WriteAt(p, off)
}

// A crash of the process at any moment leaves the file with the first so many
// writes, the last of them perhaps in part. Whatever that is, what had been
// replaced or deleted when an operation returned stays so.
func TestCrashAtAnyWrite(t *testing.T) {
	r := rng(t)
	for _, keep := range []float64{-1, 0.5} {
		path := temp(t)
		size := int64(12 * testSegment)
		base := ssdcache.Options{SegmentSize: testSegment, Logger: quiet(), Keep: keep}
		var done atomic.Int64
		var rec *recorder
		c := open(t, path, size, base.WithFile(func(f ssdcache.File) ssdcache.File {
			rec = &recorder{File: f, done: &done}
			return rec
		}))
		const keys = 600
		type op struct{ key, version int } // negative: deleted
		var ops []op
		last := map[int]int{}
		for range 3000 {
			n := r.IntN(keys)
			switch r.IntN(5) {
			case 0:
				ops = append(ops, op{n, -last[n]})
				if err := c.Delete(key(n)); err != nil {
					t.Fatal(err)
				}
			default:
				last[n]++
				ops = append(ops, op{n, last[n]})
				if err := c.Set(key(n), value(n, last[n]), 0); err != nil {
					t.Fatal(err)
				}
				_, _ = c.Get(nil, key(r.IntN(keys)))
			}
			done.Add(1)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if s := c.Stats(); keep > 0 && s.Kept < 100 {
			t.Errorf("%+v", s)
		}
		found := int64(0)
		const points = crashPoints
		image := temp(t)
		for range points {
			k := r.IntN(len(rec.writes) - 1) // the write that is torn
			file := make([]byte, size)
			for _, w := range rec.writes[:k] {
				copy(file[w.off:], w.data)
			}
			if torn := rec.writes[k]; r.IntN(2) == 0 {
				const sector = 512 // a disk writes it whole
				copy(file[torn.off:], torn.data[:r.IntN(len(torn.data)/sector+1)*sector])
			}
			if err := os.WriteFile(image, file, 0o600); err != nil {
				t.Fatal(err)
			}
			returned := int(rec.writes[k].done)
			state := map[int]int{}
			for _, o := range ops[:returned] {
				state[o.key] = o.version
			}
			again := open(t, image, size, &base)
			found += again.Stats().Found
			for n := range keys {
				got, err := again.Get(nil, key(n))
				if errors.Is(err, ssdcache.ErrNotFound) {
					continue
				}
				if v := version(t, n, got); v != state[n] && (ops[returned] != op{n, v}) {
					t.Fatalf("keep %v, crash in write %d after %d operations: key %d has version %d, want %d or %+v", keep, k, returned, n, v, state[n], ops[returned])
				}
			}
			if s := again.Stats(); s.Corrupt != 0 {
				t.Fatalf("%+v", s)
			}
			if err := again.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if found < 50*points {
			t.Errorf("keep %v: %d items found after %d crashes", keep, found, points)
		}
		t.Logf("keep %v: %d writes, %.0f items found after a crash", keep, len(rec.writes), float64(found)/points)
	}
}

const crashKeys = 300

// The task sets, deletes and reads until it is killed, and reports each
// operation to standard output before and after.
func init() {
	tasks["crash"] = func(path string) {
		c, err := ssdcache.Open(path, 24*testSegment, &ssdcache.Options{SegmentSize: testSegment, Logger: quiet(), Direct: os.Getenv("SSDCACHE_TEST_DIRECT") != ""})
		if err != nil {
			fmt.Println("error", err)
			return
		}
		first, _ := strconv.Atoi(os.Getenv("SSDCACHE_TEST_VERSION"))
		fmt.Println("found", c.Stats().Found)
		for w := range 2 {
			go func() {
				r := rand.New(rand.NewPCG(uint64(first), uint64(w)))
				for v := first; ; v++ {
					n := r.IntN(crashKeys/2)*2 + w
					if r.IntN(4) == 0 {
						fmt.Printf("begin %d %d\n", n, -v)
						err = c.Delete(key(n))
					} else {
						fmt.Printf("begin %d %d\n", n, v)
						err = c.Set(key(n), value(n, v), 0)
					}
					if err != nil {
						fmt.Println("error", err)
						return
					}
					fmt.Printf("end %d %d\n", n, v)
					_, _ = c.Get(nil, key(r.IntN(crashKeys)))
				}
			}()
		}
		select {}
	}
}

// After SIGKILL most is still there, and nothing that was replaced or deleted.
func TestKill(t *testing.T) {
	r := rng(t)
	path := temp(t)
	rounds, canDirect := killRounds, direct(t)
	if testing.Short() {
		rounds = min(rounds, 10)
	}
	returned, begun := map[int]int{}, map[int]int{}
	version1, live, hits, empty := 1, 0, 0, 0
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SSDCACHE_TEST_TASK=crash", "SSDCACHE_TEST_PATH="+path, fmt.Sprint("SSDCACHE_TEST_VERSION=", version1))
		if canDirect && round%4 < 2 {
			cmd.Env = append(cmd.Env, "SSDCACHE_TEST_DIRECT=1")
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var found int
		for left := 100 + r.IntN(6000); lines.Scan(); left-- {
			var n, v int
			switch line := lines.Text(); {
			case scan(line, "found %d", &found):
			case scan(line, "begin %d %d", &n, &v):
				begun[n] = v
			case scan(line, "end %d %d", &n, &v):
				if returned[n] = v; begun[n] < 0 {
					returned[n] = -v
				}
				version1 = max(version1, v+1)
			default:
				t.Fatal(line)
			}
			if left == 0 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		if round > 0 && found == 0 { // the process before was killed before its first flush, as happens on a busy machine
			empty++
		}
		if round%2 == 0 { // every other time the next process is the first to see it
			continue
		}
		c := open(t, path, 24*testSegment, nil)
		for n := range crashKeys {
			if returned[n] > 0 {
				live++
			}
			got, err := c.Get(nil, key(n))
			if errors.Is(err, ssdcache.ErrNotFound) {
				continue
			}
			hits++
			if v := version(t, n, got); v != returned[n] && v != begun[n] {
				t.Fatalf("round %d: key %d has version %d, want %d, or %d that had begun", round, n, v, returned[n], begun[n])
			}
			returned[n] = version(t, n, got)
		}
		for n := range crashKeys { // what was not there stays so
			if _, err := c.Get(nil, key(n)); err != nil {
				returned[n] = 0
			}
			begun[n] = 0
		}
		if s := c.Stats(); s.Corrupt != 0 || s.OtherKeys != 0 {
			t.Fatalf("round %d: %+v", round, s)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d rounds: %d of %d live items were there, nothing %d times", rounds, hits, live, empty)
	if hits*2 < live || empty*2 > rounds {
		t.Error("less than half was there")
	}
}

func scan(line, format string, into ...any) bool {
	_, err := fmt.Sscanf(line, format, into...)
	return err == nil || err == io.EOF && len(into) == 0
}
