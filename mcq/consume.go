package mcq

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/heddle-go/heddle/watchman"
)

// Source is where Consume gets messages: a Queue or a RemoteQueue. Ack, Nack and
// Extend are given the Receipt of those messages that Lease gave one, else the ID.
// A Source that has a Queue's NackReason too is told why a message is given back.
type Source interface {
	Name() string
	Lease(ctx context.Context, limit int, o LeaseOptions) ([]Message, error)
	Ack(ctx context.Context, ids ...uint64) error
	Nack(ctx context.Context, ids ...uint64) error
	Extend(ctx context.Context, id uint64, d time.Duration) error
}

// ConsumeOptions configures Consume. The zero value is ready to use.
type ConsumeOptions struct {
	// Batch is how many messages a call of the function gets at most. What ends the
	// process fails for all of them: see QueueOptions.MaxAttempts.
	// 0 means 256, at most 4096.
	Batch int

	// MaxWait is how long to wait for a batch to become full once it has a message.
	// 0 means not at all: the function gets what is there.
	MaxWait time.Duration

	// Lease is how long one call of the function may take. Messages that are
	// not acknowledged by then are handed out again, an eighth of that later.
	// 0 means 30 s.
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

// hold is how long messages are leased: a function that fails because its time is
// over still has them.
func (o *ConsumeOptions) hold() time.Duration { return min(o.Lease+o.MaxWait+o.Lease/8, maxHold) }

// pollWait is how long a lease waits for messages before it looks at ctx again.
const pollWait = 500 * time.Millisecond

// Consume is the queue processor: it calls fn with batches from src until ctx
// is done, then finishes the batches under way, for as long as their leases last,
// and returns nil. Messages for which fn returns nil are acknowledged. When it fails
// for several, it is called again for each of them by itself, so that a bad one fails
// alone and no other is handed out again; when it fails for one, that is given back.
// Before either there is a pause that grows with each failure in a row, from 100 ms to
// 5 s. A message that was handed out before, to whomever, is always a batch of its own.
// So fn sees every message at least once, and may see one twice, of the same
// Attempts too. A panic in fn is a failure.
//
// If a message was given back for the last time (QueueOptions.MaxAttempts), Dead.Reason
// is the text of fn's error, up to 1000 bytes of it: it is stored and sent as it
// is, so it should have no secrets in it.
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
	again := false // what was handed out before comes first, and more of it may be there
	last := 0      // messages leased last
	for ctx.Err() == nil {
		limit := c.opt.Batch
		if again {
			limit = 1 // each is called for by itself: the others are better off in the queue
		}
		if limit = c.pace(ctx, limit, last); limit == 0 {
			return
		}
		last = 0
		began := time.Now()
		batch, until, err := c.lease(ctx, limit)
		switch {
		case over(err):
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
		again = slices.ContainsFunc(batch, handedBefore)
		if !c.work(ctx, &held{parts: apart(batch), until: until}, &trouble) {
			again = true
		}
	}
}

// over reports whether nothing can be had of a source any more.
func over(err error) bool {
	return errors.Is(err, ErrClosed) || errors.Is(err, ErrDropped) || errors.Is(err, ErrName) || errors.Is(err, ErrFailed)
}

// lease leases a batch, waiting for it to become full, and says until when.
func (c *consumer) lease(ctx context.Context, limit int) (batch []Message, until time.Time, err error) {
	leasing := context.WithoutCancel(ctx)
	o := LeaseOptions{Duration: c.opt.hold(), Wait: pollWait}
	batch, err = c.src.Lease(leasing, limit, o)
	until = time.Now().Add(o.Duration)
	if len(batch) == 0 || c.opt.MaxWait == 0 {
		return batch, until, err
	}
	full := time.NewTimer(c.opt.MaxWait)
	defer full.Stop()
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
		case <-full.C:
		case <-ctx.Done():
		}
		break
	}
	return batch, until, nil
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

// backoff is a pause that doubles until it is reset.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

// longer is the next pause.
func (b *backoff) longer() time.Duration {
	b.next = min(max(2*b.next, b.first), b.most)
	return b.next/2 + rand.N(b.next/2)
}

func (b *backoff) wait(ctx context.Context) { pauseFor(ctx, b.longer()) }

func pauseFor(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
