package objstore

import (
	"context"
	"iter"
	"time"
)

// ScanOptions says which objects of a type to go through. nil means all.
type ScanOptions struct {
	// From and To bound the seconds in which the ids were made: from From on,
	// before To. Zero means no bound. With a bound, objects whose ids are digests
	// are left out, because these have no time.
	From, To time.Time

	// After leaves out all up to and including this id, in the order of the
	// scan; the zero ID leaves out nothing. It is for going on with a scan.
	After ID

	Reverse bool // from the last to the first
	Limit   int  // at most this many objects; 0 means all
}

// scanPage is how many objects a scan reads at a time.
const scanPage = 64

// Scan goes through the objects of the type in the order of their ids, which
// is that of their making; those whose ids are digests come last. They are read
// in pages; what changes meanwhile is seen or not. An error ends it.
func (c *Collection[T]) Scan(ctx context.Context, opts *ScanOptions) iter.Seq2[*Object[T], error] {
	var o ScanOptions
	if opts != nil {
		o = *opts
	}
	r := c.kind.scanRange(&o)
	return func(yield func(*Object[T], error) bool) {
		c.pages(ctx, r, o.Limit, func(key []byte) (ID, string, error) {
			id, err := parseObject(key[1:])
			return id, "", err
		}, yield)
	}
}

func (k *kind) scanRange(o *ScanOptions) Range {
	key := func(n int64) []byte { return recordKey(ID{Type: k.number, Number: n}) }
	r := Range{From: key(0), To: recordKey(ID{Type: k.number + 1}), Reverse: o.Reverse}
	if k.number == 1<<32-1 {
		r.To = []byte{prefixRecord + 1}
	}
	if !o.From.IsZero() || !o.To.IsZero() {
		r.To = key(MaxNumber + 1)
	}
	if !o.From.IsZero() {
		r.From = key(firstNumber(o.From))
	}
	if !o.To.IsZero() {
		r.To = key(firstNumber(o.To))
	}
	if !o.After.IsZero() {
		if o.Reverse {
			r.To = minKey(r.To, recordKey(o.After))
		} else {
			r.From = maxKey(r.From, append(recordKey(o.After), 0))
		}
	}
	return r
}

// firstNumber is the smallest number that an id made at t or later has.
func firstNumber(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return min(max(s-epoch, 0), MaxNumber>>secondShift+1) << secondShift
}

func minKey(a, b []byte) []byte {
	if string(a) < string(b) {
		return a
	}
	return b
}

func maxKey(a, b []byte) []byte {
	if string(a) < string(b) {
		return b
	}
	return a
}

// pages yields the visible objects that the keys of a range lead to. parse says
// which object that is, and which of its entries must still confirm the key.
func (c *Collection[T]) pages(ctx context.Context, r Range, limit int, parse func(key []byte) (ID, string, error), yield func(*Object[T], error) bool) {
	r.Limit = scanPage
	if limit > 0 {
		r.Limit = min(limit, scanPage)
	}
	for n := 0; ; {
		ids, entries := make([]ID, 0, r.Limit), make([]string, 0, r.Limit)
		var last []byte
		err := c.lib.scan(ctx, r, func(row Row) error {
			id, entry, err := parse(row.Key)
			if err != nil {
				return corruptKey(row.Key)
			}
			ids, entries = append(ids, id), append(entries, entry)
			last = append(last[:0], row.Key...)
			return nil
		})
		var objs []*Object[T]
		if err == nil {
			objs, err = c.multiGet(ctx, ids, entries)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, obj := range objs {
			if obj == nil {
				continue
			}
			if !yield(obj, nil) {
				return
			}
			if n++; n == limit {
				return
			}
		}
		if len(ids) < r.Limit {
			return
		}
		if r.Reverse {
			r.To = last
		} else {
			r.From = append(last, 0)
		}
	}
}

// scan is Store.Scan of a library that may be closed.
func (l *Library) scan(ctx context.Context, r Range, each func(Row) error) error {
	if !l.gate.enter() {
		return ErrClosed
	}
	defer l.gate.leave()
	return l.store.Scan(ctx, r, each)
}
