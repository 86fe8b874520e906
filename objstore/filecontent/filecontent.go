// Package filecontent keeps the contents of objstore as files.
//
// A [Dir] is a directory. A content's key is its path in it. While a content is
// written, its file is in the directory's part/ and gets its name when it is
// complete and synced, so that a crash leaves whole contents and parts only.
// Several processes may use one directory.
package filecontent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/heddle-go/heddle/internal/disk"
	"github.com/heddle-go/heddle/objstore/internal/fill"
)

const (
	partDir = "part"
	maxKey  = 200

	// bufferSize is the memory of a Put.
	bufferSize = 256 << 10
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Dir is a directory of contents. It is an objstore.Content, safe for
// concurrent use, and needs no Close.
type Dir struct{ root string }

// Open opens the directory, making it if there is none; its parent must exist.
func Open(dir string) (*Dir, error) {
	made, err := mkdir(dir)
	if err == nil && made {
		err = disk.SyncDir(filepath.Dir(dir))
	}
	if err == nil {
		made, err = mkdir(filepath.Join(dir, partDir))
	}
	if err == nil && made {
		err = disk.SyncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("filecontent: %w", err)
	}
	return &Dir{root: dir}, nil
}

// mkdir makes a directory and tells whether it is new.
func mkdir(dir string) (bool, error) {
	err := os.Mkdir(dir, 0o750)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// path turns a key into a file's name. It lets nothing out of the directory.
func (d *Dir) path(key string) (string, error) {
	if key == "" || len(key) > maxKey {
		return "", fmt.Errorf("filecontent: key of %d bytes, want 1 to %d", len(key), maxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return "", fmt.Errorf("filecontent: key %q: want parts of a-z and 0-9 between slashes", key)
		}
	}
	if key == partDir || strings.HasPrefix(key, partDir+"/") {
		return "", fmt.Errorf("filecontent: key %q: %s is reserved", key, partDir)
	}
	return filepath.Join(d.root, filepath.FromSlash(key)), nil
}

// Put implements objstore.Content. It needs 256 KiB of memory whatever the size.
func (d *Dir) Put(ctx context.Context, key string, r io.Reader) (size int64, err error) {
	name, err := d.path(key)
	if err != nil {
		return 0, err
	}
	part := filepath.Join(d.root, partDir, strings.ReplaceAll(key, "/", "-"))
	// The part's name keeps others from putting the same key meanwhile.
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return 0, fmt.Errorf("filecontent: put %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(part)
			size, err = 0, fmt.Errorf("filecontent: put %s: %w", key, err)
		}
	}()
	ready := func() error { return nil }
	if e, ok := r.(early); ok {
		ready, _ = e.Early()
	}
	size, err = copyContext(ctx, f, r)
	if err == nil {
		err = f.Sync() // while the library writes what must be there before
	}
	if err == nil {
		err = ready()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = d.publish(part, name)
	}
	return size, err
}

// early is what the reader of objstore is, see objstore.Content.
type early interface {
	Early() (ready func() error, sum func() [32]byte)
}

// publish gives a synced part its name.
func (d *Dir) publish(part, name string) error {
	if err := d.makeParents(filepath.Dir(name)); err != nil {
		return err
	}
	if _, err := os.Lstat(name); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(part, name); err != nil {
		return err
	}
	if err := disk.SyncDir(filepath.Dir(name)); err != nil {
		// It may be lost or not; the caller was told that it is not there.
		_ = os.Remove(name)
		return err
	}
	return nil
}

// makeParents makes the directories from the root down to dir durably.
func (d *Dir) makeParents(dir string) error {
	if dir == d.root {
		return nil
	}
	made, err := mkdir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.makeParents(filepath.Dir(dir)); err != nil {
			return err
		}
		made, err = mkdir(dir)
	}
	if err != nil || !made {
		return err
	}
	return disk.SyncDir(filepath.Dir(dir))
}

// copyContext is io.Copy that looks at ctx between writes.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (size int64, err error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	for err == nil {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		var n int
		if n, err = fill.Buffer(r, buf[:]); n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return size, werr
			}
			size += int64(n)
		}
	}
	if err == io.EOF {
		err = nil
	}
	return size, err
}

// Open implements objstore.Content.
func (d *Dir) Open(_ context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	name, err := d.path(key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("filecontent: open %s: offset %d", key, offset)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("filecontent: open %s: %w", key, err)
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("filecontent: open %s: %w", key, err)
		}
	}
	if length < 0 {
		return f, nil
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, length), f}, nil
}

// Delete implements objstore.Content. The directories of a key stay.
func (d *Dir) Delete(_ context.Context, key string) error {
	name, err := d.path(key)
	if err != nil {
		return err
	}
	err = os.Remove(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = disk.SyncDir(filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("filecontent: delete %s: %w", key, err)
	}
	return nil
}

// Sweep implements objstore.Content: it removes parts that nobody has written
// to since before.
func (d *Dir) Sweep(ctx context.Context, before time.Time) error {
	parts, err := os.ReadDir(filepath.Join(d.root, partDir))
	if err != nil {
		return fmt.Errorf("filecontent: sweep: %w", err)
	}
	for _, p := range parts {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := p.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has become a content meanwhile
		}
		if err == nil && info.ModTime().Before(before) {
			err = os.Remove(filepath.Join(d.root, partDir, p.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("filecontent: sweep: %w", err)
		}
	}
	return nil
}
