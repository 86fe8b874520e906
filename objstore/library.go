package objstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/heddle-go/heddle/internal/disk"
	"github.com/heddle-go/heddle/objstore/filecontent"
	"github.com/heddle-go/heddle/watchman"
)

// Library is a set of typed objects and their contents. NewCollection gives
// access to the objects of one type. It is safe for concurrent use.
type Library struct {
	opts    Options
	store   Store
	content Content
	ids     *Generator
	cached  *cachedStore // store, if there is a cache in front of it
	feed    *feed        // nil without

	closers []func() error // of what Open opened, last first

	mu    sync.Mutex
	kinds map[uint32]string // number to name of the collections' types

	ops      ops
	counters counters

	gate      gate
	closeOnce sync.Once
	closeErr  error
	closing   <-chan struct{}    // closed when Close begins
	stop      context.CancelFunc // closes it, and ends the sweeper
	sweeper   sync.WaitGroup
	sweeping  sync.Mutex // held by one Sweep at a time
}

// Open opens the library in dir, making it if there is none; its parent must
// exist. One process can have a directory open at a time. With Options.Store,
// Options.Content and Options.Generator all given, dir is not used.
//
// What a crash left behind is recovered: every change that had been
// acknowledged is there, whole, and Sweep collects contents whose object was
// never stored.
func Open(dir string, opts *Options) (*Library, error) {
	o, err := opts.filled()
	if err != nil {
		return nil, err
	}
	l := &Library{opts: o, store: o.Store, content: o.Content, ids: o.Generator, kinds: make(map[uint32]string)}
	l.gate.init()
	l.ops.init(o.Watchman)
	if err := l.open(dir); err != nil {
		return nil, errors.Join(err, l.closeParts())
	}
	ctx, stop := context.WithCancel(context.Background())
	l.closing, l.stop = ctx.Done(), stop
	if o.SweepEvery > 0 {
		l.sweeper.Go(func() { l.sweepLoop(ctx) })
	}
	return l, nil
}

func (l *Library) open(dir string) error {
	if l.store == nil || l.content == nil || l.ids == nil {
		switch err := os.Mkdir(dir, 0o750); {
		case err == nil:
			if err := disk.SyncDir(filepath.Dir(dir)); err != nil {
				return fmt.Errorf("objstore: open %s: %w", dir, err)
			}
		case !errors.Is(err, fs.ErrExist):
			return fmt.Errorf("objstore: open: %w", err)
		}
	}
	if l.store == nil {
		s, err := OpenPebble(filepath.Join(dir, "meta"), &l.opts.pebble)
		if err != nil {
			return err
		}
		l.store = s
		l.closers = append(l.closers, s.Close)
	}
	if l.content == nil {
		d, err := filecontent.Open(filepath.Join(dir, "content"))
		if err != nil {
			return err
		}
		l.content = d
	}
	if l.ids == nil {
		g, err := NewGenerator(&GeneratorOptions{StateFile: filepath.Join(dir, "ids"), Logger: l.opts.Logger})
		if err != nil {
			return err
		}
		l.ids = g
		l.closers = append(l.closers, g.Close)
	}
	err := l.checkFormat()
	if err == nil {
		err = l.openCache(context.Background())
	}
	if err == nil && l.opts.Feed > 0 {
		err = l.openFeed(context.Background())
	}
	return err
}

// checkFormat refuses a store of a later version.
func (l *Library) checkFormat() error {
	ctx := context.Background()
	found := false
	err := l.store.Get(ctx, [][]byte{formatKey}, func(_ int, row Row) error {
		found = true
		if len(row.Value) != 1 || row.Value[0] != storeFormat {
			return fmt.Errorf("objstore: store format %x, this version knows %d", row.Value, storeFormat)
		}
		return nil
	})
	if err != nil || found {
		return err
	}
	return l.store.Commit(ctx, []Change{{Put: []Row{{Key: formatKey, Value: []byte{storeFormat}}}}})
}

// Close ends the sweeper, waits for calls under way, and closes what Open
// opened. A second Close does nothing.
func (l *Library) Close() error {
	l.closeOnce.Do(func() {
		l.stop()
		l.gate.shut()
		l.sweeper.Wait()
		l.closeErr = l.closeParts()
	})
	return l.closeErr
}

func (l *Library) closeParts() error {
	var errs []error
	for _, c := range slices.Backward(l.closers) {
		errs = append(errs, c())
	}
	return errors.Join(errs...)
}

// register keeps two types from sharing a number.
func (l *Library) register(k *kind) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if name, taken := l.kinds[k.number]; taken && name != k.name {
		return fmt.Errorf("objstore: type %d is %q here, not %q", k.number, name, k.name)
	}
	l.kinds[k.number] = k.name
	return nil
}

// now is the time in microseconds, which is what records keep.
func (l *Library) now() time.Time { return time.UnixMicro(l.opts.now().UnixMicro()) }

// ops are the operations of a library that watchman counts.
type ops struct {
	get, write, upload, sweep *watchman.Operation
}

func (o *ops) init(w *watchman.Watchman) {
	o.get = w.Operation(watchman.Internal, "objstore.get")
	o.write = w.Operation(watchman.Internal, "objstore.write")
	o.upload = w.Operation(watchman.Internal, "objstore.upload")
	o.sweep = w.Operation(watchman.Internal, "objstore.sweep")
}
