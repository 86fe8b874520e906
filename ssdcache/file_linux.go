package ssdcache

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// file is an *os.File that tells what is in the page cache.
type file struct {
	*os.File

	mu sync.RWMutex // guards fd; held while it is used, which never waits
	fd int          // -1: closed
}

func newFile(f *os.File) blockFile { return &file{File: f, fd: int(f.Fd())} }

// ReadCached is ReadAt if all of p is in the page cache. Otherwise it fails at
// once, with errNotCached if the kernel begins to read what is missing.
func (f *file) ReadCached(p []byte, off int64) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return os.ErrClosed
	}
	n, err := unix.Preadv2(f.fd, [][]byte{p}, off, unix.RWF_NOWAIT)
	if n == len(p) {
		return nil
	}
	if err != nil && err != unix.EAGAIN {
		return err
	}
	// Most kernels have not begun yet.
	_ = unix.Fadvise(f.fd, off, int64(len(p)), unix.FADV_WILLNEED)
	return errNotCached
}

func (f *file) Close() error {
	f.mu.Lock()
	f.fd = -1
	f.mu.Unlock()
	return f.File.Close()
}
