package mcq

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// inUse are the directories that this process has open. Locks of files do not tell:
// they are the process's, and one that is taken twice is gone after the first
// Close.
var inUse struct {
	mu   sync.Mutex
	dirs map[string]bool
}

// use takes dir, under whatever name, until release is called.
func use(fs vfs.FS, dir string) (release func(), err error) {
	if dir == "" {
		return nil, errors.New("no directory given")
	}
	if fs != vfs.Default {
		return func() {}, nil
	}
	name, err := canonical(dir)
	if err != nil {
		return nil, err
	}
	inUse.mu.Lock()
	defer inUse.mu.Unlock()
	if inUse.dirs[name] {
		return nil, fmt.Errorf("%w by this process", ErrLocked)
	}
	if inUse.dirs == nil {
		inUse.dirs = make(map[string]bool)
	}
	inUse.dirs[name] = true
	return sync.OnceFunc(func() {
		inUse.mu.Lock()
		defer inUse.mu.Unlock()
		delete(inUse.dirs, name)
	}), nil
}

// canonical is the one name of a directory that may not be there yet.
func canonical(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(dir)
	switch parent := filepath.Dir(dir); {
	case err == nil:
		return real, nil
	case !errors.Is(err, iofs.ErrNotExist) || parent == dir:
		return "", err
	default:
		if parent, err = canonical(parent); err != nil {
			return "", err
		}
		return filepath.Join(parent, filepath.Base(dir)), nil
	}
}

// isLocked tells a directory that is in use by another process. The lock's error
// is the operating system's; one that wraps a path is about the file itself, which
// may not be opened.
func isLocked(err error) bool {
	if _, ok := errors.AsType[*iofs.PathError](err); ok {
		return false
	}
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held by current process")
}

var errReadOnly = errors.New("mcq: a check changes nothing")

// checkFS is a file system on which nothing is changed. The lock is shared, so
// that it can be taken in a directory that may only be read.
type checkFS struct{ vfs.FS }

func (fs checkFS) Lock(name string) (io.Closer, error) {
	// Whoever has the store open has made the file.
	if _, err := fs.Stat(name); errors.Is(err, iofs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if fs.FS == vfs.Default {
		return lockShared(name)
	}
	return fs.FS.Lock(name)
}

func (fs checkFS) Create(string, vfs.DiskWriteCategory) (vfs.File, error) { return nil, errReadOnly }

func (fs checkFS) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, errReadOnly
}

func (fs checkFS) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, errReadOnly
}

func (fs checkFS) Link(string, string) error { return errReadOnly }

func (fs checkFS) Remove(string) error { return errReadOnly }

func (fs checkFS) RemoveAll(string) error { return errReadOnly }

func (fs checkFS) Rename(string, string) error { return errReadOnly }

func (fs checkFS) MkdirAll(string, iofs.FileMode) error { return errReadOnly }

func (fs checkFS) Unwrap() vfs.FS { return fs.FS }

// hasStore reports, as an error, that there is no store in dir.
func hasStore(fs vfs.FS, dir string) error {
	desc, err := pebble.Peek(dir, fs)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return fmt.Errorf("there is no store here: %w", iofs.ErrNotExist)
	case err != nil:
		return err
	case !desc.Exists:
		return fmt.Errorf("there is no store here: %w", iofs.ErrNotExist)
	}
	return nil
}
