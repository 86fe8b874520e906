package mcq

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/heddle-go/heddle/watchman"
)

// Queue is one durable first-in-first-out queue of a Broker. It is safe for
// concurrent use.
type Queue struct {
	b    *Broker
	name string
	id   uint32

	putOp, takeOp, setOp *watchman.Operation

	// The committer's own.
	next         uint64 // number of the next message
	acked        progress
	ackedChanged bool
	trimmed      uint64    // records below have been removed
	fresh        []Message // put by the group under way
	scratch      []byte
	touched      bool
	named        bool // the name is in the store
	gone         bool

	consumed progress // what had been acknowledged when the store was opened

	put, doneCount atomic.Uint64 // for Stats

	fillMu sync.Mutex // one reader of the store at a time; before mu

	due atomic.Int64 // Unix nanoseconds; nothing for the sweeper to do before

	mu       sync.Mutex
	head     uint64           // number of the next message never handed out
	tail     uint64           // numbers below are committed
	recent   window           // the newest messages, up to tail
	ahead    window           // messages read from the store, from head on
	leases   map[uint64]lease // handed out, not acknowledged
	expiries minHeap[expiry]  // when to look at which leases
	expiring uint64           // ids in expiries
	returned map[uint64]int   // came back: how often they have been handed out
	again    minHeap[uint64]  // returned, and what was acknowledged since
	waiters  []chan struct{}  // closed when it is their turn
	turns    int              // waiters whose turn it is, 0 or 1
	closed   error
}

func newQueue(b *Broker, name string, id uint32) *Queue {
	q := &Queue{
		b: b, name: name, id: id, next: 1, acked: progress{cursor: 1}, consumed: progress{cursor: 1}, trimmed: 1, head: 1, tail: 1,
		recent: window{base: 1}, leases: make(map[uint64]lease), returned: make(map[uint64]int),
		expiries: minHeap[expiry]{less: func(a, b expiry) bool { return a.until < b.until }},
		again:    minHeap[uint64]{less: func(a, b uint64) bool { return a < b }},
		putOp:    b.opt.Watchman.Operation(watchman.Producer, "mcq put "+name),
		takeOp:   b.opt.Watchman.Operation(watchman.Internal, "mcq take "+name),
		setOp:    b.opt.Watchman.Operation(watchman.Server, "mcq set "+name),
	}
	q.due.Store(math.MaxInt64)
	return q
}

// load finds out where the queue stands.
func (q *Queue) load() error {
	v, closer, err := q.b.db.Get(cursorKey(q.id))
	switch {
	case err == nil:
		q.acked, err = parseProgress(v)
		closer.Close()
		if err != nil {
			return err
		}
	case !errors.Is(err, pebble.ErrNotFound):
		return err
	}
	it, err := q.b.db.NewIter(&pebble.IterOptions{LowerBound: recordKey(q.id, 0), UpperBound: recordKey(q.id, 1<<64-1)})
	if err != nil {
		return err
	}
	q.next = q.acked.cursor
	if n := len(q.acked.beyond); n > 0 {
		q.next = q.acked.beyond[n-1].to
	}
	defer it.Close()
	if it.Last() {
		last, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		q.next = max(q.next, last+1)
	}
	q.trimmed = q.acked.cursor
	if it.First() {
		first, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		q.trimmed = min(q.trimmed, first) // removed with the next trim
	}
	q.head, q.tail, q.recent.base = q.acked.cursor, q.next, q.next
	q.consumed = progress{cursor: q.acked.cursor, beyond: slices.Clone(q.acked.beyond)}
	q.put.Store(q.next - 1)
	q.doneCount.Store(q.acked.done())
	return it.Error()
}

// maxSeq is a number that no queue reaches.
const maxSeq = 1 << 62

// seqOf is the number in the key of a record.
func seqOf(key []byte) (uint64, error) {
	if len(key) != recordKeyLen {
		return 0, fmt.Errorf("key %x of a record has %d bytes", key, len(key))
	}
	seq := binary.BigEndian.Uint64(key[recordKeyLen-8:])
	if seq == 0 || seq > maxSeq {
		return 0, fmt.Errorf("message number %d", seq)
	}
	return seq, nil
}

// Name is the queue's name.
func (q *Queue) Name() string { return q.name }

// Put adds messages at the end, in their order and without others between
// them, and returns when they are durable as Options.Sync says. It sets their
// ID and Enqueued. Either all are stored or none.
//
// ctx only carries the trace: a write that has begun is waited for.
func (q *Queue) Put(ctx context.Context, msgs ...Message) (err error) {
	if len(msgs) == 0 {
		return nil
	}
	if err := q.check(msgs); err != nil {
		return err
	}
	_, span := q.putOp.Start(ctx)
	defer func() { span.End(err) }()
	if sc := span.SpanContext(); sc.IsValid() {
		for i := range msgs {
			if !msgs[i].Trace.IsValid() {
				msgs[i].Trace = sc
			}
		}
	}
	o := takeOp(q)
	o.msgs = slices.Clone(msgs)
	for i := range o.msgs {
		o.msgs[i].Body = slices.Clone(o.msgs[i].Body)
	}
	stored := o.msgs
	if err = q.b.commit(o); err == nil {
		for i := range msgs {
			msgs[i].ID, msgs[i].Enqueued = stored[i].ID, stored[i].Enqueued
		}
	}
	return err
}

func (q *Queue) check(msgs []Message) error {
	for i := range msgs {
		if n := len(msgs[i].Body); n > q.b.opt.MaxMessage {
			return fmt.Errorf("%w: put to %s: message %d has %d bytes, limit %d", ErrTooLarge, q.name, i, n, q.b.opt.MaxMessage)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// publish makes the group's messages visible; the committer calls it.
func (q *Queue) publish() {
	q.doneCount.Store(q.acked.done())
	if q.gone {
		q.doneCount.Store(q.put.Load())
	}
	if len(q.fresh) == 0 {
		return
	}
	q.put.Store(q.next - 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.tail = q.next
	for i := range q.fresh {
		q.recent.push(q.fresh[i])
	}
	q.recent.shrink(q.b.opt.Memory)
	q.wakeLocked()
}

// Stats returns the queue's counters.
func (q *Queue) Stats() QueueStats {
	s := QueueStats{Name: q.name}
	s.Done = q.doneCount.Load()
	s.Put = max(q.put.Load(), s.Done)
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Leased = len(q.leases)
	if m := q.recent.at(q.head); m != nil {
		s.OldestAge = time.Since(m.Enqueued)
	} else if m := q.ahead.at(q.head); m != nil {
		s.OldestAge = time.Since(m.Enqueued)
	}
	return s
}

func (q *Queue) markDropped() { q.end(ErrDropped) }
func (q *Queue) markClosed()  { q.end(ErrClosed) }

// end makes every further use fail and wakes those who wait.
func (q *Queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return
	}
	q.closed = err
	for _, w := range q.waiters {
		close(w)
	}
	q.waiters = nil
}
