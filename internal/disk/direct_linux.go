package disk

import (
	"os"
	"syscall"
)

// OpenDirect opens a file for reading and writing around the page cache.
// Offsets, lengths and addresses must be multiples of 4096.
func OpenDirect(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|syscall.O_DIRECT, 0)
}
