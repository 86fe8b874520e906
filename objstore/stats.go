package objstore

import "sync/atomic"

type counters struct {
	gets, misses, writes, conflicts, purged                                atomic.Uint64
	uploads, uploaded, opened, corrupt, collected, deduplicated, cacheHits atomic.Uint64
}

// Stats is a snapshot of a Library's counters. All of them only grow, from
// Open on.
type Stats struct {
	Gets      uint64 // objects asked for, those of MultiGet included
	Misses    uint64 // of them by Get, those that were not there
	CacheHits uint64 // of them, those that Options.Cache had
	Writes    uint64 // versions stored: Create, Update, Delete, Undelete
	Conflicts uint64 // writes refused because of the object's version or existence
	Purged    uint64 // objects removed for good

	Uploads       uint64 // contents stored
	UploadedBytes uint64 // bytes of these
	Deduplicated  uint64 // of them, those whose bytes were there already
	Opened        uint64 // times a content was opened to be read
	Corrupt       uint64 // contents whose bytes were not those of the upload
	Collected     uint64 // contents removed because no object had them
}

// Stats returns the library's counters.
func (l *Library) Stats() Stats {
	c := &l.counters
	return Stats{
		Gets: c.gets.Load(), Misses: c.misses.Load(), CacheHits: c.cacheHits.Load(), Writes: c.writes.Load(), Conflicts: c.conflicts.Load(), Purged: c.purged.Load(),
		Uploads: c.uploads.Load(), UploadedBytes: c.uploaded.Load(), Deduplicated: c.deduplicated.Load(),
		Opened: c.opened.Load(), Corrupt: c.corrupt.Load(), Collected: c.collected.Load(),
	}
}
