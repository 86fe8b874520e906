package disk

import (
	"errors"
	"os"
	"syscall"
)

// Allocate gives f exactly size bytes of room, so that writing inside them does
// not run out of space. Where the file system cannot reserve, the file is sparse.
// When there is not enough room it gives back what it took.
func Allocate(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return err
	}
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case err == nil, errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return nil
		case !errors.Is(err, syscall.EINTR):
			if info.Size() < size {
				_ = f.Truncate(info.Size())
			}
			return err
		}
	}
}
