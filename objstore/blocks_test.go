package objstore

import (
	"bytes"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

func castagnoliOf(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// The sums of blocks that were joined are those of the joined blocks.
func TestBlockSummer(t *testing.T) {
	var s blockSummer
	piece := make([]byte, 3<<20/2+7)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(piece)
	var want []uint32 // of 2 MiB each
	crc, n := uint32(0), 0
	size := int64(0)
	for size < 700<<20 {
		s.write(piece)
		size += int64(len(piece))
		for p := piece; len(p) > 0; {
			k := min(len(p), 2<<20-n)
			crc, n, p = crc32.Update(crc, castagnoli, p[:k]), n+k, p[k:]
			if n == 2<<20 {
				want, crc, n = append(want, crc), 0, 0
			}
		}
	}
	want = append(want, crc)
	info := ContentInfo{Size: size, blocks: s.blocks(size)}
	if err := info.blocks.check(size); err != nil || info.blocks.size != 2<<20 {
		t.Fatalf("blocks of %d bytes, %v", info.blocks.size, err)
	}
	for i, sum := range want {
		if _, _, got, ok := info.block(int64(i) * 2 << 20); !ok || got != sum {
			t.Fatalf("block %d: %08x, want %08x", i, got, sum)
		}
	}
	for _, bad := range []blocks{{size: 1}, {size: 1 << 20}, {sums: "1234"}, {size: 1 << 20, sums: "123"}, {size: 1 << 62, sums: "1234"}} {
		if bad.check(1<<20+1) == nil {
			t.Errorf("%+v fits", bad)
		}
	}
}

// What is read of the middle is what was uploaded, or an error.
func TestCorruptPart(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "lib")
	lib, err := Open(dir, &Options{SweepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	c, err := NewCollection(lib, Type[[]byte]{Number: 7, Name: "raw"})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1000, 1 << 20, 5<<20 + 3} {
		data := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
		up, err := c.Upload(ctx, "x", bytes.NewReader(data), nil)
		if err != nil {
			t.Fatal(err)
		}
		obj := &Object[[]byte]{Meta: Meta{Contents: []ContentInfo{up}}}
		if err := c.Create(ctx, obj); err != nil {
			t.Fatal(err)
		}
		if obj, err = c.Get(ctx, obj.ID); err != nil {
			t.Fatal(err)
		}
		read := func(offset, n int) error {
			r, err := lib.OpenContent(ctx, &obj.Contents[0])
			if err != nil {
				return err
			}
			defer r.Close()
			if _, err := r.Seek(int64(offset), io.SeekStart); err != nil {
				return err
			}
			b := make([]byte, n)
			if _, err := io.ReadFull(r, b); err != nil {
				return err
			}
			if !bytes.Equal(b, data[offset:offset+n]) {
				t.Errorf("size %d: other bytes from %d on", size, offset)
			}
			return nil
		}
		for range 20 {
			offset := rand.IntN(size)
			if err := read(offset, rand.IntN(size-offset)+1); err != nil {
				t.Fatal(err)
			}
		}
		name := filepath.Join(dir, "content", filepath.FromSlash(obj.Contents[0].Key))
		bad := bytes.Clone(data)
		bad[size/2] ^= 1
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(size/2-10, 20); !errors.Is(err, ErrCorrupt) {
			t.Errorf("size %d: the bit is read: %v", size, err)
		}
		if err := read(1, 10); size > minBlock && err != nil {
			t.Errorf("size %d: an intact block: %v", size, err)
		}
		if err := os.WriteFile(name, data[:size-1], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(size-5, 5); !errors.Is(err, ErrCorrupt) {
			t.Errorf("size %d: a missing byte: %v", size, err)
		}
	}
}

// A large content of before there were blocks is read as it is.
func TestContentWithoutBlocks(t *testing.T) {
	data := make([]byte, 2<<20)
	info := ContentInfo{Name: "x", Size: int64(len(data)), CRC32C: castagnoliOf(data), Key: "7/a"}
	var back ContentInfo
	if err := back.decode(string(info.append(nil))); err != nil || back != info {
		t.Fatalf("%+v, %v", back, err)
	}
	if _, _, _, ok := back.block(5); ok {
		t.Error("a sum of nothing")
	}
}
