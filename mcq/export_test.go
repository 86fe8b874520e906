package mcq

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// WithFS returns a copy of o whose store lies in fs.
func WithFS(o *Options, fs vfs.FS) *Options {
	var out Options
	if o != nil {
		out = *o
	}
	out.fs = fs
	return &out
}

// WithJournal returns a copy of o whose journal has files of so many bytes.
func WithJournal(o *Options, size int64) *Options {
	out := *o
	out.journal = size
	return &out
}

// WithRemoval returns a copy of o whose store removes each so many messages, has tables
// cut that have one byte of a log and reclaims what is one byte.
func WithRemoval(o *Options, messages int) *Options {
	out := *o
	out.trim, out.reclaim, out.cut = messages, 1, 1
	return &out
}

// Reclaim gives back the space of what was removed.
func Reclaim(b *Broker) error {
	ctx := context.Background()
	return errors.Join(b.level(ctx), b.reclaimSpans(ctx, b.takeSpans(false)))
}

// ExpiriesHeld is how many leases q remembers to look at.
func ExpiriesHeld(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.expiries.len()
}

// RecordsHeld is how many messages are in the store.
func RecordsHeld(b *Broker) int { return countKeys(b, prefixRecord) }

// KeysHeld is how many keys of messages are in the store.
func KeysHeld(b *Broker) int { return countKeys(b, prefixSeen) }

// HandedHeld is of how many messages it is in the store how often they were
// handed out.
func HandedHeld(b *Broker) int { return countKeys(b, prefixHanded) }

// TalliesHeld is how many tallies are in the store.
func TalliesHeld(b *Broker) int { return countKeys(b, prefixTally) }

func countKeys(b *Broker, prefix byte) (n int) {
	it, err := b.db.NewIter(&pebble.IterOptions{LowerBound: []byte{prefix}, UpperBound: []byte{prefix + 1}})
	if err != nil {
		panic(err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		n++
	}
	return n
}

// BytesWritten is what the store has written to the disk.
func BytesWritten(b *Broker) uint64 {
	total := b.journal.bytes.Load()
	for _, l := range b.db.Metrics().Levels {
		total += l.TableBytesFlushed + l.TableBytesCompacted + l.BlobBytesFlushed + l.BlobBytesCompacted
	}
	return total
}

// TableBytes is what the tables take.
func TableBytes(b *Broker) (n int64) {
	for _, l := range b.db.Metrics().Levels {
		n += l.TablesSize
	}
	return n
}

// Layers is how many tables a record may have to be looked for in.
func Layers(b *Broker) (most int) {
	levels, err := b.db.SSTables(pebble.WithKeyRangeFilter([]byte{prefixRecord}, []byte{prefixRecord + 1}))
	if err != nil {
		panic(err)
	}
	for _, at := range levels[0] {
		n := 0
		for _, t := range levels[0] {
			if bytes.Compare(t.Smallest.UserKey, at.Smallest.UserKey) <= 0 && bytes.Compare(at.Smallest.UserKey, t.Largest.UserKey) <= 0 {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// WritesHeld is how many writes wait for space on the disk.
func WritesHeld(b *Broker) int { return int(b.held.Load()) }

// Settled reports whether the store has nothing to do in the background.
func Settled(b *Broker) bool {
	m := b.db.Metrics()
	return m.Compact.NumInProgress == 0 && m.Flush.NumInProgress == 0 && m.Compact.EstimatedDebt < 64<<20
}

// MemoryHeld is what the windows of all queues take, as the broker counts it and
// as they are.
func MemoryHeld(b *Broker) (counted, held int64) {
	counted = b.memory.held.Load() // first: the sweeper may find that it is less
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, q := range b.queues {
		q.mu.Lock()
		held += int64(q.recent.held() + q.ahead.held())
		q.mu.Unlock()
	}
	return counted, held
}

// InMemory is how many of q's messages are in memory.
func InMemory(q *Queue) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.recent.len() + q.ahead.len()
}

// BodiesHeld is what s has of bodies that have not come whole.
func BodiesHeld(s *Server) int64 { return s.bodies.held.Load() }

// Flush writes what the store has in memory to tables.
func Flush(b *Broker) error { return b.db.Flush() }

// AckAnyway acknowledges a message although the disk is full.
func AckAnyway(q *Queue, id uint64) error {
	o := takeOp(q)
	o.ack(id, 0)
	return q.b.commit(o)
}

// GroupsWritten is how many groups the journal has.
func GroupsWritten(b *Broker) uint64 { return b.journal.written.Load() }

// StartFlush begins to write what the store has in memory to tables.
func StartFlush(b *Broker) error {
	_, err := b.db.AsyncFlush()
	return err
}

// SyncJournal makes durable what was committed.
func SyncJournal(b *Broker) error { return b.journal.syncNow() }

// CheckManifest says what is wrong with a list of files.
func CheckManifest(f vfs.File) (readable int64, err error) { return checkManifest(f) }
