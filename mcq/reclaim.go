package mcq

import (
	"context"
	"encoding/binary"
	"time"
)

// Tables of consumed messages go when they are compacted, which Pebble does when
// enough has been written. After that, nobody may write for long: so the broker
// has what was consumed compacted when it has little else to do.

// span is a run of a log's messages that have been removed but may still take space.
type span struct {
	from, to uint64
	bytes    int
}

const (
	reclaimEvery = 2 * time.Second
	reclaimFrom  = 4 << 20   // bytes in a span that are worth it
	reclaimBusy  = 4 << 20   // bytes written in reclaimEvery: then it waits,
	reclaimMust  = 256 << 20 // unless so much has gathered
)

// removed notes that a log's messages in from..to-1 are gone from the store.
func (b *Broker) removed(log uint32, from, to uint64, bytes int) {
	b.spansMu.Lock()
	defer b.spansMu.Unlock()
	s := b.spans[log]
	if s.to == 0 {
		s.from = from
	}
	b.spans[log] = span{s.from, max(s.to, to), s.bytes + bytes}
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
		for log, s := range b.takeSpans(busy) {
			if b.err() != nil {
				return
			}
			to := recordKey(log, s.to)
			if s.to > maxSeq { // all of it
				to = binary.BigEndian.AppendUint32([]byte{prefixRecord}, log+1)
			}
			// If it fails the space comes back later, and what fails will be heard of.
			guard(func() error { return b.db.Compact(ctx, recordKey(log, s.from), to, false) })
		}
	}
}

// takeSpans returns what is to be reclaimed now.
func (b *Broker) takeSpans(busy bool) map[uint32]span {
	b.spansMu.Lock()
	defer b.spansMu.Unlock()
	list := make(map[uint32]span)
	for log, s := range b.spans {
		if s.bytes >= reclaimMust || !busy && s.bytes >= reclaimFrom {
			list[log] = s
			delete(b.spans, log)
		}
	}
	return list
}
