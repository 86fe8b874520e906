package objstore

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// SweepReport is what a Sweep did.
type SweepReport struct {
	Purged    int // objects removed because they had expired or were deleted long enough ago
	Collected int // contents removed because no object has them
}

// sweepPage is how many entries a sweep reads at a time.
const sweepPage = 256

// sweepLoop sweeps until ctx ends.
func (l *Library) sweepLoop(ctx context.Context) {
	t := time.NewTicker(l.opts.SweepEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if _, err := l.Sweep(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			l.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "objstore: sweep failed", slog.Any("err", err))
		}
	}
}

// Sweep removes objects that have expired or were deleted Options.Retention
// ago, contents that have been without an object for Options.Grace, or twice
// that with Dedupe, and events older than Options.Feed. It runs
// by itself every Options.SweepEvery; one runs at a time, others wait. What it
// could not do stays for the next one; the first error is returned.
func (l *Library) Sweep(ctx context.Context) (report SweepReport, err error) {
	if !l.gate.enter() {
		return report, ErrClosed
	}
	defer l.gate.leave()
	l.sweeping.Lock() // held on purpose over I/O: others have nothing to do meanwhile
	defer l.sweeping.Unlock()
	ctx, span := l.ops.sweep.Start(ctx)
	defer func() { span.End(err) }()

	now := l.now()
	graced := now.Add(-l.opts.Grace)
	err = errors.Join(
		l.sweepRange(ctx, prefixEnd, now, func(key []byte) error { return l.sweepEnd(ctx, key, now, &report) }),
		l.sweepRange(ctx, prefixIntent, graced, func(key []byte) error { return l.sweepContent(ctx, key, &report) }),
		l.sweepRange(ctx, prefixGarbage, graced, func(key []byte) error { return l.sweepContent(ctx, key, &report) }),
		l.content.Sweep(ctx, graced),
	)
	if l.feed != nil {
		err = errors.Join(err, l.sweepFeed(ctx, now.Add(-l.opts.Feed)))
	}
	l.counters.collected.Add(uint64(report.Collected))
	return report, err
}

// sweepRange calls each with the keys of a prefix whose time is up. It goes on
// after an error, and returns the first.
func (l *Library) sweepRange(ctx context.Context, prefix byte, until time.Time, each func(key []byte) error) (first error) {
	from, to := timeKey(prefix, 0, ""), timeKey(prefix, until.UnixMicro()+1, "")
	for {
		var page [][]byte
		err := l.store.Scan(ctx, Range{From: from, To: to, Limit: sweepPage}, func(row Row) error {
			page = append(page, append([]byte(nil), row.Key...))
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := each(key); err != nil && first == nil {
				first = err
			}
		}
		if len(page) < sweepPage {
			return first
		}
		from = append(page[len(page)-1], 0)
	}
}

// sweepEnd purges the object of an end entry if its time has come. An entry that
// is not the object's present one is left over and removed.
func (l *Library) sweepEnd(ctx context.Context, key []byte, now time.Time, report *SweepReport) error {
	_, rest, err := parseTimeKey(key)
	if err != nil {
		return err
	}
	id, err := parseObject([]byte(rest))
	if err != nil {
		return err
	}
	old, err := l.load(ctx, id)
	if err != nil {
		return err
	}
	drop := Change{Delete: [][]byte{key}}
	if old != nil {
		switch end := l.end(&old.meta); {
		case end == 0:
		case end > now.UnixMicro():
			drop.Put = []Row{{Key: endKey(end, id)}}
		default:
			if err := l.remove(ctx, old); err != nil {
				if errors.Is(err, ErrConflict) {
					return nil // it was changed just now; the next sweep looks again
				}
				return err
			}
			report.Purged++
		}
	}
	return l.commitOne(ctx, &drop)
}

// sweepContent removes the content of an intent or of garbage, unless an object
// has it.
func (l *Library) sweepContent(ctx context.Context, entry []byte, report *SweepReport) error {
	_, key, err := parseTimeKey(entry)
	if err != nil {
		return err
	}
	prefix := usePrefix(key)
	var users []ID
	var sum SHA256
	drop := Change{Delete: [][]byte{entry}}
	err = l.store.Scan(ctx, Range{From: prefix, To: after(prefix)}, func(row Row) error {
		id, err := parseObject(row.Key[len(prefix):])
		users = append(users, id)
		drop.Delete = append(drop.Delete, append([]byte(nil), row.Key...))
		copy(sum[:], row.Value)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range users {
		has, err := l.has(ctx, id, key)
		if err != nil {
			return err
		}
		if has {
			drop.Delete = drop.Delete[:1]
			return l.commitOne(ctx, &drop)
		}
	}
	if len(users) > 0 {
		// What leads to it by its sum goes first, see dedupe.go.
		again := Change{Delete: [][]byte{entry}}
		listed, err := l.unlist(ctx, key, sum, &again)
		if err != nil {
			return err
		}
		if listed {
			return l.commitOne(ctx, &again)
		}
	}
	if err := l.content.Delete(ctx, key); err != nil {
		return err
	}
	report.Collected++
	return l.commitOne(ctx, &drop)
}
