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
	src    io.ReadCloser // nil: to be opened
	at     int64         // where src is
	closed bool

	// What was read from the start without a gap is summed up: each block is
	// compared at its end, and all of it when it is all.
	sum      hash.Hash // nil: only the blocks are
	summed   int64
	blockEnd int64  // of the block that summed is in
	want     uint32 // its sum
	crc      uint32 // of what was read of it
	corrupt  error  // what was found, until a Seek

	// Elsewhere a whole block is read and compared before any of it is returned.
	block      []byte // nil: none
	blockStart int64
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
	r := &ContentReader{ctx: ctx, lib: l, info: *info}
	if !l.opts.SkipSHA256 {
		r.sum = sha256.New()
	}
	return r, nil
}

// VerifyContent reads a content from start to end and compares its SHA-256 and
// CRC-32C sums with those of the upload, also with Options.SkipSHA256. ErrCorrupt
// if they differ or bytes are missing. It costs a read and about a millisecond
// of CPU time for each MiB.
func (l *Library) VerifyContent(ctx context.Context, info *ContentInfo) error {
	r, err := l.openToVerify(ctx, info)
	if err != nil {
		return err
	}
	_, err = r.WriteTo(io.Discard)
	return errors.Join(err, r.Close())
}

// openToVerify is OpenContent with a reader that compares all sums.
func (l *Library) openToVerify(ctx context.Context, info *ContentInfo) (*ContentReader, error) {
	r, err := l.OpenContent(ctx, info)
	if err == nil && r.sum == nil {
		r.sum = sha256.New()
	}
	return r, err
}

// Info describes the content.
func (r *ContentReader) Info() ContentInfo { return r.info }

// Read reads on. From the start on it compares the CRC-32C of each block at the
// block's end, and at the content's end, unless Options.SkipSHA256 is set, the
// SHA-256 of all. After a Seek elsewhere it reads whole blocks and returns only of
// those whose CRC-32C is right. What differs from the upload, or is missing, is an
// error that wraps ErrCorrupt, the last one instead of io.EOF, and no byte comes
// after it. Blocks have at least 1 MiB, and a content at most 512; one of more
// than 1 MiB that was stored before there were blocks counts as one from the
// start on, and is not compared after a Seek.
func (r *ContentReader) Read(p []byte) (int, error) {
	if r.corrupt != nil && !r.closed {
		return 0, r.corrupt
	}
	whole := r.summed == r.offset
	n, err := r.next(p, whole)
	if whole {
		if cerr := r.sumUp(p[:n]); cerr != nil {
			return 0, cerr
		}
	}
	if err == io.EOF {
		err = r.end()
	}
	return n, err
}

// sumUp adds what was read to the sums, and compares those of the blocks that it
// completes.
func (r *ContentReader) sumUp(p []byte) error {
	if r.sum != nil {
		r.sum.Write(p)
	}
	for len(p) > 0 {
		if r.summed == r.blockEnd {
			r.crc = 0
			start, size, want, ok := r.info.block(r.summed)
			if !ok {
				start, size, want = 0, r.info.Size, r.info.CRC32C
			}
			r.blockEnd, r.want = start+size, want
		}
		n := min(int64(len(p)), r.blockEnd-r.summed)
		r.crc = crc32.Update(r.crc, castagnoli, p[:n])
		r.summed += n
		p = p[n:]
		if r.summed == r.blockEnd && r.crc != r.want {
			r.lib.counters.corrupt.Add(1)
			r.corrupt = r.failed(fmt.Errorf("%w: bytes to %d: CRC-32C %08x, want %08x", ErrCorrupt, r.summed, r.crc, r.want))
			return r.corrupt
		}
	}
	return nil
}

// next reads on: bytes that are summed up as part of the whole, or of a block.
// The last ones come with io.EOF.
func (r *ContentReader) next(p []byte, whole bool) (n int, err error) {
	switch {
	case r.closed:
		return 0, ErrClosed
	case r.offset >= r.info.Size:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	}
	p = p[:min(int64(len(p)), r.info.Size-r.offset)]
	verified := false
	if !whole {
		n, verified, err = r.readBlock(p)
	}
	if !verified && err == nil {
		n, err = r.readOn(r.offset, p)
	}
	r.offset += int64(n)
	if r.offset == r.info.Size && err == nil {
		err = io.EOF
	}
	return n, err
}

// readOn reads from the content store.
func (r *ContentReader) readOn(offset int64, p []byte) (int, error) {
	if r.src == nil || r.at != offset {
		if err := r.open(offset); err != nil {
			return 0, err
		}
	}
	n, err := r.src.Read(p)
	r.at += int64(n)
	switch {
	case err == nil || err == io.EOF && n == len(p):
		return n, nil
	case err == io.EOF:
		err = fmt.Errorf("%w: content ends after %d of %d bytes", ErrCorrupt, r.at, r.info.Size)
		r.lib.counters.corrupt.Add(1)
	}
	return n, r.failed(err)
}

// readBlock reads of the block that the offset is in, if that has a sum.
func (r *ContentReader) readBlock(p []byte) (n int, verified bool, err error) {
	start, size, want, ok := r.info.block(r.offset)
	if !ok {
		return 0, false, nil
	}
	if r.block == nil || r.blockStart != start {
		if int64(cap(r.block)) < size {
			r.block = make([]byte, size)
		}
		b := r.block[:size]
		r.block = nil
		for have := 0; have < len(b); {
			n, err := r.readOn(start+int64(have), b[have:])
			if err != nil {
				return 0, true, err
			}
			have += n
		}
		if got := crc32.Checksum(b, castagnoli); got != want {
			r.lib.counters.corrupt.Add(1)
			return 0, true, r.failed(fmt.Errorf("%w: bytes %d to %d: CRC-32C %08x, want %08x", ErrCorrupt, start, start+size, got, want))
		}
		r.block, r.blockStart = b, start
	}
	return copy(p, r.block[r.offset-start:]), true, nil
}

const copyBuffer = 64 << 10

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

func (r *ContentReader) open(offset int64) (err error) {
	if !r.lib.gate.enter() {
		return ErrClosed
	}
	defer r.lib.gate.leave()
	if err := r.closeSource(); err != nil {
		return r.failed(err)
	}
	r.lib.counters.opened.Add(1)
	if r.src, err = r.lib.content.Open(r.ctx, r.info.Key, offset, -1); err != nil {
		return r.failed(err)
	}
	r.at = offset
	return nil
}

// end is what a Read at the end returns.
func (r *ContentReader) end() error {
	if r.summed < r.info.Size || r.sum == nil {
		return io.EOF
	}
	if sum := SHA256(r.sum.Sum(nil)); sum != r.info.SHA256 {
		r.lib.counters.corrupt.Add(1)
		r.corrupt = r.failed(fmt.Errorf("%w: SHA-256 %v, want %v", ErrCorrupt, sum, r.info.SHA256))
		return r.corrupt
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
	r.offset, r.corrupt = offset, nil
	if offset == 0 {
		if r.sum != nil {
			r.sum.Reset()
		}
		r.summed, r.blockEnd = 0, 0
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
	r.closed, r.block = true, nil
	return r.closeSource()
}
