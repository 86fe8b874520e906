package objstore

import (
	"bytes"
	"context"
	"crypto/sha256"
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

// What a whole read compares: each block at its end, and all of it by the SHA-256
// unless that is left out.
func TestWholeReadSums(t *testing.T) {
	ctx := context.Background()
	for _, skip := range []bool{false, true} {
		dir := t.TempDir()
		lib, err := Open(dir, &Options{SkipSHA256: skip})
		if err != nil {
			t.Fatal(err)
		}
		defer lib.Close()
		c, err := NewCollection(lib, Type[[]byte]{Number: 7, Name: "raw"})
		if err != nil {
			t.Fatal(err)
		}
		read := func(info *ContentInfo) (n int64, r *ContentReader, err error) {
			if r, err = lib.OpenContent(ctx, info); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { r.Close() })
			n, err = io.Copy(io.Discard, r)
			return n, r, err
		}
		data := make([]byte, 3<<20+5)
		_, _ = rand.NewChaCha8([32]byte{2}).Read(data)
		for _, size := range []int{0, 1, 1 << 20, 2 << 20, len(data)} {
			up, err := c.Upload(ctx, "x", bytes.NewReader(data[:size]), nil)
			if err != nil {
				t.Fatal(err)
			}
			obj := &Object[[]byte]{Meta: Meta{Contents: []ContentInfo{up}}}
			if err := c.Create(ctx, obj); err != nil {
				t.Fatal(err)
			}
			info := obj.Contents[0]
			if info.CRC32C != castagnoliOf(data[:size]) || info.SHA256 != sha256.Sum256(data[:size]) {
				t.Errorf("size %d: sums %+v", size, info)
			}
			if n, _, err := read(&info); n != int64(size) || err != nil {
				t.Errorf("size %d: read %d bytes: %v", size, n, err)
			}
			if err := lib.VerifyContent(ctx, &info); err != nil {
				t.Errorf("size %d: %v", size, err)
			}
			other := info
			other.SHA256[5]++
			if _, _, err := read(&other); errors.Is(err, ErrCorrupt) == skip {
				t.Errorf("size %d, skip %v: another SHA-256: %v", size, skip, err)
			}
			if err := lib.VerifyContent(ctx, &other); !errors.Is(err, ErrCorrupt) {
				t.Errorf("size %d: another SHA-256 is verified: %v", size, err)
			}
			if size == 0 {
				continue
			}
			bad := bytes.Clone(data[:size])
			bad[0] ^= 1
			if err := os.WriteFile(filepath.Join(dir, "content", filepath.FromSlash(info.Key)), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			n, r, err := read(&info)
			if !errors.Is(err, ErrCorrupt) || n >= minBlock {
				t.Errorf("size %d: a flipped bit in the first block: %d bytes are read: %v", size, n, err)
			}
			for range 2 {
				if n, err := r.Read(make([]byte, size)); n != 0 || !errors.Is(err, ErrCorrupt) {
					t.Errorf("size %d: %d bytes after that, %v", size, n, err)
				}
			}
			if _, err := r.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, ErrCorrupt) {
				t.Errorf("size %d: once more from the start: %v", size, err)
			}
			// As it was stored before there were blocks.
			info.blocks = blocks{}
			if _, _, err := read(&info); !errors.Is(err, ErrCorrupt) {
				t.Errorf("size %d: a flipped bit without blocks: %v", size, err)
			}
			if err := lib.VerifyContent(ctx, &info); !errors.Is(err, ErrCorrupt) {
				t.Errorf("size %d: a flipped bit is verified: %v", size, err)
			}
		}
		if err := lib.VerifyContent(ctx, &ContentInfo{Size: 1}); !errors.Is(err, ErrInvalid) {
			t.Error(err)
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
