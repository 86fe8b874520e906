package mcq

import (
	"context"
	"time"
)

// Backend is where the queues are that a Server serves: those of a Broker, of another
// server (Client.Backend), or of a system beyond this machine, as in package jetqueue. Package mcqtest tests
// its contract:
//
//  1. All methods may be called from many goroutines.
//  2. FindQueue returns the queue of that name. One that is not there is made if
//     create is set; otherwise the queue and the error are nil.
//  3. DropQueue removes a queue with all its messages and reports whether there
//     was one.
//  4. QueueStats lists all queues by name.
//  5. MaxMessage is the largest body that is taken, in bytes; it never changes.
type Backend interface {
	FindQueue(ctx context.Context, name string, create bool) (BackendQueue, error)
	DropQueue(ctx context.Context, name string) (bool, error)
	QueueStats(ctx context.Context) ([]QueueStats, error)
	MaxMessage() int
}

// BackendQueue is one queue of a Backend. Its contract, beside that of Source:
//
//  1. All methods may be called from many goroutines.
//  2. Enqueue takes m, which is the queue's from then on, and calls done once,
//     with m as it was stored or with an error. Messages are stored, and their
//     dones called, in the order of the Enqueues of one goroutine. It may wait
//     until there is room for more, and done may be called before it returns.
//     done does not block.
//  3. Remove takes up to limit messages out of the queue for good, waiting for
//     the first one if it must; without any it returns none and no error.
//  4. Extend makes the lease of a message last d from now.
//  5. Messages that are leased may have a Receipt, whose low 48 bits are the ID
//     and the topmost one 0. Where Ack, Nack and Extend are given that instead of
//     an ID, it names one lease: it is ErrNotLeased once the message has been
//     handed out again.
//  6. Stats are those of Backend.QueueStats.
//  7. It may have a Queue's Peek, Purge, Reject and NackReason, too. A server refuses
//     what needs one that is not there, but calls Nack for NackReason.
//  8. Errors are those of Queue's methods of that name: ErrFull, ErrNotLeased,
//     ErrDropped, ErrClosed.
type BackendQueue interface {
	Source
	Enqueue(m Message, done func(m Message, err error))
	Remove(ctx context.Context, limit int, wait time.Duration) ([]Message, error)
	Stats(ctx context.Context) (QueueStats, error)
}

// nackReasoner is what a BackendQueue or another Source may be.
type nackReasoner interface {
	NackReason(ctx context.Context, reason string, ids ...uint64) error
}

// Backend returns b as a Backend.
func (b *Broker) Backend() Backend { return localBackend{b} }

// localBackend is a Broker as a Backend.
type localBackend struct{ *Broker }

func (b localBackend) FindQueue(_ context.Context, name string, create bool) (BackendQueue, error) {
	q := b.lookup(name)
	if q == nil {
		if !create {
			return nil, nil
		}
		var err error
		if q, err = b.Queue(name); err != nil {
			return nil, err
		}
	}
	return localQueue{q}, nil
}

func (b localBackend) DropQueue(_ context.Context, name string) (bool, error) { return b.Drop(name) }

func (b localBackend) QueueStats(context.Context) ([]QueueStats, error) {
	return b.Stats().Queues, nil
}

func (b localBackend) MaxMessage() int { return b.opt.MaxMessage }

// localQueue is a Queue as a BackendQueue.
type localQueue struct{ *Queue }

func (q localQueue) Enqueue(m Message, done func(Message, error)) {
	o := takeOp(q.Queue)
	o.one[0] = m
	o.msgs = o.one[:]
	o.finish = func(o *op) {
		m, err := o.one[0], o.err
		o.release()
		done(m, err)
	}
	if err := q.b.submit(o); err != nil {
		o.err = err
		o.finish(o)
	}
}

func (q localQueue) Stats(context.Context) (QueueStats, error) { return q.Queue.Stats(), nil }

func (q localQueue) Remove(ctx context.Context, limit int, wait time.Duration) ([]Message, error) {
	return q.remove(ctx, nil, limit, wait)
}
