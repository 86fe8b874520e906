// Package disk holds the few file operations that must survive a power cut or
// keep a second process away: atomic replacement, directory sync, locks.
package disk

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrLocked is wrapped by TryLock's error when somebody else has the lock.
var ErrLocked = errors.New("locked by another process or handle")

// WriteFile replaces the named file with data so that after a crash at any
// moment the file holds either the old bytes or the new ones, and so that the
// new ones are on disk when it returns. One writer at a time: the temporary
// file beside it, name.tmp, is always the same.
func WriteFile(name string, data []byte) error {
	tmp := name + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return SyncDir(filepath.Dir(name))
}

// SyncDir makes the names in a directory durable: files made, renamed or removed.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = syncDir(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Lock is a lock that ends with Unlock or with the process, however it ends.
type Lock struct{ f *os.File }

// TryLock takes the lock on the named file, making the file if needed. The file
// stays when the lock is gone. It does not wait: if the lock is taken, also by
// this process, the error wraps ErrLocked.
func TryLock(name string) (*Lock, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &Lock{f}, nil
}

// Unlock gives the lock back. A second call does nothing.
func (l *Lock) Unlock() error {
	if l == nil || l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
