// Package s3content keeps the contents of objstore in a bucket of S3, or of any
// server that speaks its protocol.
//
// A [Bucket] is an objstore.Content for a minio-go client that the application
// makes: endpoint, credentials, TLS and timeouts are its business. Against
// servers other than AWS leave the client's TrailingHeaders off; many refuse them.
package s3content

import (
	"context"
	"errors"
	"fmt"
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
	maxParts    = 10_000 // S3's own limit
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
	// bytes. A Put needs one part of memory, and a content can have 10,000, so that
	// the largest has 48 GiB by default and 625 GiB at most; a Put of a larger one
	// fails. 0 means 5 MiB, which is also the least; at most 64 MiB.
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
	opts     Options
	core     minio.Core
	bucket   string
	buffers  sync.Pool // of *[]byte, one part long
	maxParts int       // of a content
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
	b := &Bucket{opts: o, core: minio.Core{Client: client}, bucket: bucket, maxParts: maxParts}
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
