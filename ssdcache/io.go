package ssdcache

import (
	"sync"
	"time"

	"github.com/heddle-go/heddle/internal/disk"
)

// direct reads and writes segments around the page cache.
type direct struct {
	file blockFile
	room sync.Pool // of *[]byte, aligned
}

func (c *Cache) openDirect() error {
	f, err := disk.OpenDirect(c.path)
	if err != nil {
		return err
	}
	c.direct = &direct{file: newFile(f)}
	if c.opts.wrap != nil {
		c.direct.file = c.opts.wrap(c.direct.file)
	}
	return nil
}

// readAt fills rec, which may begin and end anywhere, by way of whole pages.
func (d *direct) readAt(rec []byte, off int64) error {
	skip := int(off & (pageSize - 1))
	n := (skip + len(rec) + pageSize - 1) &^ (pageSize - 1)
	b, _ := d.room.Get().(*[]byte)
	if b == nil || cap(*b) < n {
		fresh := disk.Aligned(max(n, 4*pageSize))
		b = &fresh
	}
	p := (*b)[:n]
	_, err := d.file.ReadAt(p, off-int64(skip))
	if err == nil {
		copy(rec, p[skip:])
	}
	if cap(*b) <= 256<<10 {
		d.room.Put(b)
	}
	return err
}

// pread fills rec from the segments, for a Get.
func (c *Cache) pread(rec []byte, off int64) error { return c.timed(c.reads.read, rec, off) }

// preadCached is pread of what is in the page cache.
func (c *Cache) preadCached(rec []byte, off int64) error {
	return c.timed(c.reads.readCached, rec, off)
}

// preadAlone is for the flusher and for Open: they read much at a time, which
// nobody in the queue should do for them.
func (c *Cache) preadAlone(rec []byte, off int64) error { return c.timed(c.reads.wait, rec, off) }

// timed is read, observed.
func (c *Cache) timed(read func([]byte, int64) error, rec []byte, off int64) error {
	if c.readOp == nil {
		return read(rec, off)
	}
	begin := time.Now()
	err := read(rec, off)
	if err != errNotCached { // it is read once more
		c.readOp.Observe(noContext, time.Since(begin), err)
	}
	return err
}

// pwrite writes whole pages of a segment.
func (c *Cache) pwrite(data []byte, off int64) error {
	file := c.file
	if c.direct != nil {
		file = c.direct.file
	}
	for len(data) > 0 {
		n, err := file.WriteAt(data[:min(len(data), writeSize)], off)
		c.deviceBytes.Add(uint64(n))
		if err != nil {
			return err
		}
		data, off = data[n:], off+int64(n)
	}
	return nil
}

func (c *Cache) closeDirect() error {
	if c.direct == nil {
		return nil
	}
	return c.direct.file.Close()
}
