package ssdcache

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

const (
	defaultTTL         = time.Hour
	defaultNegativeTTL = time.Second
	defaultJitter      = 0.1
	defaultMemory      = 16 << 20
	defaultLoadTimeout = 10 * time.Second
	defaultHotShare    = 0.01
	minHotShare        = 0.001

	maxName = 128
)

// TieredOptions configures NewTiered. The zero value is ready to use.
type TieredOptions struct {
	// Name keeps the keys of several Tiereds on one cache apart and names the
	// operations that watchman shows. Change it when values of the old kind on
	// disk must not be read any more. At most 128 bytes; the default is empty.
	Name string

	// TTL is how long a loaded value is used, at most. 0 means 1 h; negative
	// means until it is evicted or invalidated.
	TTL time.Duration

	// Jitter shortens each TTL by a random share of up to this much, so that
	// what was loaded together is not loaded together again. 0 means 0.1, at
	// most 1; negative means none.
	Jitter float64

	// Stale is for how long after its TTL a value is still returned while it is
	// loaded anew without making anybody wait. 0 means not at all.
	Stale time.Duration

	// StaleIfError is for how long after its TTL a value is returned when the
	// load that it asks for fails, or lasts longer than the caller's ctx. Also,
	// while the Watchman's switch "ssdcache.stale NAME" is on, such values are
	// returned without any load. 0 means not at all.
	StaleIfError time.Duration

	// Early scales how early a value that is wanted is loaded anew before its TTL
	// is over, without making anybody wait, so that no load for it is ever waited
	// for: at random, around so many times the duration of its last load before.
	// 0 means 1; negative means not early.
	Early float64

	// NegativeTTL is how long ErrNotFound of the loader is remembered, in memory
	// only. 0 means 1 s; negative means not at all.
	NegativeTTL time.Duration

	// Memory bounds the first tier, in this process, in bytes of encoded values
	// and keys. 0 means 16 MiB; negative means no such tier.
	Memory int64

	// HotShare is the share of the gets from which on a key is hot. A hot key stays
	// in memory for its TTL whatever the others need, and is loaded anew in the
	// last tenth of it, unless Early is negative, without making anybody wait. It
	// takes some ten thousand gets to find them. Up to 64 keys are pinned, with
	// values of up to 1/256 of Memory each, besides what Memory bounds. 0 means
	// 0.01, at least 0.001, at most 1; negative pins none. Without Memory there are none.
	HotShare float64

	// LoadTimeout bounds one load, which goes on if the caller that began it
	// leaves while others wait. 0 means 10 s.
	LoadTimeout time.Duration

	// Keys, if not nil, says which keys exist. Get answers ErrNotFound for
	// others without asking anybody.
	Keys *KeyFilter

	// Tier, if not nil, is a cache shared with other processes, asked after
	// memory and before the disk. Its failures are counted and otherwise ignored.
	Tier Tier

	// Codec encodes values for the disk. nil means JSON.
	Codec Codec

	// Watchman counts hits and times them, and traces loads. nil observes nothing.
	Watchman *watchman.Watchman
}

func (o *TieredOptions) withDefaults() (TieredOptions, error) {
	var opts TieredOptions
	if o != nil {
		opts = *o
	}
	if opts.TTL == 0 {
		opts.TTL = defaultTTL
	}
	if opts.Jitter == 0 {
		opts.Jitter = defaultJitter
	}
	opts.Jitter = max(opts.Jitter, 0)
	if opts.Early == 0 {
		opts.Early = 1
	}
	opts.Early = max(opts.Early, 0)
	if opts.NegativeTTL == 0 {
		opts.NegativeTTL = defaultNegativeTTL
	}
	if opts.Memory == 0 {
		opts.Memory = defaultMemory
	}
	if opts.HotShare == 0 {
		opts.HotShare = defaultHotShare
	}
	if opts.LoadTimeout == 0 {
		opts.LoadTimeout = defaultLoadTimeout
	}
	if opts.Codec == nil {
		opts.Codec = JSON{}
	}
	var errs []error
	if len(opts.Name) > maxName || strings.ContainsRune(opts.Name, 0) {
		errs = append(errs, fmt.Errorf("ssdcache: TieredOptions.Name %.40q: want at most %d bytes, none of them 0", opts.Name, maxName))
	}
	if !(opts.Jitter <= 1) {
		errs = append(errs, fmt.Errorf("ssdcache: TieredOptions.Jitter %v: want at most 1", opts.Jitter))
	}
	if opts.Stale < 0 || opts.StaleIfError < 0 {
		errs = append(errs, fmt.Errorf("ssdcache: TieredOptions.Stale %v, StaleIfError %v: want none below 0", opts.Stale, opts.StaleIfError))
	}
	if !(opts.Early <= 100) {
		errs = append(errs, fmt.Errorf("ssdcache: TieredOptions.Early %v: want at most 100", opts.Early))
	}
	if opts.HotShare >= 0 && !(opts.HotShare >= minHotShare && opts.HotShare <= 1) || opts.HotShare != opts.HotShare {
		errs = append(errs, fmt.Errorf("ssdcache: TieredOptions.HotShare %v: want %v to 1, or a negative one", opts.HotShare, minHotShare))
	}
	if opts.LoadTimeout < 0 {
		errs = append(errs, fmt.Errorf("ssdcache: TieredOptions.LoadTimeout %v: want none below 0", opts.LoadTimeout))
	}
	return opts, errors.Join(errs...)
}
