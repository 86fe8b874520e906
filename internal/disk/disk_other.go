//go:build !unix

package disk

import "os"

// Directories cannot be synced here; the file system orders renames itself.
func syncDir(*os.File) error { return nil }

// There is no portable lock here: the caller's doc asks for one process a file.
func lock(*os.File) error { return nil }
