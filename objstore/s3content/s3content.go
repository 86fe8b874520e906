// Package s3content keeps the contents of objstore in a bucket of S3, or of any
// server that speaks its protocol.
//
// A [Bucket] is an objstore.Content for a minio-go client that the application
// makes: endpoint, credentials, TLS and timeouts are its business. Against
// servers other than AWS leave the client's TrailingHeaders off; many refuse them.
package s3content

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
)

const (
	minPartSize = 5 << 20 // S3's own limit
	maxPartSize = 64 << 20
	maxKey      = 200
	maxPrefix   = 200
)

// Options configures New. The zero value is ready to use.
type Options struct {
	// Prefix is put in front of all keys, "objects/". Contents of two libraries
	// may share a bucket only under different prefixes, none of which begins the
	// other. Empty means none.
	Prefix string

	// PartSize is the size of the parts of contents that are larger than one, in
	// bytes. A Put needs two parts of memory, and a content can have 10,000. 0
	// means 5 MiB, which is also the least; at most 64 MiB.
	PartSize int
}

func (o *Options) filled() (Options, error) {
	var out Options
	if o != nil {
		out = *o
	}
	if out.PartSize == 0 {
		out.PartSize = minPartSize
	}
	var errs []error
	if len(out.Prefix) > maxPrefix || strings.HasPrefix(out.Prefix, "/") || strings.Contains(out.Prefix, "//") {
		errs = append(errs, fmt.Errorf("s3content: Options.Prefix %.40q: want at most %d bytes, no / in front, no //", out.Prefix, maxPrefix))
	}
	if out.PartSize < minPartSize || out.PartSize > maxPartSize {
		errs = append(errs, fmt.Errorf("s3content: Options.PartSize %d: want %d to %d", out.PartSize, minPartSize, maxPartSize))
	}
	return out, errors.Join(errs...)
}

// Bucket is a bucket of contents. It is an objstore.Content and an
// objstore.Presigner, safe for concurrent use, and needs no Close.
type Bucket struct {
	opts    Options
	core    minio.Core
	bucket  string
	buffers sync.Pool // of *[]byte, one part long
}

// New returns a Bucket for a client. The bucket must exist; New does no I/O.
func New(client *minio.Client, bucket string, opts *Options) (*Bucket, error) {
	o, err := opts.filled()
	if client == nil || bucket == "" {
		err = errors.Join(err, errors.New("s3content: New wants a client and a bucket"))
	}
	if err != nil {
		return nil, err
	}
	b := &Bucket{opts: o, core: minio.Core{Client: client}, bucket: bucket}
	b.buffers.New = func() any { p := make([]byte, o.PartSize); return &p }
	return b, nil
}

// name is the object's name for a key.
func (b *Bucket) name(key string) (string, error) {
	if key == "" || len(key) > maxKey {
		return "", fmt.Errorf("s3content: key of %d bytes, want 1 to %d", len(key), maxKey)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return "", fmt.Errorf("s3content: key %q: want parts of a-z and 0-9 between slashes", key)
		}
	}
	return b.opts.Prefix + key, nil
}

// failed says what an error is about, and translates those that callers look at.
func (b *Bucket) failed(op, key string, err error) error {
	switch resp := minio.ToErrorResponse(err); {
	case resp.Code == "NoSuchKey" || resp.Code == "" && resp.StatusCode == http.StatusNotFound:
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case resp.Code == "PreconditionFailed" || resp.StatusCode == http.StatusPreconditionFailed:
		err = fmt.Errorf("%w: %w", fs.ErrExist, err)
	}
	return fmt.Errorf("s3content: %s %s: %w", op, key, err)
}

// Put implements objstore.Content. A content of up to PartSize is one request
// that carries its SHA-256 and CRC-32C for the server to verify,
// larger ones are a multipart upload, of which nothing is readable until its end.
// A small content under a key that is taken is refused by the server, by
// If-None-Match; before a large one it is asked. A server that does not know the
// first writes over it, but the library uses no key twice.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader) (int64, error) {
	name, err := b.name(key)
	if err != nil {
		return 0, err
	}
	ready, sum := func() error { return nil }, (func() [32]byte)(nil)
	if e, ok := r.(early); ok {
		ready, sum = e.Early()
	}
	part := b.buffers.Get().(*[]byte)
	defer b.buffers.Put(part)
	n, rerr := fill(r, *part)
	if rerr != nil && rerr != io.EOF {
		return 0, fmt.Errorf("s3content: put %s: %w", key, rerr)
	}
	opts := minio.PutObjectOptions{PartSize: uint64(b.opts.PartSize)}
	opts.SetMatchETagExcept("*")
	var info minio.UploadInfo
	size := int64(n)
	if rerr == io.EOF {
		info, err = b.putSmall(ctx, name, (*part)[:n], opts, ready, sum)
	} else {
		// The client does not say If-None-Match where a multipart upload ends.
		if err := b.mustBeFree(ctx, name); err != nil {
			return 0, b.failed("put", key, err)
		}
		// The client reads the first part again from memory and then goes on.
		in := &counter{r: io.MultiReader(bytes.NewReader((*part)[:n]), r), ready: ready}
		info, err = b.core.Client.PutObject(ctx, b.bucket, name, in, -1, opts)
		size = in.n
		if in.err != nil {
			err = in.err
		}
	}
	if err != nil {
		return 0, b.failed("put", key, err)
	}
	if info.Size != size {
		return 0, fmt.Errorf("s3content: put %s: the server has %d of %d bytes", key, info.Size, size)
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
func (b *Bucket) putSmall(ctx context.Context, name string, data []byte, opts minio.PutObjectOptions, ready func() error, sum func() [32]byte) (minio.UploadInfo, error) {
	if sum == nil {
		sum = func() [32]byte { return sha256.Sum256(data) }
	}
	crc := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
	// Given this way the client adds none of its own, which it would as a trailer.
	opts.UserMetadata = map[string]string{"x-amz-checksum-crc32c": base64.StdEncoding.EncodeToString(crc)}
	opts.DisableContentSha256 = true // nor sums of its own for each chunk
	if len(data) == 0 {
		if err := ready(); err != nil {
			return minio.UploadInfo{}, err
		}
	}
	digest := sum()
	body := &held{r: bytes.NewReader(data), ready: ready}
	info, err := b.core.PutObject(ctx, b.bucket, name, body, int64(len(data)), "", hex.EncodeToString(digest[:]), opts)
	if rerr := body.failure(); rerr != nil {
		err = rerr
	}
	return info, err
}

// held is a body whose last byte comes only once ready has returned nil.
type held struct {
	r     *bytes.Reader
	ready func() error

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

// counter counts what the client read, and keeps the reader's error, which the
// client may word anew.
type counter struct {
	r     io.Reader
	ready func() error // called before the end
	n     int64
	err   error
}

func (c *counter) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err == io.EOF {
		if rerr := c.ready(); rerr != nil {
			err = rerr
		}
	}
	if err != nil && err != io.EOF {
		c.err = err
		// The client takes io.ErrUnexpectedEOF for the end of the content.
		err = fmt.Errorf("content: %w", errors.New(err.Error()))
	}
	return n, err
}

// fill reads until buf is full or r fails. Unlike io.ReadFull it returns what r
// returned: a body that was cut short ends in io.ErrUnexpectedEOF too.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && err == nil; {
		var got int
		if got, err = r.Read(buf[n:]); got > 0 {
			idle = 0
		} else if idle++; idle == 100 && err == nil {
			err = io.ErrNoProgress
		}
		n += got
	}
	return n, err
}

// Open implements objstore.Content.
func (b *Bucket) Open(ctx context.Context, key string, offset, length int64) (io.ReadCloser, error) {
	name, err := b.name(key)
	if err != nil {
		return nil, err
	}
	if offset < 0 {
		return nil, fmt.Errorf("s3content: open %s: offset %d", key, offset)
	}
	if length == 0 {
		return http.NoBody, nil
	}
	var opts minio.GetObjectOptions
	switch {
	case length > 0:
		err = opts.SetRange(offset, offset+length-1)
	case offset > 0:
		err = opts.SetRange(offset, 0)
	}
	if err != nil {
		return nil, b.failed("open", key, err)
	}
	body, _, _, err := b.core.GetObject(ctx, b.bucket, name, opts)
	if err != nil {
		if minio.ToErrorResponse(err).Code == "InvalidRange" {
			return http.NoBody, nil // the content is shorter
		}
		return nil, b.failed("open", key, err)
	}
	return body, nil
}

// Delete implements objstore.Content.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	name, err := b.name(key)
	if err != nil {
		return err
	}
	err = b.core.Client.RemoveObject(ctx, b.bucket, name, minio.RemoveObjectOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != "NoSuchKey" {
		return b.failed("delete", key, err)
	}
	return nil
}

// Sweep implements objstore.Content: it aborts multipart uploads that were begun
// before and have had no part since.
func (b *Bucket) Sweep(ctx context.Context, before time.Time) error {
	for up := range b.core.ListIncompleteUploads(ctx, b.bucket, b.opts.Prefix, true) {
		if up.Err != nil {
			return fmt.Errorf("s3content: sweep: %w", up.Err)
		}
		if !up.Initiated.Before(before) {
			continue
		}
		idle, err := b.idleSince(ctx, up, before)
		if err == nil && idle {
			err = b.core.AbortMultipartUpload(ctx, b.bucket, up.Key, up.UploadID)
		}
		if err != nil && minio.ToErrorResponse(err).Code != "NoSuchUpload" { // it has ended meanwhile
			return fmt.Errorf("s3content: sweep %s: %w", up.Key, err)
		}
	}
	return ctx.Err()
}

// idleSince tells whether an upload has had no part since before.
func (b *Bucket) idleSince(ctx context.Context, up minio.ObjectMultipartInfo, before time.Time) (bool, error) {
	for marker := 0; ; {
		parts, err := b.core.ListObjectParts(ctx, b.bucket, up.Key, up.UploadID, marker, 1000)
		if err != nil {
			return false, err
		}
		for _, p := range parts.ObjectParts {
			if !p.LastModified.Before(before) {
				return false, nil
			}
		}
		if !parts.IsTruncated || parts.NextPartNumberMarker <= marker {
			return true, nil
		}
		marker = parts.NextPartNumberMarker
	}
}

// PresignGet implements objstore.Presigner.
func (b *Bucket) PresignGet(ctx context.Context, key string, ttl time.Duration, contentType string) (string, error) {
	name, err := b.name(key)
	if err != nil {
		return "", err
	}
	params := make(url.Values)
	if contentType != "" {
		params.Set("response-content-type", contentType)
	}
	u, err := b.core.PresignedGetObject(ctx, b.bucket, name, ttl, params)
	if err != nil {
		return "", b.failed("presign", key, err)
	}
	return u.String(), nil
}

// PresignPut implements objstore.Presigner. The header keeps whoever has the URL
// from writing twice.
func (b *Bucket) PresignPut(ctx context.Context, key string, ttl time.Duration) (string, http.Header, error) {
	name, err := b.name(key)
	if err != nil {
		return "", nil, err
	}
	header := http.Header{"If-None-Match": {"*"}}
	u, err := b.core.PresignHeader(ctx, http.MethodPut, b.bucket, name, ttl, nil, header)
	if err != nil {
		return "", nil, b.failed("presign", key, err)
	}
	return u.String(), header, nil
}
