package mcq

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// damaged has an error of Pebble's say which file it is about, if it is about one.
func damaged(err error) error {
	if info := pebble.ExtractDataCorruptionInfo(err); info != nil {
		return fmt.Errorf("damaged file %s: %w", info.Path, info.Details)
	}
	return err
}

// readFS looks at the list of files before Pebble reads it, and remembers which of
// Pebble's logs, which old stores have, was read last, as Pebble does not say in which
// one it found damage.
type readFS struct {
	vfs.FS
	log atomic.Pointer[string]
}

func (fs *readFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if strings.HasSuffix(name, ".log") {
		fs.log.Store(&name)
	}
	f, err := fs.FS.Open(name, opts...)
	if err != nil || !strings.HasPrefix(fs.PathBase(name), "MANIFEST-") {
		return f, err
	}
	readable, err := checkManifest(f)
	if err == nil {
		err = checkMarks(readMarks(fs.FS, fs.PathDir(name)), fs.PathBase(name), readable)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("damaged file %s: %w", name, err)
	}
	return f, nil
}

func (fs *readFS) Unwrap() vfs.FS { return fs.FS }

// openError has the error of opening the store in dir say which file it is about.
func (fs *readFS) openError(dir string, err error) error {
	if err == nil || pebble.ExtractDataCorruptionInfo(err) != nil {
		return damaged(err)
	}
	if log := fs.log.Load(); log != nil && strings.Contains(err.Error(), "replaying WAL") {
		return fmt.Errorf("damaged file %s: %w", *log, err)
	}
	if desc, e := pebble.Peek(dir, fs); e == nil && desc.OptionsFilename != "" {
		if data, e := fs.readFile(desc.OptionsFilename); e == nil && (&pebble.Options{}).Parse(string(data), nil) != nil {
			return fmt.Errorf("damaged file %s: %w", desc.OptionsFilename, err)
		}
	}
	return err
}

func (fs *readFS) readFile(name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(info.Size(), 1<<20))
	_, err = f.ReadAt(data, 0)
	return data, err
}
