//go:build !linux

package ssdcache

import (
	"errors"
	"os"
)

type file struct{ *os.File }

func newFile(f *os.File) blockFile { return file{f} }

// ReadCached fails: there is no portable way to read only what is in memory.
func (file) ReadCached([]byte, int64) error { return errors.ErrUnsupported }
