package objstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

// collect is the widths of the pictures that come.
func collect(t testing.TB, seq iter.Seq2[*objstore.Object[Picture], error]) (widths []int) {
	t.Helper()
	for obj, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		widths = append(widths, obj.Value.Width)
	}
	return widths
}

func wantWidths(t testing.TB, what string, got []int, want ...int) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// newIndexed is a library with a collection with indexes.
func newIndexed(t testing.TB, clk *clock) (*objstore.Library, *objstore.Collection[Picture]) {
	var opts objstore.Options
	opts.SetClock(clk.Now)
	lib := openLibrary(t, filepath.Join(t.TempDir(), "lib"), opts)
	typ := pictureType
	typ.Indexes = []objstore.Index[Picture]{
		{Name: "url"}, {Name: "author"}, {Name: "tags"},
		{Name: "height", Keys: func(p *objstore.Object[Picture]) []string { return []string{objstore.SortKey(int64(p.Value.Height))} }},
	}
	return lib, collection(t, lib, typ)
}

func picture(width int, change func(*objstore.Object[Picture])) *objstore.Object[Picture] {
	obj := &objstore.Object[Picture]{Value: Picture{Width: width}}
	if change != nil {
		change(obj)
	}
	return obj
}

func TestFind(t *testing.T) {
	clk := newClock()
	lib, pictures := newIndexed(t, clk)
	long := strings.Repeat("x", 2000)
	var objs []*objstore.Object[Picture]
	for i := range 5 {
		objs = append(objs, picture(i, func(p *objstore.Object[Picture]) {
			p.Tags = []string{"all", fmt.Sprint("odd", i%2), "all"}
			p.URL = fmt.Sprint("http://example.com/", i, long)
			p.Author = &objstore.Person{ID: "ada"}
			p.Value.Height = 10 - 5*i
		}))
	}
	for _, err := range pictures.MultiPut(ctx, objs) {
		if err != nil {
			t.Fatal(err)
		}
	}
	find := func(index, value string) []int { return collect(t, pictures.Find(ctx, index, value, nil)) }
	wantWidths(t, "tag", find("tags", "all"), 0, 1, 2, 3, 4)
	wantWidths(t, "tag", find("tags", "odd1"), 1, 3)
	wantWidths(t, "part of a tag", find("tags", "odd"))
	wantWidths(t, "url", find("url", fmt.Sprint("http://example.com/", 3, long)), 3)
	wantWidths(t, "author", find("author", "ada"), 0, 1, 2, 3, 4)
	wantWidths(t, "limit", collect(t, pictures.Find(ctx, "author", "ada", &objstore.FindOptions{Limit: 2})), 0, 1)
	wantWidths(t, "reverse", collect(t, pictures.Find(ctx, "author", "ada", &objstore.FindOptions{Reverse: true, Limit: 2})), 4, 3)
	wantWidths(t, "range", collect(t, pictures.FindRange(ctx, "height", objstore.SortKey(-5), objstore.SortKey(10), nil)), 3, 2, 1)
	wantWidths(t, "range", collect(t, pictures.FindRange(ctx, "height", objstore.SortKey(0), "", nil)), 2, 1, 0)
	wantWidths(t, "range", collect(t, pictures.FindRange(ctx, "height", "", objstore.SortKey(0), &objstore.FindOptions{Reverse: true})), 3, 4)
	wantWidths(t, "range of tags", collect(t, pictures.FindRange(ctx, "tags", "odd", "", nil)), 0, 2, 4, 1, 3)
	for _, err := range pictures.Find(ctx, "color", "red", nil) {
		if err == nil || err.Error() != `objstore: type image has no index "color"` {
			t.Error(err)
		}
	}

	objs[1].Tags, objs[1].Author = []string{"new"}, nil
	if err := pictures.Update(ctx, objs[1]); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "after an update", find("tags", "all"), 0, 2, 3, 4)
	wantWidths(t, "after an update", find("tags", "new"), 1)
	wantWidths(t, "after an update", find("author", "ada"), 0, 2, 3, 4)
	if err := pictures.Delete(ctx, objs[2].ID); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "after a deletion", find("tags", "all"), 0, 3, 4)
	if err := pictures.Undelete(ctx, objs[2].ID); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "after an undeletion", find("tags", "all"), 0, 2, 3, 4)
	if err := errors.Join(pictures.Delete(ctx, objs[2].ID), pictures.Purge(ctx, objs[3].ID)); err != nil {
		t.Fatal(err)
	}
	clk.Add(7 * 24 * time.Hour)
	if r := sweep(t, lib); r.Purged != 1 {
		t.Error(r)
	}
	wantWidths(t, "after purges", find("tags", "all"), 0, 4)
	for _, err := range pictures.Find(ctx, "tags", "all", nil) {
		if err == nil {
			break // leaving early is fine
		}
	}
}

// An index that is declared later finds objects from their next version on.
func TestIndexDeclaredLater(t *testing.T) {
	lib, pictures := newPictures(t, nil)
	obj := create(t, pictures)
	obj.Tags = []string{"a"}
	if err := pictures.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	typ := pictureType
	typ.Indexes = []objstore.Index[Picture]{{Name: "tags"}}
	indexed := collection(t, lib, typ)
	wantWidths(t, "before", collect(t, indexed.Find(ctx, "tags", "a", nil)))
	if err := indexed.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "after", collect(t, indexed.Find(ctx, "tags", "a", nil)), 640)
	// One that is not declared any more goes with the next version.
	if err := pictures.Update(ctx, obj); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "and then", collect(t, indexed.Find(ctx, "tags", "a", nil)))
}

func TestFindManyPages(t *testing.T) {
	_, pictures := newIndexed(t, newClock())
	var objs []*objstore.Object[Picture]
	var want []int
	for i := range 300 {
		objs = append(objs, picture(i, func(p *objstore.Object[Picture]) { p.Tags = []string{"x"} }))
		want = append(want, i)
	}
	if err := errors.Join(pictures.MultiPut(ctx, objs)...); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "Find", collect(t, pictures.Find(ctx, "tags", "x", nil)), want...)
	wantWidths(t, "Scan", collect(t, pictures.Scan(ctx, nil)), want...)
	wantWidths(t, "Scan", collect(t, pictures.Scan(ctx, &objstore.ScanOptions{Limit: 129})), want[:129]...)
	slices.Reverse(want)
	wantWidths(t, "Find", collect(t, pictures.Find(ctx, "tags", "x", &objstore.FindOptions{Reverse: true})), want...)
	wantWidths(t, "Scan", collect(t, pictures.Scan(ctx, &objstore.ScanOptions{Reverse: true})), want...)
}

func TestBadIndexes(t *testing.T) {
	lib, _ := newPictures(t, nil)
	typ := pictureType
	keys := func(*objstore.Object[Picture]) []string { return make([]string, 257) }
	typ.Indexes = []objstore.Index[Picture]{{Name: "A", Keys: keys}, {Name: "color"}, {Name: "url"}, {Name: "url"}}
	typ.History = 1001
	_, err := objstore.NewCollection(lib, typ)
	for _, want := range []string{`index 0: name: "A"`, `index "color": no Keys`, `index "url": there is another`, "History 1001"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	typ = pictureType
	typ.Indexes = []objstore.Index[Picture]{{Name: "many", Keys: keys}}
	fails(t, "257 values", collection(t, lib, typ).Create(ctx, picture(1, nil)), objstore.ErrInvalid)
}

func TestScan(t *testing.T) {
	clk := newClock()
	lib, pictures := newPictures(t, clk)
	other := collection(t, lib, objstore.Type[Picture]{Number: 1043, Name: "other"})
	if err := other.Create(ctx, picture(99, nil)); err != nil {
		t.Fatal(err)
	}
	start := time.Unix(1_600_000_000, 0)
	var ids []objstore.ID
	for i := range 4 {
		at := start.Add(time.Duration(i) * time.Hour)
		id := objstore.ID{Type: 1042, Number: (at.Unix() - 515483463) << 22}
		if !id.Time().Equal(at) {
			t.Fatal(id.Time())
		}
		ids = append(ids, id)
		if err := pictures.Create(ctx, picture(i, func(p *objstore.Object[Picture]) { p.ID = id })); err != nil {
			t.Fatal(err)
		}
	}
	if err := pictures.Create(ctx, picture(7, func(p *objstore.Object[Picture]) { p.ID = objstore.URLID(1042, "x") })); err != nil {
		t.Fatal(err)
	}
	scan := func(o objstore.ScanOptions) []int { return collect(t, pictures.Scan(ctx, &o)) }
	wantWidths(t, "all", scan(objstore.ScanOptions{}), 0, 1, 2, 3, 7)
	wantWidths(t, "from", scan(objstore.ScanOptions{From: start.Add(time.Hour)}), 1, 2, 3)
	wantWidths(t, "from a bit later", scan(objstore.ScanOptions{From: start.Add(time.Hour + 1)}), 2, 3)
	wantWidths(t, "to", scan(objstore.ScanOptions{To: start.Add(2 * time.Hour)}), 0, 1)
	wantWidths(t, "from and to", scan(objstore.ScanOptions{From: start.Add(time.Hour), To: start.Add(3 * time.Hour), Reverse: true}), 2, 1)
	wantWidths(t, "from behind to", scan(objstore.ScanOptions{From: start.Add(3 * time.Hour), To: start}))
	wantWidths(t, "long ago", scan(objstore.ScanOptions{To: time.Unix(0, 0)}))
	wantWidths(t, "far away", scan(objstore.ScanOptions{From: time.Unix(1<<40, 0)}))
	wantWidths(t, "after", scan(objstore.ScanOptions{After: ids[1]}), 2, 3, 7)
	wantWidths(t, "after, reverse", scan(objstore.ScanOptions{After: ids[2], Reverse: true}), 1, 0)
	wantWidths(t, "limit", scan(objstore.ScanOptions{Limit: 1, Reverse: true}), 7)
	if err := pictures.Delete(ctx, ids[0]); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "limit counts what is there", scan(objstore.ScanOptions{Limit: 2}), 1, 2)
	last := collection(t, lib, objstore.Type[Picture]{Number: 1<<32 - 1, Name: "last"})
	if err := last.Create(ctx, picture(5, nil)); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "the last type", collect(t, last.Scan(ctx, nil)), 5)
}

func TestMultiPut(t *testing.T) {
	clk := newClock()
	lib, pictures := newPictures(t, clk)
	old, stale := create(t, pictures), create(t, pictures)
	if _, err := pictures.Modify(ctx, stale.ID, func(p *objstore.Object[Picture]) error { return nil }); err != nil {
		t.Fatal(err)
	}
	expired := picture(1, func(p *objstore.Object[Picture]) { p.Expires = clk.Now().Add(time.Second) })
	if err := pictures.Create(ctx, expired); err != nil {
		t.Fatal(err)
	}
	clk.Add(time.Minute)
	up := upload(t, pictures, "x", "x")
	old.Value.Width = 3
	objs := []*objstore.Object[Picture]{
		picture(2, func(p *objstore.Object[Picture]) { p.Contents = []objstore.ContentInfo{up} }),
		old,
		stale,
		picture(4, func(p *objstore.Object[Picture]) { p.ID = old.ID }),
		picture(5, func(p *objstore.Object[Picture]) { p.DisplayName = "\xff" }),
		picture(6, func(p *objstore.Object[Picture]) { p.ID = objstore.ID{Type: 1042, Number: 9}; p.Version = 1 }),
		picture(7, func(p *objstore.Object[Picture]) { p.ID = objstore.ID{Type: 1, Number: 9}; p.Version = 1 }),
		picture(8, func(p *objstore.Object[Picture]) { p.ID = expired.ID }),
	}
	wants := []error{nil, nil, objstore.ErrConflict, objstore.ErrExists, objstore.ErrInvalid, objstore.ErrNotFound, objstore.ErrBadID, nil}
	for i, err := range pictures.MultiPut(ctx, objs) {
		if !errors.Is(err, wants[i]) {
			t.Errorf("object %d: %v, want %v", i, err, wants[i])
		}
		if err == nil {
			if got, err := pictures.Get(ctx, objs[i].ID); err != nil || got.Value != objs[i].Value || got.Version != objs[i].Version {
				t.Errorf("object %d: %+v %v", i, got, err)
			}
		}
	}
	wantContent(t, lib, &objs[0].Contents[0], "x")
	if errs := pictures.MultiPut(ctx, nil); len(errs) != 0 {
		t.Error(errs)
	}
	if err := lib.Close(); err != nil {
		t.Fatal(err)
	}
	fails(t, "MultiPut", pictures.MultiPut(ctx, objs[:1])[0], objstore.ErrClosed)
}

func TestCommitted(t *testing.T) {
	lib, _ := newPictures(t, nil)
	var seen []uint64
	typ := pictureType
	typ.Committed = func(p *objstore.Object[Picture]) { seen = append(seen, p.Version) }
	pictures := collection(t, lib, typ)
	obj := create(t, pictures)
	if err := errors.Join(pictures.Update(ctx, obj), pictures.MultiPut(ctx, []*objstore.Object[Picture]{obj})[0]); err != nil {
		t.Fatal(err)
	}
	obj.Version--
	fails(t, "Update", pictures.Update(ctx, obj), objstore.ErrConflict)
	if !slices.Equal(seen, []uint64{1, 2, 3}) {
		t.Error(seen)
	}
}

func FuzzIndexKey(f *testing.F) {
	f.Add("tags", "a", "a\x00", uint32(1), int64(1))
	f.Add("url", "", strings.Repeat("\x00\xff\x01", 200), uint32(1<<32-1), int64(objstore.MaxNumber))
	f.Add("x", "a\x00b", "a\x00\xffb", uint32(7), int64(0))
	f.Fuzz(func(t *testing.T, name, a, b string, typ uint32, n int64) {
		if typ == 0 || strings.Contains(name, "\x00") || len(name) > 32 {
			return
		}
		id := objstore.ID{Type: typ, Number: n & objstore.MaxNumber}
		if id.Number == 0 {
			id = objstore.URLID(typ, a)
		}
		ka, kb := objstore.IndexKey(name, a, id), objstore.IndexKey(name, b, id)
		if len(ka) > objstore.MaxKey || len(kb) > objstore.MaxKey {
			t.Fatalf("keys of %d and %d bytes", len(ka), len(kb))
		}
		if len(a) <= 300 && len(b) <= 300 && bytes.Compare(ka, kb) != strings.Compare(a, b) {
			t.Fatalf("%q and %q sort as %x and %x", a, b, ka, kb)
		}
		if bytes.Equal(ka, kb) != (a == b) {
			t.Fatalf("%q and %q have the keys %x and %x", a, b, ka, kb)
		}
		entry, got, again, err := objstore.ParseIndexKey(ka)
		if err != nil || got != id || !bytes.Equal(again, ka) || len(a) <= 300 && entry != name+"\x00"+a {
			t.Fatalf("%x: %q %v %x %v", ka, entry, got, again, err)
		}
		// Whatever else parses is a key too.
		if _, _, again, err := objstore.ParseIndexKey([]byte(a)); err == nil && string(again) != a {
			t.Fatalf("%x became %x", a, again)
		}
	})
}
