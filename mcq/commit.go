package mcq

import (
	"encoding/binary"
	"runtime"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// op is something to commit for one queue: messages, acknowledgements, or its
// end. It is pooled; whoever is told of its completion gives it back.
type op struct {
	q    *Queue
	msgs []Message
	acks []interval
	drop bool

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
	one     [1]Message // backs msgs
	began   time.Time
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
	o.q, o.msgs, o.acks, o.drop = nil, nil, o.acks[:0], false
	o.finish, o.err, o.done = nil, nil, false
	o.session, o.one[0] = nil, Message{}
	ops.Put(o)
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

const (
	groupOps   = 4096
	groupBytes = 16 << 20

	// trimEvery consumed messages are removed from the store by one range
	// deletion; the ranges are disjoint.
	trimEvery = 4096
)

// commitLoop is the one writer: it takes what has gathered, commits it as one
// batch, then tells everybody. While it waits for the disk, the next group
// gathers.
func (b *Broker) commitLoop() {
	defer close(b.committed)
	var (
		spare   []*op
		touched []*Queue
	)
	for {
		ops := b.inbox.take(spare[:0])
		if len(ops) == 0 {
			return
		}
		for rest := ops; len(rest) > 0; {
			n, size := 0, 0
			for n < len(rest) && n < groupOps && size < groupBytes {
				size += rest[n].size()
				n++
			}
			touched = b.commitGroup(rest[:n], touched[:0])
			rest = rest[n:]
		}
		clear(ops) // they are pooled
		spare = ops
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
func (b *Broker) commitGroup(group []*op, touched []*Queue) []*Queue {
	err := b.err()
	if err == nil {
		if touched, err = b.writeGroup(group, touched); err != nil {
			err = b.fail(err)
		}
	}
	if err == nil {
		b.groups.Add(1)
		// Visible only now: a consumer must not see what a crash could take back.
		for _, q := range touched {
			q.publish()
		}
	}
	for _, o := range group {
		if err != nil {
			o.err = err
		}
		o.finish(o)
	}
	for _, q := range touched {
		q.fresh = q.fresh[:0]
		q.touched = false
	}
	return touched
}

func (b *Broker) writeGroup(group []*op, touched []*Queue) ([]*Queue, error) {
	size := 0
	for _, o := range group {
		size += o.size()
	}
	batch := b.db.NewBatchWithSize(size + 1024)
	defer batch.Close()
	now := time.Now()
	ms := now.UnixMilli()
	at := time.UnixMilli(ms)
	rec := b.record
	for _, o := range group {
		q := o.q
		if !q.touched {
			q.touched = true
			touched = append(touched, q)
		}
		if q.gone {
			o.err = ErrDropped
			continue
		}
		if !q.named {
			q.named = true
			if err := batch.Set(nameKey(q.name), binary.BigEndian.AppendUint32(nil, q.id), nil); err != nil {
				return touched, err
			}
		}
		if o.drop {
			if err := q.writeDrop(batch); err != nil {
				return touched, err
			}
			continue
		}
		for i := range o.msgs {
			m := &o.msgs[i]
			m.ID, m.Enqueued, m.Attempts = q.next, at, 0
			q.next++
			rec = appendRecord(rec[:0], m, ms)
			b.record = rec
			d := batch.SetDeferred(recordKeyLen, len(rec))
			appendRecordKey(d.Key[:0], q.id, m.ID)
			copy(d.Value, rec)
			if err := d.Finish(); err != nil {
				return touched, err
			}
			b.written.Add(uint64(len(rec)))
			q.fresh = append(q.fresh, *m)
		}
		for _, v := range o.acks {
			q.acked.add(v.from, v.to)
			q.ackedChanged = true
		}
	}
	for _, q := range touched {
		if err := q.writeProgress(batch); err != nil {
			return touched, err
		}
	}
	sync := pebble.NoSync
	if b.opt.Sync == Always {
		sync = pebble.Sync
	}
	return touched, guard(func() error { return batch.Commit(sync) })
}

// guard calls write, which writes to the store. Pebble reports that its log
// cannot be written by panics and by Logger.Fatalf, which must not return; here
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

// writeProgress puts the queue's new progress into the batch and, now and then,
// the removal of what has been consumed.
func (q *Queue) writeProgress(batch *pebble.Batch) error {
	if !q.ackedChanged || q.gone {
		return nil
	}
	q.ackedChanged = false
	q.scratch = q.acked.append(q.scratch[:0])
	if err := batch.Set(cursorKey(q.id), q.scratch, nil); err != nil {
		return err
	}
	if q.acked.cursor-q.trimmed < trimEvery {
		return nil
	}
	from, to := recordKey(q.id, q.trimmed), recordKey(q.id, q.acked.cursor)
	q.trimmed = q.acked.cursor
	return batch.DeleteRange(from, to, nil)
}

// writeDrop puts the removal of the whole queue into the batch.
func (q *Queue) writeDrop(batch *pebble.Batch) error {
	q.gone = true
	// The name may belong to a new queue by now, which may have been written.
	if cur := q.b.lookup(q.name); cur == nil {
		if err := batch.Delete(nameKey(q.name), nil); err != nil {
			return err
		}
	}
	if err := batch.Delete(cursorKey(q.id), nil); err != nil {
		return err
	}
	end := binary.BigEndian.AppendUint32([]byte{prefixRecord}, q.id+1)
	return batch.DeleteRange(recordKey(q.id, q.trimmed), end, nil)
}
