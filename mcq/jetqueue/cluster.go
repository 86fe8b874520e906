package jetqueue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/heddle-go/heddle/mcq"
)

// Cluster is the queues on a cluster of NATS servers. It is safe for concurrent
// use, and is an mcq.Backend.
type Cluster struct {
	nc  *nats.Conn
	js  jetstream.JetStream
	opt Options
	ids *idSource

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines in the background, and operations under way
	ended  chan struct{}  // closed when Close is done

	mu     sync.RWMutex
	queues map[string]*Queue
	making map[string]chan struct{} // by queue, while somebody asks the servers for it; then closed
	closed bool

	stats counters
}

// Open returns the queues on the cluster that nc is connected to; it asks
// whether that has JetStream. nc stays the caller's, who closes it after the
// Cluster. Connect it with nats.MaxReconnects(-1), so that it outlives any
// outage, and with the addresses of several servers.
func Open(ctx context.Context, nc *nats.Conn, opts *Options) (*Cluster, error) {
	o, err := opts.filled()
	if nc == nil {
		err = errors.Join(err, errors.New("jetqueue: Open: no connection given"))
	}
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc,
		jetstream.WithDefaultTimeout(o.attempt()),
		jetstream.WithPublishAsyncTimeout(o.attempt()),
		jetstream.WithPublishAsyncMaxPending(1<<16),
	)
	if err != nil {
		return nil, fmt.Errorf("jetqueue: open: %w", err)
	}
	c := &Cluster{nc: nc, js: js, opt: o, ids: newIDSource(), ended: make(chan struct{}), queues: make(map[string]*Queue), making: make(map[string]chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	err = c.try(ctx, func(ctx context.Context) error {
		_, err := js.AccountInfo(ctx)
		return err
	})
	if err != nil {
		c.cancel()
		return nil, fmt.Errorf("jetqueue: open: %w", wrap("ask", "the account", err))
	}
	c.wg.Go(c.sweep)
	c.wg.Go(c.trim)
	return c, nil
}

// attempt is how long one request waits for its answer: several fit into Timeout.
func (o *Options) attempt() time.Duration {
	return min(max(o.Timeout/5, 250*time.Millisecond), 5*time.Second, o.Timeout)
}

// bound gives ctx the Options' timeout if it has no deadline.
func (c *Cluster) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, c.opt.Timeout)
}

// try calls f until it succeeds, fails for good, or time is up.
func (c *Cluster) try(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		attempt, end := context.WithTimeout(ctx, c.opt.attempt())
		err := f(attempt)
		end()
		if err == nil || !passing(err) {
			return err
		}
		c.stats.retries.Add(1)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		case <-c.ctx.Done():
			return mcq.ErrClosed
		}
	}
}

func (c *Cluster) streamPrefix() string { return strings.ToUpper(c.opt.Prefix) + "_" }

// streamConfig is what the stream of a queue should be like. It keeps messages
// until they are trimmed, whoever has consumed them: streams that remove what
// nobody is interested in would let a replica that has not heard of a consumer
// yet skip a message.
func (c *Cluster) streamConfig(queue string) jetstream.StreamConfig {
	o := c.opt.of(queue)
	cfg := jetstream.StreamConfig{
		Name: c.streamPrefix() + token(queue), Subjects: []string{c.opt.Prefix + "." + token(queue)},
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: c.opt.Replicas,
		MaxMsgs: -1, MaxBytes: -1, MaxAge: o.MaxAge, Discard: jetstream.DiscardNew, Duplicates: o.DedupeWindow,
		AllowMsgTTL: true,
	}
	if o.MaxLength > 0 {
		cfg.MaxMsgs = int64(o.MaxLength)
	}
	if o.MaxBytes > 0 {
		cfg.MaxBytes = o.MaxBytes
	}
	if o.DropOldest {
		cfg.Discard = jetstream.DiscardOld
	}
	return cfg
}

// mainConsumer reads the queue itself; subscribers' are called "s_" and the
// name. A queue with FanOut has one, too, which trim does not wait for.
const mainConsumer = "queue"

func consumerName(subscriber string) string {
	if subscriber == "" {
		return mainConsumer
	}
	return "s_" + token(subscriber)
}

// Queue returns the queue of that name, making it if it is not there. The name
// "queue+subscriber" is that of a durable subscriber of the queue, made the first
// time it is asked for: it gets every message that is put into the queue from
// then on, whatever the queue's own readers and other subscribers do.
func (c *Cluster) Queue(ctx context.Context, name string) (*Queue, error) {
	return c.queue(ctx, name, true)
}

// queue returns a queue; without create it is nil if there is none.
func (c *Cluster) queue(ctx context.Context, name string, create bool) (*Queue, error) {
	if q, err := c.known(name); q != nil || err != nil {
		return q, err
	}
	parent, subscriber, err := splitName(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.bound(ctx)
	defer cancel()
	// The servers may leave one of several unanswered who make the same at once.
	done, err := c.alone(ctx, parent)
	if err != nil {
		return nil, wrap("find", name, err)
	}
	defer done()
	if q, err := c.known(name); q != nil || err != nil {
		return q, err
	}
	var consumer jetstream.Consumer
	cfg := c.streamConfig(parent)
	err = c.try(ctx, func(ctx context.Context) error {
		if consumer, err = c.ensure(ctx, cfg, mainConsumer, create); err != nil || subscriber == "" {
			return err
		}
		consumer, err = c.ensure(ctx, cfg, consumerName(subscriber), create)
		return err
	})
	if !create && errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, wrap("find", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, mcq.ErrClosed
	}
	q := newQueue(c, name, subscriber != "", cfg, consumer)
	c.queues[name] = q
	return q, nil
}

// known returns a queue that is in use, or nil.
func (c *Cluster) known(name string) (*Queue, error) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return nil, mcq.ErrClosed
	}
	return c.queues[name], nil
}

// alone waits until nobody else in this process asks for the queue; done lets
// the next one.
func (c *Cluster) alone(ctx context.Context, queue string) (done func(), err error) {
	for {
		c.mu.Lock()
		wait := c.making[queue]
		if wait == nil {
			mine := make(chan struct{})
			c.making[queue] = mine
			c.mu.Unlock()
			return func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.making, queue)
				close(mine)
			}, nil
		}
		c.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// ensure makes the stream and the consumer what they should be.
func (c *Cluster) ensure(ctx context.Context, cfg jetstream.StreamConfig, consumer string, create bool) (jetstream.Consumer, error) {
	s, err := c.js.Stream(ctx, cfg.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && create {
		s, err = c.js.CreateStream(ctx, cfg)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else was faster
			s, err = c.js.Stream(ctx, cfg.Name)
		}
	}
	if err != nil {
		return nil, err
	}
	if have := s.CachedInfo().Config; have.Replicas != cfg.Replicas || have.MaxMsgs != cfg.MaxMsgs || have.MaxBytes != cfg.MaxBytes ||
		have.MaxAge != cfg.MaxAge || have.Discard != cfg.Discard || have.Duplicates != cfg.Duplicates {
		if s, err = c.js.UpdateStream(ctx, cfg); err != nil {
			return nil, err
		}
	}
	deliver := jetstream.DeliverAllPolicy
	if consumer != mainConsumer {
		deliver = jetstream.DeliverNewPolicy
	}
	return s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: c.opt.Failover, MaxDeliver: -1, MaxAckPending: -1, DeliverPolicy: deliver,
	})
}

// Drop removes a queue with all its messages and subscribers, or with the name
// "queue+subscriber" that subscriber. Dropping what is not there returns false.
func (c *Cluster) Drop(ctx context.Context, name string) (bool, error) {
	queue, subscriber, err := splitName(name)
	if err != nil {
		return false, nil // there is none of that name
	}
	there := true
	stream := c.streamPrefix() + token(queue)
	err = c.try(ctx, func(ctx context.Context) error {
		var err error
		if subscriber == "" {
			err = c.js.DeleteStream(ctx, stream)
		} else {
			err = c.js.DeleteConsumer(ctx, stream, consumerName(subscriber))
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) {
			there, err = false, nil
		}
		return err
	})
	if err != nil {
		return false, wrap("drop", name, err)
	}
	c.forget(func(q *Queue) bool { return q.name == name || subscriber == "" && q.stream == stream })
	return there, nil
}

// forget ends the handles of queues that are gone.
func (c *Cluster) forget(gone func(*Queue) bool) {
	c.mu.Lock()
	var ended []*Queue
	for name, q := range c.queues {
		if gone(q) {
			ended = append(ended, q)
			delete(c.queues, name)
		}
	}
	c.mu.Unlock()
	for _, q := range ended {
		q.end(mcq.ErrDropped)
		c.wg.Go(q.stopListening)
	}
}

// Queues lists the names of all queues and subscribers, sorted.
func (c *Cluster) Queues(ctx context.Context) (all []string, err error) {
	err = c.try(ctx, func(ctx context.Context) error {
		all = all[:0]
		streams := c.js.StreamNames(ctx, jetstream.WithStreamListSubject(c.opt.Prefix+".>"))
		for stream := range streams.Name() {
			queue, ok := c.queueName(stream)
			if !ok {
				continue
			}
			s, err := c.js.Stream(ctx, stream)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			consumers := s.ConsumerNames(ctx)
			for consumer := range consumers.Name() {
				if subscriber, ok := subscriberName(consumer); ok {
					all = append(all, join(queue, subscriber))
				}
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return streams.Err()
	})
	if err != nil {
		return nil, wrap("list", "queues", err)
	}
	slices.Sort(all)
	return all, nil
}

// queueName is the queue that a stream is of, if it is one's.
func (c *Cluster) queueName(stream string) (name string, ok bool) {
	rest, ours := strings.CutPrefix(stream, c.streamPrefix())
	if !ours {
		return "", false
	}
	return parseToken(rest)
}

// subscriberName is the reverse of consumerName.
func subscriberName(consumer string) (subscriber string, ok bool) {
	if consumer == mainConsumer {
		return "", true
	}
	rest, ours := strings.CutPrefix(consumer, "s_")
	if !ours {
		return "", false
	}
	return parseToken(rest)
}

func join(queue, subscriber string) string {
	if subscriber == "" {
		return queue
	}
	return queue + "+" + subscriber
}

// QueueStats asks the cluster about all queues and subscribers, two requests
// for each queue and one for each with a backlog. It does not know which of the
// leases are this process's, and leaves out queues whose servers do not answer.
func (c *Cluster) QueueStats(ctx context.Context) (all []mcq.QueueStats, err error) {
	err = c.try(ctx, func(ctx context.Context) error {
		all = all[:0]
		streams := c.js.ListStreams(ctx, jetstream.WithStreamListSubject(c.opt.Prefix+".>"))
		for info := range streams.Info() {
			queue, ok := c.queueName(info.Config.Name)
			if !ok {
				continue
			}
			s, err := c.js.Stream(ctx, info.Config.Name)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			consumers := s.ListConsumers(ctx)
			for k := range consumers.Info() {
				subscriber, ok := subscriberName(k.Name)
				if !ok {
					continue
				}
				st, err := c.queueStats(ctx, join(queue, subscriber), s, k)
				if err != nil {
					return err
				}
				all = append(all, st)
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return streams.Err()
	})
	if err != nil {
		return nil, wrap("list", "queues", err)
	}
	slices.SortFunc(all, func(a, b mcq.QueueStats) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// queueStats puts together what the server says. A stream counts for ever what
// was put into it; what a consumer has still to deliver is the backlog.
func (c *Cluster) queueStats(ctx context.Context, name string, stream jetstream.Stream, k *jetstream.ConsumerInfo) (mcq.QueueStats, error) {
	s := stream.CachedInfo()
	if k.Name == mainConsumer && c.opt.of(name).FanOut {
		return mcq.QueueStats{Name: name, Put: s.State.LastSeq, Done: s.State.LastSeq, Paused: k.Paused, Partial: true}, nil
	}
	st := mcq.QueueStats{Name: name, Put: s.State.LastSeq, Leased: k.NumAckPending, Paused: k.Paused, Partial: true}
	if q, _ := c.known(name); q != nil {
		q.mu.Lock()
		st.Waiters = len(q.waiters)
		q.mu.Unlock()
	}
	backlog := k.NumPending + uint64(max(k.NumAckPending, 0))
	st.Done = st.Put - min(backlog, st.Put)
	if backlog > 0 {
		first, err := next(ctx, stream, s.Config.Subjects[0], k.AckFloor.Stream+1)
		if err != nil {
			return st, err
		}
		if first != nil {
			st.OldestAge = max(time.Since(first.Time), 0)
		}
	}
	return st, nil
}

// FindQueue is Queue for a server; without create, a queue that is not there is
// nil. A subscriber of a queue that is there is always made.
func (c *Cluster) FindQueue(ctx context.Context, name string, create bool) (mcq.BackendQueue, error) {
	q, err := c.queue(ctx, name, create)
	if q == nil || err != nil {
		if errors.Is(err, mcq.ErrName) && !create {
			err = nil // there is none of that name
		}
		return nil, err
	}
	return q, nil
}

// DropQueue is Drop, for a server.
func (c *Cluster) DropQueue(ctx context.Context, name string) (bool, error) { return c.Drop(ctx, name) }

// headerRoom is what a message's headers may take of the largest message.
const headerRoom = 16 << 10

// MaxMessage is the largest body that the server takes, which by default has
// 1 MiB for body and headers.
func (c *Cluster) MaxMessage() int { return max(int(c.nc.MaxPayload())-headerRoom, 0) }

// Close ends the cluster's queues in this process: writes under way are
// finished, waiting readers get mcq.ErrClosed, and what is leased is given back.
// Closing twice does nothing; every call waits until all is closed.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.ended
		return nil
	}
	c.closed = true
	queues := c.queues
	c.queues = nil
	c.mu.Unlock()
	for _, q := range queues {
		q.end(mcq.ErrClosed)
		q.giveAllBack()
	}
	for _, q := range queues {
		q.published.Wait()
		if q.trimmable.Load() {
			ctx, cancel := context.WithTimeout(c.ctx, c.opt.attempt())
			q.trim(ctx)
			cancel()
		}
	}
	c.cancel()
	c.wg.Wait()
	for _, q := range queues {
		q.stopListening()
	}
	if c.nc.IsConnected() {
		c.nc.FlushTimeout(c.opt.attempt()) // otherwise what was given back waits for Failover
	}
	close(c.ended)
	return nil
}

// all returns the queues in use.
func (c *Cluster) all() []*Queue {
	c.mu.RLock()
	defer c.mu.RUnlock()
	queues := make([]*Queue, 0, len(c.queues))
	for _, q := range c.queues {
		queues = append(queues, q)
	}
	return queues
}
