//go:build unix

package disk

import (
	"errors"
	"os"
	"syscall"
)

func syncDir(f *os.File) error { return f.Sync() }

// flock belongs to the open file, so it also keeps a second handle of the same
// process away, which fcntl locks do not.
func lock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return ErrLocked
		default:
			return err
		}
	}
}
