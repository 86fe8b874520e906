package hbasestore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

const (
	maxPage      = 256     // rows of one request
	maxPageBytes = 1 << 20 // what a request after the first aims at
)

// Scan implements objstore.Store. Rows that change while it goes on are seen as
// they were or as they are.
func (s *Store) Scan(ctx context.Context, r objstore.Range, each func(row objstore.Row) error) error {
	done, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	if r.To != nil && bytes.Compare(r.From, r.To) >= 0 {
		return nil
	}
	salts := saltsOf(&r, s.opts.Salts)
	first := maxPage
	if r.Limit > 0 {
		// A little more than an even share, so that few salts are asked twice.
		first = r.Limit
		if len(salts) > 1 {
			first = 2*r.Limit/len(salts) + 4
		}
	}
	cursors := make([]*cursor, len(salts))
	for i, salt := range salts {
		cursors[i] = newCursor(s, salt, &r, min(first, maxPage))
	}
	if err := s.fillAll(ctx, cursors); err != nil {
		return err
	}
	for n := 0; r.Limit == 0 || n < r.Limit; n++ {
		c, err := nextCursor(ctx, cursors, r.Reverse)
		if err != nil || c == nil {
			return err
		}
		row := c.rows[0]
		c.rows[0] = objstore.Row{}
		c.rows = c.rows[1:]
		if err := each(row); err != nil {
			return err
		}
	}
	return nil
}

// fillAll fills the cursors at the same time.
func (s *Store) fillAll(ctx context.Context, cursors []*cursor) error {
	if len(cursors) == 1 {
		return cursors[0].fill(ctx)
	}
	errs := make([]error, len(cursors))
	var wg sync.WaitGroup
	for i, c := range cursors {
		wg.Go(func() { errs[i] = c.fill(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// nextCursor is the one whose next row comes first; nil at the end.
func nextCursor(ctx context.Context, cursors []*cursor, reverse bool) (*cursor, error) {
	var first *cursor
	for _, c := range cursors {
		if err := c.fill(ctx); err != nil {
			return nil, err
		}
		if len(c.rows) == 0 {
			continue
		}
		if first == nil || (bytes.Compare(c.rows[0].Key, first.rows[0].Key) < 0) != reverse {
			first = c
		}
	}
	return first, nil
}

// cursor goes through the rows of one salt.
type cursor struct {
	s       *Store
	salt    byte
	r       *objstore.Range
	start   []byte // the row to go on from, inclusive
	stop    []byte // the row to end before
	skip    []byte // a row that start includes and the range does not
	page    int    // rows of the next request
	rows    []objstore.Row
	reached bool // the end
}

func newCursor(s *Store, salt byte, r *objstore.Range, page int) *cursor {
	c := &cursor{s: s, salt: salt, r: r, page: page}
	low, high := append([]byte{salt}, r.From...), []byte{salt + 1}
	if r.To != nil {
		high = append([]byte{salt}, r.To...)
	}
	if !r.Reverse {
		c.start, c.stop = low, high
		return c
	}
	// Backwards HBase begins with a row and ends behind one, too: begin with the
	// one that the range ends before, and end behind one that is before it.
	c.start, c.skip, c.stop = high, high, rowBefore(low)
	return c
}

// rowBefore is a row before a row, with few or none between.
func rowBefore(row []byte) []byte {
	last := len(row) - 1
	if last > 0 && row[last] == 0 {
		return row[:last:last]
	}
	if last == 0 {
		return row // the salt alone, which no key is
	}
	return append(append(bytes.Clone(row[:last]), row[last]-1), bytes.Repeat([]byte{255}, 16)...)
}

// fill makes sure that there is a row unless the end is reached.
func (c *cursor) fill(ctx context.Context) error {
	for len(c.rows) == 0 && !c.reached {
		if err := c.read(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) read(ctx context.Context) error {
	ctx, cancel := c.s.timeLimit(ctx)
	defer cancel()
	n := int32(c.page)
	if c.r.Reverse {
		n++ // for the one that is skipped
	}
	scan := &thrift2.TScan{
		StartRow: c.start, StopRow: c.stop, Columns: columns(versionCell, valueCell),
		Caching: &n, Limit: &n, Reversed: &c.r.Reverse,
	}
	var results []*thrift2.TResult_
	_, err := c.s.pool.call(ctx, "scan", func(client *thrift2.THBaseServiceClient) (err error) {
		results, err = client.GetScannerResults(ctx, c.s.table, scan, n)
		return err
	})
	if errors.Is(err, errTooLarge) && c.page > 1 {
		c.page /= 2
		return nil
	}
	if err != nil {
		return err
	}
	c.reached = len(results) < int(n)
	size := 0
	for _, r := range results {
		if len(r.Row) < 2 || r.Row[0] != c.salt {
			if bytes.Equal(r.Row, c.skip) {
				continue
			}
			return fmt.Errorf("%w: hbasestore: scan: row %.64x of salt %d", objstore.ErrCorrupt, r.Row, c.salt)
		}
		key := r.Row[1:]
		if bytes.Equal(r.Row, c.skip) || bytes.Compare(key, c.r.From) < 0 {
			continue
		}
		row, found, err := parseRow(key, r)
		if err != nil {
			return err
		}
		if found {
			c.rows = append(c.rows, row)
			size += len(row.Key) + len(row.Value)
		}
	}
	if len(results) == 0 {
		return nil
	}
	last := results[len(results)-1].Row
	if c.r.Reverse {
		c.start, c.skip = last, last
	} else {
		c.start = append(bytes.Clone(last), 0)
	}
	if len(c.rows) > 0 {
		c.page = min(max(maxPageBytes/(size/len(c.rows)+1), 2), 2*c.page, maxPage)
	}
	return nil
}
