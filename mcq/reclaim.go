package mcq

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Pebble gets rid of consumed messages when it compacts their tables, and with them
// those that lie around, which are written again. Nor does it do so when nobody has
// written for long. So the broker has what was consumed removed when it has little else
// to do: as tables, where they hold nothing else (see cuts).

// span is a run of keys that have been removed but may still take space.
type span struct {
	from, to []byte
	bytes    int
}

// removal is a span of a log in the group under way.
type removal struct {
	log uint32
	span
}

const (
	reclaimEvery = 2 * time.Second
	reclaimFrom  = 4 << 20   // bytes in a span that are worth it, on a small disk a quarter of the journal's file
	reclaimLeast = 64 << 10  // bytes of it in tables without which it is left to Pebble
	reclaimBusy  = 4 << 20   // bytes written in reclaimEvery: then it waits,
	reclaimMust  = 256 << 20 // unless so much has gathered in all spans
	reclaimLarge = 16 << 20  // bytes in those that are worth it then

	// reclaimCut is in how many tables the records of others may be that are not
	// written again: what is left of such a table takes the space of all of it.
	reclaimCut = 4

	// reclaimLayers is how many tables of other keys than records may lie over each
	// other: one is made each time Pebble writes what it has in memory.
	reclaimLayers = 16
)

// worth is how many bytes in a span are worth it.
func (b *Broker) worth() int { return int(min(int64(b.opt.reclaim), b.journal.size/4)) }

// removes notes that the group under way removes messages of a log.
func (b *Broker) removes(log uint32, from, to []byte, bytes int) {
	b.removals = append(b.removals, removal{log, span{from, to, bytes}})
}

// removed notes that what the group has removed is gone from the store. Before the
// group was written its messages must not be touched.
func (b *Broker) removed() {
	b.spansMu.Lock()
	defer b.spansMu.Unlock()
	for _, r := range b.removals {
		s, ok := b.spans[r.log]
		if !ok {
			s.from = r.from
		}
		b.spans[r.log] = span{s.from, r.to, s.bytes + r.bytes}
		b.consumed += r.bytes
	}
	clear(b.removals)
	b.removals = b.removals[:0]
}

// loadRemoved finds what was removed, and not reclaimed, when the store was last open.
func (b *Broker) loadRemoved() error {
	var logs []*messageLog
	for _, q := range b.queues {
		if q.parent == nil {
			logs = append(logs, q.log)
		}
	}
	slices.SortFunc(logs, func(a, b *messageLog) int { return cmp.Compare(a.id, b.id) })
	from := []byte{prefixRecord}
	for _, l := range logs {
		to := recordKey(l.id, l.trimmed)
		n, err := b.db.EstimateDiskUsage(from, to)
		if err != nil {
			return err
		}
		if int(n) >= b.worth() {
			b.spans[l.id] = span{from, to, int(n)}
		}
		from = logEnd(l.id)
	}
	// The rest is of queues that are no more. It has to go now: their numbers may be
	// given to others. If the disk is full it would wait for tables.
	to := []byte{prefixRecord + 1}
	n, err := b.db.EstimateDiskUsage(from, to)
	if err != nil || int(n) < b.worth() || b.full.Load() {
		return err
	}
	return b.db.Excise(context.Background(), pebble.KeyRange{Start: from, End: to})
}

// reclaim gives space back until the broker is closed.
func (b *Broker) reclaim() {
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-b.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	defer func() {
		cancel()
		<-stopped
	}()
	tick := time.NewTicker(reclaimEvery)
	defer tick.Stop()
	written := b.written.Load()
	for {
		select {
		case <-b.stop:
			return
		case <-tick.C:
		}
		now := b.written.Load()
		busy := now-written > reclaimBusy
		written = now
		if b.err() != nil {
			return
		}
		if b.files.tableWaits() { // groups would wait for what it writes
			continue
		}
		// If it fails the space comes back later, and what fails will be heard of.
		if b.level(ctx) == nil {
			b.reclaimSpans(ctx, b.takeSpans(busy))
		}
	}
}

// level has the tables that hold no records put in order when too many lie over each other.
func (b *Broker) level(ctx context.Context) error {
	for _, r := range []pebble.KeyRange{{Start: []byte{0}, End: []byte{prefixRecord}}, {Start: []byte{prefixRecord + 1}, End: []byte{0xff}}} {
		tables, err := b.db.SSTables(pebble.WithKeyRangeFilter(r.Start, r.End))
		if err != nil {
			return err
		}
		if len(tables[0]) < reclaimLayers {
			continue
		}
		if err := b.db.Compact(ctx, r.Start, r.End, false); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) reclaimSpans(ctx context.Context, spans []span) error {
	if len(spans) == 0 {
		return nil
	}
	// Tables must know first that the messages are removed, or those that a crash leaves
	// in the journal would be all there is of them. Excise waits for that too, but all
	// groups wait for it meanwhile.
	flushed, err := b.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-flushed:
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, s := range spans {
		if err := b.reclaimSpan(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (b *Broker) reclaimSpan(ctx context.Context, s span) error {
	// Of what was consumed soon tables have little more than that it is removed.
	if n, err := b.db.EstimateDiskUsage(s.from, s.to); err != nil || n < uint64(min(b.worth(), reclaimLeast)) {
		return err
	}
	levels, err := b.db.SSTables(pebble.WithKeyRangeFilter(s.from, s.to))
	if err != nil {
		return err
	}
	others := 0 // tables that have more than what is to go
	for _, tables := range levels {
		for _, t := range tables {
			if bytes.Compare(t.Smallest.UserKey, s.from) < 0 || bytes.Compare(t.Largest.UserKey, s.to) > 0 {
				others++
			}
		}
	}
	if others > reclaimCut {
		return b.db.Compact(ctx, s.from, s.to, false)
	}
	return b.excise(s)
}

// excise takes what is in the span off the list of tables, for which all groups wait. If
// the list cannot be written the process ends, like when Pebble writes it: they would
// wait for ever. If it waits for space, who closes the broker does not.
func (b *Broker) excise(s span) error {
	done := make(chan error, 1)
	go func() { done <- b.db.Excise(context.Background(), pebble.KeyRange{Start: s.from, End: s.to}) }()
	select {
	case err := <-done:
		return err
	case <-b.broken:
		return b.err()
	}
}

// takeSpans returns what is to be reclaimed now.
func (b *Broker) takeSpans(busy bool) (list []span) {
	b.spansMu.Lock()
	defer b.spansMu.Unlock()
	total := 0
	for _, s := range b.spans {
		total += s.bytes
	}
	least := b.worth()
	if busy && total < reclaimMust {
		return nil
	} else if busy {
		least = reclaimLarge
	}
	for log, s := range b.spans {
		if s.bytes >= least {
			list = append(list, s)
			delete(b.spans, log)
		}
	}
	return list
}
