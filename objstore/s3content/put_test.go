package s3content_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/heddle-go/heddle/objstore/s3content"
)

const part = 5 << 20

// unfinished counts the multipart uploads under a prefix.
func unfinished(t *testing.T, prefix string) (n int) {
	t.Helper()
	client, bucket := server(t)
	for up := range client.ListIncompleteUploads(context.Background(), bucket, prefix, true) {
		if up.Err != nil {
			t.Fatal(up.Err)
		}
		n++
	}
	return n
}

func content(t *testing.T, b *s3content.Bucket, key string) ([]byte, error) {
	t.Helper()
	r, err := b.Open(context.Background(), key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// hook calls itself when it is read, and is then at its end.
type hook func() error

func (h hook) Read([]byte) (int, error) {
	if err := h(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

// early is a reader whose end waits for ready.
type early struct {
	io.Reader
	ready func() error
}

func (e early) Early() (ready func() error, sum func() [32]byte) { return e.ready, nil }

// A large Put that fails leaves nothing, for whatever reason.
func TestPutAborts(t *testing.T) {
	mine := errors.New("mine")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, test := range []struct {
		name string
		in   func(begun hook) io.Reader
		want error
	}{
		{"reader", func(begun hook) io.Reader {
			return io.MultiReader(io.LimitReader(zeros{}, 2*part+1), begun, iotest.ErrReader(mine))
		}, mine},
		{"ready", func(begun hook) io.Reader {
			return early{io.MultiReader(io.LimitReader(zeros{}, 2*part+1), begun), func() error { return mine }}
		}, mine},
		{"cancelled", func(begun hook) io.Reader {
			return io.MultiReader(io.LimitReader(zeros{}, part), begun, hook(func() error { cancel(); return nil }), strings.NewReader("more"))
		}, context.Canceled},
		{"cancelled at the end", func(begun hook) io.Reader {
			return early{io.MultiReader(io.LimitReader(zeros{}, part), begun), func() error { cancel(); return nil }}
		}, context.Canceled},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel = context.WithCancel(context.Background())
			defer cancel()
			b, prefix := newBucket(t)
			uploads := 0
			_, err := b.Put(ctx, "t/x", test.in(func() error { uploads = unfinished(t, prefix); return nil }))
			if !errors.Is(err, test.want) {
				t.Errorf("%v, want %v", err, test.want)
			}
			if uploads != 1 || unfinished(t, prefix) != 0 {
				t.Errorf("%d uploads before, %d after", uploads, unfinished(t, prefix))
			}
			if _, err := content(t, b, "t/x"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it is readable: %v", err)
			}
		})
	}
}

// A key that is taken while a large content is on its way stays as it is.
func TestPutTakenMeanwhile(t *testing.T) {
	ctx := context.Background()
	b, prefix := newBucket(t)
	r := io.MultiReader(io.LimitReader(zeros{}, part+1), hook(func() error {
		_, err := b.Put(ctx, "t/x", strings.NewReader("first"))
		return err
	}))
	if _, err := b.Put(ctx, "t/x", r); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if got, err := content(t, b, "t/x"); err != nil || string(got) != "first" {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if n := unfinished(t, prefix); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

// A content has so many parts, and no more.
func TestPutMaxParts(t *testing.T) {
	ctx := context.Background()
	b, prefix := newBucket(t)
	b.SetMaxParts(2)
	data := make([]byte, 2*part+1)
	for i := range data {
		data[i] = byte(i >> 10)
	}
	if n, err := b.Put(ctx, "t/x", bytes.NewReader(data[:2*part])); err != nil || n != 2*part {
		t.Fatal(n, err)
	}
	if got, err := content(t, b, "t/x"); err != nil || !bytes.Equal(got, data[:2*part]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := b.Put(ctx, "t/y", bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), "more than 2 parts") {
		t.Error(err)
	}
	if n := unfinished(t, prefix); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}
