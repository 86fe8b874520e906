package mcq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/heddle-go/heddle/watchman"
)

// Source is where Consume gets messages: a Queue or a RemoteQueue. Ack and Nack
// are given the Receipt of those messages that Lease gave one, else the ID.
type Source interface {
	Name() string
	Lease(ctx context.Context, limit int, o LeaseOptions) ([]Message, error)
	Ack(ctx context.Context, ids ...uint64) error
	Nack(ctx context.Context, ids ...uint64) error
}

// ConsumeOptions configures Consume. The zero value is ready to use.
type ConsumeOptions struct {
	// Batch is how many messages a call of the function gets at most.
	// 0 means 256, at most 4096.
	Batch int

	// MaxWait is how long to wait for a batch to become full once it has a message.
	// 0 means not at all: the function gets what is there.
	MaxWait time.Duration

	// Lease is how long one call of the function may take. Messages that are
	// not acknowledged by then are handed out again. 0 means 30 s.
	Lease time.Duration

	// Concurrency is how many calls of the function may run at once. More than
	// one gives up the order between batches. 0 means 1, at most 1024.
	Concurrency int

	// Watchman watches the batches and has the dial mcq.QUEUE.rate: how many
	// messages a second are leased at most, from 1 to a million, which means no
	// limit and is the default. Nil: nothing is watched, and there is no limit.
	Watchman *watchman.Watchman

	Logger *slog.Logger // nil means slog.Default(); hears what goes wrong
}

// noRate is the value of the rate's dial that limits nothing.
const noRate = 1e6

func (o *ConsumeOptions) filled() (ConsumeOptions, error) {
	var out ConsumeOptions
	if o != nil {
		out = *o
	}
	if out.Batch == 0 {
		out.Batch = 256
	}
	if out.Lease == 0 {
		out.Lease = 30 * time.Second
	}
	if out.Concurrency == 0 {
		out.Concurrency = 1
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	var errs []error
	if out.Batch < 1 || out.Batch > maxBatch {
		errs = append(errs, fmt.Errorf("mcq: ConsumeOptions.Batch %d: want 1 to %d", out.Batch, maxBatch))
	}
	if out.Concurrency < 1 || out.Concurrency > 1024 {
		errs = append(errs, fmt.Errorf("mcq: ConsumeOptions.Concurrency %d: want 1 to 1024", out.Concurrency))
	}
	if out.MaxWait < 0 || out.MaxWait > time.Hour {
		errs = append(errs, fmt.Errorf("mcq: ConsumeOptions.MaxWait %v: want 0 to 1h", out.MaxWait))
	} else if _, err := (LeaseOptions{Duration: out.Lease + out.MaxWait}).filled(); err != nil {
		errs = append(errs, err)
	}
	return out, errors.Join(errs...)
}

// pollWait is how long a lease waits for messages before it looks at ctx again.
const pollWait = 500 * time.Millisecond

// Consume is the queue processor: it calls fn with batches from src until ctx
// is done, then finishes the batches under way and returns nil. A batch for
// which fn returns nil is acknowledged; otherwise it is given back after a
// pause that grows with each failure in a row, from 100 ms to 5 s, and its
// messages come again one at a time, so that a bad one fails alone. So fn sees
// every message at least once, and may see one twice. A panic in fn is a failure.
//
// Consume returns ErrClosed, ErrDropped, ErrName or ErrFailed as src does. Other
// errors of src are taken to be passing: the lease is tried again, after a pause
// that grows from 20 ms to 1 s, while the Logger hears of it every minute and
// Watchman counts each as a failure of the operation "mcq lease" and the queue.
//
// fn gets a context that is not cancelled by ctx but ends when the lease does.
// A message that was put under a sampled trace gets a consumer span that
// continues it and covers the call of fn.
func Consume(ctx context.Context, src Source, fn func(ctx context.Context, batch []Message) error, opts *ConsumeOptions) error {
	o, err := opts.filled()
	if err != nil {
		return err
	}
	c := &consumer{
		src: src, fn: fn, opt: o,
		batchOp:   o.Watchman.Operation(watchman.Internal, "mcq batch "+src.Name()),
		leaseOp:   o.Watchman.Operation(watchman.Internal, "mcq lease "+src.Name()),
		messageOp: o.Watchman.Operation(watchman.Consumer, "mcq process "+src.Name()),
		rate:      o.Watchman.Dial("mcq."+src.Name()+".rate", noRate, 1, noRate),
		limiter:   rate.NewLimiter(rate.Inf, o.Batch),
	}
	var wg sync.WaitGroup
	for range o.Concurrency {
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
	if c.fatal != nil {
		return c.fatal
	}
	return nil
}

type consumer struct {
	src     Source
	fn      func(context.Context, []Message) error
	opt     ConsumeOptions
	rate    *watchman.Dial
	limiter *rate.Limiter

	batchOp, leaseOp, messageOp *watchman.Operation

	once  sync.Once
	fatal error

	lost     atomic.Bool // src fails, as far as was told
	mu       sync.Mutex
	told     time.Time // when, last
	failures int       // since then
}

func (c *consumer) run(ctx context.Context) {
	pause := backoff{first: 20 * time.Millisecond, most: time.Second}
	trouble := backoff{first: 100 * time.Millisecond, most: 5 * time.Second}
	alone := 0 // messages that are still to come one at a time
	last := 0  // messages leased last
	for ctx.Err() == nil {
		limit := c.opt.Batch
		if alone > 0 {
			limit, alone = 1, alone-1
		}
		if limit = c.pace(ctx, limit, last); limit == 0 {
			return
		}
		last = 0
		began := time.Now()
		batch, err := c.lease(ctx, limit)
		switch {
		case errors.Is(err, ErrClosed), errors.Is(err, ErrDropped), errors.Is(err, ErrName), errors.Is(err, ErrFailed):
			c.once.Do(func() { c.fatal = err })
			return
		case err != nil:
			c.leaseOp.Observe(ctx, time.Since(began), err)
			c.lostSource(err)
			pause.wait(ctx)
			continue
		case c.lost.Load() && c.lost.Swap(false):
			c.opt.Logger.Info("mcq: messages can be leased again", "queue", c.src.Name())
		}
		pause.reset()
		if last = len(batch); last == 0 {
			continue
		}
		ids := make([]uint64, len(batch))
		for i := range batch {
			ids[i] = batch[i].handle()
		}
		if err := c.process(ctx, batch); err != nil {
			c.opt.Logger.Error("mcq: batch failed, it will come again", "queue", c.src.Name(), "messages", len(batch), "first", batch[0].ID, "error", err)
			if limit == 1 || len(batch) > 1 {
				alone += len(batch)
			}
			trouble.wait(ctx)
			c.src.Nack(context.WithoutCancel(ctx), ids...) // or the lease runs out
			continue
		}
		trouble.reset()
		// An acknowledgement that does not arrive means that the batch comes again.
		if err := c.src.Ack(context.WithoutCancel(ctx), ids...); err != nil && !errors.Is(err, ErrNotLeased) && !Retryable(err) {
			c.opt.Logger.Error("mcq: batch not acknowledged, it will come again", "queue", c.src.Name(), "messages", len(batch), "error", err)
		}
	}
}

// lease leases a batch, waiting for it to become full.
func (c *consumer) lease(ctx context.Context, limit int) ([]Message, error) {
	leasing := context.WithoutCancel(ctx)
	o := LeaseOptions{Duration: c.opt.Lease + c.opt.MaxWait, Wait: pollWait}
	batch, err := c.src.Lease(leasing, limit, o)
	if len(batch) == 0 || c.opt.MaxWait == 0 {
		return batch, err
	}
	until := time.NewTimer(c.opt.MaxWait)
	defer until.Stop()
	o.Wait = 0
	for len(batch) < limit {
		more, err := c.src.Lease(leasing, limit-len(batch), o)
		if err != nil {
			break // if it lasts, the next batch will say so
		}
		if batch = append(batch, more...); len(more) > 0 {
			continue
		}
		// A lease costs as much for one message as for many.
		select {
		case <-time.After(c.opt.MaxWait / 10):
			continue
		case <-until.C:
		case <-ctx.Done():
		}
		break
	}
	return batch, nil
}

// lostEvery is how often the logger hears of a source that fails.
const lostEvery = time.Minute

func (c *consumer) lostSource(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	if !c.told.IsZero() && time.Since(c.told) < lostEvery {
		return
	}
	c.opt.Logger.Error("mcq: messages cannot be leased, it will be tried again", "queue", c.src.Name(), "failures", c.failures, "error", err)
	c.told, c.failures = time.Now(), 0
	c.lost.Store(true)
}

// pace waits until messages may be leased again after the last ones, and returns
// how many: of a limited rate not more than a second's at once, so that a change
// is soon felt. It returns 0 when ctx has ended.
func (c *consumer) pace(ctx context.Context, limit, last int) int {
	v := c.rate.Value()
	if v == 0 || v >= noRate {
		return limit
	}
	second := int(max(v, 1))
	if c.limiter.Limit() != rate.Limit(v) {
		c.limiter.SetLimit(rate.Limit(v))
		c.limiter.SetBurst(second)
	}
	if due := c.limiter.ReserveN(time.Now(), min(last, second)); due.OK() {
		select {
		case <-time.After(due.Delay()):
		case <-ctx.Done():
			return 0
		}
	}
	return min(limit, second)
}

// process calls fn under the spans of the batch and of its sampled messages.
func (c *consumer) process(ctx context.Context, batch []Message) (err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.opt.Lease)
	defer cancel()
	began := time.Now()
	ctx, span := c.batchOp.Start(ctx)
	var spans []*watchman.Span
	for i := range batch {
		if !batch[i].Trace.Sampled() {
			continue
		}
		_, s := c.messageOp.StartRemote(ctx, batch[i].Trace)
		s.SetAttr("message", strconv.FormatUint(batch[i].ID, 10))
		s.SetAttr("batch", strconv.Itoa(len(batch)))
		s.SetAttr("queued", began.Sub(batch[i].Enqueued).Round(time.Millisecond).String())
		spans = append(spans, s)
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("mcq: consumer panicked: %v", p)
		}
		took := time.Since(began)
		for range len(batch) - len(spans) {
			c.messageOp.Observe(ctx, took, err)
		}
		for _, s := range spans {
			s.End(err)
		}
		span.End(err)
	}()
	return c.fn(ctx, batch)
}

// backoff is a pause that doubles until it is reset.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) wait(ctx context.Context) {
	b.next = min(max(2*b.next, b.first), b.most)
	select {
	case <-time.After(b.next/2 + rand.N(b.next/2)):
	case <-ctx.Done():
	}
}
