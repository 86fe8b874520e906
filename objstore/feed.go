package objstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"
)

// Event is one change of an object in the change feed.
type Event struct {
	Number  uint64    // rises from event to event, with gaps
	Time    time.Time // when it was stored, in microseconds
	ID      ID
	Version uint64 // that the object has now, or had last
	Purged  bool   // the object is gone for good
}

// feed numbers the events. Numbers are given before their commits and become
// visible in another order, so that readers stop before the first one that is
// still under way: none is ever seen after a later one.
type feed struct {
	mu      sync.Mutex
	next    uint64
	pending map[uint64]bool // first numbers of commits under way
	changed chan struct{}   // closed and replaced when a commit ends
}

func (f *feed) init(next uint64) {
	f.next, f.pending, f.changed = next, make(map[uint64]bool), make(chan struct{})
}

// enter adds an event to each change of an object.
func (f *feed) enter(changes []Change, now time.Time) (ticket uint64, err error) {
	f.mu.Lock()
	ticket = f.next
	f.next += uint64(len(changes))
	f.pending[ticket] = true
	f.mu.Unlock()
	for i := range changes {
		c := &changes[i]
		if len(c.Row.Key) == 0 || c.Row.Key[0] != prefixRecord {
			continue
		}
		e := Event{Number: ticket + uint64(i), Time: now, Version: c.Row.Version, Purged: c.Row.Value == nil}
		if e.ID, err = parseObject(c.Row.Key[1:]); err != nil {
			f.leave(ticket)
			return 0, err
		}
		if e.Purged {
			e.Version = c.Expect
		}
		c.Put = append(c.Put, Row{Key: feedKey(e.Number), Value: e.append(nil)})
	}
	return ticket, nil
}

func (f *feed) leave(ticket uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pending, ticket)
	close(f.changed)
	f.changed = make(chan struct{})
}

// visible is the number before which all events are settled, and a channel that
// is closed when that may have changed.
func (f *feed) visible() (uint64, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.next
	for p := range f.pending {
		n = min(n, p)
	}
	return n, f.changed
}

func feedKey(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{prefixFeed}, n) }

func (e *Event) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMicro()))
	flags := byte(0)
	if e.Purged {
		flags = 1
	}
	b = binary.AppendUvarint(append(b, flags), e.Version)
	return appendObject(b, e.ID)
}

func parseEvent(key, b []byte) (e Event, err error) {
	if len(key) != 9 || len(b) < 10 || b[8] > 1 {
		return e, errKey
	}
	e.Number = binary.BigEndian.Uint64(key[1:])
	e.Time = time.UnixMicro(int64(binary.BigEndian.Uint64(b)))
	e.Purged = b[8] == 1
	version, n := binary.Uvarint(b[9:])
	if n <= 0 {
		return e, errKey
	}
	e.Version = version
	e.ID, err = parseObject(b[9+n:])
	return e, err
}

// Changes goes through the changes of objects of all types after the event of
// that number, 0 for all that are kept, in an order in which those of one
// object are in theirs. At the end it waits for more, until ctx ends: then it
// yields ctx's error. A change is seen once it is durable. Who keeps the number
// of the last event that was worked through misses none, unless it stays away for
// longer than Options.Feed. Without that there are no events, and it fails.
func (l *Library) Changes(ctx context.Context, after uint64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if l.feed == nil {
			yield(Event{}, errors.New("objstore: Changes: Options.Feed is not set"))
			return
		}
		for {
			end, changed := l.feed.visible()
			for after+1 < end {
				page, last, err := l.events(ctx, after, end)
				if err != nil {
					yield(Event{}, err)
					return
				}
				for _, e := range page {
					if !yield(e, nil) {
						return
					}
				}
				after = last
			}
			select {
			case <-changed:
			case <-l.closing:
				yield(Event{}, ErrClosed)
				return
			case <-ctx.Done():
				yield(Event{}, ctx.Err())
				return
			}
		}
	}
}

// events reads a page of events after one number and before another, and says
// up to where it has read.
func (l *Library) events(ctx context.Context, after, end uint64) (page []Event, last uint64, err error) {
	r := Range{From: feedKey(after + 1), To: feedKey(end), Limit: sweepPage}
	err = l.scan(ctx, r, func(row Row) error {
		e, err := parseEvent(row.Key, row.Value)
		if err != nil {
			return corruptKey(row.Key)
		}
		page = append(page, e)
		return nil
	})
	if len(page) == r.Limit {
		return page, page[len(page)-1].Number, err
	}
	return page, end - 1, err
}

// openFeed finds where the numbers of events go on.
func (l *Library) openFeed(ctx context.Context) error {
	next := uint64(1)
	r := Range{From: []byte{prefixFeed}, To: []byte{prefixFeed + 1}, Limit: 1, Reverse: true}
	err := l.store.Scan(ctx, r, func(row Row) error {
		e, err := parseEvent(row.Key, row.Value)
		if err != nil {
			return corruptKey(row.Key)
		}
		next = e.Number + 1
		return nil
	})
	l.feed = new(feed)
	l.feed.init(next)
	return err
}

// sweepFeed removes events of before a time, all but the last one, from which
// the numbers go on.
func (l *Library) sweepFeed(ctx context.Context, before time.Time) error {
	last := []byte{prefixFeed}
	r := Range{From: []byte{prefixFeed}, To: []byte{prefixFeed + 1}, Limit: 1, Reverse: true}
	err := l.store.Scan(ctx, r, func(row Row) error {
		last = append([]byte(nil), row.Key...)
		return nil
	})
	if err != nil {
		return err
	}
	for {
		var drop Change
		r := Range{From: []byte{prefixFeed}, To: last, Limit: sweepPage}
		err := l.store.Scan(ctx, r, func(row Row) error {
			e, err := parseEvent(row.Key, row.Value)
			if err != nil {
				return corruptKey(row.Key)
			}
			if !e.Time.Before(before) {
				return errStop
			}
			drop.Delete = append(drop.Delete, append([]byte(nil), row.Key...))
			return nil
		})
		stopped := err == errStop
		if err != nil && !stopped {
			return err
		}
		if len(drop.Delete) > 0 {
			if err := l.store.Commit(ctx, []Change{drop}); err != nil {
				return err
			}
		}
		if stopped || len(drop.Delete) < sweepPage {
			return nil
		}
	}
}

func corruptKey(key []byte) error {
	return fmt.Errorf("%w: row %.64x", ErrCorrupt, key)
}
