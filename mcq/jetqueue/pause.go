package jetqueue

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// errPaused is what keeps Purge from reading the messages that it would remove.
var errPaused = errors.New("jetqueue: the queue is paused")

// pauseState is what is known of a pause.
type pauseState struct {
	on      atomic.Bool  // it was when it was looked at last
	checked atomic.Int64 // Unix nanoseconds; when
}

// pauseCheck is how often a process asks whether a pause is over.
const pauseCheck = time.Second

// forEver is how long the servers are told to pause: they want a time.
const forEver = 100 * 365 * 24 * time.Hour

// Pause has the servers hand out no messages of the queue, or of the
// subscriber, to any process until Resume; they remember it. Readers wait as if
// it were empty. Put, Ack and all else go on, but for Purge. Messages that were
// on their way to a reader still come.
func (q *Queue) Pause(ctx context.Context) error {
	return q.setPaused(ctx, true, func(ctx context.Context) error {
		_, err := q.c.js.PauseConsumer(ctx, q.stream, q.consumer.CachedInfo().Name, time.Now().Add(forEver))
		return err
	})
}

// Resume ends Pause. Other processes notice within a second.
func (q *Queue) Resume(ctx context.Context) error {
	return q.setPaused(ctx, false, func(ctx context.Context) error {
		_, err := q.c.js.ResumeConsumer(ctx, q.stream, q.consumer.CachedInfo().Name)
		return err
	})
}

// setPaused has the servers change it, and waits until they have: they answer
// as soon as they have agreed to.
func (q *Queue) setPaused(ctx context.Context, on bool, change func(context.Context) error) error {
	if err := q.err(); err != nil {
		return err
	}
	ctx, cancel := q.c.bound(ctx)
	defer cancel()
	what := map[bool]string{true: "pause", false: "resume"}[on]
	if err := q.c.try(ctx, change); err != nil {
		return wrap(what, q.name, q.lost(err))
	}
	for {
		k, err := q.consumer.Info(ctx)
		switch {
		case err == nil && k.Paused == on:
			q.pause.set(on)
			return nil
		case err != nil && !passing(err):
			return wrap(what, q.name, q.lost(err))
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return wrap(what, q.name, err)
		}
	}
}

func (p *pauseState) set(on bool) {
	p.checked.Store(time.Now().UnixNano())
	p.on.Store(on)
}

// isPaused reports whether the queue is known to be paused, asking the servers
// when that was long ago.
func (q *Queue) isPaused() bool {
	if !q.pause.on.Load() {
		return false
	}
	if time.Since(time.Unix(0, q.pause.checked.Load())) >= pauseCheck {
		q.lookPaused()
	}
	return q.pause.on.Load()
}

// lookPaused asks the servers whether the queue is paused.
func (q *Queue) lookPaused() bool {
	ctx, cancel := context.WithTimeout(q.c.ctx, q.c.opt.attempt())
	defer cancel()
	k, err := q.consumer.Info(ctx)
	if err == nil {
		q.pause.set(k.Paused)
	}
	return err == nil && k.Paused
}

// unanswered is what becomes of a request that the server did not answer: the
// server keeps what a paused queue is asked for until it is resumed, and what
// comes then is dealt out like everything else.
func (q *Queue) unanswered(err error) error {
	if errors.Is(err, nats.ErrTimeout) && !errors.Is(err, errMore) && q.lookPaused() {
		return nil
	}
	return err
}
