package objstoretest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

// TestContent checks a Content. open returns one in which no key begins with
// "t/".
func TestContent(t *testing.T, open func(t *testing.T) objstore.Content) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, objstore.Content)
	}{
		{"Sizes", testSizes},
		{"Ranges", testRanges},
		{"Taken", testTaken},
		{"FailedReader", testFailedReader},
		{"NotBeforeTheEnd", testNotBeforeTheEnd},
		{"Early", testEarly},
		{"Delete", testDelete},
		{"Sweep", testSweep},
		{"BadKeys", testBadContentKeys},
		{"Cancelled", testCancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

func noise(size int) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(b)
	return b
}

func put(t testing.TB, c objstore.Content, key string, data []byte) {
	t.Helper()
	// A reader of no known type, so that nobody can tell the size before.
	n, err := c.Put(context.Background(), key, iotest.HalfReader(bytes.NewReader(data)))
	if err != nil || n != int64(len(data)) {
		t.Fatalf("Put of %d bytes: %d, %v", len(data), n, err)
	}
}

func read(c objstore.Content, key string, offset, length int64) ([]byte, error) {
	r, err := c.Open(context.Background(), key, offset, length)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func absent(t testing.TB, c objstore.Content, key string) {
	t.Helper()
	if b, err := read(c, key, 0, -1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read of absent %s: %d bytes, %v", key, len(b), err)
	}
}

func testSizes(t *testing.T, c objstore.Content) {
	data := noise(11<<20 + 3)
	for i, size := range []int{0, 1, 100, 256 << 10, 256<<10 + 1, 5 << 20, len(data)} {
		key := "t/sizes/" + string(rune('a'+i))
		put(t, c, key, data[:size])
		if got, err := read(c, key, 0, -1); err != nil || !bytes.Equal(got, data[:size]) {
			t.Errorf("%d bytes came back as %d, %v", size, len(got), err)
		}
	}
}

func testRanges(t *testing.T, c objstore.Content) {
	data := noise(100_000)
	put(t, c, "t/ranges", data)
	for _, r := range [][2]int64{{0, 1}, {0, 100_000}, {99_999, 1}, {50_000, 10}, {1, -1}, {99_999, -1}} {
		end := int64(len(data))
		if r[1] >= 0 {
			end = r[0] + r[1]
		}
		if got, err := read(c, "t/ranges", r[0], r[1]); err != nil || !bytes.Equal(got, data[r[0]:end]) {
			t.Errorf("%d bytes from %d: got %d, %v", r[1], r[0], len(got), err)
		}
	}
	if got, err := read(c, "t/ranges", 99_990, 100); err != nil || !bytes.Equal(got, data[99_990:]) {
		t.Errorf("a range beyond the end: got %d bytes, %v", len(got), err)
	}
}

func testTaken(t *testing.T, c objstore.Content) {
	put(t, c, "t/taken", []byte("first"))
	if _, err := c.Put(context.Background(), "t/taken", strings.NewReader("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put to a key that is taken: %v", err)
	}
	if _, err := c.Put(context.Background(), "t/taken", bytes.NewReader(noise(12<<20))); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Put of a large content to a key that is taken: %v", err)
	}
	if got, err := read(c, "t/taken", 0, -1); err != nil || string(got) != "first" {
		t.Errorf("then there are %d bytes, %v", len(got), err)
	}
}

func testFailedReader(t *testing.T, c objstore.Content) {
	mine := errors.New("mine")
	for i, size := range []int64{0, 10, 6 << 20} {
		for _, failure := range []error{mine, io.ErrUnexpectedEOF} {
			key := "t/failed/" + string(rune('a'+i))
			r := io.MultiReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size), iotest.ErrReader(failure))
			if _, err := c.Put(context.Background(), key, r); !errors.Is(err, failure) {
				t.Errorf("Put whose reader failed after %d bytes: %v", size, err)
			}
			absent(t, c, key)
		}
	}
}

func testNotBeforeTheEnd(t *testing.T, c objstore.Content) {
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := c.Put(context.Background(), "t/early", r)
		done <- err
	}()
	for range 8 {
		if _, err := w.Write(noise(1 << 20)); err != nil {
			t.Fatal(err)
		}
		absent(t, c, "t/early")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got, err := read(c, "t/early", 0, -1); err != nil || len(got) != 8<<20 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// earlyReader is a reader as the library has it.
type earlyReader struct {
	io.Reader
	data  []byte
	ready func() error
}

func (r *earlyReader) Early() (ready func() error, sum func() [32]byte) {
	return r.ready, func() [32]byte { return sha256.Sum256(r.data) }
}

// A Content that takes over the wait at the end of a reader waits.
func testEarly(t *testing.T, c objstore.Content) {
	ctx, mine := context.Background(), errors.New("mine")
	all := noise(6 << 20)
	for i, size := range []int{0, 1, 100, 64 << 10, 1 << 20, len(all)} {
		data, key := all[:size], "t/early/"+string(rune('a'+i))
		r := &earlyReader{Reader: bytes.NewReader(data), data: data, ready: func() error { return mine }}
		if _, err := c.Put(ctx, key+"x", r); err != nil {
			if !errors.Is(err, mine) {
				t.Errorf("Put of %d bytes: %v", size, err)
			}
			absent(t, c, key+"x")
		} // a Content may leave the wait to the reader, which this one does not do

		r = &earlyReader{Reader: bytes.NewReader(data), data: data, ready: func() error {
			absent(t, c, key)
			return nil
		}}
		if n, err := c.Put(ctx, key, r); err != nil || n != int64(size) {
			t.Fatalf("Put of %d bytes: %d, %v", size, n, err)
		}
		if b, err := read(c, key, 0, -1); err != nil || !bytes.Equal(b, data) {
			t.Errorf("%d of %d bytes, %v", len(b), size, err)
		}
	}
}

func testDelete(t *testing.T, c objstore.Content) {
	ctx := context.Background()
	put(t, c, "t/deleted", []byte("x"))
	for range 2 {
		if err := c.Delete(ctx, "t/deleted"); err != nil {
			t.Error(err)
		}
		absent(t, c, "t/deleted")
	}
	if err := c.Delete(ctx, "t/never/was"); err != nil {
		t.Error(err)
	}
}

// Sweep takes nothing that is readable.
func testSweep(t *testing.T, c objstore.Content) {
	put(t, c, "t/swept", []byte("x"))
	if err := c.Sweep(context.Background(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got, err := read(c, "t/swept", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}

func testBadContentKeys(t *testing.T, c objstore.Content) {
	ctx := context.Background()
	for _, key := range []string{"", "/", "..", "t/../x", "/t", "t/", "t//x", "t/X", "t/x.y", "t/\x00", strings.Repeat("x", 2000)} {
		if _, err := c.Put(ctx, key, strings.NewReader("x")); err == nil {
			t.Errorf("Put took key %.20q", key)
		}
		if r, err := c.Open(ctx, key, 0, -1); err == nil {
			_ = r.Close()
			t.Errorf("Open took key %.20q", key)
		}
		if err := c.Delete(ctx, key); err == nil {
			t.Errorf("Delete took key %.20q", key)
		}
	}
}

func testCancelled(t *testing.T, c objstore.Content) {
	ctx, cancel := context.WithCancel(context.Background())
	r := io.MultiReader(bytes.NewReader(noise(7<<20)), readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	}))
	if _, err := c.Put(ctx, "t/cancelled", r); !errors.Is(err, context.Canceled) {
		t.Errorf("Put: %v", err)
	}
	absent(t, c, "t/cancelled")
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
