package s3content_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/objstoretest"
	"github.com/heddle-go/heddle/objstore/s3content"
)

// server connects to the S3 server of the tests.
func server(t testing.TB) (client *minio.Client, bucket string) {
	t.Helper()
	addr := os.Getenv("HEDDLE_TEST_S3")
	if addr == "" {
		t.Skip("needs an S3 server: versitygw --access test --secret testtest --port 127.0.0.1:7070 posix DIR, then HEDDLE_TEST_S3=http://test:testtest@127.0.0.1:7070/heddle")
	}
	u, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	secret, _ := u.User.Password()
	client, err = minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(u.User.Username(), secret, ""), Secure: u.Scheme == "https"})
	if err != nil {
		t.Fatal(err)
	}
	bucket = strings.Trim(u.Path, "/")
	ctx := context.Background()
	if ok, err := client.BucketExists(ctx, bucket); err != nil {
		t.Fatal(err)
	} else if !ok {
		if err := client.MakeBucket(ctx, bucket, minio.MakeBucketOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return client, bucket
}

// newBucket is a Bucket with a prefix of its own.
func newBucket(t testing.TB) (b *s3content.Bucket, prefix string) {
	t.Helper()
	client, bucket := server(t)
	prefix = strings.ToLower(rand.Text()) + "/"
	b, err := s3content.New(client, bucket, &s3content.Options{Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	return b, prefix
}

func TestContent(t *testing.T) {
	objstoretest.TestContent(t, func(t *testing.T) objstore.Content {
		b, _ := newBucket(t)
		return b
	})
}

func TestOptions(t *testing.T) {
	_, err := s3content.New(nil, "", &s3content.Options{Prefix: "/x", PartSize: 1})
	for _, want := range []string{"Prefix", "PartSize 1", "a client and a bucket"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// What a Put that was cut off has left is aborted by Sweep.
func TestSweepParts(t *testing.T) {
	ctx := context.Background()
	b, prefix := newBucket(t)
	client, bucket := server(t)
	core := minio.Core{Client: client}
	id, err := core.NewMultipartUpload(ctx, bucket, prefix+"t/cut", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	count := func() (n int) {
		for up := range client.ListIncompleteUploads(ctx, bucket, prefix, true) {
			if up.Err != nil {
				t.Fatal(up.Err)
			}
			if up.UploadID != id {
				t.Error(up)
			}
			n++
		}
		return n
	}
	if err := b.Sweep(ctx, time.Now().Add(-time.Hour)); err != nil || count() != 1 {
		t.Fatal(count(), err)
	}
	if err := b.Sweep(ctx, time.Now().Add(time.Hour)); err != nil || count() != 0 {
		t.Fatal(count(), err)
	}
}

// An upload that is old and still under way is left alone.
func TestSweepLeavesWhatGoesOn(t *testing.T) {
	ctx := context.Background()
	b, prefix := newBucket(t)
	client, bucket := server(t)
	core := minio.Core{Client: client}
	id, err := core.NewMultipartUpload(ctx, bucket, prefix+"t/slow", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var begun time.Time
	for up := range client.ListIncompleteUploads(ctx, bucket, prefix, true) {
		begun = up.Initiated
	}
	// Put the part again until the server's clock says that it is later.
	var part time.Time
	for deadline := time.Now().Add(30 * time.Second); part.Sub(begun) < 2*time.Second; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server's clock stands still")
		}
		if _, err := core.PutObjectPart(ctx, bucket, prefix+"t/slow", id, 1, strings.NewReader("part"), 4, minio.PutObjectPartOptions{}); err != nil {
			t.Fatal(err)
		}
		parts, err := core.ListObjectParts(ctx, bucket, prefix+"t/slow", id, 0, 1)
		if err != nil || len(parts.ObjectParts) != 1 {
			t.Fatal(parts, err)
		}
		part = parts.ObjectParts[0].LastModified
	}
	if err := b.Sweep(ctx, begun.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := core.AbortMultipartUpload(ctx, bucket, prefix+"t/slow", id); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

type Video struct {
	Seconds int `json:"seconds"`
}

func newVideos(t testing.TB) (*objstore.Library, *objstore.Collection[Video]) {
	t.Helper()
	b, _ := newBucket(t)
	lib, err := objstore.Open(filepath.Join(t.TempDir(), "lib"), &objstore.Options{Content: b, SweepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lib.Close(); err != nil {
			t.Error(err)
		}
	})
	videos, err := objstore.NewCollection(lib, objstore.Type[Video]{Number: 1034, Name: "video"})
	if err != nil {
		t.Fatal(err)
	}
	return lib, videos
}

func do(t testing.TB, method, url string, header http.Header, body io.Reader) (int, []byte) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// A client writes and reads a content without the library in between.
func TestPresigned(t *testing.T) {
	ctx := context.Background()
	lib, videos := newVideos(t)
	invite, err := videos.InviteUpload(ctx, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := videos.AcceptUpload(ctx, invite, "video", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("AcceptUpload of nothing: %v", err)
	}
	data := bytes.Repeat([]byte("moving "), 100_000)
	if code, body := do(t, "PUT", invite.URL, invite.Header, bytes.NewReader(data)); code != 200 {
		t.Fatalf("PUT: %d %s", code, body)
	}
	if code, _ := do(t, "PUT", invite.URL, invite.Header, strings.NewReader("again")); code != 412 {
		t.Errorf("second PUT: %d", code)
	}
	if _, err := videos.AcceptUpload(ctx, invite, "video", &objstore.UploadOptions{Size: 1}); !errors.Is(err, objstore.ErrCorrupt) {
		t.Errorf("AcceptUpload of another size: %v", err)
	}
	info, err := videos.AcceptUpload(ctx, invite, "video", &objstore.UploadOptions{Type: "video/mp4", Size: int64(len(data))})
	if err != nil {
		t.Fatal(err)
	}
	obj := &objstore.Object[Video]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{info}}}
	if err := videos.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	if _, err := videos.AcceptUpload(ctx, invite, "video", nil); !errors.Is(err, objstore.ErrUpload) {
		t.Errorf("AcceptUpload of what an object has: %v", err)
	}
	link, err := lib.ContentURL(ctx, &obj.Contents[0], time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if code, body := do(t, "GET", link, nil, nil); code != 200 || !bytes.Equal(body, data) {
		t.Errorf("GET: %d, %d bytes", code, len(body))
	}
	if _, err := videos.InviteUpload(ctx, time.Hour); !errors.Is(err, objstore.ErrInvalid) {
		t.Errorf("an invitation of an hour: %v", err)
	}
	r, err := lib.OpenContent(ctx, &obj.Contents[0])
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, data) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// What is read of the middle of a content that has changed in the bucket is an
// error.
func TestCorruptPart(t *testing.T) {
	ctx := context.Background()
	b, prefix := newBucket(t)
	lib, err := objstore.Open(filepath.Join(t.TempDir(), "lib"), &objstore.Options{Content: b, SweepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer lib.Close()
	videos, err := objstore.NewCollection(lib, objstore.Type[Video]{Number: 1034, Name: "video"})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("moving "), 1<<20)
	up, err := videos.Upload(ctx, "video", bytes.NewReader(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	read := func() error {
		r, err := lib.OpenContent(ctx, &up)
		if err != nil {
			return err
		}
		defer r.Close()
		if _, err := r.Seek(5_000_000, io.SeekStart); err != nil {
			return err
		}
		got := make([]byte, 70)
		if _, err := io.ReadFull(r, got); err != nil {
			return err
		}
		if !bytes.Equal(got, data[5_000_000:5_000_070]) {
			t.Error("other bytes")
		}
		return nil
	}
	if err := read(); err != nil {
		t.Fatal(err)
	}
	client, bucket := server(t)
	data[5_000_100] ^= 1
	if _, err := client.PutObject(ctx, bucket, prefix+up.Key, bytes.NewReader(data), int64(len(data)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, objstore.ErrCorrupt) {
		t.Error(err)
	}
}

// A large content needs one part of memory. The garbage collector runs often, so
// that what is measured is little more than what is needed.
func TestMemory(t *testing.T) {
	ctx := context.Background()
	size := int64(100 << 20)
	if os.Getenv("HEDDLE_TEST_LONG") != "" {
		size = 1 << 30
	}
	_, videos := newVideos(t)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	var up objstore.ContentInfo
	var err error
	peak := objstoretest.PeakHeap(func() {
		up, err = videos.Upload(ctx, "video", io.LimitReader(zeros{}, size), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MiB of heap for a content of %d MiB", float64(peak)/(1<<20), size>>20)
	if peak > 2*part {
		t.Error("that is more than two parts")
	}
	if err := videos.Abort(ctx, up); err != nil {
		t.Error(err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func BenchmarkPut1MiB(b *testing.B) {
	ctx := context.Background()
	data := make([]byte, 1<<20)
	_, _ = rand.Read(data)
	b.Run("s3content", func(b *testing.B) {
		c, _ := newBucket(b)
		b.SetBytes(1 << 20)
		for i := 0; b.Loop(); i++ {
			if _, err := c.Put(ctx, fmt.Sprint("b/", i), bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("minio-go", func(b *testing.B) {
		client, bucket := server(b)
		prefix := strings.ToLower(rand.Text()) + "/"
		b.SetBytes(1 << 20)
		for i := 0; b.Loop(); i++ {
			if _, err := client.PutObject(ctx, bucket, fmt.Sprint(prefix, i), bytes.NewReader(data), 1<<20, minio.PutObjectOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGet1MiB(b *testing.B) {
	ctx := context.Background()
	client, bucket := server(b)
	c, prefix := newBucket(b)
	if _, err := c.Put(ctx, "b/x", bytes.NewReader(make([]byte, 1<<20))); err != nil {
		b.Fatal(err)
	}
	read := func(b *testing.B, open func() (io.ReadCloser, error)) {
		b.SetBytes(1 << 20)
		for b.Loop() {
			r, err := open()
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); err != nil || n != 1<<20 {
				b.Fatal(n, err)
			}
			r.Close()
		}
	}
	b.Run("s3content", func(b *testing.B) {
		read(b, func() (io.ReadCloser, error) { return c.Open(ctx, "b/x", 0, -1) })
	})
	b.Run("minio-go", func(b *testing.B) {
		read(b, func() (io.ReadCloser, error) {
			return client.GetObject(ctx, bucket, prefix+"b/x", minio.GetObjectOptions{})
		})
	})
}
