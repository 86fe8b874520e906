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

	// Slow is how long a local root may take before its trace is kept as slow.
	// An operation whose 99th percentile is higher uses three times that instead.
	// 0 means 1 s; negative keeps no trace for being slow.
	Slow time.Duration

	// KeepTraces bounds the traces kept in memory; the oldest goes first.
	// 0 means 1024; negative keeps none.
	KeepTraces int

	// KeepBytes bounds the memory of kept traces, estimated. 0 means 32 MiB.
	KeepBytes int64
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
	if out.KeepBytes == 0 {
		out.KeepBytes = 32 << 20
	}
	var errs []error
	if out.Sample > 1 {
		errs = append(errs, fmt.Errorf("watchman: Options.Sample %v: want at most 1", out.Sample))
	}
	if out.KeepBytes < 0 {
		errs = append(errs, fmt.Errorf("watchman: Options.KeepBytes %d: negative", out.KeepBytes))
	}
	return out, errors.Join(errs...)
}
