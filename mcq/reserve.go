package mcq

import (
	"errors"
	iofs "io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// reserve is space on the disk that the store has and does not use, in files. A full
// disk would keep it from emptying itself otherwise: what is consumed leaves the disk
// only after more has been written, namely that it is consumed, and tables without it.
// So the files are removed when a write finds the disk full, and made again when there
// is room; in between nothing can be put.
type reserve struct {
	fs     vfs.FS
	dir    string
	parts  []reservePart
	lacks  atomic.Bool // a part is not there because the disk is full
	opened *atomic.Bool

	mu sync.Mutex // held while parts change
}

type reservePart struct {
	name string
	size int64
	open bool // for Open, which needs some whatever the last process has used up, and as the last resort
	have bool
}

const (
	// journalPerDisk is how many files of the journal a disk is to have room for, and
	// minJournalSize how small they get for that.
	journalPerDisk = 32
	minJournalSize = 256 << 10

	minReservePart = 64 << 10
)

// newReserve has space for tables of what is in memory, which is as much as is in the
// files of the journal that are not in tables, mostly one, and for acknowledgements.
func newReserve(fs vfs.FS, dir string, journal int64, opened *atomic.Bool) *reserve {
	r := &reserve{fs: fs, dir: dir, opened: opened, parts: []reservePart{
		{name: "reserve", size: journal * 3 / 2}, {name: "reserve-open", size: max(journal/8, minJournalSize), open: true},
	}}
	for i := range r.parts {
		_, err := fs.Stat(r.path(i))
		r.parts[i].have = err == nil
	}
	return r
}

func (r *reserve) path(i int) string { return r.fs.PathJoin(r.dir, r.parts[i].name) }

// give gives a part to who finds the disk full, and reports whether there was one. What
// is for Open the journal gets too: all waits for it, and what it has to say may be that
// some of its files can go.
func (r *reserve) give(journal bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lacks.Store(true)
	for i := range r.parts {
		p := &r.parts[i]
		if !p.have || p.open && r.opened.Load() && !journal {
			continue
		}
		p.have = false
		if err := r.fs.Remove(r.path(i)); err == nil {
			return true
		}
	}
	return false
}

// keep makes what is missing, the small part first, and reports whether all is there.
func (r *reserve) keep() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.parts) - 1; i >= 0; i-- {
		p := &r.parts[i]
		if p.have {
			continue
		}
		if r.lacks.Store(!r.fits(p.size) || isFull(r.make(i))); r.lacks.Load() {
			return false
		}
		p.have = true // or never will be
	}
	r.lacks.Store(false)
	return true
}

// fits reports whether so much is free, and a little besides: to try takes what is
// there from others.
func (r *reserve) fits(size int64) bool {
	usage, err := r.fs.GetDiskUsage(r.dir)
	return err != nil || usage.AvailBytes >= uint64(size+size/4)
}

func (r *reserve) make(i int) error {
	f, err := r.fs.Create(r.path(i), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	size := r.parts[i].size
	err = allocate(f, size)
	for errors.Is(err, syscall.EFBIG) && size > minReservePart {
		size /= 2
		err = allocate(f, size)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		r.fs.Remove(r.path(i))
	}
	return err
}

// allocate has the disk give f so many bytes.
func allocate(f vfs.File, size int64) error {
	if runtime.GOOS == "linux" { // elsewhere Preallocate does nothing
		if err := f.Preallocate(0, size); !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	for size > 0 {
		n, err := f.Write(zeros[:min(size, int64(len(zeros)))])
		if err != nil {
			return err
		}
		size -= int64(n)
	}
	return nil
}

// journalSizeOn is how large files of the journal are on the disk of dir, which need
// not be there yet.
func journalSizeOn(fs vfs.FS, dir string) int64 {
	usage, err := fs.GetDiskUsage(dir)
	for errors.Is(err, iofs.ErrNotExist) && fs.PathDir(dir) != dir {
		dir = fs.PathDir(dir)
		usage, err = fs.GetDiskUsage(dir)
	}
	if err != nil {
		return journalSize
	}
	return int64(min(max(usage.TotalBytes/journalPerDisk, minJournalSize), journalSize))
}
