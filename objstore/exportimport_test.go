package objstore_test

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/objstore"
)

// exported is the export of a library with objects of all kinds.
func exported(t testing.TB) (*clock, *objstore.Library, *objstore.Collection[Picture], []byte) {
	clk := newClock()
	_, pictures := newIndexed(t, clk)
	lib := pictures.Library()
	for i := range 70 {
		obj := picture(i, func(p *objstore.Object[Picture]) {
			p.Tags = []string{"x"}
			switch i {
			case 1:
				p.Contents = []objstore.ContentInfo{upload(t, pictures, "a", strings.Repeat("long ", 200_000)), upload(t, pictures, "b", "")}
			case 2:
				p.ID = objstore.URLID(1042, "http://example.com")
			case 3:
				p.Expires = clk.Now().Add(time.Minute)
			}
		})
		if err := pictures.Create(ctx, obj); err != nil {
			t.Fatal(err)
		}
		if i == 4 {
			if err := errors.Join(pictures.Update(ctx, obj), pictures.Delete(ctx, obj.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	clk.Add(time.Minute)
	var b bytes.Buffer
	if n, err := lib.Export(ctx, &b); err != nil || n != 69 {
		t.Fatal(n, err)
	}
	return clk, lib, pictures, b.Bytes()
}

func TestExportImport(t *testing.T) {
	clk, _, from, data := exported(t)
	lib, to := newIndexed(t, clk)
	for round, want := range []objstore.ImportReport{{Imported: 69}, {Skipped: 69}} {
		if got, err := lib.Import(ctx, bytes.NewReader(data)); err != nil || got != want {
			t.Fatalf("round %d: %+v, %v", round, got, err)
		}
	}
	n := 0
	for obj, err := range from.Scan(ctx, nil) {
		if err != nil {
			t.Fatal(err)
		}
		got, err := to.Get(ctx, obj.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got.Contents {
			want := ""
			if got.Contents[i].Name == "a" {
				want = strings.Repeat("long ", 200_000)
			}
			wantContent(t, lib, &got.Contents[i], want)
			got.Contents[i].Key = obj.Contents[i].Key
		}
		if !reflect.DeepEqual(got, obj) {
			t.Errorf("got  %+v\nwant %+v", got, obj)
		}
		n++
	}
	if found := collect(t, to.Find(ctx, "tags", "x", nil)); n != 68 || len(found) != 68 {
		t.Errorf("%d objects, %d found", n, len(found))
	}
	clk.Add(2 * time.Hour)
	if r := sweep(t, lib); r.Collected != 0 {
		t.Error(r)
	}
	clk.Add(8 * 24 * time.Hour)
	if r := sweep(t, lib); r.Purged != 1 { // the deleted one
		t.Error(r)
	}
}

func TestImportOfDamaged(t *testing.T) {
	clk, _, _, data := exported(t)
	lib, _ := newIndexed(t, clk)
	for _, cut := range []int{0, 5, 17, 18, 30, 200, len(data) / 2, len(data) - 1} {
		_, err := lib.Import(ctx, bytes.NewReader(data[:cut]))
		fails(t, "cut", err, objstore.ErrCorrupt)
	}
	for _, at := range []int{3, 17, 18, 19, 60, 500, len(data) - 6} {
		bad := bytes.Clone(data)
		bad[at] ^= 0x40
		_, err := lib.Import(ctx, bytes.NewReader(bad))
		fails(t, "flipped bit", err, objstore.ErrCorrupt)
	}
	mine := errors.New("mine")
	_, err := lib.Import(ctx, io.MultiReader(bytes.NewReader(data[:1000]), failingReader{mine}))
	fails(t, "failing reader", err, mine)
	if got, err := lib.Import(ctx, bytes.NewReader(data)); err != nil || got.Imported+got.Skipped != 69 {
		t.Errorf("%+v %v", got, err)
	}
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func FuzzImport(f *testing.F) {
	_, _, _, data := exported(f)
	f.Add(data[:2000])
	f.Add([]byte("heddle-objects 1\nz\x01\x00\x00\x00\x00\x00"))
	f.Add([]byte("heddle-objects 1\no\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("heddle-objects 1\n0\xff\xff\xff\xff\xff\xff\xff\xff\xff0"))
	var opts objstore.Options
	opts.SetFS(vfs.NewMem())
	lib := openLibrary(f, filepath.Join(f.TempDir(), "lib"), opts)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := lib.Import(ctx, bytes.NewReader(b)); err != nil && !errors.Is(err, objstore.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}
