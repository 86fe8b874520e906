package hbasestore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/heddle-go/heddle/objstore"
	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

// The cells of a row, all in one family.
var (
	family = []byte("o")

	// The version: 8 bytes, big-endian, or none for version 0, which
	// checkAndMutate cannot tell from an absent cell and need not.
	versionCell = []byte("n")
	valueCell   = []byte("v")

	// A random number of whoever wrote a row under a condition.
	writerCell = []byte("w")
)

// Store is an objstore.Store in a table of HBase. It is safe for concurrent use.
type Store struct {
	opts  Options
	table []byte
	pool  *pool

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // Add only with mu held and not closed
}

// Open connects to a cluster through one of its Thrift2 gateways, "host:port"
// each, and makes the table if there is none. ctx bounds it, or Options.Timeout.
// Errors: what is wrong with opts; a table that cannot be used, see the package
// comment; or the gateway's.
func Open(ctx context.Context, gateways []string, opts *Options) (*Store, error) {
	o, err := opts.filled()
	if len(gateways) == 0 {
		err = errors.Join(err, errors.New("hbasestore: Open wants the address of a gateway"))
	}
	for _, addr := range gateways {
		if _, _, aerr := net.SplitHostPort(addr); aerr != nil {
			err = errors.Join(err, fmt.Errorf("hbasestore: gateway: %w", aerr))
		}
	}
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, table: []byte(o.Table)}
	s.pool = newPool(append([]string(nil), gateways...), &s.opts)
	if err := s.openTable(ctx); err != nil {
		s.pool.close()
		return nil, err
	}
	return s, nil
}

// enter begins a call; done ends it.
func (s *Store) enter(ctx context.Context) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, objstore.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.calls.Add(1)
	return s.calls.Done, nil
}

// timeLimit gives a context without a deadline that of Options.Timeout.
func (s *Store) timeLimit(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.opts.Timeout)
}

// Close waits for calls under way and closes the connections.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.calls.Wait()
	s.pool.close()
	return nil
}

// Stats counts what a Store has done. All of it only grows.
type Stats struct {
	Calls   uint64 // requests to gateways
	Retries uint64 // requests, or attempts to connect, that were tried again
	Dials   uint64 // attempts to connect
}

// Stats returns the counts so far.
func (s *Store) Stats() Stats {
	return Stats{Calls: s.pool.calls.Load(), Retries: s.pool.retries.Load(), Dials: s.pool.dials.Load()}
}

// getAtOnce is how many keys are read in one request.
const getAtOnce = 128

// Get implements objstore.Store.
func (s *Store) Get(ctx context.Context, keys [][]byte, each func(i int, row objstore.Row) error) error {
	done, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	for from := 0; from < len(keys); from += getAtOnce {
		some := keys[from:min(from+getAtOnce, len(keys))]
		if err := s.get(ctx, some, from, each); err != nil {
			return err
		}
	}
	return nil
}

// get reads keys in one request, or in more if the answer is too large.
func (s *Store) get(ctx context.Context, keys [][]byte, from int, each func(i int, row objstore.Row) error) error {
	results, err := s.read(ctx, keys, versionCell, valueCell)
	if errors.Is(err, errTooLarge) && len(keys) > 1 {
		half := len(keys) / 2
		if err := s.get(ctx, keys[:half], from, each); err != nil {
			return err
		}
		return s.get(ctx, keys[half:], from+half, each)
	}
	if err != nil {
		return err
	}
	for i, r := range results {
		row, found, err := parseRow(keys[i], r)
		if err == nil && found {
			err = each(from+i, row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read reads cells of rows, whose results are in the order of keys.
func (s *Store) read(ctx context.Context, keys [][]byte, cells ...[]byte) (results []*thrift2.TResult_, err error) {
	columns := columns(cells...)
	gets := make([]*thrift2.TGet, len(keys))
	for i, key := range keys {
		gets[i] = &thrift2.TGet{Row: appendRow(nil, key, s.opts.Salts), Columns: columns}
	}
	_, err = s.pool.call(ctx, "read", func(c *thrift2.THBaseServiceClient) (err error) {
		results, err = c.GetMultiple(ctx, s.table, gets)
		return err
	})
	if err == nil && len(results) != len(keys) {
		err = fmt.Errorf("hbasestore: read: %d results for %d rows", len(results), len(keys))
	}
	return results, err
}

func columns(cells ...[]byte) []*thrift2.TColumn {
	columns := make([]*thrift2.TColumn, len(cells))
	for i, cell := range cells {
		columns[i] = &thrift2.TColumn{Family: family, Qualifier: cell}
	}
	return columns
}

// parseRow makes a row of what was read; none if nothing was.
func parseRow(key []byte, r *thrift2.TResult_) (row objstore.Row, found bool, err error) {
	if r == nil || len(r.ColumnValues) == 0 {
		return row, false, nil
	}
	row.Key = key
	var version, value bool
	for _, cell := range r.ColumnValues {
		switch string(cell.Qualifier) {
		case "n":
			version = true
			row.Version, err = parseVersion(cell.Value)
		case "v":
			value = true
			row.Value = cell.Value
		}
	}
	if err == nil && !(version && value) {
		err = errors.New("a cell is missing")
	}
	if err != nil {
		return row, false, fmt.Errorf("%w: hbasestore: row %.64x: %w", objstore.ErrCorrupt, key, err)
	}
	return row, true, nil
}

func formatVersion(v uint64) []byte {
	if v == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint64(nil, v)
}

func parseVersion(b []byte) (uint64, error) {
	switch len(b) {
	case 0:
		return 0, nil
	case 8:
		return binary.BigEndian.Uint64(b), nil
	}
	return 0, fmt.Errorf("a version of %d bytes", len(b))
}
