package ssdcache_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

// filled makes a cache with many items replaced and deleted, and returns the
// bytes of its file as a crash of the process leaves it, those after Close, and
// those of the saved index.
func filled(t *testing.T, size int64, m *model) (crashed, closed, index []byte) {
	t.Helper()
	path := temp(t)
	c := open(t, path, size, nil)
	r := rng(t)
	for range 1500 {
		n := r.IntN(400)
		if r.IntN(5) == 0 {
			m.dead[n] = true
			if err := c.Delete(key(n)); err != nil {
				t.Fatal(err)
			}
		} else if err := c.Set(key(n), value(n, m.set(n)), 0); err != nil {
			t.Fatal(err)
		}
	}
	// An idle cache has written all but its active buffer and writes no more.
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	eventually(t, "an idle cache", func() bool {
		before := c.Stats().DeviceBytes
		crashed = read(path)
		return bytes.Equal(crashed, read(path)) && before == c.Stats().DeviceBytes && before > 0
	})
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return crashed, read(path), read(path + ".index")
}

// restart opens a cache on the bytes and checks every key.
func restart(t *testing.T, size int64, file, index []byte, m *model) (hits int) {
	t.Helper()
	path := temp(t)
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if index != nil {
		if err := os.WriteFile(path+".index", index, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := ssdcache.Open(path, size, &ssdcache.Options{SegmentSize: testSegment, Logger: quiet()})
	if errors.Is(err, ssdcache.ErrNotCache) {
		return 0 // magic or version
	}
	if err != nil {
		t.Fatal(err)
	}
	for n := range 400 {
		got, err := c.Get(nil, key(n))
		if m.check(t, n, got, err) {
			hits++
		}
	}
	if err := c.Set(key(0), value(0, 1), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return hits
}

// Bits that turn anywhere cost items and never bring back wrong or old ones.
func TestBitFlips(t *testing.T) {
	size := int64(12 * testSegment)
	m := newModel()
	crashed, closed, index := filled(t, size, m)
	r := rng(t)
	warm, warmClosed := restart(t, size, crashed, nil, m), restart(t, size, closed, index, m)
	if warm < 20 || warmClosed < warm {
		t.Fatalf("undamaged: %d hits after a crash, %d after Close", warm, warmClosed)
	}
	flip := func(b []byte, from, to int) []byte {
		b = bytes.Clone(b)
		b[from+r.IntN(to-from)] ^= 1 << r.IntN(8)
		return b
	}
	segments := len(crashed) - (len(crashed)-4096-2*testSegment/4)/testSegment*testSegment
	regions := []struct {
		name           string
		from, to, runs int
	}{
		{"superblock", 0, 72, 20},
		{"journal header", 4096, 4096 + 16, 10},
		{"journal", 4096, 4096 + 4096, 30},
		{"segments", segments, len(crashed), 30},
		{"footers", segments + testSegment - 1024, segments + testSegment, 20},
	}
	for _, g := range regions {
		hits := 0
		runs := 1 + g.runs*crashPoints/80
		for range runs {
			hits += restart(t, size, flip(crashed, g.from, g.to), nil, m)
			hits += restart(t, size, flip(closed, g.from, g.to), index, m)
		}
		t.Logf("%s: %d hits a start", g.name, hits/runs/2)
	}
	for range 20 {
		restart(t, size, closed, flip(index, 0, len(index)), m)
	}
}

// Newest segments lost: what they replaced does not come back from older ones.
func TestLostFooters(t *testing.T) {
	size := int64(12 * testSegment)
	m := newModel()
	crashed, _, _ := filled(t, size, m)
	first := len(crashed) - (len(crashed)-4096-2*testSegment/4)/testSegment*testSegment
	for at := first; at+testSegment <= len(crashed); at += testSegment {
		file := bytes.Clone(crashed)
		clear(file[at+testSegment-4096 : at+testSegment])
		restart(t, size, file, nil, m)
	}
}

func TestTruncatedFiles(t *testing.T) {
	size := int64(12 * testSegment)
	m := newModel()
	crashed, closed, index := filled(t, size, m)
	r := rng(t)
	for range 15 {
		restart(t, size, crashed[:r.IntN(len(crashed))], nil, m)
		restart(t, size, closed[:r.IntN(len(closed))], index, m)
		restart(t, size, closed, index[:r.IntN(len(index))], m)
	}
	for _, n := range []int{0, 1, 11, 12, 71, 72, 4095, 4096} {
		if n == 0 || n >= 12 {
			restart(t, size, crashed[:n], nil, m)
		}
	}
}

// A saved index of another time or another cache is not believed.
func TestIndexOfAnotherTime(t *testing.T) {
	size := int64(12 * testSegment)
	path := temp(t)
	m := newModel()
	c := open(t, path, size, nil)
	if err := c.Set(key(1), value(1, m.set(1)), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	index, err := os.ReadFile(path + ".index")
	if err != nil {
		t.Fatal(err)
	}
	c = open(t, path, size, nil)
	m.dead[1] = true
	if err := c.Delete(key(1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if hits := restart(t, size, file, index, m); hits != 0 {
		t.Errorf("%d hits", hits)
	}
}

func TestForeignFiles(t *testing.T) {
	random := make([]byte, 100<<10)
	r := rand.NewChaCha8([32]byte{})
	_, _ = r.Read(random)
	for name, content := range map[string][]byte{
		"text":   []byte(strings.Repeat("a letter to a friend\n", 5000)),
		"random": random,
		"short":  []byte("x"),
		"almost": append([]byte("heddlSSE"), random...),
		"later":  append([]byte("heddlSSD\xff\x00\x00\x00"), random...),
	} {
		path := temp(t)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := ssdcache.Open(path, 1<<20, nil)
		if !errors.Is(err, ssdcache.ErrNotCache) || c != nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, content) {
			t.Errorf("%s: the file has changed, %v", name, err)
		}
	}
}
