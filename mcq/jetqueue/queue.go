package jetqueue

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/watchman"
)

// Queue is one queue, or one subscriber of a queue. It is safe for concurrent
// use, and has the methods of an mcq.Queue.
type Queue struct {
	c          *Cluster
	name       string
	subscriber bool
	opt        mcq.QueueOptions
	stream     string
	subject    string
	consumer   jetstream.Consumer
	pull       string // where to ask for messages

	putOp, takeOp, setOp *watchman.Operation

	room      chan struct{}  // holds one for each publication under way
	published sync.WaitGroup // publications under way

	reached  atomic.Bool // the stream has answered the last message
	reaching sync.Mutex  // held while it is not known whether it will

	pubMu      sync.Mutex
	pubs       []*publication // under way, in their order
	completing bool           // a goroutine waits for them

	in    inbox
	pause pauseState

	lookedAt  atomic.Int64 // Unix nanoseconds; when it was full last
	trimmable atomic.Bool  // something was acknowledged since the last trim

	mu       sync.Mutex
	leases   map[uint64]*lease // by id
	leased   uint64            // number of the last lease
	due      int64             // Unix nanoseconds; nothing to do for the leases before
	waiters  []*waiter         // in the order in which they came
	fetching bool              // a goroutine asks for what there is
	watching bool              // a goroutine waits for what comes
	closed   error
}

func newQueue(c *Cluster, name string, subscriber bool, cfg jetstream.StreamConfig, consumer jetstream.Consumer) *Queue {
	q := &Queue{
		c: c, name: name, subscriber: subscriber, opt: c.opt.of(name), stream: cfg.Name, subject: cfg.Subjects[0], consumer: consumer,
		pull: jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + cfg.Name + "." + consumer.CachedInfo().Name,
		room: make(chan struct{}, maxPublications), leases: make(map[uint64]*lease),
		putOp:  c.opt.Watchman.Operation(watchman.Producer, "mcq put "+name),
		takeOp: c.opt.Watchman.Operation(watchman.Internal, "mcq take "+name),
		setOp:  c.opt.Watchman.Operation(watchman.Server, "mcq set "+name),
	}
	q.pause.set(consumer.CachedInfo().Paused)
	return q
}

// Name is the queue's name, of a subscriber "queue+subscriber".
func (q *Queue) Name() string { return q.name }

// Stats asks the cluster about the queue.
func (q *Queue) Stats(ctx context.Context) (st mcq.QueueStats, err error) {
	err = q.c.try(ctx, func(ctx context.Context) error {
		s, err := q.c.js.Stream(ctx, q.stream)
		if err != nil {
			return err
		}
		k, err := q.consumer.Info(ctx)
		if err != nil {
			return err
		}
		st, err = q.c.queueStats(ctx, q.name, s, k)
		return err
	})
	return st, wrap("ask about", q.name, q.lost(err))
}

// lost recognizes errors that say that the queue was dropped by somebody else.
func (q *Queue) lost(err error) error {
	if !isGone(err) {
		return err
	}
	q.c.forget(func(other *Queue) bool { return other == q })
	return mcq.ErrDropped
}

// end makes every further use fail and wakes those who wait.
func (q *Queue) end(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return
	}
	q.closed = err
	for _, w := range q.waiters {
		w.finishLocked(err)
	}
	q.waiters = nil
}

func (q *Queue) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// idSource makes ids for messages that came without one, so that a message that
// is sent again because no answer came is stored once.
type idSource struct {
	start string
	n     atomic.Uint64
}

func newIDSource() *idSource {
	var b [9]byte
	rand.Read(b[:])
	return &idSource{start: "a" + hex.EncodeToString(b[:]) + "."}
}

func (s *idSource) next() string { return s.start + strconv.FormatUint(s.n.Add(1), 36) }
