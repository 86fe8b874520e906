package mcq

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// journal is the store's log: the groups that were committed last, so that what is
// not in a table yet survives a crash. Whoever commits writes and syncs it without
// handing anything over; Pebble's own log, which mcq does without, has a goroutine for
// that, and waking it and being woken by it costs as much as the disk.
//
// It is a few files, each of which holds groups from its beginning on. When one is
// full Pebble is to write what it has in memory to tables. Once it has, the file is
// written again, over blocks that are there, which an fsync takes half the time for.
// What an earlier use has left behind the last group is known by its numbers, which
// are lower. See groupHead for the form, and load for how it is read.
type journal struct {
	fs    vfs.FS
	dir   string
	sync  Sync
	size  int64                                    // when the next file is begun
	salt  uint32                                   // of the sums
	flush func() (done <-chan struct{}, err error) // what was appended, into tables

	// Of whoever commits:
	last    uint64 // number of the last group
	flushed uint64 // of the last group that tables have, as far as is known
	file    vfs.File
	used    []*journalFile // the last is file's, if there is one
	names   int            // the highest number of a file
	at      int64          // where the next group goes
	filled  int64          // up to where there are blocks
	begun   int64          // up to where the system has begun to write, without Always
	buf     []byte

	mu       sync.Mutex // held by who replaces file, or syncs it and does not commit
	failed   error      // of a sync: it is not tried again, as nobody knows what the disk has
	written  atomic.Uint64
	told     atomic.Uint64 // flushed, as the last group has it
	synced   atomic.Uint64
	recorded atomic.Uint64 // flushed, as the disk has it
	bytes    atomic.Uint64 // that were written
}

type journalFile struct {
	name string
	last uint64          // number of its last group
	done <-chan struct{} // closed when tables have its groups; nil while it is written
}

const (
	// journalSize is when the next file is begun. A file is larger only for one group.
	journalSize = 16 << 20

	// journalKept is how many files are kept to be written again.
	journalKept = 5

	// journalAhead is how much of a file that grows is filled with zeros before it
	// is needed: an fsync that has to note that a file has grown takes twice the time.
	journalAhead = 256 << 10

	// journalBegin is how much is written before the system is to begin with that;
	// else whoever has to sync it waits for all.
	journalBegin = 2 << 20

	maxJournalBuf = 1 << 20 // that is kept
)

// append writes a group. With Always it is durable then. After an error nothing must
// be appended any more.
func (j *journal) append(payload []byte) error {
	n := int64(groupSize(len(payload)))
	if j.file == nil || j.at > 0 && j.at+n > j.size {
		if err := j.next(); err != nil {
			return err
		}
	}
	return j.write(payload, j.flushed)
}

// end says that tables have all that was appended, durably.
func (j *journal) end() error {
	if j.file == nil {
		if err := j.next(); err != nil {
			return err
		}
	}
	if err := j.write(nil, j.last+1); err != nil {
		return err
	}
	j.flushed = j.last
	return j.syncNow()
}

func (j *journal) write(payload []byte, flushed uint64) error {
	head := groupHead{number: j.last + 1, synced: j.synced.Load(), flushed: flushed}
	j.buf = head.append(j.buf[:0], payload, j.salt)
	n := int64(len(j.buf))
	_, err := j.file.Write(j.buf)
	if cap(j.buf) > maxJournalBuf {
		j.buf = nil
	}
	if err != nil {
		return err
	}
	j.at += n
	j.last++
	j.used[len(j.used)-1].last = j.last
	j.bytes.Add(uint64(n))
	j.told.Store(flushed)
	j.written.Store(j.last)
	if j.sync != Always {
		return j.begin()
	}
	if j.at > j.filled {
		if err := j.grow(); err != nil {
			return err
		}
	}
	if err := j.file.SyncData(); err != nil {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.failed = err
		return err
	}
	j.synced.Store(j.last)
	j.recorded.Store(flushed)
	return nil
}

var zeros [journalAhead]byte

// grow fills the file with zeros behind its last group, as far as it goes: if the disk
// is full, the next group will tell.
func (j *journal) grow() error {
	j.filled = j.at
	most := min(journalAhead, j.size-j.at)
	if most <= 0 {
		return nil
	}
	n, err := j.file.WriteAt(zeros[:most], j.at)
	j.filled += int64(n)
	j.bytes.Add(uint64(n))
	if isFull(err) {
		return nil
	}
	return err
}

// begin has the system begin to write what it has of the file, without waiting.
func (j *journal) begin() error {
	if j.at-j.begun < journalBegin {
		return nil
	}
	j.begun = j.at
	_, err := j.file.SyncTo(j.at)
	return err
}

// next goes on with a file that is not needed any more, or a new one.
func (j *journal) next() error {
	if j.file != nil {
		done, err := j.flush()
		if err != nil {
			return err
		}
		j.used[len(j.used)-1].done = done
	}
	for _, f := range j.used {
		if f.flushed() {
			j.flushed = max(j.flushed, f.last)
		}
	}
	f := j.spare()
	file, size, err := j.open(f)
	if err != nil {
		return err
	}
	if err := j.replace(file); err != nil {
		return errors.Join(err, file.Close())
	}
	j.used = append(j.used, f)
	j.at, j.begun, j.filled = 0, 0, size
	return nil
}

func (f *journalFile) flushed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// spare takes a file out of used that is not needed, even if the next group should
// be lost: so the disk must know that tables have its groups. It removes those that
// are too many. The file has no name if there is none.
func (j *journal) spare() *journalFile {
	recorded := j.recorded.Load()
	free := func(f *journalFile) bool { return f.flushed() && f.last <= recorded }
	spare := &journalFile{}
	if i := slices.IndexFunc(j.used, free); i >= 0 {
		spare = &journalFile{name: j.used[i].name}
		j.used = slices.Delete(j.used, i, i+1)
	}
	for len(j.used) >= journalKept {
		i := slices.IndexFunc(j.used, free)
		if i < 0 || j.fs.Remove(j.path(j.used[i].name)) != nil {
			break // it is tried again with the next file
		}
		j.used = slices.Delete(j.used, i, i+1)
	}
	return spare
}

// open opens f to be written from its beginning, and returns how large it is.
func (j *journal) open(f *journalFile) (vfs.File, int64, error) {
	if f.name == "" {
		j.names++
		f.name = journalName(j.names)
		file, err := j.create(f.name)
		return file, 0, err
	}
	file, err := j.fs.OpenReadWrite(j.path(f.name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

func (j *journal) create(name string) (vfs.File, error) {
	file, err := j.fs.Create(j.path(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	dir, err := j.fs.OpenDir(j.dir)
	if err == nil {
		err = errors.Join(dir.Sync(), dir.Close())
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// replace ends the file that is written and goes on with another.
func (j *journal) replace(file vfs.File) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file != nil {
		if err := errors.Join(j.syncLocked(), j.file.Close()); err != nil {
			return err
		}
	}
	j.file = file
	return nil
}

// syncNow makes durable what was written before the call. Whoever commits need not
// wait for it.
func (j *journal) syncNow() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.syncLocked()
}

func (j *journal) syncLocked() error {
	told, written := j.told.Load(), j.written.Load()
	if j.failed != nil || j.file == nil || written == j.synced.Load() {
		return j.failed
	}
	if err := j.file.SyncData(); err != nil {
		j.failed = err
		return err
	}
	j.synced.Store(written)
	j.recorded.Store(told)
	return nil
}

// close syncs and closes the file. Nobody commits any more.
func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.syncLocked(), j.file.Close())
	j.file = nil
	return err
}

func (j *journal) path(name string) string { return j.fs.PathJoin(j.dir, name) }

const journalPrefix, journalSuffix = "journal-", ".log"

func journalName(n int) string { return fmt.Sprint(journalPrefix, n, journalSuffix) }
