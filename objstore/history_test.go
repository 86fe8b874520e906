package objstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
)

func TestHistory(t *testing.T) {
	clk := newClock()
	dir, lib, _ := newFiles(t, clk)
	typ := pictureType
	typ.History = 2
	pictures := collection(t, lib, typ)
	obj := picture(1, func(p *objstore.Object[Picture]) {
		p.Contents = []objstore.ContentInfo{upload(t, pictures, "x", "one")}
	})
	if err := pictures.Create(ctx, obj); err != nil {
		t.Fatal(err)
	}
	for i := 2; i <= 3; i++ {
		obj.Value.Width, obj.Contents = i, nil
		if i == 2 {
			obj.Contents = []objstore.ContentInfo{upload(t, pictures, "x", "two")}
		}
		if err := pictures.Update(ctx, obj); err != nil {
			t.Fatal(err)
		}
	}
	versions := func() (widths []int) {
		t.Helper()
		objs, err := pictures.Versions(ctx, obj.ID)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range objs {
			one, err := pictures.GetVersion(ctx, obj.ID, o.Version)
			if err != nil || one.Value != o.Value || one.Version != objs[0].Version-uint64(i) || o.ID != obj.ID {
				t.Errorf("version %d: %+v, alone %+v, %v", o.Version, o, one, err)
			}
			widths = append(widths, o.Value.Width)
			for j := range o.Contents {
				wantContent(t, lib, &o.Contents[j], map[int]string{1: "one", 2: "two"}[o.Value.Width])
			}
		}
		return widths
	}
	wantWidths(t, "versions", versions(), 3, 2, 1)
	clk.Add(2 * time.Hour)
	if r := sweep(t, lib); r.Collected != 0 {
		t.Error("collected a content of a version that is kept")
	}
	if err := pictures.Delete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "versions of a deleted object", versions(), 3, 3, 2)
	if v, err := pictures.GetVersion(ctx, obj.ID, 4); err != nil || v.State != objstore.Deleted {
		t.Error(v, err)
	}
	_, err := pictures.GetVersion(ctx, obj.ID, 1)
	fails(t, "GetVersion of one that has gone", err, objstore.ErrNotFound)
	clk.Add(2 * time.Hour)
	if r := sweep(t, lib); r.Collected != 1 {
		t.Error(r)
	}
	wantFiles(t, dir, 1)
	if err := pictures.Undelete(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	wantWidths(t, "versions", versions(), 3, 3, 3)
	if err := pictures.Purge(ctx, obj.ID); err != nil {
		t.Fatal(err)
	}
	_, err = pictures.Versions(ctx, obj.ID)
	fails(t, "Versions after Purge", err, objstore.ErrNotFound)
	for v := range uint64(6) {
		_, err = pictures.GetVersion(ctx, obj.ID, v)
		fails(t, "GetVersion after Purge", err, objstore.ErrNotFound)
	}
	clk.Add(2 * time.Hour)
	sweep(t, lib)
	wantFiles(t, dir, 0)
}

func TestDedupe(t *testing.T) {
	clk := newClock()
	dir := filepath.Join(t.TempDir(), "lib")
	opts := objstore.Options{Dedupe: true}
	opts.SetClock(clk.Now)
	lib := openLibrary(t, dir, opts)
	pictures := collection(t, lib, pictureType)
	first := create(t, pictures, upload(t, pictures, "x", "same"))
	second := create(t, pictures, upload(t, pictures, "y", "same"), upload(t, pictures, "z", "same"))
	create(t, pictures, upload(t, pictures, "y", "other"))
	wantFiles(t, dir, 2)
	if s := lib.Stats(); s.Deduplicated != 2 {
		t.Errorf("%+v", s)
	}
	wantContent(t, lib, second.Content("z"), "same")
	if err := pictures.Abort(ctx, upload(t, pictures, "x", "same")); err != nil {
		t.Fatal(err)
	}
	wantContent(t, lib, second.Content("z"), "same")

	if err := pictures.Purge(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	clk.Add(2 * time.Hour)
	if r := sweep(t, lib); r.Collected != 0 {
		t.Error(r)
	}
	wantContent(t, lib, second.Content("y"), "same")
	if err := pictures.Purge(ctx, second.ID); err != nil {
		t.Fatal(err)
	}
	// An upload that found it keeps it, whatever the sweep does meanwhile.
	clk.Add(61 * time.Minute)
	late := upload(t, pictures, "late", "same")
	if r := sweep(t, lib); r.Collected != 0 {
		t.Error("collected a content that an upload had found")
	}
	clk.Add(20 * time.Minute)
	third := create(t, pictures, late)
	clk.Add(2 * time.Hour)
	if r := sweep(t, lib); r.Collected != 0 {
		t.Error("collected a content that an object has")
	}
	wantContent(t, lib, third.Content("late"), "same")
	// Its sum is not known any more: the next upload stores it again.
	fourth := create(t, pictures, upload(t, pictures, "x", "same"))
	wantFiles(t, dir, 3)
	for _, obj := range []*objstore.Object[Picture]{third, fourth} {
		if err := pictures.Purge(ctx, obj.ID); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		clk.Add(61 * time.Minute)
		sweep(t, lib)
	}
	wantFiles(t, dir, 1)
}
