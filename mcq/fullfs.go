package mcq

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
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

	tableFailed atomic.Int64 // Unix nanoseconds; when there was no room for what is in memory
}

// isFull tells that a disk, or somebody's share of it, is full, or that a file must not
// get larger.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

const (
	fullPause  = 20 * time.Millisecond  // before a write is tried again
	tablePause = 250 * time.Millisecond // before a table is tried again
	fullFor    = time.Second            // without another such error there is space again
)

// write calls f until the disk is not full, or until it is of no use to wait.
func (fs *fullFS) write(path string, category vfs.DiskWriteCategory, f func() error) error {
	for held := false; ; {
		err := f()
		if err == nil || !isFull(err) || !fs.again(path, category, err, &held) {
			if held {
				fs.b.held.Add(-1)
			}
			return err
		}
	}
}

// again has everything refused that would be put, as there is no room for path, and
// reports whether to try once more: there is room that was reserved, or it has waited a
// while. held is set if it has.
func (fs *fullFS) again(path string, category vfs.DiskWriteCategory, cause error, held *bool) bool {
	b := fs.b
	if errors.Is(cause, syscall.EFBIG) && journalNumber(filepath.Base(path)) > 0 {
		return false // it goes on with another file
	}
	if b.opened.Load() && b.fullUntil.Swap(time.Now().Add(fullFor).UnixNano()) == 0 {
		b.opt.Logger.Error("mcq: the disk is full, nothing can be put", "path", path, "error", cause.Error())
	}
	b.full.Store(true)
	merged := isTable(path) && category != flushCategory // what is in memory needs the space more
	if !merged && b.reserve.give(journalNumber(filepath.Base(path)) > 0) {
		return true
	}
	if isTable(path) {
		fs.tableFailed.Store(time.Now().UnixNano())
		return false
	}
	if !b.opened.Load() {
		time.Sleep(fullPause)
		return fs.tableWaits() // what there is of it goes
	}
	return b.wait(path, cause, held)
}

// wait has everything refused that would be written, and waits a while because path
// cannot be. It reports whether to try again.
func (b *Broker) wait(path string, cause error, held *bool) bool {
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
		if strings.HasSuffix(path, ".log") {
			return false
		}
		time.Sleep(fullPause)
	case <-time.After(fullPause):
	}
	return true
}

// beginTable waits a while if tables could not be written just now. Those that are
// made of others then are not even begun, as what is in memory needs the space, and none
// is while the store is opened, which needs it more.
func (fs *fullFS) beginTable(name string, category vfs.DiskWriteCategory) error {
	failed := fs.tableFailed.Load()
	if failed == 0 || !isTable(name) {
		return nil
	}
	wait := time.Until(time.Unix(0, failed).Add(tablePause))
	time.Sleep(wait)
	if wait > 0 && category != flushCategory || !fs.b.opened.Load() {
		return fmt.Errorf("%s: %w", name, syscall.ENOSPC)
	}
	return nil
}

// tableWaits reports whether a table could not be written just now.
func (fs *fullFS) tableWaits() bool {
	return time.Since(time.Unix(0, fs.tableFailed.Load())) < fullFor
}

// flushCategory is what Pebble calls tables of what is in memory.
const flushCategory = "pebble-memtable-flush"

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
	if err := fs.beginTable(name, category); err != nil {
		return nil, err
	}
	err = fs.write(name, category, func() error {
		f, err = fs.FS.Create(name, category)
		return err
	})
	return fs.wrap(f, name, category, err)
}

func (fs *fullFS) OpenReadWrite(name string, category vfs.DiskWriteCategory, opts ...vfs.OpenOption) (f vfs.File, err error) {
	err = fs.write(name, category, func() error {
		f, err = fs.FS.OpenReadWrite(name, category, opts...)
		return err
	})
	return fs.wrap(f, name, category, err)
}

func (fs *fullFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (f vfs.File, err error) {
	err = fs.write(newname, category, func() error {
		f, err = fs.FS.ReuseForWrite(oldname, newname, category)
		return err
	})
	return fs.wrap(f, newname, category, err)
}

func (fs *fullFS) Link(oldname, newname string) error {
	return fs.write(newname, vfs.WriteCategoryUnspecified, func() error { return fs.FS.Link(oldname, newname) })
}

func (fs *fullFS) Rename(oldname, newname string) error {
	return fs.write(newname, vfs.WriteCategoryUnspecified, func() error { return fs.FS.Rename(oldname, newname) })
}

func (fs *fullFS) Unwrap() vfs.FS { return fs.FS }

func (fs *fullFS) wrap(f vfs.File, name string, category vfs.DiskWriteCategory, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	return &fullFile{File: f, fs: fs, name: name, category: category}, nil
}

// fullFile is a file that is written.
type fullFile struct {
	vfs.File
	fs   *fullFS
	name string
	size int64 // that was written

	category vfs.DiskWriteCategory
}

func (f *fullFile) Write(p []byte) (n int, err error) {
	err = f.fs.write(f.name, f.category, func() error {
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
