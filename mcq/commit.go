package mcq

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// op is something to commit for one queue: messages, acknowledgements, or its
// end. It is pooled; whoever is told of its completion gives it back.
type op struct {
	q       *Queue
	msgs    []Message
	from    *Queue // whose messages acks are; nil means q
	acks    []interval
	bytes   int     // of the bodies in acks
	expired int     // of acks, those of messages that expired
	buried  int     // of acks, those of messages that are buried
	count   *int    // gets how many of acks were new
	ripe    []later // no longer delayed
	drop    bool
	tidy    bool // of no queue: see Broker.tidy

	handed []handed // to be recorded

	// finish is told, on the committer's goroutine, when the op is durable or
	// has failed. It must not block.
	finish func(*op)
	err    error

	// Of commit. This is not a channel because those belong to the synctest
	// bubble that made them, and ops are pooled.
	mu       sync.Mutex
	finished sync.Cond
	done     bool

	// Of a server's session, to spare a closure for each command:
	session *session
	lane    *lane      // to be flushed when the group is committed
	one     [1]Message // backs msgs
	began   time.Time
	ended   time.Time // when its group was committed
	reply   []byte    // what to send when it is durable
	taken   int       // messages in it that are removed
}

var ops = sync.Pool{New: func() any {
	o := &op{}
	o.finished.L = &o.mu
	return o
}}

func takeOp(q *Queue) *op {
	o := ops.Get().(*op)
	o.q = q
	return o
}

func (o *op) release() {
	o.q, o.msgs, o.from, o.acks, o.bytes = nil, nil, nil, o.acks[:0], 0
	o.expired, o.buried = 0, 0
	o.count, o.ripe, o.drop, o.tidy, o.handed = nil, nil, false, false, o.handed[:0]
	o.finish, o.err, o.done = nil, nil, false
	o.session, o.lane, o.one[0], o.ended = nil, nil, Message{}, time.Time{}
	if o.reply, o.taken = o.reply[:0], 0; cap(o.reply) > maxKeptReply {
		o.reply = nil
	}
	ops.Put(o)
}

// maxKeptReply bounds the room for a reply that a pooled op keeps.
const maxKeptReply = 4 << 10

// took is how long it took to commit o.
func (o *op) took() time.Duration {
	if o.ended.IsZero() { // it could not be handed to the committer
		return time.Since(o.began)
	}
	return o.ended.Sub(o.began)
}

// commit waits until o is durable and gives it back.
func (b *Broker) commit(o *op) error {
	o.finish = (*op).wake
	if err := b.submit(o); err != nil {
		o.release()
		return err
	}
	o.mu.Lock()
	for !o.done {
		o.finished.Wait()
	}
	o.mu.Unlock()
	err := o.err
	o.release()
	return err
}

func (o *op) wake() {
	o.mu.Lock()
	o.done = true
	o.finished.Signal()
	o.mu.Unlock()
}

// submit hands o to the committer; o.finish will be called unless it fails.
func (b *Broker) submit(o *op) error { return b.inbox.put(o) }

// submitAside hands o to the committer without waiting for it.
func (b *Broker) submitAside(o *op) {
	o.finish = (*op).release
	if b.submit(o) != nil {
		o.release()
	}
}

const (
	groupOps   = 4096
	groupBytes = 16 << 20
)

// commitLoop is the one writer: it takes what has gathered, commits it as one
// batch, then tells everybody. While it waits for the disk, the next group
// gathers.
func (b *Broker) commitLoop() {
	defer close(b.committed)
	var spare []*op
	for {
		ops := b.inbox.take(spare[:0])
		if len(ops) == 0 {
			return
		}
		b.commitAll(ops)
		b.inbox.done()
		clear(ops) // they are pooled
		spare = ops
	}
}

// commitAll commits ops in groups of bounded size.
func (b *Broker) commitAll(ops []*op) {
	for len(ops) > 0 {
		n, size := 0, 0
		for n < len(ops) && n < groupOps && size < groupBytes {
			size += ops[n].size()
			n++
		}
		b.commitGroup(ops[:n])
		ops = ops[n:]
	}
}

func (o *op) size() int {
	n := 0
	for i := range o.msgs {
		n += len(o.msgs[i].Body) + 64
	}
	return n
}

// commitGroup writes group as one batch and completes its ops in order.
func (b *Broker) commitGroup(group []*op) {
	err := b.err()
	if err == nil {
		if err = b.writeGroup(group); err != nil {
			err = b.fail(err)
		}
	}
	if err == nil {
		b.groups.Add(1)
		if len(b.removals) > 0 {
			b.removed()
		}
		// Visible only now: a consumer must not see what a crash could take back.
		for _, l := range b.logs {
			for _, q := range l.readers {
				q.publish()
			}
		}
		for _, q := range b.touched {
			if q.doneCount.Store(q.acked.done() - (q.start - 1)); q.gone {
				q.doneCount.Store(q.put.Load())
			}
			q.first.Store(q.acked.cursor)
			q.tellTally()
		}
	}
	now := time.Now()
	for _, o := range group {
		if o.ended = now; err != nil {
			o.err = err
		}
		if ln := o.lane; ln != nil && !ln.listed {
			ln.listed = true
			b.lanes = append(b.lanes, ln)
		}
		o.finish(o)
	}
	for i, ln := range b.lanes {
		ln.listed = false
		ln.replied()
		b.lanes[i] = nil
	}
	b.lanes = b.lanes[:0]
	for _, q := range b.touched {
		q.touched = false
	}
	for _, l := range b.logs {
		clear(l.fresh)
		l.fresh, l.touched = l.fresh[:0], false
	}
	b.touched, b.logs = b.touched[:0], b.logs[:0]
}

// touch has the committer look after q at the end of the group.
func (b *Broker) touch(q *Queue) {
	if !q.touched {
		q.touched = true
		b.touched = append(b.touched, q)
	}
}

func (b *Broker) writeGroup(group []*op) error {
	size := 0
	for _, o := range group {
		size += o.size()
	}
	batch := b.db.NewBatchWithSize(size + 1024)
	defer batch.Close()
	ms := time.Now().UnixMilli()
	tidy := false
	for _, o := range group {
		if o.tidy {
			tidy = true
			continue
		}
		if err := b.writeOp(batch, o, ms); err != nil {
			return err
		}
	}
	for i := 0; i < len(b.touched); i++ {
		q := b.touched[i]
		if q.gone {
			continue
		}
		if err := errors.Join(q.writeProgress(batch), q.writeTally(batch), q.log.trim(batch, false)); err != nil {
			return err
		}
	}
	if tidy {
		return b.writeTidied(batch)
	}
	began := time.Now()
	err := b.write(batch)
	took := b.took.Load()
	b.took.Store(took + (int64(time.Since(began))-took)/8)
	return err
}

// write makes batch the next group of the journal, and then visible in Pebble.
func (b *Broker) write(batch *pebble.Batch) error {
	if err := b.journal.append(batch.Repr()); err != nil {
		return err
	}
	return guard(func() error { return batch.Commit(pebble.NoSync) })
}

// writeOp puts o into the batch. An error is about the store; what is wrong
// with o is in o.err.
func (b *Broker) writeOp(batch *pebble.Batch, o *op, ms int64) error {
	q := o.q
	b.touch(q)
	if q.gone || q.log.gone {
		o.err = ErrDropped
		return nil
	}
	if o.drop {
		return q.writeDrop(batch)
	}
	if err := q.register(batch); err != nil {
		return err
	}
	if len(o.msgs) > 0 {
		if q.parent != nil {
			o.err = fmt.Errorf("%w: %s is a subscriber: put to %s", ErrName, q.name, q.parent.name)
			return nil
		}
		if b.full.Load() {
			o.err = fmt.Errorf("%w: put to %s", ErrNoSpace, q.name)
			return nil
		}
		if o.err = q.log.makeRoom(o.msgs, ms); o.err != nil {
			return nil
		}
		if err := q.log.write(b, batch, o.msgs, ms); err != nil {
			return err
		}
	}
	if len(o.acks) > 0 {
		from := cmp.Or(o.from, q)
		b.touch(from)
		before := from.acked.done()
		for _, v := range o.acks {
			from.acked.add(v.from, v.to)
		}
		if o.count != nil {
			*o.count = int(from.acked.done() - before)
		}
		from.ackedChanged = true
		from.log.untrimmed += o.bytes
		if from.tally.add(o.expired, o.buried) {
			from.tallied = true
		}
	}
	if len(o.handed) > 0 {
		if err := q.writeHanded(batch, o.handed); err != nil {
			return err
		}
	}
	for _, l := range o.ripe {
		if err := batch.Delete(indexKey(prefixDelay, q.log.id, l.ms, l.seq), nil); err != nil {
			return err
		}
	}
	return nil
}

// register puts the queue's name into the batch, the first time.
func (q *Queue) register(batch *pebble.Batch) error {
	if q.named {
		return nil
	}
	q.named = true
	v := binary.BigEndian.AppendUint32(nil, q.id)
	if q.parent != nil {
		if err := q.parent.register(batch); err != nil {
			return err
		}
		q.subscribe()
		v = binary.BigEndian.AppendUint64(v, q.start)
	}
	return batch.Set(nameKey(q.name), v, nil)
}

// subscribe makes the queue a reader of its log from here on.
func (q *Queue) subscribe() {
	next := q.log.next
	q.start, q.acked, q.ackedChanged = next, progress{cursor: next}, true
	q.log.readers = append(q.log.readers, q)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.head, q.tail, q.recent.base = next, next, next
}

// write puts messages into the batch and numbers them.
func (l *messageLog) write(b *Broker, batch *pebble.Batch, msgs []Message, ms int64) error {
	if !l.touched {
		l.touched = true
		b.logs = append(b.logs, l)
	}
	root := l.readers[0]
	forNobody := root.opt.FanOut && len(l.readers) == 1
	at := time.UnixMilli(ms)
	for i := range msgs {
		m := &msgs[i]
		m.Enqueued, m.Attempts = at, 0
		window := root.opt.DedupeWindow.Milliseconds()
		if m.Key != "" && window > 0 {
			if m.ID = l.seen.find(m.Key, ms, window); m.ID != 0 {
				root.tally.duplicates++
				root.tallied = true
				continue
			}
			if err := l.seen.add(batch, l.id, ms, l.next, m.Key); err != nil {
				return err
			}
		}
		m.ID = l.next
		l.next++
		if forNobody {
			continue
		}
		head := appendRecordHead(b.head[:0], m, ms)
		b.head = head
		d := batch.SetDeferred(recordKeyLen, len(head)+len(m.Body))
		appendRecordKey(d.Key[:0], l.id, m.ID)
		copy(d.Value[copy(d.Value, head):], m.Body)
		if err := d.Finish(); err != nil {
			return err
		}
		if m.Delay > 0 {
			if err := batch.Set(indexKey(prefixDelay, l.id, dueMs(m), m.ID), nil, nil); err != nil {
				return err
			}
		}
		b.written.Add(uint64(len(d.Value)))
		b.cuts.count(l, len(d.Value))
		l.fresh = append(l.fresh, *m)
		for _, q := range l.readers {
			q.freshBytes += int64(len(m.Body))
		}
	}
	if root.opt.FanOut {
		root.acked.add(root.acked.cursor, l.next)
		root.dropTo, root.freshBytes, root.ackedChanged = l.next, 0, true
		b.touch(root)
	}
	return nil
}

// writeProgress puts the queue's new progress into the batch.
func (q *Queue) writeProgress(batch *pebble.Batch) error {
	if !q.ackedChanged {
		return nil
	}
	q.ackedChanged = false
	q.scratch = q.acked.append(q.scratch[:0])
	return batch.Set(cursorKey(q.id), q.scratch, nil)
}

// writeDrop puts the removal of the whole queue, with its subscribers, or of
// one subscriber into the batch.
func (q *Queue) writeDrop(batch *pebble.Batch) error {
	l := q.log
	if q.parent != nil {
		l.readers = slices.DeleteFunc(l.readers, func(r *Queue) bool { return r == q })
		return q.writeForgotten(batch)
	}
	l.gone = true
	from, to := recordKey(l.id, l.trimmed), logEnd(l.id)
	q.b.removes(l.id, from, to, q.b.opt.reclaim)
	errs := []error{batch.DeleteRange(from, to, nil)}
	for _, index := range []byte{prefixDelay, prefixSeen} {
		bounds := indexBounds(index, l.id)
		errs = append(errs, batch.DeleteRange(bounds.LowerBound, bounds.UpperBound, nil))
	}
	for _, r := range l.readers {
		errs = append(errs, r.writeForgotten(batch))
	}
	return errors.Join(errs...)
}

func (q *Queue) writeForgotten(batch *pebble.Batch) error {
	q.gone = true
	// The name may belong to a new queue by now, which may have been written.
	if q.b.lookup(q.name) == nil {
		if err := batch.Delete(nameKey(q.name), nil); err != nil {
			return err
		}
	}
	return errors.Join(batch.Delete(cursorKey(q.id), nil), batch.Delete(tallyKey(q.id), nil), batch.DeleteRange(handedKey(q.id, 0), handedKey(q.id, 1<<64-1), nil))
}

// guard calls write, which writes to the store. Pebble reports that its list of
// tables cannot be written by panics and by Logger.Fatalf, which must not return; here
// they become the error that poisons the broker.
func guard(write func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case runtime.Error:
			panic(p)
		case error:
			err = p
		default:
			panic(p)
		}
	}()
	return write()
}
