package mcq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// held is what a consumer has leased and neither acknowledged nor given back.
type held struct {
	parts [][]Message // each for one call of the function
	until time.Time   // when the leases end
}

// handedBefore reports whether m may be what failed, or ended the process, of
// whoever had it before. It does so alone, if it does so again.
func handedBefore(m Message) bool { return m.Attempts > 1 }

// apart cuts a batch into what the function is called for at once, in its order.
func apart(batch []Message) (parts [][]Message) {
	for len(batch) > 0 {
		n := 1
		if !handedBefore(batch[0]) {
			if n = slices.IndexFunc(batch, handedBefore); n < 0 {
				n = len(batch)
			}
		}
		parts, batch = append(parts, batch[:n]), batch[n:]
	}
	return parts
}

// oneByOne makes of the first part as many as it has messages.
func (h *held) oneByOne() {
	first := h.parts[0]
	parts := make([][]Message, 0, len(first)+len(h.parts)-1)
	for i := range first {
		parts = append(parts, first[i:i+1])
	}
	h.parts = append(parts, h.parts[1:]...)
}

// remove removes the messages for which f is true.
func (h *held) remove(f func(Message) bool) {
	for i, part := range h.parts {
		h.parts[i] = slices.DeleteFunc(part, f)
	}
	h.parts = slices.DeleteFunc(h.parts, func(part []Message) bool { return len(part) == 0 })
}

// work processes what is held, part by part, and reports whether all went well.
func (c *consumer) work(ctx context.Context, h *held, trouble *backoff) (well bool) {
	well = true
	settling := context.WithoutCancel(ctx)
	for len(h.parts) > 0 {
		part := h.parts[0]
		ids := make([]uint64, len(part))
		for i := range part {
			ids[i] = part[i].handle()
		}
		// What fn makes of its batch is its own affair: these may be needed again.
		err := c.process(ctx, slices.Clone(part), h.until)
		if err == nil {
			trouble.reset()
			h.parts = h.parts[1:]
			// An acknowledgement that does not arrive means that the batch comes again.
			if err := c.src.Ack(settling, ids...); err != nil && !errors.Is(err, ErrNotLeased) && !Retryable(err) {
				c.opt.Logger.Error("mcq: batch not acknowledged, it will come again", "queue", c.src.Name(), "messages", len(part), "error", err)
			}
		} else {
			well = false
			what := "mcq: batch failed, it is given back"
			if len(part) > 1 {
				what = "mcq: batch failed, its messages will be tried one at a time"
				h.oneByOne()
			}
			c.opt.Logger.Error(what, "queue", c.src.Name(), "messages", len(part), "first", part[0].ID, "error", err)
			pause := trouble.longer()
			c.keep(ctx, h, pause)
			pauseFor(ctx, pause)
			if len(ids) == 1 {
				h.remove(func(m Message) bool { return m.handle() == ids[0] })
				c.giveBack(settling, ids[0], err) // or the lease runs out
			}
		}
		c.keep(ctx, h, c.opt.Lease)
		if !time.Now().Before(h.until) {
			break // what is left comes again
		}
	}
	return well
}

// giveBack gives a message back for which fn failed with that error.
func (c *consumer) giveBack(ctx context.Context, id uint64, cause error) {
	if src, ok := c.src.(nackReasoner); ok {
		src.NackReason(ctx, cause.Error(), id)
		return
	}
	c.src.Nack(ctx, id)
}

// keep sees to it that the leases of what is held last for so long, unless ctx is
// done, and lets go of what somebody else may have. Each is a command: for those
// that follow they last longer.
func (c *consumer) keep(ctx context.Context, h *held, d time.Duration) {
	now := time.Now()
	if len(h.parts) == 0 || ctx.Err() != nil || h.until.Sub(now) >= d {
		return
	}
	d = min(d+c.opt.Lease, maxHold)
	var failed error
	h.remove(func(m Message) bool {
		if failed != nil {
			return false
		}
		err := c.src.Extend(context.WithoutCancel(ctx), m.handle(), d)
		if errors.Is(err, ErrNotLeased) {
			return true
		}
		failed = err
		return false
	})
	switch {
	case failed == nil:
		h.until = now.Add(d)
	case over(failed):
		h.parts = nil
	}
}

// process calls fn under the spans of the batch and of its sampled messages, which
// are leased until then.
func (c *consumer) process(ctx context.Context, batch []Message, until time.Time) (err error) {
	began := time.Now()
	if end := began.Add(c.opt.Lease); end.Before(until) {
		until = end
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), until)
	defer cancel()
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
