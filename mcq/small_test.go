package mcq_test

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/mcq"
)

// finiteDisk has so many bytes: what is removed gives them back.
type finiteDisk struct {
	vfs.FS
	total int64

	mu    sync.Mutex
	sizes map[string]int64 // that are allocated, in blocks
	used  int64
}

const diskBlock = 4 << 10

func newFiniteDisk(fs vfs.FS, total int64) *finiteDisk {
	return &finiteDisk{FS: fs, total: total, sizes: make(map[string]int64)}
}

// extend allocates name up to end, as far as it goes, and returns up to where.
func (d *finiteDisk) extend(name string, end int64) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	blocks := (end + diskBlock - 1) / diskBlock * diskBlock
	more := max(blocks-d.sizes[name], 0)
	fits := min(more, (d.total-d.used)/diskBlock*diskBlock)
	d.sizes[name] += fits
	d.used += fits
	if fits < more {
		return d.sizes[name], syscall.ENOSPC
	}
	return end, nil
}

func (d *finiteDisk) free(name string) {
	d.used -= d.sizes[name]
	delete(d.sizes, name)
}

// grow lets go on what waits for space, and may do so after its store was closed.
func (d *finiteDisk) grow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total = 1 << 40
}

func (d *finiteDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: uint64(d.total - d.used), TotalBytes: uint64(d.total), UsedBytes: uint64(d.used)}, nil
}

func (d *finiteDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.free(name)
	return &finiteFile{File: f, disk: d, name: name}, nil
}

func (d *finiteDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, opts...)
	if err != nil {
		return nil, err
	}
	return &finiteFile{File: f, disk: d, name: name}, nil
}

func (d *finiteDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.FS.Remove(name)
	if err == nil {
		d.free(name)
	}
	return err
}

func (d *finiteDisk) Rename(oldname, newname string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.FS.Rename(oldname, newname)
	if err == nil {
		d.free(newname)
		d.sizes[newname] = d.sizes[oldname]
		delete(d.sizes, oldname)
	}
	return err
}

type finiteFile struct {
	vfs.File
	disk *finiteDisk
	name string
	at   int64
}

func (f *finiteFile) Write(p []byte) (int, error) {
	end, full := f.disk.extend(f.name, f.at+int64(len(p)))
	n, err := f.File.Write(p[:max(end-f.at, 0)])
	f.at += int64(n)
	return n, errors.Join(err, full)
}

func (f *finiteFile) WriteAt(p []byte, at int64) (int, error) {
	end, full := f.disk.extend(f.name, at+int64(len(p)))
	n, err := f.File.WriteAt(p[:max(end-at, 0)], at)
	return n, errors.Join(err, full)
}

func (f *finiteFile) Preallocate(at, n int64) error {
	_, err := f.disk.extend(f.name, at+n)
	return err
}

// fill puts messages until there is no space, and returns how many were stored.
func fill(t *testing.T, q *mcq.Queue, size int) (n int) {
	t.Helper()
	for batch := bulk(1, size); ; n++ {
		err := q.Put(t.Context(), batch...)
		if errors.Is(err, mcq.ErrNoSpace) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// drainFull takes n messages, one by one; while something waits for space it tries again.
func drainFull(t *testing.T, q *mcq.Queue, n int) {
	t.Helper()
	for i := range n {
		waitFor(t, fmt.Sprintf("message %d of %d", i, n), func() bool {
			_, err := q.Take(t.Context())
			if err != nil && !errors.Is(err, mcq.ErrNoSpace) {
				t.Fatalf("message %d of %d: %v", i, n, err)
			}
			return err == nil
		})
	}
	if _, err := q.Take(t.Context()); !errors.Is(err, mcq.ErrEmpty) {
		t.Fatalf("after all: %v", err)
	}
}

// A store that has filled its disk gives the space back when it is drained, in the same
// process, whatever the messages' size, and as often as one likes.
func TestDrainedDiskHasSpace(t *testing.T) {
	for _, c := range []struct {
		sync    mcq.Sync
		size    int
		minFree int64
	}{
		{mcq.Always, 16 << 10, -1}, {mcq.Never, 300 << 10, -1}, {mcq.Interval, 3000, -1}, {mcq.Always, 16 << 10, 6000000},
	} {
		t.Run(fmt.Sprintf("%s/size=%d/free=%d", syncNames[c.sync], c.size, c.minFree), func(t *testing.T) {
			t.Parallel()
			disk := newFiniteDisk(vfs.NewMem(), 16<<20)
			b := openBroker(t, "store", mcq.WithFS(&mcq.Options{Sync: c.sync, MinFree: c.minFree, Logger: silent}, disk))
			q := queue(t, b, "q")
			for range 2 {
				n := fill(t, q, c.size)
				drainFull(t, q, n)
				waitFor(t, "puts to work", func() bool { return q.Put(t.Context(), mcq.Message{}) == nil })
				drainFull(t, q, 1)
			}
			// What is left are files of the journal, the reserve, and what is too little to
			// be reclaimed.
			waitFor(t, "the space", func() bool {
				usage, _ := disk.GetDiskUsage("")
				return usage.UsedBytes < 8<<20
			})
		})
	}
}

// A store on a disk that is full to its end is opened, with what its journal has and
// tables have no room for, and read, and drained, after a crash as well.
func TestOpenOnFullDisk(t *testing.T) {
	for _, sync := range []mcq.Sync{mcq.Always, mcq.Never} {
		for _, crash := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/crash=%v", syncNames[sync], crash), func(t *testing.T) {
				t.Parallel()
				mem := vfs.NewMem()
				disk := newFiniteDisk(mem, 16<<20)
				t.Cleanup(disk.grow)
				opts := &mcq.Options{Sync: sync, MinFree: -1, Logger: silent}
				b, err := mcq.Open("store", mcq.WithFS(opts, disk))
				if err != nil {
					t.Fatal(err)
				}
				n := fill(t, queue(t, b, "q"), 16<<10)
				if crash {
					// The process is gone, the system is not: nothing is lost.
					frozen := newFiniteDisk(vfs.NewMem(), disk.total)
					copyDisk(t, disk, frozen)
					b.Close() // it may say that there was no space
					disk = frozen
				} else {
					b.Close() // as well
				}
				b = openBroker(t, "store", mcq.WithFS(opts, disk))
				q := queue(t, b, "q")
				drainFull(t, q, n)
				waitFor(t, "puts to work", func() bool { return q.Put(t.Context(), mcq.Message{}) == nil })
			})
		}
	}
}

// copyDisk copies the store as it is now.
func copyDisk(t *testing.T, from, to *finiteDisk) {
	t.Helper()
	from.mu.Lock() // so that nothing is allocated, renamed or removed meanwhile
	defer from.mu.Unlock()
	if err := to.FS.MkdirAll("store", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := vfs.Clone(from.FS, to.FS, "store", "store"); err != nil {
		t.Fatal(err)
	}
	for name, size := range from.sizes {
		to.sizes[name] = size
		to.used += size
	}
}
