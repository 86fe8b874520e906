package s3content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/heddle-go/heddle/objstore/internal/fill"
)

// Put implements objstore.Content. A content of less than PartSize is one request
// that carries its SHA-256 and CRC-32C for the server to verify. A larger one is a
// multipart upload whose parts carry their SHA-256, one after the other from the
// same memory; nothing of it is readable until its end, and when it fails it is
// aborted, or left to Sweep if the server cannot be reached.
//
// A content under a key that is taken is refused by the server, by If-None-Match;
// before a large one it is also asked, to send nothing in vain. A server that does
// not know that header writes over it, but the library uses no key twice.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader) (size int64, err error) {
	name, err := b.name(key)
	if err != nil {
		return 0, err
	}
	ready, sum := func() error { return nil }, (func() [32]byte)(nil)
	if e, ok := r.(early); ok {
		ready, sum = e.Early()
	}
	part := b.buffers.Get().(*[]byte)
	defer func() {
		// The transport may still read the body of a request that failed.
		if err == nil {
			b.buffers.Put(part)
		}
	}()
	n, rerr := fill.Buffer(r, *part)
	switch {
	case rerr == io.EOF:
		size = int64(n)
		err = b.putSmall(ctx, name, (*part)[:n], ready, sum)
	case rerr != nil:
		err = rerr
	default:
		size, err = b.putLarge(ctx, name, *part, r, ready)
	}
	if err != nil {
		return 0, b.failed("put", key, err)
	}
	return size, nil
}

// early is what the reader of objstore is, see objstore.Content.
type early interface {
	Early() (ready func() error, sum func() [32]byte)
}

// putSmall puts a content in one request, of which it holds back the last byte
// until ready returns: the server has all else by then. The request is signed with
// the content's sum, which is known already, and names its CRC-32C, so that the
// server verifies both.
func (b *Bucket) putSmall(ctx context.Context, name string, data []byte, ready func() error, sum func() [32]byte) error {
	if sum == nil {
		sum = func() [32]byte { return sha256.Sum256(data) }
	}
	var opts minio.PutObjectOptions
	opts.SetMatchETagExcept("*")
	crc := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	// Given this way the client adds none of its own, which it would as a trailer.
	opts.UserMetadata = map[string]string{"x-amz-checksum-crc32c": base64.StdEncoding.EncodeToString(crc)}
	opts.DisableContentSha256 = true // nor sums of its own for each chunk
	if len(data) == 0 {
		if err := ready(); err != nil {
			return err
		}
	}
	digest := sum()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body := &held{r: bytes.NewReader(data), ready: ready, giveUp: cancel}
	_, err := b.core.PutObject(ctx, b.bucket, name, body, int64(len(data)), "", hex.EncodeToString(digest[:]), opts)
	if rerr := body.failure(); rerr != nil {
		return rerr
	}
	return err
}

// held is a body whose last byte comes only once ready has returned nil.
type held struct {
	r      *bytes.Reader
	ready  func() error
	giveUp func() // keeps the client from trying again

	mu  sync.Mutex
	err error // of ready
}

func (h *held) Read(p []byte) (int, error) {
	switch left := h.r.Len(); {
	case left > 1 && len(p) >= left:
		p = p[:left-1]
	case left == 1 && len(p) > 0:
		if err := h.ready(); err != nil {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.err = err
			h.giveUp()
			return 0, err
		}
	}
	return h.r.Read(p)
}

// Seek lets the client try again.
func (h *held) Seek(offset int64, whence int) (int64, error) { return h.r.Seek(offset, whence) }

// failure is the error of ready. The client words it anew.
func (h *held) failure() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// putLarge puts a content of which part is full and r has the rest. The object
// comes into being when the upload is completed, which waits for ready.
func (b *Bucket) putLarge(ctx context.Context, name string, part []byte, r io.Reader, ready func() error) (size int64, err error) {
	if err := b.mustBeFree(ctx, name); err != nil {
		return 0, err
	}
	id, err := b.core.NewMultipartUpload(ctx, b.bucket, name, minio.PutObjectOptions{})
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			b.abort(ctx, name, id)
		}
	}()
	var parts []minio.CompletePart
	for n, last := len(part), false; n > 0; {
		if len(parts) == b.maxParts {
			return 0, fmt.Errorf("content of more than %d parts of %d bytes, see Options.PartSize", b.maxParts, len(part))
		}
		digest := sha256.Sum256(part[:n])
		sent, err := b.core.PutObjectPart(ctx, b.bucket, name, id, len(parts)+1, bytes.NewReader(part[:n]), int64(n), minio.PutObjectPartOptions{
			Sha256Hex:            hex.EncodeToString(digest[:]),
			DisableContentSha256: true, // nor sums of its own for each chunk
		})
		if err != nil {
			return 0, err
		}
		parts = append(parts, minio.CompletePart{PartNumber: sent.PartNumber, ETag: sent.ETag})
		size += int64(n)
		if last {
			break
		}
		var rerr error
		if n, rerr = fill.Buffer(r, part); rerr != nil && rerr != io.EOF {
			return 0, rerr
		}
		last = rerr == io.EOF
	}
	if err := ready(); err != nil {
		return 0, err
	}
	var opts minio.PutObjectOptions
	opts.SetMatchETagExcept("*")
	_, err = b.core.CompleteMultipartUpload(ctx, b.bucket, name, id, parts, opts)
	return size, err
}

// abort removes what an upload has left, also when ctx is cancelled. It does not
// say when it fails: the caller has the error that matters, and Sweep does it
// later.
func (b *Bucket) abort(ctx context.Context, name, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = b.core.AbortMultipartUpload(ctx, b.bucket, name, id)
}

func (b *Bucket) mustBeFree(ctx context.Context, name string) error {
	_, err := b.core.StatObject(ctx, b.bucket, name, minio.StatObjectOptions{})
	switch {
	case err == nil:
		return fs.ErrExist
	case minio.ToErrorResponse(err).StatusCode == http.StatusNotFound:
		return nil
	}
	return err
}
