package webv4

import "io"

// Opt is a parameter that may be absent: Set tells "not given" from a zero
// value that was.
type Opt[T any] struct {
	Value T
	Set   bool
}

// Or returns the value, or other if none was given.
func (o Opt[T]) Or(other T) T {
	if o.Set {
		return o.Value
	}
	return other
}

// File is an uploaded file. It is an io.Reader of the content, which is in
// memory and belongs to the request.
type File struct {
	Name        string // the client's file name without directories; never use it as a path
	ContentType string // as the client said; do not trust it
	data        []byte
	at          int
}

// Size is the length of the content in bytes.
func (f *File) Size() int { return len(f.data) }

// Read reads the content once through.
func (f *File) Read(p []byte) (int, error) {
	if f.at >= len(f.data) {
		return 0, io.EOF
	}
	n := copy(p, f.data[f.at:])
	f.at += n
	return n, nil
}
