package mcq

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

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
	late  int                                      // how many files may wait for tables
	wait  func(done <-chan struct{})               // until done, or until it is of no use to wait
	short *atomic.Bool                             // there is not enough space on the disk

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
	whole   bool // load found no gap

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

	// journalKept is how many files are kept to be written again while there is space.
	journalKept = 4

	// journalBehind is how many files, of the size that the disk is for, may wait for
	// tables before what is committed waits, and journalMost how many may if the disk is
	// full: there tables need space, which comes with acknowledgements. Pebble takes one
	// more (see storeOptions).
	journalBehind = 2
	journalMost   = 6

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
	err := j.write(payload, j.flushed)
	if errors.Is(err, syscall.EFBIG) && j.at > 0 {
		// What has been written of it looks like an unfinished write.
		if err := j.next(); err != nil {
			return err
		}
		return j.write(payload, j.flushed)
	}
	return err
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
	if j.at > j.filled && (j.sync == Always || j.short.Load()) {
		if err := j.grow(); err != nil {
			return err
		}
	}
	if j.sync != Always {
		return j.begin()
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
// is full, the next group will tell. If it is nearly, that keeps the space from tables
// that would not fit.
func (j *journal) grow() error {
	j.filled = j.at
	most := min(journalAhead, j.size-j.at)
	if j.short.Load() {
		most = min(most, j.size/16)
	}
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
		if behind := j.behind(); len(behind) >= j.late {
			j.wait(behind[0].done)
		}
		done, err := j.flush()
		if err != nil {
			return err
		}
		j.used[len(j.used)-1].done = done
	}
	j.look()
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

// look notes which groups tables have by now.
func (j *journal) look() {
	for _, f := range j.used {
		if f.flushed() {
			j.flushed = max(j.flushed, f.last)
		}
	}
}

// behind are the files, but for the one that is written, whose groups tables do not
// have yet. Those that are found when a store is opened are as one.
func (j *journal) behind() (files []*journalFile) {
	for _, f := range j.used {
		n := len(files)
		if f.done != nil && !f.flushed() && (n == 0 || files[n-1].done != f.done) {
			files = append(files, f)
		}
	}
	return files
}

func (f *journalFile) flushed() bool {
	select {
	case <-f.done:
		return true
	default:
		return false
	}
}

// spare takes a file out of used that is not needed. It removes those that are too
// many. The file has no name if there is none.
func (j *journal) spare() *journalFile {
	spare, kept := &journalFile{}, journalKept
	if j.short.Load() {
		kept = 1
	} else if i := slices.IndexFunc(j.used, j.free()); i >= 0 {
		spare = &journalFile{name: j.used[i].name}
		j.used = slices.Delete(j.used, i, i+1)
	}
	j.drop(kept)
	return spare
}

// free tells which files are not needed, even if the next group should be lost: so the
// disk must know that tables have their groups, and the last group stays.
func (j *journal) free() func(*journalFile) bool {
	recorded := j.recorded.Load()
	return func(f *journalFile) bool { return f.flushed() && f.last <= recorded && f.last < j.last }
}

// drop removes files that are not needed until fewer than so many are left.
func (j *journal) drop(kept int) {
	free := j.free()
	for len(j.used) >= kept {
		i := slices.IndexFunc(j.used, free)
		if i < 0 || j.fs.Remove(j.path(j.used[i].name)) != nil {
			break // it is tried again with the next file
		}
		j.used = slices.Delete(j.used, i, i+1)
	}
}

// shrink removes what is not needed, and has tables made of the rest once that may give
// space back: with what was consumed since they were to be made last, in bytes, or with
// everything, they may be small enough to be written. It reports whether it has.
func (j *journal) shrink(consumed int, everything bool) (bool, error) {
	if err := j.syncNow(); err != nil {
		return false, err
	}
	j.drop(1)
	behind := len(j.behind())
	switch {
	case j.file == nil, behind == 0 && j.at < j.size/16, behind >= journalMost:
		return false, nil
	case behind > 0 && int64(consumed) < j.size/2<<behind && (!everything || consumed == 0):
		return false, nil
	}
	return true, j.next()
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
