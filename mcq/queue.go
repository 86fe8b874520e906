package mcq

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/heddle-go/heddle/watchman"
)

// Queue is one durable first-in-first-out queue of a Broker, or a subscriber of
// one. It is safe for concurrent use.
type Queue struct {
	b      *Broker
	name   string
	id     uint32
	opt    QueueOptions
	parent *Queue // of a subscriber

	putOp, takeOp, setOp *watchman.Operation

	// The committer's own, but for log.id.
	log          *messageLog
	start        uint64 // the first message that is the queue's; a subscriber joins late
	acked        progress
	ackedChanged bool
	scratch      []byte
	tally        tally
	tallied      bool // it has changed
	touched      bool
	named        bool   // the name is in the store
	gone         bool   // dropped
	dropTo       uint64 // messages below are gone though not visible yet, to make room
	freshBytes   int64  // of those of the group that are not

	noted interval // of the messages of which it is recorded that they were handed out

	consumed progress // what had been acknowledged when the store was opened
	suspects uint64   // the store was not closed, and messages below were there

	dropped atomic.Bool // its name is free, or another's

	put, doneCount atomic.Uint64         // for Stats
	first          atomic.Uint64         // below it all are acknowledged
	told           atomic.Pointer[tally] // for Stats; nil while there is nothing to tell

	fillMu sync.Mutex // one reader of the store at a time; before mu

	due atomic.Int64 // Unix nanoseconds; nothing for the sweeper to do before

	mu        sync.Mutex
	head      uint64           // number of the next message never handed out
	tail      uint64           // numbers below are committed
	recent    window           // the newest messages, up to tail
	ahead     window           // messages read from the store, from head on
	counted   int64            // of the broker's memory, what these two took
	forgotten bool             // dropped: they stay empty
	size      int64            // bytes of bodies not acknowledged, from message sized on
	sized     uint64           // without MaxBytes, the first put since Open
	leases    map[uint64]lease // handed out, not acknowledged
	expiries  minHeap[expiry]  // when to look at which leases
	expiring  uint64           // ids in expiries
	returned  map[uint64]lease // came back, or their time came
	again     minHeap[uint64]  // returned, and what was acknowledged since
	delayed   map[uint64]struct{}
	laters    minHeap[later]      // delayed, and what was purged since
	jumped    map[uint64]struct{} // from head on, but came first when their time came, or are buried
	earlier   map[uint64]int      // from head on: how often they were handed out before Open
	waiters   []chan struct{}     // closed when it is their turn
	turns     int                 // waiters whose turn it is, 0 or 1
	paused    bool
	closed    error
}

func newQueue(b *Broker, name string, id uint32, parent *Queue) *Queue {
	q := &Queue{
		b: b, name: name, id: id, opt: b.opt.of(name), parent: parent,
		start: 1, acked: progress{cursor: 1}, consumed: progress{cursor: 1}, head: 1, tail: 1, recent: window{base: 1},
		leases: make(map[uint64]lease), returned: make(map[uint64]lease),
		delayed: make(map[uint64]struct{}), jumped: make(map[uint64]struct{}),
		expiries: minHeap[expiry]{less: func(a, b expiry) bool { return a.until < b.until }},
		again:    minHeap[uint64]{less: func(a, b uint64) bool { return a < b }},
		laters:   minHeap[later]{less: func(a, b later) bool { return a.ms < b.ms || a.ms == b.ms && a.seq < b.seq }},
		putOp:    b.opt.Watchman.Operation(watchman.Producer, "mcq put "+name),
		takeOp:   b.opt.Watchman.Operation(watchman.Internal, "mcq take "+name),
		setOp:    b.opt.Watchman.Operation(watchman.Server, "mcq set "+name),
	}
	q.due.Store(math.MaxInt64)
	if parent != nil {
		q.log = parent.log
	} else {
		q.log = &messageLog{id: id, next: 1, trimmed: 1, readers: []*Queue{q}}
	}
	return q
}

// load reads what the queue has acknowledged.
func (q *Queue) load() error {
	v, closer, err := q.b.reader.Get(cursorKey(q.id))
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
	if q.acked.cursor < q.start {
		q.acked.add(q.acked.cursor, q.start)
	}
	return q.loadTally()
}

// begin prepares the queue for use once it is known where its log ends; it is
// an iterator of the log's records.
func (q *Queue) begin(it *pebble.Iterator) error {
	q.head, q.tail, q.recent.base = q.acked.cursor, q.log.next, q.log.next
	q.consumed = progress{cursor: q.acked.cursor, beyond: slices.Clone(q.acked.beyond)}
	q.put.Store(q.log.next - q.start)
	q.doneCount.Store(q.acked.done() - (q.start - 1))
	q.first.Store(q.acked.cursor)
	if q.opt.MaxBytes == 0 {
		q.sized = q.tail
		return nil
	}
	var m Message
	for ok := it.SeekGE(recordKey(q.log.id, q.head)); ok; ok = it.Next() {
		seq, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		if q.acked.has(seq) {
			continue
		}
		if err := parseRecord(it.Value(), &m); err != nil {
			return fmt.Errorf("message %d: %w", seq, err)
		}
		q.size += int64(len(m.Body))
	}
	return it.Error()
}

// sizeIn returns how much of the queue's size is that of message seq, which was
// there when the store was opened; records is an iterator of the log's records.
func (q *Queue) sizeIn(records *pebble.Iterator, seq uint64) (int, error) {
	if seq < q.sized {
		return 0, nil
	}
	key := recordKey(q.log.id, seq)
	if !records.SeekGE(key) || !bytes.Equal(records.Key(), key) {
		return 0, records.Error()
	}
	var m Message
	if err := parseRecord(records.Value(), &m); err != nil {
		return 0, fmt.Errorf("message %d: %w", seq, err)
	}
	return len(m.Body), nil
}

// goneLocked takes a message that leaves the queue off its size.
func (q *Queue) goneLocked(id uint64, size int) {
	if id >= q.sized {
		q.size -= int64(size)
	}
}

// Name is the queue's name; a subscriber's is queue+subscriber.
func (q *Queue) Name() string { return q.name }

// Put adds messages at the end, in their order and without others between
// them, and returns when they are durable as Options.Sync says. It sets their
// ID and Enqueued. Either all are stored or none: ErrFull if the queue, or one of
// its subscribers, may not hold so many, ErrTooLarge if one is too large. A
// message whose Key was there before gets the ID that it had then.
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
		o.msgs[i].Dead = nil
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
		if err := checkMessage(&msgs[i], q.b.opt.MaxMessage); err != nil {
			return fmt.Errorf("%w: put to %s, message %d", err, q.name, i)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return cmp.Or(q.errLocked(), q.b.spaceFor("put to", q))
}

// checkMessage reports what keeps m from being put.
func checkMessage(m *Message, most int) error {
	switch {
	case len(m.Body) > most:
		return fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, len(m.Body), most)
	case len(m.Key) > maxKeyBytes:
		return fmt.Errorf("%w: Key of %d bytes, limit %d", ErrMessage, len(m.Key), maxKeyBytes)
	case m.Delay < 0 || m.Delay > maxDelay || m.TTL < 0 || m.TTL > maxDelay:
		return fmt.Errorf("%w: Delay %v, TTL %v: want 0 to ten years", ErrMessage, m.Delay, m.TTL)
	}
	return nil
}

// publish makes the messages of the log's group visible; the committer calls it.
func (q *Queue) publish() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.log.fresh {
		m := &q.log.fresh[i]
		if m.ID < q.start {
			continue // before it subscribed
		}
		q.recent.push(m)
		if m.Delay > 0 && m.ID >= q.dropTo {
			q.postponeLocked(later{dueMs(m), m.ID, len(m.Body)})
		}
	}
	q.tail = q.log.next
	q.size += q.freshBytes
	if q.dropTo > q.head { // then all before was handed out
		q.head = q.dropTo
		q.recent.dropBelow(q.head)
	}
	q.freshBytes = 0
	q.keepLocked()
	q.put.Store(q.tail - q.start)
	q.wakeLocked()
}

// QueueStats are the counters of one queue. Those that only grow come from the
// store, where they are written with what they count, and survive every restart.
type QueueStats struct {
	Name       string
	Put        uint64        // messages ever put; only grows
	Done       uint64        // messages acknowledged, taken or dropped; only grows
	Leased     int           // messages handed out and not acknowledged yet
	Delayed    int           // messages that wait for their time
	Bytes      int64         // bodies in the queue; without MaxBytes only of what was put since Open
	OldestAge  time.Duration // since the first message was put that is not acknowledged, leased or not; 0 if there is none, or only delayed ones
	Expired    uint64        // messages dropped for their TTL or MaxAge; only grows
	Discarded  uint64        // messages dropped to make room; only grows
	Buried     uint64        // messages moved to the dead letters, or dropped for want of them; only grows
	Duplicates uint64        // messages put again within the window, and not stored; only grows
	Waiters    int           // readers that wait for messages; with jetqueue those of this process
	Paused     bool

	// Partial says that only Put, Done, Leased, OldestAge, Waiters and Paused are
	// known, and the others 0: those of a jetqueue.
	Partial bool
}

// Backlog is how many messages are in the queue, leased and delayed ones included.
func (s QueueStats) Backlog() uint64 { return s.Put - s.Done }

// Stats returns the queue's counters. It may read from the store to learn how old
// messages are.
func (q *Queue) Stats() QueueStats {
	s := QueueStats{Name: q.name}
	s.Done = q.doneCount.Load()
	s.Put = max(q.put.Load(), s.Done)
	if t := q.told.Load(); t != nil {
		s.Expired, s.Discarded, s.Buried, s.Duplicates = t.expired, t.discarded, t.buried, t.duplicates
	}
	s.OldestAge = q.oldestAge()
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Leased, s.Delayed, s.Bytes, s.Waiters, s.Paused = len(q.leases), len(q.delayed), max(q.size, 0), len(q.waiters), q.paused
	return s
}

// oldestAge is QueueStats.OldestAge, as far as the store can be read.
func (q *Queue) oldestAge() time.Duration {
	first := uint64(math.MaxUint64)
	q.mu.Lock()
	if id := q.first.Load(); q.leasedLocked(id) {
		first = id
	} else if _, ok := q.delayed[id]; ok { // those behind it may be leased
		for id := range q.leases {
			first = min(first, id)
		}
	}
	q.mu.Unlock()
	oldest, err := q.Peek(context.Background(), 1)
	if first < math.MaxUint64 && (len(oldest) == 0 || first < oldest[0].ID) {
		m := []Message{{ID: first}}
		if _, err = q.readAgain(m); err == nil && !m[0].Enqueued.IsZero() {
			oldest = m
		}
	}
	if err != nil || len(oldest) == 0 {
		return 0
	}
	return max(time.Since(oldest[0].Enqueued), 0)
}

func (q *Queue) leasedLocked(id uint64) bool {
	_, ok := q.leases[id]
	return ok
}

// errLocked is why the queue cannot be used any more, nil while it can.
func (q *Queue) errLocked() error { return cmp.Or(q.closed, q.b.err()) }

// end makes every further use fail and wakes those who wait. What has failed may
// be closed.
func (q *Queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil && !errors.Is(q.closed, ErrFailed) {
		return
	}
	q.closed = err
	for _, w := range q.waiters {
		close(w)
	}
	q.waiters = nil
}

// MaxName is the longest name of a queue, in bytes.
const MaxName = 200

// CheckName reports whether name can be a queue's: 1 to 200 bytes, none of them
// a control byte, a space, a slash, a plus sign or a tilde. One plus sign may
// stand between a queue's name and a subscriber's.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > MaxName {
		return fmt.Errorf("%w: %d bytes, want 1 to %d", ErrName, len(name), MaxName)
	}
	queue, sub, isSub := strings.Cut(name, "+")
	if isSub && (queue == "" || sub == "") {
		return fmt.Errorf("%w: %q: want queue+subscriber", ErrName, name)
	}
	for _, part := range []string{queue, sub} {
		for i := range len(part) {
			if c := part[i]; c <= ' ' || c == 0x7f || c == '/' || c == '+' || c == '~' {
				return fmt.Errorf("%w: %q has %q in it", ErrName, name, c)
			}
		}
	}
	return nil
}
