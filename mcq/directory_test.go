package mcq_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// What is wrong with a directory is said as it is.
func TestDirectoryErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, open := range []func(string) error{
		func(dir string) error { _, err := mcq.Open(dir, nil); return err },
		func(dir string) error { _, err := mcq.Check(dir, nil); return err },
	} {
		if err := open(""); err == nil || !strings.Contains(err.Error(), "no directory given") {
			t.Errorf("no name: %v", err)
		}
		if err := open(file); !errors.Is(err, syscall.ENOTDIR) || !strings.Contains(err.Error(), file) {
			t.Errorf("a file: %v", err)
		}
	}
	if _, err := mcq.Open("store", mcq.WithFS(nil, forbidden{vfs.NewMem()})); !errors.Is(err, fs.ErrPermission) || errors.Is(err, mcq.ErrLocked) {
		t.Errorf("a lock that may not be made: %v", err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("there are %q now", names)
	}
}

// forbidden is a file system on which nothing may be locked.
type forbidden struct{ vfs.FS }

func (forbidden) Lock(name string) (io.Closer, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EACCES}
}

// A directory is one, whatever it is called: one process cannot open it twice.
func TestOneDirectoryTwice(t *testing.T) {
	dir := t.TempDir()
	b := openBroker(t, filepath.Join(dir, "store"), nil)
	var names []string
	link := filepath.Join(dir, "link")
	if err := os.Symlink(dir, link); err == nil {
		names = append(names, filepath.Join(link, "store"))
	} else if runtime.GOOS != "windows" { // where it may need a right
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if relative, err := filepath.Rel(here, filepath.Join(dir, "store")); err == nil {
		names = append(names, relative)
	} else if runtime.GOOS != "windows" { // where it may be another drive
		t.Fatal(err)
	}
	for _, name := range names {
		if _, err := mcq.Open(name, nil); !errors.Is(err, mcq.ErrLocked) {
			t.Errorf("open %s: %v", name, err)
		}
		if _, err := mcq.Check(name, nil); !errors.Is(err, mcq.ErrLocked) {
			t.Errorf("check %s: %v", name, err)
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	openBroker(t, filepath.Join(link, "store"), nil)
}

// listing is the files of a directory with their sizes and times.
func listing(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprint(e.Name(), info.Size(), info.ModTime(), info.Mode()))
	}
	return list
}

// Check changes nothing, and needs only to read: neither a store that was closed
// nor one that was not, neither a directory that has none.
func TestCheckChangesNothing(t *testing.T) {
	for _, name := range append(slices.Clone(stores), "empty", "other") {
		dir := filepath.Join(t.TempDir(), "store")
		var err error
		switch name {
		case "empty", "other":
			err = os.Mkdir(dir, 0o700)
			if name == "other" {
				err = errors.Join(err, os.WriteFile(filepath.Join(dir, "notes"), []byte("x"), 0o600))
			}
		default:
			err = os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "stores", name)))
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"", "/LOCK"} { // the second time without
			if file != "" {
				if err := os.Remove(dir + file); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(dir, 0o500); err != nil {
				t.Fatal(err)
			}
			before := listing(t, dir)
			r, err := mcq.Check(dir, &storeOptions)
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			switch name {
			case "empty", "other":
				if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no store here") {
					t.Errorf("%s: %v", name, err)
				}
			default:
				if err != nil || len(r.Damage) > 0 {
					t.Errorf("%s: %+v, %v", name, r, err)
				}
			}
			if after := listing(t, dir); !slices.Equal(before, after) {
				t.Errorf("%s was\n%q\nand is\n%q", name, before, after)
			}
		}
	}
}

// What is damaged is named, by Check, by Open and by whoever reads.
func TestDamageIsNamed(t *testing.T) {
	const messages = 3000
	live, closed, killed := t.TempDir(), filepath.Join(t.TempDir(), "closed"), filepath.Join(t.TempDir(), "killed")
	opts := &mcq.Options{Logger: silent}
	b := openBroker(t, live, opts)
	batch := make([]mcq.Message, messages)
	for i := range batch {
		batch[i].Body = fmt.Appendf(nil, "%0100d", i)
	}
	if err := queue(t, b, "q").Put(t.Context(), batch...); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(closed, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	b = openBroker(t, live, opts)
	for part := range slices.Chunk(batch, 100) {
		if err := queue(t, b, "q").Put(t.Context(), part...); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(killed, os.DirFS(live)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, dir, pattern string
		at                 int64 // negative: from the end
		least              int64 // bytes that the file has
	}{
		{"the middle of a table", closed, "*.sst", 10_000, 10_001},
		{"the end of a table", closed, "*.sst", -10, 10_001},
		{"the log", killed, "*.log", 1000, 256 << 10},
		{"the options", closed, "OPTIONS-*", 0, 1},
	} {
		dir := filepath.Join(t.TempDir(), "store")
		if err := os.CopyFS(dir, os.DirFS(c.dir)); err != nil {
			t.Fatal(err)
		}
		files := matches(t, dir, c.pattern, c.least)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			at := c.at
			if at < 0 {
				at += int64(len(data))
			}
			for i := range 8 {
				data[at+int64(i)] ^= 0xff
			}
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		told := func(who string, err error) {
			t.Helper()
			named := func(file string) bool { return strings.Contains(err.Error(), "damaged file "+file) }
			if err == nil || !slices.ContainsFunc(files, named) || strings.Contains(err.Error(), "carrier") {
				t.Errorf("%s, %s: %v", c.what, who, err)
			}
		}
		r, err := mcq.Check(dir, opts)
		if err == nil && len(r.Damage) > 0 {
			err = errors.New(strings.Join(r.Damage, "; "))
		}
		told("check", err)
		b, err := mcq.Open(dir, opts)
		if err == nil {
			_, err = queue(t, b, "q").Lease(t.Context(), messages, mcq.LeaseOptions{})
			for err == nil {
				var msgs []mcq.Message
				if msgs, err = queue(t, b, "q").Lease(t.Context(), messages, mcq.LeaseOptions{}); len(msgs) == 0 {
					break
				}
			}
			b.Close()
		}
		told("open", err)
	}
}

// matches are the files of dir that have at least so many bytes.
func matches(t *testing.T, dir, pattern string, least int64) (list []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		if info, err := os.Stat(file); err == nil && info.Size() >= least {
			list = append(list, file)
		}
	}
	return list
}
