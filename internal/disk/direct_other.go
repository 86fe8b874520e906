//go:build !linux

package disk

import (
	"errors"
	"os"
)

// OpenDirect fails: there is no portable way around the page cache.
func OpenDirect(name string) (*os.File, error) {
	return nil, &os.PathError{Op: "open", Path: name, Err: errors.ErrUnsupported}
}
