package objstore

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"sync"
)

// ContentReader reads one content. It is an io.ReadSeekCloser for one goroutine
// at a time; it opens the content when it is first read from, and again after a
// Seek to another place.
type ContentReader struct {
	ctx    context.Context
	lib    *Library
	info   ContentInfo
	offset int64
	src    io.ReadCloser // at offset; nil: to be opened
	closed bool

	// What was read from the start without a gap is summed up, and compared
	// when it is all.
	sum    hash.Hash
	crc    uint32
	summed int64
}

// OpenContent returns a reader of one content of an object. ctx is for all of
// its reads. It does no I/O: a content that is not there is found by the first
// Read.
func (l *Library) OpenContent(ctx context.Context, info *ContentInfo) (*ContentReader, error) {
	if info == nil || info.Key == "" {
		return nil, fmt.Errorf("%w: no content of a stored object", ErrInvalid)
	}
	if !l.gate.enter() {
		return nil, ErrClosed
	}
	l.gate.leave()
	return &ContentReader{ctx: ctx, lib: l, info: *info, sum: sha256.New()}, nil
}

// Info describes the content.
func (r *ContentReader) Info() ContentInfo { return r.info }

// Read reads on. When it has read all of the content from start to end it
// compares the SHA-256 and CRC-32C sums with those of the upload; the error that
// ends the content wraps ErrCorrupt instead of being io.EOF if they differ, or
// if the content store has fewer bytes. Parts are not compared.
func (r *ContentReader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, ErrClosed
	}
	if r.offset >= r.info.Size {
		return 0, r.end()
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.src == nil {
		if err := r.open(); err != nil {
			return 0, err
		}
	}
	n, err := r.src.Read(p[:min(int64(len(p)), r.info.Size-r.offset)])
	if r.summed == r.offset {
		r.sum.Write(p[:n])
		r.crc = crc32.Update(r.crc, castagnoli, p[:n])
		r.summed += int64(n)
	}
	r.offset += int64(n)
	switch {
	case r.offset == r.info.Size:
		// The last bytes and the verdict on them come together.
		return n, r.end()
	case err == io.EOF:
		err = fmt.Errorf("%w: content ends after %d of %d bytes", ErrCorrupt, r.offset, r.info.Size)
		r.lib.counters.corrupt.Add(1)
	}
	if err != nil {
		err = r.failed(err)
	}
	return n, err
}

const copyBuffer = 256 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copyBuffer]byte) }}

// WriteTo writes what is left to w, and ends with what Read would end with.
func (r *ContentReader) WriteTo(w io.Writer) (n int64, err error) {
	buf := copyBuffers.Get().(*[copyBuffer]byte)
	defer copyBuffers.Put(buf)
	for {
		got, err := r.Read(buf[:])
		if got > 0 {
			written, werr := w.Write(buf[:got])
			n += int64(written)
			if werr != nil {
				return n, werr
			}
		}
		switch {
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
	}
}

func (r *ContentReader) open() (err error) {
	if !r.lib.gate.enter() {
		return ErrClosed
	}
	defer r.lib.gate.leave()
	r.lib.counters.opened.Add(1)
	if r.src, err = r.lib.content.Open(r.ctx, r.info.Key, r.offset, -1); err != nil {
		return r.failed(err)
	}
	return nil
}

// end is what a Read at the end returns.
func (r *ContentReader) end() error {
	if r.summed < r.info.Size {
		return io.EOF
	}
	if sum := SHA256(r.sum.Sum(nil)); sum != r.info.SHA256 || r.crc != r.info.CRC32C {
		r.lib.counters.corrupt.Add(1)
		return r.failed(fmt.Errorf("%w: SHA-256 %v, want %v", ErrCorrupt, sum, r.info.SHA256))
	}
	return io.EOF
}

func (r *ContentReader) failed(err error) error {
	return fmt.Errorf("objstore: content %q (%s): %w", r.info.Name, r.info.Key, err)
}

// Seek moves to another place, also behind the end. It does no I/O.
func (r *ContentReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.info.Size
	default:
		return 0, fmt.Errorf("objstore: seek: whence %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("objstore: seek: before the start")
	}
	if r.closed {
		return 0, ErrClosed
	}
	if offset != r.offset {
		if err := r.closeSource(); err != nil {
			return 0, r.failed(err)
		}
		r.offset = offset
	}
	if offset == 0 {
		r.sum.Reset()
		r.crc, r.summed = 0, 0
	}
	return offset, nil
}

func (r *ContentReader) closeSource() error {
	if r.src == nil {
		return nil
	}
	src := r.src
	r.src = nil
	return src.Close()
}

// Close closes the content. A second Close does nothing.
func (r *ContentReader) Close() error {
	r.closed = true
	return r.closeSource()
}
