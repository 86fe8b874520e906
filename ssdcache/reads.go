package ssdcache

import (
	"runtime"
	"sync"
)

// How many preads of Gets may wait for the disk at a time. Each holds an
// operating system thread, and with more a disk answers later but not more.
const (
	readers       = 32
	directReaders = 16
	maxLeaders    = 4  // if the file tells what is in the page cache
	share         = 16 // others that a leader reads for
)

// reads are the preads of Gets. What is in the page cache is read at once.
//
// A pread that waits for the disk costs more time than the disk's work does: the
// scheduler counts its thread as one of the GOMAXPROCS busy ones until it finds
// out, and then changes threads twice. So only a few wait like that, the leaders,
// and leave half of the threads to others. The rest queue while the disk is
// already reading for all of them. A leader that has its bytes reads for those in
// the queue whose bytes have come meanwhile, and the first whose bytes have not
// leads after it.
type reads struct {
	file   blockFile
	wait   func(p []byte, off int64) error // a pread, whatever it takes
	cached bool                            // file tells what is in the page cache
	most   int                             // leaders

	mu          sync.Mutex // guards those below
	leading     int
	first, last *waiter // of the queue; there is one only behind leaders
}

// waiter is a read in the queue.
type waiter struct {
	p    []byte
	off  int64
	next *waiter
	lead chan bool // says that it leads now, or that its bytes are there
}

var waiters = sync.Pool{New: func() any { return &waiter{lead: make(chan bool, 1)} }}

func (c *Cache) openReads() {
	r := &c.reads
	if c.direct != nil {
		r.wait, r.most = c.direct.readAt, directReaders
		return
	}
	r.file, r.most = c.file, readers
	r.wait = func(p []byte, off int64) error {
		_, err := c.file.ReadAt(p, off)
		return err
	}
	if err := c.file.ReadCached(make([]byte, pageSize), 0); err == nil || err == errNotCached {
		r.cached, r.most = true, max(1, min(runtime.GOMAXPROCS(0)/2, maxLeaders))
	}
}

// readCached reads what is in the page cache; otherwise the disk begins to read.
func (r *reads) readCached(p []byte, off int64) error {
	if !r.cached {
		return errNotCached
	}
	return r.file.ReadCached(p, off)
}

// read fills p with the bytes at off.
func (r *reads) read(p []byte, off int64) error {
	if r.readCached(p, off) == nil {
		return nil
	}
	r.mu.Lock()
	if r.leading < r.most {
		r.leading++
		r.mu.Unlock()
		return r.lead(p, off)
	}
	w := waiters.Get().(*waiter)
	w.p, w.off, w.next = p, off, nil
	if r.first == nil {
		r.first = w
	} else {
		r.last.next = w
	}
	r.last = w
	r.mu.Unlock()
	lead := <-w.lead
	w.p = nil
	waiters.Put(w)
	if lead {
		return r.lead(p, off)
	}
	return nil
}

// lead is read by a leader.
func (r *reads) lead(p []byte, off int64) error {
	err := r.wait(p, off)
	for n := 0; ; n++ {
		w := r.next()
		if w == nil {
			return err
		}
		if n == share || r.readCached(w.p, w.off) != nil {
			w.lead <- true
			return err
		}
		w.lead <- false
	}
}

// next takes the first of the queue. If there is none, the leader that asks is
// none any more.
func (r *reads) next() *waiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.first
	if w == nil {
		r.leading--
	} else {
		r.first = w.next
	}
	return w
}
