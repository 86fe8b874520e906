package hbasestore_test

import (
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore"
)

// Note is the value of the objects in these tests.
type Note struct {
	Text string `json:"text"`
}

func openLibrary(t testing.TB, dir string, s objstore.Store, grace time.Duration) *objstore.Library {
	t.Helper()
	lib, err := objstore.Open(filepath.Join(dir, "lib"), &objstore.Options{Store: s, Grace: grace, SweepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	return lib
}

func newNotes(t testing.TB, lib *objstore.Library) *objstore.Collection[Note] {
	t.Helper()
	notes, err := objstore.NewCollection(lib, objstore.Type[Note]{
		Number: 7, Name: "note", Indexes: []objstore.Index[Note]{{Name: "tags"}}, History: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	return notes
}

func note(text, tag string, contents ...objstore.ContentInfo) *objstore.Object[Note] {
	return &objstore.Object[Note]{Meta: objstore.Meta{Tags: []string{tag}, Contents: contents}, Value: Note{Text: text}}
}

// wantContent reads a content to its end, which verifies it.
func wantContent(t testing.TB, lib *objstore.Library, info *objstore.ContentInfo) {
	t.Helper()
	r, err := lib.OpenContent(ctx, info)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		_ = r.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

func countFiles(t testing.TB, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "lib", "content"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func countObjects(t testing.TB, notes *objstore.Collection[Note]) (n int) {
	t.Helper()
	for _, err := range notes.Scan(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

func findAll(t testing.TB, notes *objstore.Collection[Note], tag string) (texts []string) {
	t.Helper()
	for obj, err := range notes.Find(ctx, "tags", tag, nil) {
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, obj.Value.Text)
	}
	return texts
}

// Two libraries of one table change the same object: no change is lost.
func TestModifyFromTwoLibraries(t *testing.T) {
	open(t, hbasestore.Options{})
	const each = 10
	var all [2]*objstore.Collection[Note]
	for i := range all {
		s, err := hbasestore.Open(ctx, []string{gateway(t)}, &hbasestore.Options{Table: table, Salts: 3, Timeout: 2 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		lib := openLibrary(t, t.TempDir(), s, time.Hour)
		defer lib.Close()
		all[i] = newNotes(t, lib)
	}
	obj := note("", "tag")
	if err := all[0].Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i, notes := range all {
		for w := range 2 {
			wg.Go(func() {
				for n := range each {
					_, err := notes.Modify(ctx, obj.ID, func(o *objstore.Object[Note]) error {
						o.Value.Text += fmt.Sprintf("%d%d%d ", i, w, n)
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	got, err := all[1].Get(ctx, obj.ID)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(got.Value.Text)); n != 4*each || got.Version != 4*each+1 {
		t.Errorf("%d changes, version %d", n, got.Version)
	}
}

func TestLibrary(t *testing.T) {
	s := open(t, hbasestore.Options{})
	lib := openLibrary(t, t.TempDir(), s, time.Hour)
	defer lib.Close()
	notes := newNotes(t, lib)

	objs := make([]*objstore.Object[Note], 150)
	ids := make([]objstore.ID, len(objs))
	for i := range objs {
		objs[i] = note(fmt.Sprint(i), fmt.Sprint("tag", i%2))
	}
	for i, err := range notes.MultiPut(ctx, objs) {
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = objs[i].ID
	}
	before := s.Stats().Calls
	got, err := notes.MultiGet(ctx, ids[:100])
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().Calls - before; n != 1 {
		t.Errorf("a multi-get of 100 made %d requests", n)
	}
	for i, obj := range got {
		if obj == nil || obj.Value.Text != fmt.Sprint(i) {
			t.Fatalf("object %d: %+v", i, obj)
		}
	}

	// Scans come in the order of ids, both ways, whatever the salts.
	n := 0
	for obj, err := range notes.Scan(ctx, nil) {
		if err != nil || obj.ID != ids[n] {
			t.Fatalf("object %d of the scan: %v", n, err)
		}
		n++
	}
	for obj, err := range notes.Scan(ctx, &objstore.ScanOptions{Reverse: true}) {
		if n--; err != nil || obj.ID != ids[n] {
			t.Fatalf("object %d of the scan backwards: %v", n, err)
		}
	}
	if n != 0 {
		t.Errorf("the scan backwards left %d", n)
	}
	before = s.Stats().Calls
	if found := findAll(t, notes, "tag1"); len(found) != len(objs)/2 || found[0] != "1" {
		t.Errorf("%d found: %v", len(found), found)
	}
	// Two pages, each of one look at the index and one at the objects.
	if n := s.Stats().Calls - before; n != 4 {
		t.Errorf("finding %d objects made %d requests", len(objs)/2, n)
	}

	// One object through all of its states.
	obj := objs[0]
	for i := range 4 {
		obj.Value.Text = fmt.Sprint("changed ", i)
		obj.Tags = []string{fmt.Sprint("changed", i)}
		if err := notes.Update(ctx, obj); err != nil {
			t.Fatal(err)
		}
	}
	if found := findAll(t, notes, "changed2"); len(found) != 0 {
		t.Errorf("%v is found by what it was", found)
	}
	if found := findAll(t, notes, "changed3"); len(found) != 1 {
		t.Errorf("%v is found", found)
	}
	versions, err := notes.Versions(ctx, obj.ID)
	if err != nil || len(versions) != 3 || versions[2].Value.Text != "changed 1" {
		t.Errorf("%d versions, %v", len(versions), err)
	}
	if err := notes.Delete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	if found := findAll(t, notes, "changed3"); len(found) != 0 {
		t.Errorf("%v is found after Delete", found)
	}
	if err := notes.Undelete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	if found := findAll(t, notes, "changed3"); len(found) != 1 {
		t.Errorf("%v is found after Undelete", found)
	}

	// An id is used again at once after Purge, again and again.
	id := objstore.URLID(7, "http://example.com/")
	for i := range 20 {
		again := note(fmt.Sprint("again ", i), "again")
		again.ID = id
		if err := notes.Create(ctx, again); err != nil {
			t.Fatal(err)
		}
		if found := findAll(t, notes, "again"); len(found) != 1 || found[0] != again.Value.Text {
			t.Fatalf("round %d: found %v", i, found)
		}
		if err := notes.Purge(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
}

// A table keeps the number of salts it was made with.
func TestOtherSalts(t *testing.T) {
	open(t, hbasestore.Options{})
	_, err := hbasestore.Open(ctx, []string{gateway(t)}, &hbasestore.Options{Table: table, Salts: 4})
	if err == nil || !strings.Contains(err.Error(), `"3" salts, Options.Salts is 4`) {
		t.Error(err)
	}
}

// Answers that are larger than a message may be are read in parts; a row that is
// too large alone is an error.
func TestLargeAnswers(t *testing.T) {
	s := open(t, hbasestore.Options{MaxMessage: 64 << 10})
	value := []byte(strings.Repeat("x", 20<<10))
	var changes []objstore.Change
	var keys [][]byte
	for i := range 12 {
		keys = append(keys, fmt.Appendf(nil, "row%02d", i))
		changes = append(changes, objstore.Change{Row: objstore.Row{Key: keys[i], Version: 1, Value: value}})
	}
	if err := s.Commit(ctx, changes); err != nil {
		t.Fatal(err)
	}
	n := 0
	count := func(row objstore.Row) error { n += len(row.Value); return nil }
	if err := s.Get(ctx, keys, func(_ int, row objstore.Row) error { return count(row) }); err != nil {
		t.Error(err)
	}
	if err := s.Scan(ctx, objstore.Range{}, count); err != nil {
		t.Error(err)
	}
	if err := s.Scan(ctx, objstore.Range{Reverse: true}, count); err != nil {
		t.Error(err)
	}
	if n != 3*12*len(value) {
		t.Errorf("%d bytes, want %d", n, 3*12*len(value))
	}
	huge := objstore.Change{Row: objstore.Row{Key: []byte("huge"), Version: 1, Value: []byte(strings.Repeat("x", 100<<10))}}
	if err := s.Commit(ctx, []objstore.Change{huge}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		s.Get(ctx, [][]byte{[]byte("huge")}, func(int, objstore.Row) error { return nil }),
		s.Scan(ctx, objstore.Range{From: []byte("h"), To: []byte("i")}, count),
		s.Scan(ctx, objstore.Range{From: []byte("h"), To: []byte("i"), Reverse: true}, count),
	} {
		if err == nil || !strings.Contains(err.Error(), "MaxMessage") {
			t.Error(err)
		}
	}
}
