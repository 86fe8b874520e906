//go:build !unix

package mcq

import (
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// lockShared locks a file against everybody else: there are no shared locks here.
func lockShared(name string) (io.Closer, error) { return vfs.Default.Lock(name) }
