package disk

import (
	"errors"
	"os"
	"syscall"
)

// Allocate gives f exactly size bytes of room, so that writing inside them does
// not run out of space. Where the file system cannot reserve, the file is sparse.
func Allocate(f *os.File, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for {
		err := syscall.Fallocate(int(f.Fd()), 0, 0, size)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS):
			return nil
		default:
			return err
		}
	}
}
