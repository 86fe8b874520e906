package objstore

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Options configures Open. The zero value is ready to use.
type Options struct {
	// Store keeps the metadata. nil means a PebbleStore in meta/ of the
	// directory. Close does not close a Store that was given.
	Store Store

	// Content keeps the contents. nil means files in content/ of the directory.
	Content Content

	// Generator makes the numbers of new objects. nil means one with IDC 0 that
	// keeps its state in the file ids of the directory. Close does not close a
	// Generator that was given.
	Generator *Generator

	// Grace is how long a content may be without an object: an upload that did
	// not become part of one within half of it never can, and what an object no
	// longer has is still readable that long. Only then are contents collected.
	// 0 means 1 h, at least 1 s.
	Grace time.Duration

	// Retention is how long a deleted object can be undeleted. 0 means 7 days,
	// negative that it is purged by the next sweep.
	Retention time.Duration

	// SweepEvery is how often what has expired, was deleted or has lost its
	// object is removed for good. 0 means 1 min; negative means only when Sweep
	// is called.
	SweepEvery time.Duration

	// Dedupe stores contents with the same SHA-256 sum once.
	Dedupe bool

	// SkipSHA256 leaves the SHA-256 of a content out of what is compared when it is
	// read from start to end: half of what such a read costs. The CRC-32C of its
	// blocks, which finds what disks and networks damage, is compared all the same;
	// bytes that somebody has replaced on purpose are found by the SHA-256 alone.
	// Uploads, exports and VerifyContent always compute it.
	SkipSHA256 bool

	// Feed is how long events of the change feed are kept. 0 means that there is
	// no feed; one write in each change pays for it otherwise.
	Feed time.Duration

	// Cache keeps records in front of Store. nil means none. One process at a
	// time may write to a Store that has one. It may outlive the process, if it
	// is the same, or an empty one, each time; what was written meanwhile by a
	// Library without a cache does not matter.
	Cache Cache

	Watchman *watchman.Watchman // nil: nothing is watched
	Logger   *slog.Logger       // nil means slog.Default(); hears of sweeps that failed

	pebble PebbleOptions // tests put a file system that crashes here
	now    func() time.Time
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Grace == 0 {
		out.Grace = time.Hour
	}
	if out.Retention == 0 {
		out.Retention = 7 * 24 * time.Hour
	}
	if out.SweepEvery == 0 {
		out.SweepEvery = time.Minute
	}
	if out.Logger == nil {
		out.Logger = slog.Default()
	}
	if out.now == nil {
		out.now = time.Now
	}
	out.pebble.Logger = out.Logger
	out.Retention = max(out.Retention, 0)
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("objstore: Options."+format, args...))
	}
	if out.Grace < time.Second {
		bad("Grace %v: want at least 1s", out.Grace)
	}
	if out.SweepEvery > 0 && out.SweepEvery < time.Millisecond {
		bad("SweepEvery %v: want at least 1ms", out.SweepEvery)
	}
	if out.Feed < 0 {
		bad("Feed %v: negative", out.Feed)
	}
	return out, errors.Join(errs...)
}
