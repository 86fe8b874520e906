package jetqueue

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// trimEvery is how often what everybody has acknowledged is removed from the
// servers. It is one request for all of it.
const trimEvery = 2 * time.Second

func (c *Cluster) trim() {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-tick.C:
			c.trimAll(c.ctx)
		}
	}
}

func (c *Cluster) trimAll(ctx context.Context) {
	for _, q := range c.all() {
		if q.trimmable.Load() {
			ctx, cancel := context.WithTimeout(ctx, c.opt.attempt())
			q.trim(ctx)
			cancel()
		}
	}
}

// trim removes what the queue's reader and all subscribers have acknowledged up
// to. It reports whether there was anything.
func (q *Queue) trim(ctx context.Context) (removed bool) {
	q.trimmable.Store(false)
	s, err := q.c.js.Stream(ctx, q.stream)
	if err != nil {
		q.trimmable.Store(!isGone(err))
		return false
	}
	// The list leaves out whose leader does not answer, and nothing may be removed
	// that they still have to read.
	all := make(map[string]bool)
	names := s.ConsumerNames(ctx)
	for name := range names.Name() {
		all[name] = true
	}
	floor := uint64(math.MaxUint64)
	consumers := s.ListConsumers(ctx)
	parent, _, _ := strings.Cut(q.name, "+")
	fanOut := q.c.opt.of(parent).FanOut
	for k := range consumers.Info() {
		delete(all, k.Name)
		if fanOut && k.Name == mainConsumer {
			continue
		}
		done := k.AckFloor.Stream
		if k.NumAckPending == 0 {
			done = max(done, k.Delivered.Stream) // where a new subscriber begins, too
		}
		floor = min(floor, done)
	}
	if names.Err() != nil || consumers.Err() != nil || len(all) > 0 {
		q.trimmable.Store(true)
		return false
	}
	from := s.CachedInfo().State.FirstSeq
	if floor == math.MaxUint64 && fanOut {
		floor = s.CachedInfo().State.LastSeq // nobody will ever read it
	}
	if floor == math.MaxUint64 || floor < from {
		return false
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSequence(floor+1)); err != nil {
		q.trimmable.Store(true)
		return false
	}
	q.c.stats.trimmed.Add(floor + 1 - from)
	return true
}
