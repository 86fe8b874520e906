package objstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/watchman"
)

var ctx = context.Background()

// clock is a clock that stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 123_456_789)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// openLibrary opens a library without a sweeper of its own, and closes it with the test.
func openLibrary(t testing.TB, dir string, opts objstore.Options) *objstore.Library {
	t.Helper()
	if opts.SweepEvery == 0 {
		opts.SweepEvery = -1
	}
	lib, err := objstore.Open(dir, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lib.Close(); err != nil {
			t.Error(err)
		}
	})
	return lib
}

func collection[T any](t testing.TB, lib *objstore.Library, typ objstore.Type[T]) *objstore.Collection[T] {
	t.Helper()
	c, err := objstore.NewCollection(lib, typ)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var pictureType = objstore.Type[Picture]{Number: 1042, Name: "image"}

// newPictures is a new library with a collection.
func newPictures(t testing.TB, clk *clock) (*objstore.Library, *objstore.Collection[Picture]) {
	var opts objstore.Options
	if clk != nil {
		opts.SetClock(clk.Now)
	}
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), opts)
	return lib, collection(t, lib, pictureType)
}

func create(t testing.TB, c *objstore.Collection[Picture], contents ...objstore.ContentInfo) *objstore.Object[Picture] {
	t.Helper()
	obj := &objstore.Object[Picture]{Value: Picture{Width: 640, Height: 480}}
	obj.Contents = contents
	if err := c.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	return obj
}

// fails checks that err wraps want.
func fails(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func sweep(t testing.TB, lib *objstore.Library) objstore.SweepReport {
	t.Helper()
	report, err := lib.Sweep(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func fullMeta() objstore.Meta {
	return objstore.Meta{
		DisplayName: "织机", Summary: "A loom", URL: "http://example.com/1",
		Image:  &objstore.Image{URL: "http://example.com/1.jpg", Width: 640, Height: 480},
		Author: &objstore.Person{ID: "1642088277", DisplayName: "Ada", URL: "http://example.com/ada"},
		Tags:   []string{"weaving", "loom"},
		Links:  []objstore.Link{{Rel: "mobile", URL: "http://m.example.com/1"}, {Rel: "source"}},
		Custom: map[string]string{"b": "2", "a": "", "c": "3"},
	}
}

func TestCreateGet(t *testing.T) {
	clk := newClock()
	lib, pictures := newPictures(t, clk)
	obj := &objstore.Object[Picture]{Meta: fullMeta(), Value: Picture{Width: 640, Height: 480}}
	obj.Expires = clk.Now().Add(time.Hour)
	if err := pictures.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	if obj.ID.Type != 1042 || obj.Version != 1 || obj.Type != "image" || !obj.Created.Equal(clk.Now().Truncate(time.Microsecond)) || obj.Updated != obj.Created {
		t.Errorf("created %+v", obj.Meta)
	}
	got, err := pictures.Get(ctx, obj.ID)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, obj) {
		t.Errorf("got  %+v\nwant %+v", got, obj)
	}
	if _, err := pictures.Get(ctx, objstore.ID{Type: 1042, Number: 1}); !errors.Is(err, objstore.ErrNotFound) || err.Error() != "objstore: object not found: image 1042:1" {
		t.Error(err)
	}
	_, err = pictures.Get(ctx, objstore.ID{Type: 1, Number: obj.ID.Number})
	fails(t, "id of another type", err, objstore.ErrBadID)
	if s := lib.Stats(); s.Gets != 2 || s.Misses != 1 || s.Writes != 1 {
		t.Errorf("%+v", s)
	}
}

func TestCreateWithID(t *testing.T) {
	clk := newClock()
	lib, pictures := newPictures(t, clk)
	g := newGenerator(t, objstore.GeneratorOptions{IDC: 3}, nil)
	id, err := g.NewID(1042)
	if err != nil {
		t.Fatal(err)
	}
	obj := &objstore.Object[Picture]{Meta: objstore.Meta{ID: id, Expires: clk.Now().Add(time.Minute)}}
	if err := pictures.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	if got, err := pictures.Get(ctx, id); err != nil || got.ID.Node() != 3 {
		t.Fatal(got, err)
	}
	again := &objstore.Object[Picture]{Meta: objstore.Meta{ID: id}, Value: Picture{Width: 1}}
	fails(t, "Create over an object", pictures.Create(ctx, again), objstore.ErrExists)
	if again.Version != 0 {
		t.Error("a failed Create changed the object")
	}
	clk.Add(time.Minute)
	_, err = pictures.Get(ctx, id)
	fails(t, "Get of an expired object", err, objstore.ErrNotFound)
	if err := pictures.Create(ctx, again); err != nil || again.Version != 2 {
		t.Fatal(again.Version, err)
	}
	if err := pictures.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	again.ID = id
	fails(t, "Create over a deleted object", pictures.Create(ctx, again), objstore.ErrExists)
	fails(t, "Create with an id of another type", pictures.Create(ctx, &objstore.Object[Picture]{Meta: objstore.Meta{ID: objstore.ID{Type: 2, Number: 1}}}), objstore.ErrBadID)
	if s := lib.Stats(); s.Conflicts != 2 {
		t.Errorf("%+v", s)
	}
}

func TestUpdate(t *testing.T) {
	clk := newClock()
	_, pictures := newPictures(t, clk)
	obj := create(t, pictures)
	made := obj.Created
	clk.Add(time.Second)
	obj.Value.Width, obj.Summary = 800, "wider"
	obj.Created = time.Unix(1, 0) // is the library's to set
	stale := *obj
	if err := pictures.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	got, err := pictures.Get(ctx, obj.ID)
	if err != nil || got.Version != 2 || got.Value.Width != 800 || got.Summary != "wider" || got.Created != made || got.Updated.Sub(made) != time.Second {
		t.Errorf("%+v %v", got, err)
	}
	fails(t, "Update of an old version", pictures.Update(ctx, &stale), objstore.ErrConflict)
	absent := &objstore.Object[Picture]{Meta: objstore.Meta{ID: objstore.ID{Type: 1042, Number: 5}, Version: 1}}
	fails(t, "Update of nothing", pictures.Update(ctx, absent), objstore.ErrNotFound)
	fails(t, "Update without an id", pictures.Update(ctx, &objstore.Object[Picture]{}), objstore.ErrBadID)
}

func TestModifyConcurrently(t *testing.T) {
	_, pictures := newPictures(t, nil)
	obj := create(t, pictures)
	const workers, each = 4, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if _, err := pictures.Modify(ctx, obj.ID, func(p *objstore.Object[Picture]) error { p.Value.Width++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got, err := pictures.Get(ctx, obj.ID)
	if err != nil || got.Value.Width != 640+workers*each || got.Version != 1+workers*each {
		t.Errorf("%+v %v", got, err)
	}
	mine := errors.New("mine")
	_, err = pictures.Modify(ctx, obj.ID, func(*objstore.Object[Picture]) error { return mine })
	fails(t, "Modify", err, mine)
}

func TestMultiGet(t *testing.T) {
	_, pictures := newPictures(t, nil)
	var ids []objstore.ID
	for i := range 60 {
		obj := create(t, pictures)
		if i%7 == 3 {
			if err := pictures.Delete(ctx, obj.ID); err != nil {
				t.Fatal(err)
			}
		}
		ids = append([]objstore.ID{obj.ID}, ids...)
	}
	ids = append(ids, ids[0], objstore.ID{Type: 1042, Number: 1})
	for _, ids := range [][]objstore.ID{ids, ids[:3], nil} {
		objs, err := pictures.MultiGet(ctx, ids)
		if err != nil || len(objs) != len(ids) {
			t.Fatal(len(objs), err)
		}
		for i, obj := range objs {
			one, err := pictures.Get(ctx, ids[i])
			if errors.Is(err, objstore.ErrNotFound) {
				one, err = nil, nil
			}
			if err != nil || !reflect.DeepEqual(obj, one) {
				t.Errorf("object %d: %+v, by itself %+v, %v", i, obj, one, err)
			}
		}
	}
	_, err := pictures.MultiGet(ctx, []objstore.ID{ids[0], {Type: 3, Number: 3}})
	fails(t, "MultiGet", err, objstore.ErrBadID)
}

func TestDelete(t *testing.T) {
	clk := newClock()
	lib, pictures := newPictures(t, clk)
	obj := create(t, pictures)
	if err := pictures.Delete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	_, err := pictures.Get(ctx, obj.ID)
	fails(t, "Get", err, objstore.ErrNotFound)
	fails(t, "Update", pictures.Update(ctx, obj), objstore.ErrNotFound)
	fails(t, "Delete", pictures.Delete(ctx, obj.ID), objstore.ErrNotFound)
	clk.Add(6 * 24 * time.Hour)
	sweep(t, lib)
	if err := pictures.Undelete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, "Undelete", pictures.Undelete(ctx, obj.ID), objstore.ErrNotFound)
	if got, err := pictures.Get(ctx, obj.ID); err != nil || got.Version != 3 || got.Value != obj.Value {
		t.Fatal(got, err)
	}
	clk.Add(2 * 24 * time.Hour)
	if r := sweep(t, lib); r.Purged != 0 {
		t.Fatal("an undeleted object was purged")
	}
	if err := pictures.Delete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	clk.Add(7 * 24 * time.Hour)
	if r := sweep(t, lib); r.Purged != 1 {
		t.Fatal(r)
	}
	fails(t, "Undelete after the sweep", pictures.Undelete(ctx, obj.ID), objstore.ErrNotFound)

	obj = create(t, pictures)
	if err := pictures.Purge(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	fails(t, "Purge", pictures.Purge(ctx, obj.ID), objstore.ErrNotFound)
	if s := lib.Stats(); s.Purged != 2 {
		t.Errorf("%+v", s)
	}
}

func TestExpiry(t *testing.T) {
	clk := newClock()
	var opts objstore.Options
	opts.SetClock(clk.Now)
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), opts)
	short := pictureType
	short.Lifetime = time.Minute
	pictures := collection(t, lib, short)
	byType, later, never := create(t, pictures), create(t, pictures), create(t, pictures)
	later.Expires = clk.Now().Add(time.Hour)
	never.Expires = time.Time{}
	if err := errors.Join(pictures.Update(ctx, later), pictures.Update(ctx, never)); err != nil {
		t.Fatal(err)
	}
	clk.Add(time.Minute)
	for _, obj := range []*objstore.Object[Picture]{byType, later, never} {
		_, err := pictures.Get(ctx, obj.ID)
		if gone := errors.Is(err, objstore.ErrNotFound); gone != (obj == byType) {
			t.Errorf("expires %v: %v", obj.Expires, err)
		}
	}
	if r := sweep(t, lib); r.Purged != 1 {
		t.Error(r)
	}
	clk.Add(time.Hour)
	if r := sweep(t, lib); r.Purged != 1 {
		t.Error(r)
	}
	if _, err := pictures.Get(ctx, never.ID); err != nil {
		t.Error(err)
	}
}

// The sweeper purges by itself.
func TestSweeper(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{SweepEvery: time.Millisecond, Retention: -1})
	pictures := collection(t, lib, pictureType)
	obj := create(t, pictures)
	if err := pictures.Delete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); lib.Stats().Purged == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was purged")
		}
	}
}

func TestChecks(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{})
	mine := errors.New("too narrow")
	pictures := collection(t, lib, objstore.Type[Picture]{
		Number: 1042, Name: "image", Required: []string{"display_name", "url"}, MaxValue: 40,
		Check: func(p *objstore.Object[Picture]) error {
			if p.Value.Width < 1 {
				return mine
			}
			p.Tags = append(p.Tags, "checked")
			return nil
		},
	})
	good := func() *objstore.Object[Picture] {
		return &objstore.Object[Picture]{Meta: objstore.Meta{DisplayName: "x", URL: "http://example.com"}, Value: Picture{Width: 1}}
	}
	obj := good()
	if err := pictures.Create(ctx, obj); err != nil || obj.Tags[0] != "checked" {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 5000)
	for name, spoil := range map[string]func(*objstore.Object[Picture]){
		"no display_name":   func(o *objstore.Object[Picture]) { o.DisplayName = "" },
		"no url":            func(o *objstore.Object[Picture]) { o.URL = "" },
		"too narrow":        func(o *objstore.Object[Picture]) { o.Value.Width = 0 },
		"summary of 5000":   func(o *objstore.Object[Picture]) { o.Summary = long },
		"is not UTF-8":      func(o *objstore.Object[Picture]) { o.DisplayName = "\xff" },
		"tag 0 is empty":    func(o *objstore.Object[Picture]) { o.Tags = []string{""} },
		"257 tags":          func(o *objstore.Object[Picture]) { o.Tags = strings.Split(strings.Repeat("x ", 255)+"x", " ") },
		"image of -1":       func(o *objstore.Object[Picture]) { o.Image = &objstore.Image{Width: -1} },
		"image.url":         func(o *objstore.Object[Picture]) { o.Image = &objstore.Image{URL: long} },
		"author.id":         func(o *objstore.Object[Picture]) { o.Author = &objstore.Person{ID: "\xff"} },
		"links.rel":         func(o *objstore.Object[Picture]) { o.Links = []objstore.Link{{Rel: long}} },
		"links.url":         func(o *objstore.Object[Picture]) { o.Links = []objstore.Link{{URL: long}} },
		"custom_data name":  func(o *objstore.Object[Picture]) { o.Custom = map[string]string{long: ""} },
		"custom_data value": func(o *objstore.Object[Picture]) { o.Custom = map[string]string{"": long} },
		"metadata of": func(o *objstore.Object[Picture]) {
			o.Tags = strings.Split(strings.Repeat(long[:1000]+" ", 70)+"x", " ")
		},
		"expires":           func(o *objstore.Object[Picture]) { o.Expires = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"not uploaded for":  func(o *objstore.Object[Picture]) { o.Contents = []objstore.ContentInfo{{Name: "x", Key: "1042/aa/bb"}} },
		"value of 58 bytes": func(o *objstore.Object[Picture]) { o.Value = Picture{math.MaxInt, math.MaxInt} },
	} {
		obj := good()
		spoil(obj)
		err := pictures.Create(ctx, obj)
		if !errors.Is(err, objstore.ErrInvalid) && !errors.Is(err, objstore.ErrUpload) || !strings.Contains(err.Error(), name) {
			t.Errorf("want %q: %.300v", name, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	}
}

// A nil object or value is refused before anybody looks into it.
func TestNil(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{})
	pictures := collection(t, lib, objstore.Type[*Picture]{
		Name: "picture", Number: 7,
		Check:   func(o *objstore.Object[*Picture]) error { o.Value.Height = 2; return nil },
		Indexes: []objstore.Index[*Picture]{{Name: "width", Keys: func(o *objstore.Object[*Picture]) []string { return []string{fmt.Sprint(o.Value.Width)} }}},
	})
	nothing := &objstore.Object[*Picture]{}
	for name, errs := range map[string][]error{
		"nil object": {pictures.Create(ctx, nil), pictures.Update(ctx, nil)},
		"nil value":  {pictures.Create(ctx, nothing), pictures.Update(ctx, nothing)},
	} {
		for _, err := range errs {
			if !errors.Is(err, objstore.ErrInvalid) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "picture") {
				t.Errorf("want %q: %v", name, err)
			}
		}
	}
	good := &objstore.Object[*Picture]{Value: &Picture{Width: 1}}
	errs := pictures.MultiPut(ctx, []*objstore.Object[*Picture]{nil, good, nothing})
	if !errors.Is(errs[0], objstore.ErrInvalid) || errs[1] != nil || !errors.Is(errs[2], objstore.ErrInvalid) {
		t.Errorf("%v", errs)
	}
	if got, err := pictures.Get(ctx, good.ID); err != nil || got.Value.Width != 1 {
		t.Errorf("the one among them: %+v, %v", got, err)
	}
}

func TestDeclarations(t *testing.T) {
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{})
	_, err := objstore.NewCollection(lib, objstore.Type[Picture]{
		Name: "Image", Required: []string{"height"}, Lifetime: -1, MaxValue: -1, Codec: codecOf(5), OtherCodecs: []objstore.Codec{codecOf(2)},
	})
	for _, want := range []string{"Number 0", `Name: "Image"`, `"height"`, "Lifetime -1ns", "MaxValue -1", "number 5", "number 2 of objstore.JSON"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	collection(t, lib, pictureType)
	collection(t, lib, objstore.Type[map[string]any]{Number: 1042, Name: "image"})
	if _, err := objstore.NewCollection(lib, objstore.Type[Picture]{Number: 1042, Name: "video"}); err == nil || !strings.Contains(err.Error(), `type 1042 is "image" here, not "video"`) {
		t.Error(err)
	}
	if _, err := objstore.NewCollection(lib, objstore.Type[any]{Number: 1, Name: "any"}); err == nil {
		t.Error("took an interface")
	}
}

func TestOptions(t *testing.T) {
	_, err := objstore.Open(t.TempDir(), &objstore.Options{Grace: 1, SweepEvery: 1})
	for _, want := range []string{"Grace 1ns", "SweepEvery 1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	_, err = objstore.OpenPebble(t.TempDir(), &objstore.PebbleOptions{CacheSize: -1, MemTableSize: 1})
	for _, want := range []string{"CacheSize -1", "MemTableSize 1"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	_, err = objstore.Open(filepath.Join(t.TempDir(), "a", "b"), nil)
	fails(t, "Open without the parent", err, fs.ErrNotExist)
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lib")
	var made []*objstore.Object[Picture]
	for range 3 {
		lib, err := objstore.Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := objstore.Open(dir, nil); !errors.Is(err, objstore.ErrLocked) {
			t.Fatal("opened twice:", err)
		}
		pictures := collection(t, lib, pictureType)
		up, err := pictures.Upload(ctx, "original", strings.NewReader("GIF89a"), nil)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, create(t, pictures, up))
		for _, obj := range made {
			got, err := pictures.Get(ctx, obj.ID)
			if err != nil || !reflect.DeepEqual(got, obj) {
				t.Errorf("%+v, want %+v, %v", got, obj, err)
				continue
			}
			wantContent(t, lib, &got.Contents[0], "GIF89a")
		}
		if err := errors.Join(lib.Close(), lib.Close()); err != nil {
			t.Fatal(err)
		}
	}
}

func wantContent(t testing.TB, lib *objstore.Library, info *objstore.ContentInfo, want string) {
	t.Helper()
	r, err := lib.OpenContent(ctx, info)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != want {
		t.Errorf("content %q, want %q, %v", b, want, err)
	}
}

func TestClosed(t *testing.T) {
	lib, pictures := newPictures(t, nil)
	up, err := pictures.Upload(ctx, "x", strings.NewReader("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	obj := create(t, pictures, up)
	r, err := lib.OpenContent(ctx, &obj.Contents[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = pictures.Get(ctx, obj.ID)
	fails(t, "Get", err, objstore.ErrClosed)
	_, err = pictures.MultiGet(ctx, []objstore.ID{obj.ID})
	fails(t, "MultiGet", err, objstore.ErrClosed)
	fails(t, "Create", pictures.Create(ctx, &objstore.Object[Picture]{}), objstore.ErrClosed)
	fails(t, "Update", pictures.Update(ctx, obj), objstore.ErrClosed)
	fails(t, "Delete", pictures.Delete(ctx, obj.ID), objstore.ErrClosed)
	_, err = pictures.Upload(ctx, "x", strings.NewReader("x"), nil)
	fails(t, "Upload", err, objstore.ErrClosed)
	_, err = lib.OpenContent(ctx, &obj.Contents[0])
	fails(t, "OpenContent", err, objstore.ErrClosed)
	_, err = r.Read(make([]byte, 1))
	fails(t, "Read", err, objstore.ErrClosed)
	_, err = lib.Sweep(ctx)
	fails(t, "Sweep", err, objstore.ErrClosed)
}

func TestContextEnds(t *testing.T) {
	_, pictures := newPictures(t, nil)
	obj := create(t, pictures)
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err := pictures.Get(ctx, obj.ID)
	fails(t, "Get", err, context.Canceled)
	fails(t, "Create", pictures.Create(ctx, &objstore.Object[Picture]{}), context.Canceled)
	_, err = pictures.Upload(ctx, "x", bytes.NewReader(make([]byte, 1<<20)), nil)
	fails(t, "Upload", err, context.Canceled)
}

func TestWatchman(t *testing.T) {
	w, err := watchman.New("library", nil)
	if err != nil {
		t.Fatal(err)
	}
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), objstore.Options{Watchman: w})
	pictures := collection(t, lib, pictureType)
	up, err := pictures.Upload(ctx, "x", strings.NewReader("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	obj := create(t, pictures, up)
	for range 3 {
		if _, err := pictures.Get(ctx, obj.ID); err != nil {
			t.Fatal(err)
		}
	}
	_, err = pictures.Get(ctx, objstore.ID{Type: 1042, Number: 1})
	fails(t, "Get", err, objstore.ErrNotFound)
	fails(t, "Update", pictures.Update(ctx, &objstore.Object[Picture]{}), objstore.ErrBadID)
	sweep(t, lib)
	got := make(map[string]string)
	for _, op := range w.Operations() {
		got[op.Name] = fmt.Sprintf("%d calls, %d errors", op.Calls, op.Errors)
	}
	want := map[string]string{
		"objstore.get": "4 calls, 0 errors", "objstore.write": "2 calls, 1 errors",
		"objstore.upload": "1 calls, 0 errors", "objstore.sweep": "1 calls, 0 errors",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
