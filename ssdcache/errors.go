package ssdcache

import (
	"errors"

	"github.com/heddle-go/heddle/internal/disk"
)

var (
	// ErrNotFound is returned by Get for a key that is not cached, and by
	// Tiered.Get for one that does not exist. A loader returns it, wrapped or
	// not, to say that there is no such thing.
	ErrNotFound = errors.New("ssdcache: not found")

	// ErrTooLarge is wrapped by Set's error for a key or value above the limits
	// that Stats states.
	ErrTooLarge = errors.New("ssdcache: item too large")

	// ErrBusy is returned by Set when sets outrun the disk: at once under Fail,
	// after Options.Wait under Block.
	ErrBusy = errors.New("ssdcache: sets outrun the disk")

	// ErrClosed is returned once Close was called.
	ErrClosed = errors.New("ssdcache: closed")

	// ErrLocked is wrapped by Open's error while another process, or another
	// Cache of this one, has the file.
	ErrLocked = disk.ErrLocked

	// ErrNotCache is wrapped by Open's error for a file that holds something
	// other than a cache; Open leaves such a file as it is.
	ErrNotCache = errors.New("not a cache file")
)

// errNotCached tells that the page cache does not have all of it.
var errNotCached = errors.New("ssdcache: not in the page cache")

// errDropped tells set that the policy is Drop; callers of Set see nil.
var errDropped = errors.New("ssdcache: dropped")

// errRejected tells set that it was not admitted; callers of Set see nil.
var errRejected = errors.New("ssdcache: not admitted")

// errRaced tells that a fill came too late: the key was invalidated meanwhile.
var errRaced = errors.New("ssdcache: invalidated meanwhile")
