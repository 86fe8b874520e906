package objstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// PebbleOptions configures OpenPebble. The zero value is ready to use.
type PebbleOptions struct {
	// CacheSize is the memory for blocks of tables, in bytes. 0 means 64 MiB.
	CacheSize int64

	// MemTableSize is the memory for what is not yet in a table, in bytes; up to
	// four times as much is in use. 0 means 16 MiB.
	MemTableSize int

	Logger *slog.Logger // nil means slog.Default(); hears when the disk fails

	fs vfs.FS // tests put a file system that crashes here
}

func (o *PebbleOptions) filled() (PebbleOptions, error) {
	var out PebbleOptions
	if o != nil {
		out = *o
	}
	if out.CacheSize == 0 {
		out.CacheSize = 64 << 20
	}
	if out.MemTableSize == 0 {
		out.MemTableSize = 16 << 20
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.fs == nil {
		out.fs = vfs.Default
	}
	var errs []error
	if out.CacheSize < 0 {
		errs = append(errs, fmt.Errorf("objstore: PebbleOptions.CacheSize %d: negative", out.CacheSize))
	}
	if out.MemTableSize < 64<<10 || out.MemTableSize > 1<<30 {
		errs = append(errs, fmt.Errorf("objstore: PebbleOptions.MemTableSize %d: want 65536 to %d", out.MemTableSize, 1<<30))
	}
	return out, errors.Join(errs...)
}

// PebbleStore is the Store in a directory of this machine. All of a Change is
// atomic in it. One process can have a directory open at a time.
type PebbleStore struct {
	db   *pebble.DB
	gate gate
	seed maphash.Seed

	// stripes keep two Commits from checking the version of one row at the same
	// time. A Commit holds those of all its rows while it reads and applies, not
	// while it waits for the disk to sync; they are locked in rising order.
	stripes [stripeCount]sync.Mutex

	frontier frontier

	closeOnce sync.Once
	closeErr  error
}

const stripeCount = 256

// OpenPebble opens the store in dir, making it if there is none. What a crash
// left behind is recovered: every Commit that had returned is there.
func OpenPebble(dir string, opts *PebbleOptions) (*PebbleStore, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	s := &PebbleStore{seed: maphash.MakeSeed()}
	s.gate.init()
	popts := &pebble.Options{
		FS:                 o.fs,
		MemTableSize:       uint64(o.MemTableSize),
		FormatMajorVersion: pebble.FormatNewest,
		Logger:             pebbleLogger{s, o.Logger},
	}
	cache := pebble.NewCache(o.CacheSize)
	defer cache.Unref()
	popts.Cache = cache
	for i := range popts.Levels {
		popts.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	if s.db, err = pebble.Open(dir, popts); err != nil {
		if isLocked(err) {
			err = fmt.Errorf("%w: %w", ErrLocked, err)
		}
		return nil, fmt.Errorf("objstore: open %s: %w", dir, err)
	}
	return s, nil
}

// isLocked tells a directory that is in use. The lock's error is the operating
// system's, except that within one process Pebble words its own.
func isLocked(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) || strings.Contains(err.Error(), "lock held by current process")
}

// pebbleLogger takes what Pebble cannot return: its Fatalf must not come back.
type pebbleLogger struct {
	s   *PebbleStore
	log *slog.Logger
}

func (pebbleLogger) Infof(string, ...any) {}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error("objstore: " + fmt.Sprintf(format, args...))
}

// Fatalf ends the process: after a failed write of the log Pebble does not know
// what is durable, and neither may anybody be told that something is.
func (l pebbleLogger) Fatalf(format string, args ...any) {
	msg := "objstore: " + fmt.Sprintf(format, args...)
	l.log.Error(msg)
	panic(msg)
}

// Values in Pebble have the row's version in front.

func appendRow(b []byte, version uint64, value []byte) []byte {
	return append(binary.AppendUvarint(b, version), value...)
}

func parseRow(key, v []byte) (Row, error) {
	version, n := binary.Uvarint(v)
	if n <= 0 {
		return Row{}, fmt.Errorf("%w: row %x: no version", ErrCorrupt, key)
	}
	return Row{Key: key, Version: version, Value: v[n:]}, nil
}

// iterateFrom is how many keys it takes until one iterator, which goes through
// them in order, is cheaper than a look-up for each.
const iterateFrom = 8

// Get implements Store.
func (s *PebbleStore) Get(ctx context.Context, keys [][]byte, each func(i int, row Row) error) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(keys) >= iterateFrom {
		return s.getSorted(keys, each)
	}
	for i, key := range keys {
		if err := s.getOne(i, key, each); err != nil {
			return err
		}
	}
	return nil
}

func (s *PebbleStore) getOne(i int, key []byte, each func(i int, row Row) error) error {
	v, closer, err := s.db.Get(key)
	if err != nil {
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		return fmt.Errorf("objstore: read: %w", err)
	}
	row, err := parseRow(key, v)
	if err == nil {
		err = each(i, row)
	}
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s *PebbleStore) getSorted(keys [][]byte, each func(i int, row Row) error) (err error) {
	order := make([]int, len(keys))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return bytes.Compare(keys[a], keys[b]) })
	first, last := keys[order[0]], keys[order[len(order)-1]]
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: append(slices.Clone(last), 0)})
	if err != nil {
		return fmt.Errorf("objstore: read: %w", err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("objstore: read: %w", cerr)
		}
	}()
	for _, i := range order {
		if !it.SeekGE(keys[i]) {
			break
		}
		if !bytes.Equal(it.Key(), keys[i]) {
			continue
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("objstore: read: %w", err)
		}
		row, err := parseRow(keys[i], v)
		if err != nil {
			return err
		}
		if err := each(i, row); err != nil {
			return err
		}
	}
	return nil
}

// Scan implements Store. It sees the store as it is when it begins.
func (s *PebbleStore) Scan(ctx context.Context, r Range, each func(row Row) error) (err error) {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: r.From, UpperBound: r.To})
	if err != nil {
		return fmt.Errorf("objstore: scan: %w", err)
	}
	defer func() {
		if cerr := it.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("objstore: scan: %w", cerr)
		}
	}()
	ok := false
	if r.Reverse {
		ok = it.Last()
	} else {
		ok = it.First()
	}
	for n := 0; ok && (r.Limit == 0 || n < r.Limit); n++ {
		if n%64 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("objstore: scan: %w", err)
		}
		row, err := parseRow(it.Key(), v)
		if err != nil {
			return err
		}
		if err := each(row); err != nil {
			return err
		}
		if r.Reverse {
			ok = it.Prev()
		} else {
			ok = it.Next()
		}
	}
	return nil
}

// Commit implements Store. Commits that wait at the same time share a sync.
func (s *PebbleStore) Commit(ctx context.Context, changes []Change) error {
	if !s.gate.enter() {
		return ErrClosed
	}
	defer s.gate.leave()
	if err := ctx.Err(); err != nil {
		return err
	}
	for i := range changes {
		if err := checkChange(&changes[i]); err != nil {
			return err
		}
	}
	batch := s.db.NewBatch()
	unlock := s.lock(changes)
	err := s.fill(batch, changes)
	if err == nil && !batch.Empty() {
		// It is visible from here on, as in any commit of Pebble; the sync of a
		// later Commit, which may build on it, covers it too.
		err = s.db.ApplyNoSyncWait(batch, pebble.Sync)
	}
	unlock()
	if err != nil {
		_ = batch.Close()
		return fmt.Errorf("objstore: commit: %w", err)
	}
	if !batch.Empty() {
		if err := batch.SyncWait(); err != nil {
			return fmt.Errorf("objstore: commit: %w", err)
		}
	}
	return batch.Close()
}

// checkChange refuses what no engine could store.
func checkChange(c *Change) error {
	check := func(key []byte) error {
		if len(key) == 0 || len(key) > MaxKey {
			return fmt.Errorf("objstore: commit: key of %d bytes, want 1 to %d", len(key), MaxKey)
		}
		return nil
	}
	if c.Row.Key != nil {
		if err := check(c.Row.Key); err != nil {
			return err
		}
	}
	for i := range c.Put {
		if err := check(c.Put[i].Key); err != nil {
			return err
		}
	}
	for _, key := range c.Delete {
		if err := check(key); err != nil {
			return err
		}
	}
	return nil
}

// lock locks the stripes of all rows with a condition.
func (s *PebbleStore) lock(changes []Change) (unlock func()) {
	var set [stripeCount]bool
	for i := range changes {
		if key := changes[i].Row.Key; key != nil {
			set[maphash.Bytes(s.seed, key)%stripeCount] = true
		}
	}
	for i := range set {
		if set[i] {
			s.stripes[i].Lock()
		}
	}
	return func() {
		for i := range set {
			if set[i] {
				s.stripes[i].Unlock()
			}
		}
	}
}

// fill puts the changes whose condition holds into the batch.
func (s *PebbleStore) fill(batch *pebble.Batch, changes []Change) error {
	var buf []byte
	var written map[string]uint64 // versions of rows that earlier changes leave
	set := func(key []byte, version uint64, value []byte) error {
		buf = appendRow(buf[:0], version, value)
		return batch.Set(key, buf, nil)
	}
	for i := range changes {
		c := &changes[i]
		c.Err = nil
		if c.Row.Key != nil {
			now, seen := written[string(c.Row.Key)]
			if !seen {
				behind, err := s.frontier.pass(s.db, c.Row.Key)
				if err == nil && !behind {
					now, err = s.version(c.Row.Key)
				}
				if err != nil {
					return err
				}
			}
			if now != c.Expect {
				c.Err = ErrConflict
				continue
			}
			next := c.Row.Version
			if c.Row.Value == nil {
				next = 0
				if err := batch.Delete(c.Row.Key, nil); err != nil {
					return err
				}
			} else if err := set(c.Row.Key, next, c.Row.Value); err != nil {
				return err
			}
			if len(changes) > 1 {
				if written == nil {
					written = make(map[string]uint64, len(changes))
				}
				written[string(c.Row.Key)] = next
			}
		}
		for j := range c.Put {
			if c.Put[j].Key[0] == prefixRecord {
				if _, err := s.frontier.pass(s.db, c.Put[j].Key); err != nil {
					return err
				}
			}
			if err := set(c.Put[j].Key, 0, c.Put[j].Value); err != nil {
				return err
			}
		}
		for _, key := range c.Delete {
			if err := batch.Delete(key, nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// version returns a row's version, 0 if it is not there.
func (s *PebbleStore) version(key []byte) (uint64, error) {
	v, closer, err := s.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	row, err := parseRow(key, v)
	if cerr := closer.Close(); err == nil {
		err = cerr
	}
	return row.Version, err
}

// DiskBytes is how much disk the store uses.
func (s *PebbleStore) DiskBytes() uint64 {
	if !s.gate.enter() {
		return 0
	}
	defer s.gate.leave()
	return s.db.Metrics().DiskSpaceUsage()
}

// Close waits for calls under way and closes the store.
func (s *PebbleStore) Close() error {
	s.closeOnce.Do(func() {
		s.gate.shut()
		if err := s.db.Close(); err != nil {
			s.closeErr = fmt.Errorf("objstore: close: %w", err)
		}
	})
	return s.closeErr
}
