package disk_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/heddle-go/heddle/internal/disk"
)

func TestWriteFileReplaces(t *testing.T) {
	name := filepath.Join(t.TempDir(), "state")
	for _, want := range []string{"first", "second, longer", ""} {
		if err := disk.WriteFile(name, []byte(want)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil || string(got) != want {
			t.Fatalf("read %q, %v; want %q", got, err, want)
		}
		if _, err := os.Stat(name + ".tmp"); !errors.Is(err, os.ErrNotExist) {
			t.Fatalf("temporary file left behind: %v", err)
		}
	}
}

func TestWriteFileLeavesTheOldOnFailure(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(name, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(name, []byte("x")); err == nil {
		t.Fatal("replaced a directory")
	}
	if _, err := os.Stat(name + ".tmp"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("temporary file left behind: %v", err)
	}
}

func TestTryLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "LOCK")
	l, err := disk.TryLock(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.TryLock(name); !errors.Is(err, disk.ErrLocked) {
		t.Fatalf("second lock: %v", err)
	}
	if err := errors.Join(l.Unlock(), l.Unlock()); err != nil {
		t.Fatal(err)
	}
	l, err = disk.TryLock(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func TestAllocateRefusesMoreThanThereIs(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := disk.Allocate(f, 1<<50); err == nil {
		return // a file system that reserves no room, or has a pebibyte of it
	}
	if info, err := f.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("afterwards the file has %d bytes, %v", info.Size(), err)
	}
	if err := disk.Allocate(f, 1<<20); err != nil {
		t.Error(err)
	}
}
