package objstore

import (
	"context"
	"io"
	"time"
)

// Content is an engine for contents: immutable sequences of bytes under keys
// that the library makes up and never uses twice. Open uses the files of
// package filecontent; anything that keeps these rules, which package
// objstoretest checks, can take its place.
//
//  1. A method is safe for concurrent use. Keys consist of a-z, 0-9 and '/'.
//  2. Put reads r to its end and stores what it read. When it returns nil, the
//     content is durable and readable, and the size is right. When it fails, the
//     error of r is wrapped, and nothing is ever readable under the key. Until r
//     has returned io.EOF nothing is readable either. A key that is taken is an
//     error that wraps fs.ErrExist, and the content there stays.
//     The library's r has a method Early() (ready func() error, sum func()
//     [32]byte). A Content that calls it before the first Read takes over a
//     wait: r then returns io.EOF at once, and it is the Content that must call
//     ready, and see it return nil, before anything is readable; an error is
//     that of r. After io.EOF sum is the SHA-256 of what r returned.
//  3. Open reads length bytes from offset on, to the end if length is negative.
//     Fewer come only if the content is shorter. An absent key is an error that
//     wraps fs.ErrNotExist, from Open or from the first Read.
//  4. Delete removes a content durably. Deleting what is not there is no error.
//  5. Sweep removes what interrupted Puts have left and nobody has touched since
//     before; it never removes what is readable.
type Content interface {
	Put(ctx context.Context, key string, r io.Reader) (size int64, err error)
	Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error)
	Delete(ctx context.Context, key string) error
	Sweep(ctx context.Context, before time.Time) error
}
