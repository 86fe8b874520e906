package disk

import (
	"errors"
	"os"
	"syscall"
)

// Allocate gives f exactly size bytes of room, so that writing inside them does
// not run out of space. Where the file system cannot reserve, the file is sparse.
// Without enough room it fails with ENOSPC, and neither takes what there is from
// everybody else for a moment nor keeps any of it.
func Allocate(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := enough(f, info, size); err != nil {
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

// enough reports ENOSPC if the file system has clearly less room than f still
// needs; fallocate would fill it up before it found out.
func enough(f *os.File, info os.FileInfo, size int64) error {
	var fs syscall.Statfs_t
	if err := syscall.Fstatfs(int(f.Fd()), &fs); err != nil {
		return nil // fallocate will tell
	}
	need := size
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		need -= st.Blocks * 512
	}
	if need > 0 && uint64(need)/uint64(fs.Bsize) > fs.Bavail {
		return &os.PathError{Op: "allocate", Path: f.Name(), Err: syscall.ENOSPC}
	}
	return nil
}
