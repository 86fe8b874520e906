package mcq

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Broker is a set of durable queues in one directory. It is safe for
// concurrent use.
type Broker struct {
	opt Options
	dir string
	db  *pebble.DB

	reader  pebble.Reader // what is loaded: db, or with a check what it would be
	journal *journal
	files   *fullFS
	reserve *reserve

	flushFailed chan error // why a memtable could not be written

	release func() // the directory

	mu     sync.RWMutex
	queues map[string]*Queue
	lastID uint32
	closed bool

	opens uint64 // which time the store is open, in receipts

	inbox  *inbox
	memory memory

	// Of whoever commits a group, which is the committer or a server's loop, as the
	// inbox says; so is all that is said to be the committer's own.
	touched []*Queue
	lanes   []*lane
	logs    []*messageLog
	head    []byte // for encoding
	cuts    cuts

	removals []removal // by the group
	consumed int       // bytes that were removed since the journal was shrunk

	took atomic.Int64 // nanoseconds that groups took of late, with Sync Always

	loops loops // of the servers

	spansMu sync.Mutex
	spans   map[uint32]span // by log, what is removed and not reclaimed

	committed chan struct{} // closed when the committer has ended
	stop      chan struct{} // closed by Close: sweeper and syncer end
	ended     chan struct{} // closed when Close is done
	closeErr  error
	wg        sync.WaitGroup
	failed    atomic.Pointer[error] // why nothing can be acknowledged any more
	broken    chan struct{}         // closed when that is known

	tidying   atomic.Bool  // an op to tidy is under way
	full      atomic.Bool  // the disk is, nearly: nothing can be put
	fullUntil atomic.Int64 // Unix nanoseconds; until when it is for what a write has said; 0 while none did
	held      atomic.Int32 // writes that all others wait for and that wait for space themselves
	opened    atomic.Bool

	groups  atomic.Uint64
	written atomic.Uint64
}

// Open opens the store in dir, making it if there is none. One process can have
// it open at a time. What a crash left behind is recovered: every message that
// was acknowledged to its producer is there, every message that a consumer
// acknowledged is not, and leases are void.
func Open(dir string, opts *Options) (*Broker, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	b := &Broker{
		opt: o, dir: dir, queues: make(map[string]*Queue), inbox: newInbox(), spans: make(map[uint32]span),
		flushFailed: make(chan error, 1), broken: make(chan struct{}),
		committed: make(chan struct{}), stop: make(chan struct{}), ended: make(chan struct{}),
	}
	if b.release, err = use(o.fs, dir); err != nil {
		return nil, fmt.Errorf("mcq: open %s: %w", dir, err)
	}
	b.memory.share.Store(int64(o.Memory))
	popts := storeOptions(&o, storeLogger{b, o.Logger})
	reads := &readFS{FS: o.fs}
	b.files = &fullFS{FS: reads, b: b, mark: marker{fs: o.fs, dir: dir}}
	popts.FS = b.files
	popts.EventListener.FlushEnd = b.flushEnded
	b.cuts.from = o.cut
	popts.Experimental.SpanPolicyFunc = b.cuts.policy
	b.openJournal()
	err = guard(func() (err error) {
		if err = dropEmptyLogs(popts.FS, dir); err == nil {
			b.db, err = pebble.Open(dir, popts)
		}
		return err
	})
	if err != nil {
		b.release()
		if isLocked(err) {
			err = fmt.Errorf("%w by another process: %w", ErrLocked, err)
		}
		return nil, fmt.Errorf("mcq: open %s: %w", dir, reads.openError(dir, err))
	}
	b.files.noted(b.files.mark.current())
	b.reader = b.db
	if err := guard(b.load); err != nil {
		if b.db != nil {
			b.closeStore() // err is what matters
		}
		b.release()
		return nil, fmt.Errorf("mcq: open %s: %w", dir, damaged(err))
	}
	b.opened.Store(true)
	b.reserve.lacks.Store(true) // unless all is there
	b.lookAtDisk()
	go b.commitLoop()
	b.wg.Go(b.sweep)
	b.wg.Go(b.reclaim)
	if o.Sync == Interval {
		b.wg.Go(b.syncNow)
	}
	return b, nil
}

// openJournal says how the journal is written, before it is read.
func (b *Broker) openJournal() {
	fits := journalSizeOn(b.opt.fs, b.dir)
	size := cmp.Or(b.opt.journal, fits)
	b.journal = &journal{
		fs: b.files, dir: b.dir, sync: b.opt.Sync, size: size, late: max(journalBehind, journalBehind*int(fits/size)),
		short: &b.full, wait: b.awaitTables, flush: func() (<-chan struct{}, error) {
			b.cuts.set()
			return b.db.AsyncFlush()
		},
	}
	b.reserve = newReserve(b.opt.fs, b.dir, size, &b.opened)
}

// Queue returns the queue of that name, making it durably the first time.
//
// The name queue+subscriber is a subscriber of a queue: it gets every message
// that is put into the queue from its making on, reads and acknowledges them at
// its own pace, and keeps them until it has. The queue's own readers are not
// affected. A subscriber that nobody reads holds on to all messages, unless it
// has a limit, until it is dropped.
func (b *Broker) Queue(name string) (*Queue, error) {
	if q := b.lookup(name); q != nil {
		return q, nil
	}
	if err := CheckName(name); err != nil {
		return nil, err
	}
	var parent *Queue
	if owner, _, isSub := strings.Cut(name, "+"); isSub {
		var err error
		if parent, err = b.Queue(owner); err != nil {
			return nil, err
		}
	}
	q, made, err := b.queue(name, parent)
	if err != nil || !made {
		return q, err
	}
	// Whoever finds it meanwhile may be faster: the first op that the committer
	// sees for a queue takes the name along.
	if err := b.commit(takeOp(q)); err != nil {
		return nil, err
	}
	return q, nil
}

// queue returns the queue of that name, in memory only if it has to be made.
func (b *Broker) queue(name string, parent *Queue) (q *Queue, made bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false, ErrClosed
	}
	if q := b.queues[name]; q != nil {
		return q, false, nil
	}
	if parent != nil && b.queues[parent.name] != parent {
		return nil, false, ErrDropped
	}
	if len(b.queues) >= b.opt.MaxQueues {
		return nil, false, fmt.Errorf("%w: limit %d", ErrTooMany, b.opt.MaxQueues)
	}
	if err := b.err(); err != nil {
		return nil, false, err
	}
	if b.full.Load() {
		return nil, false, fmt.Errorf("%w: queue %s", ErrNoSpace, name)
	}
	b.lastID++
	q = newQueue(b, name, b.lastID, parent)
	b.queues[name] = q
	return q, true, nil
}

// lookup returns a queue that is there already, or nil.
func (b *Broker) lookup(name string) *Queue {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.queues[name]
}

// Queues lists the names of all queues, sorted.
func (b *Broker) Queues() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	names := make([]string, 0, len(b.queues))
	for name := range b.queues {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Drop removes a queue with all its messages and subscribers, or one
// subscriber, durably. Dropping an unknown queue does nothing and returns false.
func (b *Broker) Drop(name string) (bool, error) {
	b.mu.Lock()
	q := b.queues[name]
	var gone []*Queue
	for _, r := range b.queues {
		if q != nil && (r == q || r.parent == q) {
			delete(b.queues, r.name)
			r.dropped.Store(true)
			gone = append(gone, r)
		}
	}
	b.mu.Unlock()
	if q == nil {
		return false, nil
	}
	for _, r := range gone {
		r.end(ErrDropped)
	}
	o := takeOp(q)
	o.drop = true
	err := b.commit(o)
	for _, r := range gone {
		r.forgetMemory()
	}
	return true, err
}

// Close ends the broker: writes under way are finished, waiting readers get
// ErrClosed. Queues that were handed out stay usable only to return ErrClosed.
// Closing twice does nothing; every call waits until all is closed.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		<-b.ended
		return b.closeErr
	}
	b.closed = true
	queues := make([]*Queue, 0, len(b.queues))
	for _, q := range b.queues {
		queues = append(queues, q)
	}
	close(b.stop)
	b.mu.Unlock()
	for _, q := range queues {
		q.end(ErrClosed)
	}
	b.wg.Wait()
	b.inbox.close()
	b.awaitCommitter()
	b.closeErr = b.closeStore()
	close(b.ended)
	return b.closeErr
}

// closePatience is how long Close waits for what may wait for the disk once the store
// has failed.
const closePatience = 2 * time.Second

// awaitCommitter waits until the last group is committed. It may be in the journal and
// wait for the list of tables, and that for space.
func (b *Broker) awaitCommitter() {
	select {
	case <-b.committed:
		return
	case <-b.broken:
	}
	select {
	case <-b.committed:
	case <-time.After(closePatience):
	}
}

// closeStore closes Pebble. After a failed write Pebble may hold its own locks
// for ever; then it is abandoned, and the directory stays locked until the
// process ends.
func (b *Broker) closeStore() error {
	defer b.release()
	if b.opened.Load() {
		defer b.reserve.keep() // who opens it needs it
	}
	defer b.files.mark.close()
	var err error
	if b.err() == nil {
		err = guard(b.emptyJournal)
	}
	cause := b.err()
	if cause == nil {
		return errors.Join(err, guard(func() error { return errors.Join(b.journal.close(), b.db.Close()) }))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		guard(func() error { return errors.Join(b.db.Close(), b.journal.close()) }) // it fails for the reason that is known
	}()
	select {
	case <-done:
		return cause
	case <-time.After(closePatience):
		return fmt.Errorf("%w; the store could not be closed", cause)
	}
}

// emptyJournal has tables have all there is: an empty journal has nothing that could
// be mistaken for an unfinished write, should it be damaged while it lies there.
func (b *Broker) emptyJournal() error {
	if !b.opened.Load() {
		return nil // it could not be read: it is what it was
	}
	if err := b.saveHanded(); err != nil {
		return err
	}
	if _, err := b.flush(); err != nil {
		return err
	}
	return b.journal.end()
}

// awaitTables waits until done, which says that tables have what was committed a while
// ago, unless they wait for space themselves.
func (b *Broker) awaitTables(done <-chan struct{}) {
	for !b.full.Load() && b.err() == nil {
		select {
		case <-done:
			return
		case <-b.stop:
			return
		case <-time.After(fullPause):
		}
	}
}

// flush writes all there is to tables. Where Pebble would try for ever it gives up; when
// tables have it flushed is closed all the same.
func (b *Broker) flush() (flushed <-chan struct{}, err error) {
	select {
	case <-b.flushFailed: // before
	default:
	}
	if flushed, err = b.db.AsyncFlush(); err != nil {
		return nil, err
	}
	for before := true; ; before = false {
		select {
		case <-flushed:
			return flushed, nil
		case err := <-b.flushFailed:
			if !before || b.err() != nil {
				return flushed, fmt.Errorf("tables cannot be written: %w", err)
			}
			// It may have begun when the disk was full; Pebble tries again.
		}
	}
}

// flushEnded hears of each memtable that was, or could not be, written to a table.
func (b *Broker) flushEnded(info pebble.FlushInfo) {
	if info.Err != nil {
		b.tellFlush(info.Err)
	}
}

// tellFlush has who waits for tables give up.
func (b *Broker) tellFlush(err error) {
	select {
	case b.flushFailed <- err:
	default:
	}
}

// err is why nothing can be written any more, nil while it can.
func (b *Broker) err() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// fail poisons the broker.
func (b *Broker) fail(cause error) error {
	err := fmt.Errorf("%w: %w", ErrFailed, cause)
	if b.failed.CompareAndSwap(nil, &err) {
		close(b.broken)
		b.opt.Logger.Error("mcq: the store failed, nothing is acknowledged any more", "error", cause.Error())
	}
	b.tellFlush(cause)
	return b.err()
}

// sweep ends leases that have run out and hands over what was delayed.
func (b *Broker) sweep() {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var due []*Queue
	for n := 0; ; n++ {
		select {
		case <-b.stop:
			return
		case now := <-tick.C:
			if n%2 == 0 {
				b.lookAtDisk()
			}
			if n%tidyEvery == 0 && b.full.Load() {
				b.tidy()
			}
			b.shareMemory(n%20 == 0)
			failed := b.err()
			b.mu.RLock()
			due = due[:0]
			for _, q := range b.queues {
				if q.due.Load() <= now.UnixNano() || failed != nil {
					due = append(due, q)
				}
			}
			b.mu.RUnlock()
			if failed != nil { // what fails may hold locks: those who wait hear of it here
				for _, q := range due {
					q.end(failed)
				}
				continue
			}
			for _, q := range due {
				q.expire(now)
			}
		}
	}
}

// lookAtDisk sees to it that nothing is put into a store whose disk is nearly
// full, so that there is room for acknowledgements and for tables.
func (b *Broker) lookAtDisk() {
	var usage vfs.DiskUsage
	full := b.reserve.lacks.Load() && !b.reserve.keep()
	if b.opt.MinFree >= 0 {
		var err error
		usage, err = b.opt.fs.GetDiskUsage(b.dir)
		full = full || err == nil && usage.AvailBytes < uint64(b.opt.MinFree) // or there is no knowing
	}
	if until := b.fullUntil.Load(); until > time.Now().UnixNano() {
		full = true
	} else if !full {
		b.fullUntil.CompareAndSwap(until, 0)
	}
	if full == b.full.Swap(full) {
		return
	}
	if full {
		b.opt.Logger.Error("mcq: the disk is nearly full, nothing can be put", "path", b.dir, "free", usage.AvailBytes, "want", b.opt.MinFree)
	} else {
		b.opt.Logger.Info("mcq: the disk has space again", "path", b.dir)
	}
}

// syncNow makes what was written durable at intervals.
func (b *Broker) syncNow() {
	tick := time.NewTicker(b.opt.SyncInterval)
	defer tick.Stop()
	for synced := uint64(0); ; {
		select {
		case <-b.stop:
			return
		case <-tick.C:
			if n := b.groups.Load(); n != synced && b.err() == nil {
				synced = n
				if err := guard(b.journal.syncNow); err != nil {
					b.fail(err)
				}
			}
		}
	}
}

// Stats are a broker's counters.
type Stats struct {
	Queues []QueueStats // by name
	Groups uint64       // batches committed since Open; with Sync Always as many fsyncs; only grows
	Bytes  uint64       // bytes of messages written since Open; only grows
	Full   bool         // the disk is, nearly or wholly, and nothing can be put
	Failed string       // why the store must be opened again; "" while all is well
}

// Stats returns a snapshot of each queue; together they are not atomic.
func (b *Broker) Stats() Stats {
	b.mu.RLock()
	queues := make([]*Queue, 0, len(b.queues))
	for _, q := range b.queues {
		queues = append(queues, q)
	}
	b.mu.RUnlock()
	s := Stats{Groups: b.groups.Load(), Bytes: b.written.Load(), Full: b.full.Load()}
	if err := b.err(); err != nil {
		s.Failed = err.Error()
	}
	for _, q := range queues {
		s.Queues = append(s.Queues, q.Stats())
	}
	slices.SortFunc(s.Queues, func(a, b QueueStats) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// Health says why nothing can be put, with an error that wraps ErrFailed, ErrNoSpace
// or ErrClosed; it is nil while all is well. It costs nothing.
func (b *Broker) Health() error {
	b.mu.RLock()
	closed := b.closed
	b.mu.RUnlock()
	switch {
	case closed:
		return ErrClosed
	case b.err() != nil:
		return b.err()
	case b.full.Load():
		return fmt.Errorf("%w: %s", ErrNoSpace, b.dir)
	}
	return nil
}
