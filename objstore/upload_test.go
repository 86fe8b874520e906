package objstore_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

// newFiles is a library whose contents a test can look at.
func newFiles(t testing.TB, clk *clock) (dir string, lib *objstore.Library, pictures *objstore.Collection[Picture]) {
	dir = filepath.Join(t.TempDir(), "lib")
	var opts objstore.Options
	if clk != nil {
		opts.SetClock(clk.Now)
	}
	lib = openLibrary(t, dir, opts)
	return dir, lib, collection(t, lib, pictureType)
}

// files lists the contents and parts of contents in a library's directory.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "content"), func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func wantFiles(t testing.TB, dir string, n int) {
	t.Helper()
	if names := files(t, dir); len(names) != n {
		t.Errorf("%d files, want %d: %v", len(names), n, names)
	}
}

func upload(t testing.TB, c *objstore.Collection[Picture], name, data string) objstore.ContentInfo {
	t.Helper()
	up, err := c.Upload(ctx, name, strings.NewReader(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func noise(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

func TestUpload(t *testing.T) {
	_, lib, pictures := newFiles(t, nil)
	data := noise(3<<20 + 1)
	sum := sha256.Sum256(data)
	up, err := pictures.Upload(ctx, "original", iotest.HalfReader(bytes.NewReader(data)), &objstore.UploadOptions{
		Type: "image/png", Size: int64(len(data)), SHA256: sum, MaxSize: int64(len(data)),
	})
	if err != nil {
		t.Fatal(err)
	}
	obj := create(t, pictures, up, upload(t, pictures, "empty", ""))
	got, err := pictures.Get(ctx, obj.ID)
	if err != nil {
		t.Fatal(err)
	}
	c := got.Content("original")
	if c == nil || c.Type != "image/png" || c.Size != int64(len(data)) || c.SHA256 != sum || c.CRC32C != crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) {
		t.Fatalf("%+v", c)
	}
	wantContent(t, lib, c, string(data))
	wantContent(t, lib, got.Content("empty"), "")
	if got.Content("other") != nil {
		t.Error("a content of no name")
	}
	if s := lib.Stats(); s.Uploads != 2 || s.UploadedBytes != uint64(len(data)) || s.Opened != 1 {
		t.Errorf("%+v", s)
	}
}

func TestUploadRefused(t *testing.T) {
	dir, _, pictures := newFiles(t, nil)
	mine := errors.New("mine")
	for _, c := range []struct {
		name string
		r    io.Reader
		opts objstore.UploadOptions
		want error
	}{
		{"short", strings.NewReader("123"), objstore.UploadOptions{Size: 4}, objstore.ErrCorrupt},
		{"long", strings.NewReader("12345"), objstore.UploadOptions{Size: 4}, objstore.ErrCorrupt},
		{"sum", strings.NewReader("123"), objstore.UploadOptions{SHA256: objstore.SHA256{1}}, objstore.ErrCorrupt},
		{"endless", rand.NewChaCha8([32]byte{}), objstore.UploadOptions{MaxSize: 1 << 20}, objstore.ErrInvalid},
		{"failing", io.MultiReader(strings.NewReader("123"), iotest.ErrReader(mine)), objstore.UploadOptions{}, mine},
		{"cut", io.MultiReader(strings.NewReader("123"), iotest.ErrReader(io.ErrUnexpectedEOF)), objstore.UploadOptions{}, io.ErrUnexpectedEOF},
	} {
		_, err := pictures.Upload(ctx, c.name, c.r, &c.opts)
		fails(t, c.name, err, c.want)
		if err != nil && !strings.Contains(err.Error(), `upload of image "`+c.name+`"`) {
			t.Error(err)
		}
	}
	wantFiles(t, dir, 0)
}

func TestUploadIsUsedOnce(t *testing.T) {
	dir, lib, pictures := newFiles(t, nil)
	up := upload(t, pictures, "x", "x")
	obj := create(t, pictures, up)
	if err := pictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{up}}}); !errors.Is(err, objstore.ErrUpload) {
		t.Error(err)
	}
	fails(t, "Abort of what an object has", pictures.Abort(ctx, up), objstore.ErrUpload)
	fails(t, "Abort of what an object has", pictures.Abort(ctx, obj.Contents[0]), objstore.ErrUpload)

	// What an object has cannot be put into another.
	other := create(t, pictures)
	other.Contents = obj.Contents
	fails(t, "Update with another's content", pictures.Update(ctx, other), objstore.ErrUpload)

	// A write that stored nothing leaves it usable.
	up = upload(t, pictures, "y", "y")
	stale := *obj
	obj.Value.Width++
	if err := pictures.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	stale.Contents = append(stale.Contents[:1:1], up)
	fails(t, "Update", pictures.Update(ctx, &stale), objstore.ErrConflict)
	stale.Version = obj.Version
	stale.DisplayName = "\xff"
	fails(t, "Update", pictures.Update(ctx, &stale), objstore.ErrInvalid)
	stale.DisplayName = ""
	if err := pictures.Update(ctx, &stale); err != nil {
		t.Fatal(err)
	}
	wantContent(t, lib, stale.Content("x"), "x")
	wantContent(t, lib, stale.Content("y"), "y")

	up = upload(t, pictures, "z", "z")
	wantFiles(t, dir, 3)
	if err := pictures.Abort(ctx, up); err != nil {
		t.Fatal(err)
	}
	wantFiles(t, dir, 2)
	fails(t, "second Abort", pictures.Abort(ctx, up), objstore.ErrUpload)
	fails(t, "Create after Abort", pictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{up}}}), objstore.ErrUpload)

	_, otherLibrary, otherPictures := newFiles(t, nil)
	up = upload(t, pictures, "z", "z")
	fails(t, "an upload of another library", otherPictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{up}}}), objstore.ErrUpload)
	_ = otherLibrary
}

// Two contents of one name are refused, and the claimed upload is free again.
func TestContentNamesAreUnique(t *testing.T) {
	_, _, pictures := newFiles(t, nil)
	a, b := upload(t, pictures, "x", "a"), upload(t, pictures, "x", "b")
	err := pictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{a, b}}})
	fails(t, "Create", err, objstore.ErrInvalid)
	b.Name = "y"
	create(t, pictures, a, b)
}

// What goes through JSON has no key, and is found again by name and sum.
func TestContentsThroughJSON(t *testing.T) {
	_, lib, pictures := newFiles(t, nil)
	obj := create(t, pictures, upload(t, pictures, "x", "x"), upload(t, pictures, "y", "y"))
	text, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	var back objstore.Object[Picture]
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	_, err = lib.OpenContent(ctx, &back.Contents[0])
	fails(t, "OpenContent", err, objstore.ErrInvalid)
	back.Contents = back.Contents[1:]
	back.Contents[0].Type = "text/plain"
	if err := pictures.Update(ctx, &back); err != nil {
		t.Fatal(err)
	}
	wantContent(t, lib, &back.Contents[0], "y")
	forged := back
	forged.Contents = []objstore.ContentInfo{{Name: "y", SHA256: objstore.SHA256{1}}}
	fails(t, "Update", pictures.Update(ctx, &forged), objstore.ErrUpload)
}

func TestOrphansAreCollected(t *testing.T) {
	clk := newClock()
	dir, lib, pictures := newFiles(t, clk)
	orphan := upload(t, pictures, "orphan", "x")
	obj := create(t, pictures, upload(t, pictures, "x", "x"), upload(t, pictures, "y", "y"))
	clk.Add(29 * time.Minute)
	gone := obj.Contents[0]
	obj.Contents = obj.Contents[1:]
	if err := pictures.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	wantContent(t, lib, &gone, "x") // who still has the version before can read it
	clk.Add(2 * time.Minute)
	fails(t, "an old upload", pictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{Contents: []objstore.ContentInfo{orphan}}}), objstore.ErrUpload)
	if r := sweep(t, lib); r.Collected != 0 {
		t.Error(r)
	}
	wantFiles(t, dir, 3)
	clk.Add(30 * time.Minute)
	if r := sweep(t, lib); r.Collected != 1 { // the orphan
		t.Error(r)
	}
	clk.Add(time.Hour)
	if r := sweep(t, lib); r.Collected != 1 { // what the object has lost
		t.Error(r)
	}
	wantFiles(t, dir, 1)
	wantContent(t, lib, &obj.Contents[0], "y")
	r, err := lib.OpenContent(ctx, &gone)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.Read(make([]byte, 1))
	fails(t, "Read of a collected content", err, fs.ErrNotExist)

	if err := pictures.Purge(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	clk.Add(time.Hour)
	if r := sweep(t, lib); r.Collected != 1 {
		t.Error(r)
	}
	wantFiles(t, dir, 0)
	if s := lib.Stats(); s.Collected != 3 {
		t.Errorf("%+v", s)
	}
}

// An upload that takes longer than the grace period is not collected meanwhile.
func TestLongUpload(t *testing.T) {
	clk := newClock()
	_, lib, pictures := newFiles(t, clk)
	r, w := io.Pipe()
	type result struct {
		info objstore.ContentInfo
		err  error
	}
	done := make(chan result, 1)
	go func() {
		info, err := pictures.Upload(ctx, "slow", r, nil)
		done <- result{info, err}
	}()
	data := noise(300 << 10)
	for range 10 {
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		clk.Add(20 * time.Minute)
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
		if r := sweep(t, lib); r.Collected != 0 {
			t.Fatal("collected an upload under way")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	res := <-done
	if res.err != nil {
		t.Fatal(res.err)
	}
	obj := create(t, pictures, res.info)
	wantContent(t, lib, &obj.Contents[0], strings.Repeat(string(data), 20))
}

// A sweep looks at objects in all states before it collects.
func TestDeletedObjectsKeepTheirContents(t *testing.T) {
	clk := newClock()
	_, lib, pictures := newFiles(t, clk)
	obj := create(t, pictures, upload(t, pictures, "x", "x"))
	if err := pictures.Delete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	clk.Add(3 * 24 * time.Hour)
	sweep(t, lib)
	if err := pictures.Undelete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	got, err := pictures.Get(ctx, obj.ID)
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, lib, &got.Contents[0], "x")
}

// Files have no URLs.
func TestNoURLs(t *testing.T) {
	_, lib, pictures := newFiles(t, nil)
	obj := create(t, pictures, upload(t, pictures, "x", "x"))
	_, err := lib.ContentURL(ctx, &obj.Contents[0], time.Minute)
	fails(t, "ContentURL", err, objstore.ErrNoPresign)
	_, err = pictures.InviteUpload(ctx, time.Minute)
	fails(t, "InviteUpload", err, objstore.ErrNoPresign)
	_, err = pictures.AcceptUpload(ctx, &objstore.ClientUpload{Key: "1042/aa/bb"}, "x", nil)
	fails(t, "AcceptUpload", err, objstore.ErrUpload)
}

func TestContentReader(t *testing.T) {
	_, lib, pictures := newFiles(t, nil)
	data := noise(200_000)
	obj := create(t, pictures, upload(t, pictures, "x", string(data)))
	r, err := lib.OpenContent(ctx, &obj.Contents[0])
	if err != nil {
		t.Fatal(err)
	}
	if r.Info().Size != 200_000 {
		t.Error(r.Info())
	}
	if err := iotest.TestReader(r, data); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		offset int64
		whence int
	}{{-1, io.SeekStart}, {-200_001, io.SeekEnd}, {0, 9}} {
		if _, err := r.Seek(c.offset, c.whence); err == nil {
			t.Errorf("Seek(%d, %d) did not fail", c.offset, c.whence)
		}
	}
	if n, err := r.Seek(10, io.SeekEnd); n != 200_010 || err != nil {
		t.Error(n, err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Error(err)
	}
	_, err = r.Read(make([]byte, 10))
	fails(t, "Read", err, objstore.ErrClosed)
	_, err = r.Seek(0, io.SeekStart)
	fails(t, "Seek", err, objstore.ErrClosed)
}

func TestContentOverHTTP(t *testing.T) {
	_, lib, pictures := newFiles(t, nil)
	data := noise(200_000)
	obj := create(t, pictures, upload(t, pictures, "x", string(data)))
	for rng, want := range map[string][]byte{"": data, "bytes=100-199": data[100:200], "bytes=-5": data[199_995:]} {
		r, err := lib.OpenContent(ctx, &obj.Contents[0])
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("GET", "/", nil)
		if rng != "" {
			req.Header.Set("Range", rng)
		}
		rec := httptest.NewRecorder()
		http.ServeContent(rec, req, "x.bin", obj.Updated, r)
		if !bytes.Equal(rec.Body.Bytes(), want) {
			t.Errorf("%q: %d bytes, status %d", rng, rec.Body.Len(), rec.Code)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestCorruptContent(t *testing.T) {
	dir, lib, pictures := newFiles(t, nil)
	data := noise(200_000)
	obj := create(t, pictures, upload(t, pictures, "x", string(data)))
	name := files(t, dir)[0]
	readAll := func() ([]byte, error) {
		r, err := lib.OpenContent(ctx, &obj.Contents[0])
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		return io.ReadAll(r)
	}
	spoil := func(b []byte) {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	flipped := bytes.Clone(data)
	flipped[123_456] ^= 1
	spoil(flipped)
	_, err := readAll()
	fails(t, "a flipped bit", err, objstore.ErrCorrupt)
	spoil(data[:199_999])
	_, err = readAll()
	fails(t, "a missing byte", err, objstore.ErrCorrupt)
	spoil(append(bytes.Clone(data), 'x'))
	if b, err := readAll(); err != nil || !bytes.Equal(b, data) {
		t.Error("a byte more is not read:", err)
	}
	if s := lib.Stats(); s.Corrupt != 2 {
		t.Errorf("%+v", s)
	}
}

// failing is a content store that fails on demand.
type failing struct {
	objstore.Content
	put, del error
	lie      bool // Put stores, and then says that it failed
}

func (f *failing) Put(ctx context.Context, key string, r io.Reader) (int64, error) {
	if f.put != nil && !f.lie {
		_, _ = io.Copy(io.Discard, r)
		return 0, f.put
	}
	n, err := f.Content.Put(ctx, key, r)
	if err == nil {
		err = f.put
	}
	return n, err
}

func (f *failing) Delete(ctx context.Context, key string) error {
	if f.del != nil {
		return f.del
	}
	return f.Content.Delete(ctx, key)
}
