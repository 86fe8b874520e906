package ssdcache

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Full says what Set does while all write buffers wait for the disk.
type Full uint8

const (
	Block Full = iota // wait up to Options.Wait, then ErrBusy
	Drop              // do not cache the item, count it, return nil
	Fail              // return ErrBusy at once
)

// Restart says what Open finds of what an earlier process left in the file.
type Restart uint8

const (
	// Warm: everything after Close, and after a crash of the process everything
	// but the last items, those that were in the write buffers. For this each
	// Set that replaces an item and each Delete makes a small write to the page
	// cache before it returns. After a crash of the system, or a power cut, and
	// on other systems than Linux after any crash, the cache starts empty.
	Warm           Restart = iota
	WarmAfterClose         // everything after Close; empty after a crash
	Cold                   // nothing
)

const (
	minSegment     = 64 << 10
	maxSegment     = 64 << 20 // what 20 bits of 64-byte units can address
	maxSegments    = 1 << 16
	defaultBuffers = 2
	defaultWait    = time.Second
	defaultKeep    = 0.25
	maxKeep        = 0.5
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	// SegmentSize is the unit of writing and eviction in bytes, a multiple of
	// 4096 from 64 KiB to 64 MiB. An item is at most a quarter of it, and at most
	// 4 MiB. 0 means 1/64 of the file within 256 KiB and 16 MiB, but not more than
	// 1/8 of it. A file that was
	// made with another size, or with other Buffers, starts empty.
	SegmentSize int

	// Buffers is the number of segments in memory: one fills while the others
	// are written. They bound the memory besides the index. 0 means 2, the least.
	Buffers int

	// Full says what Set does when sets outrun the disk. The default is Block.
	Full Full

	// Wait bounds how long Set waits under Block. 0 means 1 s.
	Wait time.Duration

	// Keep is the share of a segment that items which were read since they were
	// written may take with them when their segment comes up for reuse, instead
	// of being evicted with the others. 0 means 0.25, or 0.5 with RejectFirst,
	// which saves more writes than that costs; at most 0.5; negative keeps none,
	// and then eviction is plain FIFO.
	Keep float64

	// Admission says which new items are written. The default is AdmitAll.
	Admission Admission

	// WriteBudget bounds what is written to the disk in bytes a day, of which an
	// hour's worth may come at once. What is over it is not cached, and counted
	// as Rejected. 0 means no bound.
	WriteBudget int64

	// Compress compresses values of 128 bytes and more by S2 where that saves at
	// least an eighth. The largest item is the same. What was written before is
	// read either way.
	Compress bool

	// Direct reads and writes around the page cache (O_DIRECT; Linux, and not on
	// every file system: then Open fails). Use it when the file is much larger
	// than the memory, or when others need the memory. A Get then always waits for
	// the disk.
	Direct bool

	// Restart says what Open finds in the file and what is done for the next one
	// to find. The default is Warm.
	Restart Restart

	// Logger gets what no caller can receive: a segment that could not be
	// written, a start that had to be empty. nil means slog.Default().
	Logger *slog.Logger

	// Watchman observes device reads and segment writes. nil observes nothing.
	Watchman *watchman.Watchman

	wrap func(blockFile) blockFile // tests make it fail
}

func (o *Options) withDefaults(size int64) (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.SegmentSize == 0 {
		opts.SegmentSize = int(min(max(size/64, 256<<10), max(size/8, minSegment), 16<<20)) &^ (minSegment - 1)
	}
	if opts.Buffers == 0 {
		opts.Buffers = defaultBuffers
	}
	if opts.Wait == 0 {
		opts.Wait = defaultWait
	}
	if opts.Keep == 0 {
		opts.Keep = defaultKeep
		if opts.Admission == RejectFirst {
			opts.Keep = maxKeep
		}
	}
	opts.Keep = max(opts.Keep, 0)
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("ssdcache: "+format, args...))
	}
	seg := opts.SegmentSize
	if seg < minSegment || seg > maxSegment || seg%pageSize != 0 {
		bad("Options.SegmentSize %d: want a multiple of %d from %d to %d", seg, pageSize, minSegment, maxSegment)
	} else {
		fixed := (geometry{segmentSize: seg, buffers: opts.Buffers}).offset(0)
		if least := fixed + int64(opts.Buffers+2)*int64(seg); size < least {
			bad("size %d: want at least %d for segments of %d bytes", size, least, seg)
		}
		if most := fixed + maxSegments*int64(seg); size > most {
			bad("size %d: want at most %d for segments of %d bytes", size, most, seg)
		}
	}
	if opts.Buffers < 2 || opts.Buffers > 64 {
		bad("Options.Buffers %d: want 2 to 64", opts.Buffers)
	}
	if opts.Restart > Cold {
		bad("Options.Restart %d: want Warm, WarmAfterClose or Cold", opts.Restart)
	}
	if opts.Admission > RejectFirst {
		bad("Options.Admission %d: want AdmitAll or RejectFirst", opts.Admission)
	}
	if opts.WriteBudget < 0 {
		bad("Options.WriteBudget %d: want none below 0", opts.WriteBudget)
	}
	if opts.Full > Fail {
		bad("Options.Full %d: want Block, Drop or Fail", opts.Full)
	}
	if opts.Wait < 0 {
		bad("Options.Wait %v: want none below 0", opts.Wait)
	}
	if !(opts.Keep <= maxKeep) {
		bad("Options.Keep %v: want at most 0.5", opts.Keep)
	}
	return opts, errors.Join(errs...)
}
