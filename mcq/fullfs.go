package mcq

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullFS has Pebble live through a full disk. What Pebble cannot go on without,
// its log and its list of tables, is written once there is space; until then it
// is as if the disk were slow. A table is given up and written again later, which
// Pebble does by itself. An fsync that fails is never tried again: nobody knows
// what the disk has.
type fullFS struct {
	vfs.FS
	b    *Broker
	mark marker
}

// isFull tells that a disk, or somebody's share of it, is full.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

const (
	fullPause  = 20 * time.Millisecond  // before a write is tried again
	tablePause = 250 * time.Millisecond // before Pebble hears that a table cannot be written
	fullFor    = time.Second            // without another such error there is space again
)

// write calls f until the disk is not full, or until it is of no use to wait.
func (fs *fullFS) write(path string, f func() error) error {
	for held := false; ; {
		err := f()
		if err == nil || !isFull(err) || !fs.b.wait(path, err, &held) {
			if held {
				fs.b.held.Add(-1)
			}
			return err
		}
	}
}

// wait has everything refused that would be written, and waits a while because
// path cannot be. It reports whether to try again; held is set if it is
// because all else has to wait.
func (b *Broker) wait(path string, cause error, held *bool) bool {
	if !b.opened.Load() {
		return false
	}
	if b.fullUntil.Swap(time.Now().Add(fullFor).UnixNano()) == 0 {
		b.opt.Logger.Error("mcq: the disk is full, nothing can be put", "path", path, "error", cause.Error())
	}
	b.full.Store(true)
	name := filepath.Base(path)
	if isTable(name) {
		time.Sleep(tablePause)
		return false
	}
	if !*held {
		*held = true
		b.held.Add(1)
		b.loops.relieve()
	}
	select {
	case <-b.stop:
		// Pebble ends the process if it has to know that its list of tables cannot
		// be written: that is waited for, and Close does not wait.
		b.fail(fmt.Errorf("closed while the disk was full: %w", cause))
		if strings.HasSuffix(name, ".log") {
			return false
		}
		time.Sleep(fullPause)
	case <-time.After(fullPause):
	}
	return true
}

func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// spaceFor reports why the ops of a queue cannot be written now: what is under
// way waits for the disk, which is full.
func (b *Broker) spaceFor(what string, q *Queue) error {
	if b.held.Load() == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s %s", ErrNoSpace, what, q.name)
}

func (fs *fullFS) Create(name string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.write(name, func() error {
		f, err = fs.FS.Create(name, category)
		return err
	})
	return fs.wrap(f, name, err)
}

func (fs *fullFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (f vfs.File, err error) {
	err = fs.write(name, func() error {
		f, err = fs.FS.OpenReadWrite(name, category, opts...)
		return err
	})
	return fs.wrap(f, name, err)
}

func (fs *fullFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.write(newname, func() error {
		f, err = fs.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	return fs.wrap(f, newname, err)
}

func (fs *fullFS) Link(oldname, newname string) error {
	return fs.write(newname, func() error { return fs.FS.Link(oldname, newname) })
}

func (fs *fullFS) Rename(oldname, newname string) error {
	return fs.write(newname, func() error { return fs.FS.Rename(oldname, newname) })
}

func (fs *fullFS) Unwrap() vfs.FS { return fs.FS }

func (fs *fullFS) wrap(f vfs.File, name string, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{File: f, fs: fs, name: name}, nil
}

// fullFile is a file that is written.
type fullFile struct {
	vfs.File
	fs   *fullFS
	name string
	size int64 // that was written
}

func (f *fullFile) Write(p []byte) (n int, err error) {
	err = f.fs.write(f.name, func() error {
		more, err := f.File.Write(p[n:])
		n += more
		return err
	})
	f.size += int64(n)
	return n, err
}

// SyncData makes the file durable; so it is that Pebble does it with a table. That must
// not be before what it was made of is: when the journal is read again, nothing that
// tables have may be missing.
func (f *fullFile) SyncData() error {
	if err := f.syncJournal(); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (f *fullFile) syncJournal() error {
	if !isTable(f.name) {
		return nil
	}
	err := f.fs.b.journal.syncNow()
	if err != nil {
		err = f.fs.b.fail(err)
		time.Sleep(tablePause) // Pebble tries again at once
	}
	return err
}

// Sync makes the file durable, and notes how much of the list of tables that is.
func (f *fullFile) Sync() error {
	if err := f.syncJournal(); err != nil {
		return err
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	f.fs.noted(f.fs.mark.synced(f.fs.PathBase(f.name), f.size))
	return nil
}

// noted says that there is no mark. Without it less damage can be told, and nothing else
// is wrong.
func (fs *fullFS) noted(err error) {
	if err != nil {
		fs.b.opt.Logger.Warn("mcq: it cannot be noted what was synced", "path", fs.mark.dir, "error", err.Error())
	}
}
