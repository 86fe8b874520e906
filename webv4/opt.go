package webv4

import (
	"bytes"
	"encoding/json"
	"io"
)

// Opt is a value that may be absent: Set tells "not given" from a zero value
// that was. In a JSON body it may also be null: Set and Null.
type Opt[T any] struct {
	Value T
	Set   bool
	Null  bool
}

// Or returns the value, or other if none was given or it was null.
func (o Opt[T]) Or(other T) T {
	if o.Set && !o.Null {
		return o.Value
	}
	return other
}

// IsZero reports whether the value is absent, so that the omitzero option of a
// json tag leaves it out.
func (o Opt[T]) IsZero() bool { return !o.Set }

// MarshalJSON writes the value, or null if it is null or absent.
func (o Opt[T]) MarshalJSON() ([]byte, error) {
	if !o.Set || o.Null {
		return []byte("null"), nil
	}
	return json.Marshal(o.Value)
}

// UnmarshalJSON reads the value; it is then given, and null if data is.
func (o *Opt[T]) UnmarshalJSON(data []byte) error {
	*o = Opt[T]{Set: true}
	if bytes.Equal(data, []byte("null")) {
		o.Null = true
		return nil
	}
	return json.Unmarshal(data, &o.Value)
}

// File is an uploaded file. It is an io.Reader and io.ReaderAt of the content,
// which is in memory and belongs to the request.
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

// ReadAt reads part of the content.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(f.data).ReadAt(p, off)
}
