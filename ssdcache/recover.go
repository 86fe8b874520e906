package ssdcache

import (
	"errors"
	"fmt"
	"slices"

	"github.com/heddle-go/heddle/internal/disk"
)

// recover rebuilds the index from the segments' footers after a crash of the
// process. It goes from the newest use of a segment back to the oldest, so that
// the first entry found for a place in the index is the one that counts, and it
// stops where a footer is missing that should be there: a later record or
// tombstone lost with it might have replaced something older.
//
// The journals say which uses were in memory. What they had of new records is
// lost; what they replaced or deleted is noted.
func (c *Cache) recover() error {
	notes, lo, hi, err := c.readJournals()
	if err != nil {
		return err
	}
	n := uint64(c.geometry.segments)
	type lostUse struct {
		stamp uint64
		notes []uint64
	}
	var lost []lostUse
	for s := hi; s > hi-n && s >= n; s-- {
		c.segs[s%n].stamp.Store(s)
		entries, err := c.readFooter(int(s % n))
		if err != nil {
			c.segs[s%n].stamp.Store(0)
			hashes, noted := notes[s]
			if !noted || s < lo {
				break
			}
			lost = append(lost, lostUse{s, hashes})
			for _, h := range hashes {
				c.restore(logEntry{hash: h}, s)
			}
			continue
		}
		for _, e := range slices.Backward(entries) {
			c.restore(e, s)
		}
	}
	// The notes of a lost use are needed as long as anything older is there.
	b := &buffer{}
	for _, l := range slices.Backward(lost) {
		if b.data == nil {
			b.data = disk.Aligned(c.geometry.segmentSize)
		}
		c.assign(b, l.stamp)
		for _, h := range l.notes {
			b.entries = append(b.entries, logEntry{hash: h})
		}
		putFooter(b.data, b.entries, b.seed, b.stamp)
		foot := (len(b.data) - footerSize(len(b.entries))) &^ (pageSize - 1)
		if err := c.pwrite(b.data[foot:], c.offset(b.seg)+int64(foot)); err != nil {
			return err
		}
		c.segs[b.seg].stamp.Store(b.stamp)
	}
	c.stamp = hi
	for i := range c.shards {
		c.shards[i].removeIf(slot.dead)
	}
	return nil
}

// readJournals returns the notes of each use that was in memory, and the
// smallest and largest stamp of these.
func (c *Cache) readJournals() (notes map[uint64][]uint64, lo, hi uint64, err error) {
	notes = map[uint64][]uint64{}
	data := make([]byte, journalSize(c.geometry.segmentSize))
	for i := range c.geometry.buffers {
		if _, err := c.file.ReadAt(data, c.geometry.journalOffset(i)); err != nil {
			return nil, 0, 0, err
		}
		stamp, hashes, ok := parseJournal(data, c.secret)
		if !ok || len(hashes) > maxEntries(c.geometry.segmentSize) {
			return nil, 0, 0, errors.New("its journal is damaged")
		}
		if i == 0 {
			lo, hi = stamp, stamp
		}
		lo, hi = min(lo, stamp), max(hi, stamp)
		notes[stamp] = append(notes[stamp], hashes...)
	}
	if n := uint64(c.geometry.segments); lo < n || hi > 1<<62 || hi-lo >= n {
		return nil, 0, 0, fmt.Errorf("its journal is damaged: uses %d to %d", lo, hi)
	}
	return notes, lo, hi, nil
}

// restore puts an entry of use stamp into the index unless a newer one is there.
func (c *Cache) restore(e logEntry, stamp uint64) {
	shardNo, tag := place(e.hash)
	v := c.geometry.newSlot(tag, stamp, e.off(), e.units())
	if e.units() == 0 {
		v.ext |= 1 | deadBit // until all is there
	}
	c.shards[shardNo].restore(v)
}
