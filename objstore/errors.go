package objstore

import "errors"

var (
	// ErrBadID is wrapped by the errors about a text that is no object id.
	ErrBadID = errors.New("objstore: bad object id")

	// ErrNoIDs is wrapped by Generator.Next's error when it will not give an id
	// now: the clock stands behind the ids already given, or the ids of this
	// second and of those it may borrow are used up. It passes with time.
	ErrNoIDs = errors.New("objstore: no ids at the moment")

	// ErrNotFound is wrapped by the errors about an object that is not there:
	// never made, deleted, expired or purged.
	ErrNotFound = errors.New("objstore: object not found")

	// ErrExists is wrapped by Create's error when the id is taken.
	ErrExists = errors.New("objstore: object exists")

	// ErrConflict is wrapped by Update's error when the object has another
	// version than the one it was read with: read it again and decide anew.
	ErrConflict = errors.New("objstore: version conflict")

	// ErrInvalid is wrapped by the errors about an object that its type or the
	// limits on metadata do not allow.
	ErrInvalid = errors.New("objstore: invalid object")

	// ErrCorrupt is wrapped by the errors about stored bytes that are not what
	// was stored.
	ErrCorrupt = errors.New("objstore: corrupt")

	// ErrUpload is wrapped by the errors about a content that cannot become
	// part of an object: used before, aborted, or left waiting too long.
	ErrUpload = errors.New("objstore: unusable upload")

	// ErrNoPresign is wrapped by the errors about a content store without URLs.
	ErrNoPresign = errors.New("objstore: content store has no URLs")

	// ErrLocked is wrapped by the error about a directory that is in use.
	ErrLocked = errors.New("objstore: directory in use")

	// ErrClosed is returned by what was closed.
	ErrClosed = errors.New("objstore: closed")
)
