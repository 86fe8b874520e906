package objstore

import "context"

// Store is a metadata engine: rows of bytes, sorted by key, that change by
// comparing and setting a version. Open uses a PebbleStore; anything that keeps
// these rules, which package objstoretest checks, can take its place.
//
//  1. A method is safe for concurrent use and returns ErrClosed after Close.
//  2. Commit applies each Change by itself: all of it if its condition holds, or
//     nothing, and then Change.Err is ErrConflict. Changes to the same key take
//     place in their order. When Commit returns nil, all that was applied is
//     durable. When it returns an error, what was applied is unknown.
//  3. An engine whose unit of atomicity is one row writes Change.Put first, then
//     Change.Row under its condition, then Change.Delete, and may stop after any
//     of them. Readers are written for that: an entry that leads to a row which
//     does not confirm it means nothing.
//  4. Get and Scan see every Commit that returned before they were called.
//  5. What is passed to a callback belongs to the engine and is valid until the
//     callback returns; what is passed in is not kept after the call. An error
//     of a callback ends the call and is returned as it is.
type Store interface {
	// Get calls each with the index and the row of every key that is there, in
	// any order.
	Get(ctx context.Context, keys [][]byte, each func(i int, row Row) error) error

	// Commit applies changes, see rules 2 and 3.
	Commit(ctx context.Context, changes []Change) error

	// Scan calls each with the rows of a range in order.
	Scan(ctx context.Context, r Range, each func(row Row) error) error

	// Close frees what the engine holds. A second Close does nothing.
	Close() error
}

// Row is one row: a key of 1 to MaxKey bytes, a value, and a version that
// counts its changes. Rows that are written without a condition have version 0.
type Row struct {
	Key     []byte
	Version uint64
	Value   []byte
}

// MaxKey is the longest key of a row, in bytes.
const MaxKey = 1024

// Change is one atomic step: a condition on one row, what this row becomes, and
// what else is written and deleted without a condition.
type Change struct {
	// Row is what the row becomes, if Expect is the version it has now: 0 means
	// that it is not there. A nil Value removes it. A nil Key means that there
	// is no row and no condition.
	Row    Row
	Expect uint64

	Put    []Row    // rows written with it; their Version is ignored
	Delete [][]byte // keys removed with it

	Err error // set by Commit: nil or ErrConflict
}

// Range is a part of a Store: the keys from From on, below To (nil: to the end),
// at most Limit of them (0: all), from the last to the first if Reverse.
type Range struct {
	From, To []byte
	Limit    int
	Reverse  bool
}
