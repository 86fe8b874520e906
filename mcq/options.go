package mcq

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/heddle-go/heddle/watchman"
)

// Sync is when an acknowledged write is on disk. The operating system has it in any
// case: that the process ends without Close, killed or panicking, loses nothing.
type Sync int

const (
	Always   Sync = iota // before it is acknowledged; one fsync serves all writers that wait
	Interval             // within Options.SyncInterval; a crash of the machine loses that much
	Never                // when the operating system pleases; a crash of the machine loses what it had not written
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	Sync         Sync          // default Always
	SyncInterval time.Duration // for Interval; 0 means 100 ms

	// MaxMessage bounds a body in bytes. 0 means 1 MiB, at most 64 MiB.
	MaxMessage int

	// MaxQueues bounds the number of queues. 0 means 10000.
	MaxQueues int

	// Memory bounds the messages that each queue keeps in memory between being
	// put and being handed out, in bytes; older ones are read from disk.
	// 0 means 16 MiB.
	Memory int

	// TotalMemory bounds those of all queues and subscribers together, in bytes.
	// When they get near it, those that keep most keep less and are read from disk
	// the sooner; each that is read takes a chunk of 16 KiB, or of one message, all
	// the same. 0 means 256 MiB; it is at least Memory.
	TotalMemory int64

	// MinFree is how many bytes must be free on the store's disk for Put to store
	// anything; acknowledgements and what the store does by itself need some too.
	// 0 means 256 MiB; negative means not to look.
	MinFree int64

	// Queue is how queues behave, but for those that Queues names. A subscriber
	// has the options of its own name, queue+subscriber, or else Queue.
	Queue  QueueOptions
	Queues map[string]QueueOptions

	Watchman *watchman.Watchman // nil: nothing is watched
	Logger   *slog.Logger       // nil means slog.Default(); hears when the disk fails

	fs      vfs.FS // tests put a file system that crashes here
	journal int64  // the size of the journal's files, for tests; 0 means journalSizeOn

	// The like of trimEvery, reclaimFrom and cutFrom.
	trim, reclaim, cut int
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.SyncInterval == 0 {
		out.SyncInterval = 100 * time.Millisecond
	}
	if out.MaxMessage == 0 {
		out.MaxMessage = 1 << 20
	}
	if out.MaxQueues == 0 {
		out.MaxQueues = 10000
	}
	if out.Memory == 0 {
		out.Memory = 16 << 20
	}
	if out.TotalMemory == 0 {
		out.TotalMemory = 256 << 20
	}
	if out.MinFree == 0 {
		out.MinFree = 256 << 20
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	out.trim, out.reclaim, out.cut = cmp.Or(out.trim, trimEvery), cmp.Or(out.reclaim, reclaimFrom), cmp.Or(out.cut, cutFrom)
	if out.fs == nil {
		out.fs = vfs.Default
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("mcq: Options."+format, args...)) }
	if out.Sync < Always || out.Sync > Never {
		bad("Sync %d: unknown", out.Sync)
	}
	if out.SyncInterval < time.Millisecond {
		bad("SyncInterval %v: want at least 1ms", out.SyncInterval)
	}
	if out.MaxMessage < 1 || out.MaxMessage > 64<<20 {
		bad("MaxMessage %d: want 1 to %d", out.MaxMessage, 64<<20)
	}
	if out.MaxQueues < 1 {
		bad("MaxQueues %d: want at least 1", out.MaxQueues)
	}
	if out.Memory < 0 {
		bad("Memory %d: negative", out.Memory)
	}
	if out.TotalMemory < 0 {
		bad("TotalMemory %d: negative", out.TotalMemory)
	}
	out.TotalMemory = max(out.TotalMemory, int64(out.Memory))
	errs = append(errs, out.Queue.check("all"))
	for _, name := range slices.Sorted(maps.Keys(out.Queues)) {
		if err := CheckName(name); err != nil {
			bad("Queues: %w", err)
		}
		o := out.Queues[name]
		errs = append(errs, o.check(name))
	}
	out.Queues = maps.Clone(out.Queues)
	return out, errors.Join(errs...)
}
