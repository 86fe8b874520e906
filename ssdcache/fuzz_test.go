package ssdcache

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
)

func FuzzSuperblock(f *testing.F) {
	s := superblock{geometry: geometry{segmentSize: 1 << 20, segments: 9, buffers: 2}, epoch: 7, journaled: true, id: [16]byte{1, 2}, boot: [16]byte{3}}
	f.Add(s.append(nil))
	f.Add(make([]byte, superSize))
	f.Add([]byte("heddlSSD\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSuperblock(b)
		if err == nil && !bytes.Equal(s.append(nil)[:48], b[:48]) {
			t.Errorf("%x became %+v", b, s)
		}
	})
}

func FuzzRecord(f *testing.F) {
	rec := make([]byte, recordSize(3, 5))
	putRecord(rec, []byte("key"), []byte("value"), 0, 9, 77)
	f.Add(rec, uint32(9))
	f.Add(rec[:40], uint32(9))
	text := bytes.Repeat([]byte("text "), 50)
	short := s2.Encode(nil, text)
	rec = make([]byte, recordSize(3, len(short)))
	putRecord(rec, []byte("key"), short, len(text), 9, 77)
	f.Add(rec, uint32(9))
	f.Add(make([]byte, headerSize), uint32(0))
	f.Fuzz(func(t *testing.T, rec []byte, seed uint32) {
		key, value, raw, expires, ok := parseRecord(rec, seed)
		if !ok {
			return
		}
		if len(key)+len(value)+headerSize > len(rec) {
			t.Fatalf("%d and %d bytes of %d", len(key), len(value), len(rec))
		}
		again := make([]byte, recordSize(len(key), len(value)))
		if raw > 0 {
			if v, err := decompress(nil, value, raw); err == nil && len(v) != raw {
				t.Errorf("%d bytes of %d", len(v), raw)
			}
		}
		putRecord(again, key, value, raw, seed, expires)
		if k, v, n, e, ok := parseRecord(again, seed); !ok || n != raw || !bytes.Equal(k, key) || !bytes.Equal(v, value) || e != expires {
			t.Error("not the same again")
		}
		if _, _, _, _, ok := parseRecord(again, seed+1); ok {
			t.Error("a record of another use")
		}
	})
}

func FuzzFooter(f *testing.F) {
	const size = 4096
	entries := []logEntry{newRecordEntry(1, 0, 128), newRecordEntry(2, 128, 64), {hash: 3}}
	seg := make([]byte, size)
	putFooter(seg, entries, 5, 77)
	f.Add(seg, uint32(5), uint64(77))
	f.Add(seg[size-20:], uint32(5), uint64(77))
	f.Fuzz(func(t *testing.T, tail []byte, seed uint32, stamp uint64) {
		entries, need, ok := parseFooter(nil, tail, size, seed, stamp)
		switch {
		case !ok && need > footerSize(maxEntries(size)):
			t.Errorf("wants %d bytes", need)
		case !ok:
		default:
			for _, e := range entries {
				if (e.off()+e.units())*unit > size {
					t.Errorf("%+v is outside", e)
				}
			}
			again := make([]byte, footerSize(len(entries)))
			putFooter(again, entries, seed, stamp)
			if !bytes.Equal(again, tail[len(tail)-len(again):]) {
				t.Error("not the same again")
			}
		}
	})
}

func FuzzJournal(f *testing.F) {
	const secret, stamp = 77 << 32, 1234
	s := seed(secret, stamp)
	j := appendJournal(nil, stamp, stamp, s)
	j = appendJournal(j, 1, stamp, s)
	j = appendJournal(j, 2, stamp, s)
	f.Add(j)
	f.Add(append(slices.Clone(j), make([]byte, 64)...))
	f.Add(j[:17])
	f.Fuzz(func(t *testing.T, data []byte) {
		stamp, hashes, ok := parseJournal(data, secret)
		if len(hashes) > len(data)/entrySize {
			t.Fatalf("%d of %d bytes", len(hashes), len(data))
		}
		if !ok {
			return
		}
		s := seed(secret, stamp)
		again := appendJournal(nil, stamp, stamp, s)
		for _, h := range hashes {
			again = appendJournal(again, h, stamp, s)
		}
		if !bytes.HasPrefix(data, again) {
			t.Error("not the same again")
		}
	})
}

// testCache is a cache without a file.
func testCache() *Cache {
	c := &Cache{geometry: geometry{segmentSize: minSegment, segments: 5, buffers: 2}}
	c.super = superblock{geometry: c.geometry, id: [16]byte{4}, epoch: 3}
	c.segs = make([]segment, c.geometry.segments)
	c.clear()
	return c
}

func FuzzIndex(f *testing.F) {
	write := func(c *Cache) []byte {
		var b bytes.Buffer
		w := &indexWriter{w: bufio.NewWriter(&b), crc: newCRC()}
		c.writeIndex(w)
		_ = w.w.Flush()
		return b.Bytes()
	}
	c := testCache()
	f.Add(write(c))
	c.stamp = 12
	for s := uint64(9); s <= 12; s++ {
		c.segs[s%5].stamp.Store(s)
		for i := range 100 {
			hash := (s*100 + uint64(i)) * 0x9e3779b97f4a7c15
			shardNo, tag := place(hash)
			c.shards[shardNo].putLocked(c.geometry.newSlot(tag, s, i, 1))
		}
	}
	f.Add(write(c))
	f.Fuzz(func(t *testing.T, data []byte) {
		// The checksum at the end is made right, or a fuzzer gets nowhere.
		if len(data) > 4 {
			sum := newCRC()
			_, _ = sum.Write(data[:len(data)-4])
			data = append(slices.Clone(data[:len(data)-4]), 0, 0, 0, 0)
			binary.LittleEndian.PutUint32(data[len(data)-4:], sum.Sum32())
		}
		c := testCache()
		if err := c.readIndex(bytes.NewReader(data)); err != nil {
			return
		}
		for i := range c.shards {
			for _, s := range c.shards[i].slots {
				if s.ext != 0 && (s.seg() >= 5 || (s.off()+s.units())*unit > minSegment) {
					t.Fatalf("%+v is outside", s)
				}
			}
		}
		if again := write(c); !bytes.Equal(again, data[:len(again)]) {
			t.Error("not the same again")
		}
	})
}

// Every item put into a shard is found, none that was removed, and the tags
// stay in order, whatever they are.
func FuzzShard(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x80\x81\xff\x00\x00\x10\x11"))
	f.Add(bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 40))
	f.Fuzz(func(t *testing.T, ops []byte) {
		var sh shard
		model := map[uint32]slot{}
		for len(ops) >= 3 {
			tag := uint32(ops[0])<<20 | uint32(ops[1])<<12 | uint32(ops[1])
			if ops[2]&3 == 0 {
				if i := sh.findLocked(tag); (i >= 0) != (model[tag] != slot{}) {
					t.Fatalf("tag %d: at %d, model %v", tag, i, model[tag])
				} else if i >= 0 {
					sh.removeLocked(i)
				}
				delete(model, tag)
			} else {
				s := slot{hi: tag << 4, lo: uint32(ops[2]), ext: 1}
				if old := sh.putLocked(s); old != model[tag] {
					t.Fatalf("tag %d: %v, model %v", tag, old, model[tag])
				}
				model[tag] = s
			}
			ops = ops[3:]
		}
		if sh.count != len(model) {
			t.Fatalf("%d items, want %d", sh.count, len(model))
		}
		last := -1
		for _, s := range sh.slots {
			if s.ext == 0 {
				continue
			}
			if int(s.tag()) <= last {
				t.Fatal("not in order")
			}
			last = int(s.tag())
			if model[s.tag()] != s || sh.findLocked(s.tag()) < 0 {
				t.Fatalf("%v, model %v", s, model[s.tag()])
			}
		}
	})
}

func FuzzEntry(f *testing.F) {
	b, err := appendEntry(nil, JSON{}, &entry[string]{value: "x", fresh: 7, cost: 1000})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:5])
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decodeEntry[string](JSON{}, data)
		if err == nil && e.size != len(data) {
			t.Errorf("%+v", e)
		}
	})
}
