//go:build !linux

package disk

import "os"

// Allocate gives f a length of exactly size bytes; the file is sparse.
func Allocate(f *os.File, size int64) error { return f.Truncate(size) }
