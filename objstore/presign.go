package objstore

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Presigner is what a Content also is if clients can read and write it
// themselves, through URLs that are valid for a while.
type Presigner interface {
	// PresignGet returns a URL to read a content. contentType, if not empty, is
	// the Content-Type of its answer.
	PresignGet(ctx context.Context, key string, ttl time.Duration, contentType string) (string, error)

	// PresignPut returns a URL to write a content with one PUT request, which
	// must have the headers.
	PresignPut(ctx context.Context, key string, ttl time.Duration) (string, http.Header, error)
}

func (l *Library) presigner(ttl time.Duration) (Presigner, error) {
	p, ok := l.content.(Presigner)
	if !ok {
		return nil, fmt.Errorf("%w: %T", ErrNoPresign, l.content)
	}
	if ttl < time.Second || ttl > 7*24*time.Hour {
		return nil, fmt.Errorf("%w: a URL valid for %v, want 1s to 168h", ErrInvalid, ttl)
	}
	return p, nil
}

// ContentURL returns a URL from which a content can be read for as long as ttl
// says, without this process. Make it when it is asked for; do not store it.
// ErrNoPresign if the content store has no URLs.
func (l *Library) ContentURL(ctx context.Context, info *ContentInfo, ttl time.Duration) (string, error) {
	if !l.gate.enter() {
		return "", ErrClosed
	}
	defer l.gate.leave()
	if info == nil || info.Key == "" {
		return "", fmt.Errorf("%w: no content of a stored object", ErrInvalid)
	}
	p, err := l.presigner(ttl)
	if err != nil {
		return "", err
	}
	return p.PresignGet(ctx, info.Key, ttl, info.Type)
}

// ClientUpload lets a client write a content itself. It can be kept as JSON
// between InviteUpload and AcceptUpload; the client needs URL and Header only.
type ClientUpload struct {
	URL    string      `json:"url"`
	Header http.Header `json:"header"` // that the PUT request must have

	Key    string `json:"key"`
	Intent int64  `json:"intent"` // microseconds, names the note of the upload
}

// InviteUpload prepares an upload by a client: a PUT of the whole content to
// URL, with Header, while ttl lasts. AcceptUpload then makes it what Upload
// returns. It must be called within a quarter of Options.Grace; ttl may be no
// longer. Otherwise what was written is collected. ErrNoPresign if the content
// store has no URLs.
func (c *Collection[T]) InviteUpload(ctx context.Context, ttl time.Duration) (*ClientUpload, error) {
	l := c.lib
	if !l.gate.enter() {
		return nil, ErrClosed
	}
	defer l.gate.leave()
	p, err := l.presigner(ttl)
	if err == nil && ttl > l.opts.Grace/4 {
		err = fmt.Errorf("%w: a URL valid for %v, at most %v allowed", ErrInvalid, ttl, l.opts.Grace/4)
	}
	if err != nil {
		return nil, err
	}
	u := &ClientUpload{Key: contentKey(c.kind.number), Intent: l.now().UnixMicro()}
	if u.URL, u.Header, err = p.PresignPut(ctx, u.Key, ttl); err != nil {
		return nil, err
	}
	return u, l.store.Commit(ctx, []Change{{Put: []Row{{Key: timeKey(prefixIntent, u.Intent, u.Key)}}}})
}

// AcceptUpload takes over what a client wrote: it reads it once, to sum it up
// and to compare it with opts, and returns what Upload would. ErrUpload if the
// invitation is not known any more; fs.ErrNotExist if nothing was written;
// ErrCorrupt or ErrInvalid, see UploadOptions.
func (c *Collection[T]) AcceptUpload(ctx context.Context, u *ClientUpload, name string, opts *UploadOptions) (ContentInfo, error) {
	var o UploadOptions
	if opts != nil {
		o = *opts
	}
	if !c.lib.gate.enter() {
		return ContentInfo{}, ErrClosed
	}
	defer c.lib.gate.leave()
	info, err := c.lib.accept(ctx, u, name, o)
	if err != nil {
		err = fmt.Errorf("%w: upload of %s %q", err, c.kind.name, name)
	}
	return info, err
}

func (l *Library) accept(ctx context.Context, cu *ClientUpload, name string, o UploadOptions) (info ContentInfo, err error) {
	ctx, span := l.ops.upload.Start(ctx)
	defer func() { span.End(err) }()
	u := &upload{lib: l, key: cu.Key, intent: cu.Intent}
	known := false
	err = l.store.Get(ctx, [][]byte{timeKey(prefixIntent, u.intent, u.key)}, func(int, Row) error {
		known = true
		return nil
	})
	if err == nil && !known {
		err = fmt.Errorf("%w: no such invitation", ErrUpload)
	}
	if age := time.Duration(l.now().UnixMicro()-u.intent) * time.Microsecond; err == nil && age > l.opts.Grace/4 {
		err = fmt.Errorf("%w: the invitation is %v old, at most %v allowed", ErrUpload, age, l.opts.Grace/4)
	}
	if err != nil {
		return info, err
	}
	src, err := l.content.Open(ctx, u.key, 0, -1)
	if err != nil {
		return info, err
	}
	defer src.Close()
	in := &uploadReader{ctx: ctx, u: u, r: src, opts: o, sum: sha256.New(), early: true}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return info, err
	}
	l.counters.uploads.Add(1)
	l.counters.uploaded.Add(uint64(in.size))
	u.info = in.info(name)
	if l.opts.Dedupe {
		if err := l.adopt(ctx, u); err != nil {
			return info, err
		}
	}
	return u.info, nil
}
