// Package cache_test puts the cache on disk beside others.
package cache_test

import (
	"bufio"
	"compress/gzip"
	"container/list"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/heddle-go/heddle/ssdcache"
)

// traces are read where they lie; nothing of them is in this repository.
const traces = "../../../shared/traces"

var traceFiles = []struct {
	name, file string
	read       func(r io.Reader, emit func(uint32)) error
}{
	{"OLTP", "arc_oltp.gz", readARC},
	{"orm-busy", "orm-busy.be32.gz", read32(binary.BigEndian)},
	{"w106", "w106.le32.gz", read32(binary.LittleEndian)},
}

func readARC(r io.Reader, emit func(uint32)) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var start, count uint32
		if _, err := fmt.Sscan(lines.Text(), &start, &count); err != nil {
			return err
		}
		for i := range count {
			emit(start + i)
		}
	}
	return lines.Err()
}

func read32(order binary.ByteOrder) func(io.Reader, func(uint32)) error {
	return func(r io.Reader, emit func(uint32)) error {
		b := make([]byte, 4)
		for in := bufio.NewReader(r); ; {
			if _, err := io.ReadFull(in, b); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			emit(order.Uint32(b))
		}
	}
}

func readTrace(t testing.TB, n int) (requests []uint32, keys int) {
	f, err := os.Open(filepath.Join(traces, traceFiles[n].file))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("the traces are not there: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[uint32]bool{}
	err = traceFiles[n].read(z, func(k uint32) {
		requests = append(requests, k)
		seen[k] = true
	})
	if err != nil {
		t.Fatal(err)
	}
	return requests, len(seen)
}

// lru is exact.
type lru struct {
	room  int
	items map[uint32]*list.Element
	order list.List
}

func newLRU(room int) *lru { return &lru{room: room, items: map[uint32]*list.Element{}} }

func (l *lru) get(k uint32) bool {
	e := l.items[k]
	if e != nil {
		l.order.MoveToFront(e)
	}
	return e != nil
}

// put adds a key and returns the one that had to go.
func (l *lru) put(k uint32) (gone uint32, evicted bool) {
	if l.get(k) {
		return 0, false
	}
	l.items[k] = l.order.PushFront(k)
	if len(l.items) <= l.room {
		return 0, false
	}
	last := l.order.Back()
	gone = l.order.Remove(last).(uint32)
	delete(l.items, gone)
	return gone, true
}

// result is loads from the database and items written to the SSD, each for one
// request.
type result struct{ loads, writes float64 }

// onlyLRU is memory for 1 % of the keys over an LRU on SSD for 10 %, which gets
// what memory evicts.
func onlyLRU(requests []uint32, keys int) result {
	l1, l2 := newLRU(keys/100), newLRU(keys/10)
	loads, writes := 0, 0
	for _, k := range requests {
		if l1.get(k) {
			continue
		}
		if !l2.get(k) {
			loads++
		}
		if gone, evicted := l1.put(k); evicted && !l2.get(gone) {
			writes++
			l2.put(gone)
		}
	}
	n := float64(len(requests))
	return result{float64(loads) / n, float64(writes) / n}
}

// record is an item's size in the file: 256 bytes and 16 in the footer.
const record = 256

// ours is the same memory over a Cache with room for 10 % of the keys, filled
// when they are loaded.
func ours(t testing.TB, requests []uint32, keys int, opts ssdcache.Options) result {
	const segments = 32
	segment := max((keys/10/segments*(record+16)+2048)/4096*4096, 64<<10)
	opts.SegmentSize = segment
	opts.Logger = slog.New(slog.DiscardHandler)
	size := int64(4096 + 2*((segment/4+4095)/4096*4096) + segments*segment)
	c, err := ssdcache.Open(filepath.Join(t.TempDir(), "cache"), size, &opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	l1 := newLRU(keys / 100)
	loads := 0
	key, value, dst := make([]byte, 4), make([]byte, record-24-4), make([]byte, 0, 2*record)
	for _, k := range requests {
		if l1.get(k) {
			continue
		}
		binary.BigEndian.PutUint32(key, k)
		if _, err := c.Get(dst, key); err != nil {
			loads++
			if err := c.Set(key, value, 0); err != nil {
				t.Fatal(err)
			}
		}
		l1.put(k)
	}
	s := c.Stats()
	n := float64(len(requests))
	return result{float64(loads) / n, float64(s.Sets+s.Kept) / n}
}

// BenchmarkPolicy is a table of traces and policies. It reads the traces of
// ../shared/traces and skips without them.
func BenchmarkPolicy(b *testing.B) {
	for n, trace := range traceFiles {
		requests, keys := readTrace(b, n)
		base := onlyLRU(requests, keys)
		for _, p := range []struct {
			name string
			opts ssdcache.Options
		}{
			{"fifo", ssdcache.Options{Keep: -1}},
			{"keep=0.5", ssdcache.Options{Keep: 0.5}},
			{"reject-first", ssdcache.Options{Keep: -1, Admission: ssdcache.RejectFirst}},
			{"reject-first,keep", ssdcache.Options{Admission: ssdcache.RejectFirst}},
		} {
			b.Run(trace.name+"/"+p.name, func(b *testing.B) {
				var r result
				for range b.N {
					r = ours(b, requests, keys, p.opts)
				}
				b.ReportMetric(100*r.loads, "%loads")
				b.ReportMetric(100*(r.loads-base.loads), "points-over-LRU")
				b.ReportMetric(r.writes/base.writes, "writes/LRU's")
			})
		}
	}
}
