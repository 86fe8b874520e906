package objstore

import "errors"

var (
	// ErrBadID is wrapped by the errors about a text that is no object id.
	ErrBadID = errors.New("objstore: bad object id")

	// ErrNoIDs is wrapped by Generator.Next's error when it will not give an id
	// now: the clock stands behind the ids already given, or the ids of this
	// second and of those it may borrow are used up. It passes with time.
	ErrNoIDs = errors.New("objstore: no ids at the moment")

	// ErrClosed is returned by what was closed.
	ErrClosed = errors.New("objstore: closed")
)
