package filecontent_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/filecontent"
	"github.com/heddle-go/heddle/objstore/objstoretest"
)

func open(t testing.TB, dir string) *filecontent.Dir {
	t.Helper()
	d, err := filecontent.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestContent(t *testing.T) {
	objstoretest.TestContent(t, func(t *testing.T) objstore.Content {
		return open(t, filepath.Join(t.TempDir(), "content"))
	})
}

func TestOpenWantsTheParent(t *testing.T) {
	if _, err := filecontent.Open(filepath.Join(t.TempDir(), "a", "b")); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
}

// A part that nobody writes to any more goes, one under way stays.
func TestSweepParts(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir)
	old := filepath.Join(dir, "part", "t-old")
	if err := os.WriteFile(old, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := d.Put(context.Background(), "t/new", r)
		done <- err
	}()
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := d.Sweep(context.Background(), time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Error("the old part is still there:", err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
