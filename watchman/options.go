package watchman

import (
	"errors"
	"fmt"
	"time"
)

// Options configures New. The zero value is ready to use.
type Options struct {
	// Sample is the share of traces begun here that are recorded whatever
	// happens to them. 0 means 0.001, negative none, at most 1. Traces that a
	// caller samples, that fail or that are slow are kept besides.
	Sample float64

	// TracesPerMinute is a budget for sampled traces, see Sampling; Sample is
	// then the ratio at most. 0 means none.
	TracesPerMinute int

	// Slow is how long a local root may take before its trace is kept as slow.
	// An operation whose 99th percentile is higher uses three times that instead.
	// 0 means 1 s; negative keeps no trace for being slow.
	Slow time.Duration

	// KeepTraces bounds the traces kept in memory: a trace may have several local
	// roots in one process, and four times as many of those are kept; the oldest
	// goes first. 0 means 1024; negative keeps none.
	KeepTraces int

	// KeepBytes bounds the memory of kept traces, estimated. 0 means 32 MiB.
	KeepBytes int64

	// RecentTraces bounds the ring of the newest traces that were not kept, from
	// which KeepTrace can still keep one; each takes 24 bytes and 40 more a span. A
	// large ring holds up to 31 more for each of 16 processors at most. 0 means 1024;
	// negative has none.
	RecentTraces int

	// Release names the version of the program, for groups of errors. Default "".
	Release string
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.Sample == 0 {
		out.Sample = 0.001
	}
	if out.Slow == 0 {
		out.Slow = time.Second
	}
	if out.KeepTraces == 0 {
		out.KeepTraces = 1024
	}
	if out.RecentTraces == 0 {
		out.RecentTraces = 1024
	}
	if out.KeepBytes == 0 {
		out.KeepBytes = 32 << 20
	}
	var errs []error
	if out.Sample > 1 {
		errs = append(errs, fmt.Errorf("watchman: Options.Sample %v: want at most 1", out.Sample))
	}
	if out.TracesPerMinute < 0 {
		errs = append(errs, fmt.Errorf("watchman: Options.TracesPerMinute %d: negative", out.TracesPerMinute))
	}
	if out.RecentTraces > maxRecent {
		errs = append(errs, fmt.Errorf("watchman: Options.RecentTraces %d: want at most %d", out.RecentTraces, maxRecent))
	}
	if out.KeepBytes < 0 {
		errs = append(errs, fmt.Errorf("watchman: Options.KeepBytes %d: negative", out.KeepBytes))
	}
	return out, errors.Join(errs...)
}

// maxRecent bounds the ring, which KeepTrace walks.
const maxRecent = 1 << 20
