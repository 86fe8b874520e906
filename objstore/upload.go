package objstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// UploadOptions describes a content that is uploaded. nil describes nothing.
type UploadOptions struct {
	// Type is the content's media type, "image/jpeg".
	Type string

	// Size, if not 0, and SHA256, if not zero, are what the content must have;
	// otherwise the upload fails with ErrCorrupt and leaves nothing.
	Size   int64
	SHA256 SHA256

	// MaxSize is the largest content that is accepted, in bytes; a larger one
	// fails with ErrInvalid as soon as that is known. 0 means no limit.
	MaxSize int64
}

// upload is a content that is on its way into an object.
type upload struct {
	lib    *Library
	key    string
	intent int64 // its intent's time, in microseconds
	info   ContentInfo
	state  atomic.Int32

	adopted bool // info.Key is a content that was there before, see adopt
}

const (
	uploadWaiting = iota // stored, and part of no object
	uploadClaimed        // becoming part of an object
	uploadAborted
)

// Upload stores a content, read from r to its end, that is to become part of
// an object: put the result into the Contents of one and Create or Update it.
// That must happen within half of Options.Grace; later it fails with ErrUpload.
// A content that does not become part of an object is collected after Grace, or
// at once by Abort.
//
// The content is durable when Upload returns. Memory does not depend on its
// size. Errors: r's, wrapped; ctx's; ErrCorrupt or ErrInvalid, see
// UploadOptions; ErrClosed; or the content store's.
func (c *Collection[T]) Upload(ctx context.Context, name string, r io.Reader, opts *UploadOptions) (ContentInfo, error) {
	var o UploadOptions
	if opts != nil {
		o = *opts
	}
	info, err := c.lib.upload(ctx, c.kind.number, name, r, o)
	if err != nil && !errors.Is(err, ErrClosed) {
		err = fmt.Errorf("%w: upload of %s %q", err, c.kind.name, name)
	}
	return info, err
}

// Abort removes a content that was uploaded and is not to become part of an
// object. ErrUpload if it is on the way into one, or is aborted already.
func (c *Collection[T]) Abort(ctx context.Context, info ContentInfo) error {
	u := info.upload
	if u == nil || u.lib != c.lib || !u.state.CompareAndSwap(uploadWaiting, uploadAborted) {
		return fmt.Errorf("%w: %q is not waiting for an object", ErrUpload, info.Name)
	}
	if !c.lib.gate.enter() {
		return ErrClosed
	}
	defer c.lib.gate.leave()
	if u.adopted {
		return nil // its own content is gone already
	}
	if err := c.lib.content.Delete(ctx, u.key); err != nil {
		return err // the sweep does it later
	}
	return c.lib.store.Commit(ctx, []Change{{Delete: [][]byte{timeKey(prefixIntent, u.intent, u.key)}}})
}

// contentKey makes up a key: type, two characters to spread the directories,
// and 130 random bits, so that no key is ever used twice.
func contentKey(typ uint32) string {
	name := strings.ToLower(rand.Text())
	return strconv.FormatUint(uint64(typ), 10) + "/" + name[:2] + "/" + name[2:]
}

func (l *Library) upload(ctx context.Context, typ uint32, name string, r io.Reader, o UploadOptions) (info ContentInfo, err error) {
	if !l.gate.enter() {
		return info, ErrClosed
	}
	defer l.gate.leave()
	ctx, span := l.ops.upload.Start(ctx)
	defer func() { span.End(err) }()

	u := &upload{lib: l, key: contentKey(typ), intent: l.now().UnixMicro()}
	in := &uploadReader{ctx: ctx, u: u, r: r, opts: o, sum: sha256.New(), noted: make(chan struct{})}
	// The intent is written while the first bytes come in. The reader does not
	// say that it is at its end before the intent is durable, unless the content
	// store waits for that itself, and no content is readable before, so none is
	// ever without an intent or an object.
	intent := []Change{{Put: []Row{{Key: timeKey(prefixIntent, u.intent, u.key)}}}}
	go func() {
		in.noteErr = l.store.Commit(ctx, intent)
		close(in.noted)
	}()
	size, err := l.content.Put(ctx, u.key, in)
	if werr := in.waitIntent(); err == nil {
		err = werr
	}
	if err == nil && size != in.size {
		err = fmt.Errorf("%w: the content store has %d of %d bytes", ErrCorrupt, size, in.size)
	}
	if err != nil {
		return info, err // the intent stays, in case the content store has it after all
	}
	l.counters.uploads.Add(1)
	l.counters.uploaded.Add(uint64(size))
	u.info = in.info(name)
	if l.opts.Dedupe {
		if err := l.adopt(ctx, u); err != nil {
			return info, err
		}
	}
	return u.info, nil
}

// uploadReader is what the content store reads: r's bytes, summed up.
type uploadReader struct {
	ctx    context.Context
	u      *upload
	r      io.Reader
	opts   UploadOptions
	sum    hash.Hash
	crc    uint32
	blocks blockSummer
	size   int64
	err    error // what the last Read returned, for all Reads after it

	noted   chan struct{} // closed when the first intent is durable, or noteErr is set
	noteErr error
	early   bool // the content store waits for it
}

// Early is for content stores, see Content.
func (in *uploadReader) Early() (ready func() error, sum func() [32]byte) {
	in.early = true
	return in.waitIntent, func() [32]byte { return SHA256(in.sum.Sum(nil)) }
}

// waitIntent waits until the first intent is durable.
func (in *uploadReader) waitIntent() error {
	<-in.noted
	return in.noteErr
}

// info describes what was read.
func (in *uploadReader) info(name string) ContentInfo {
	info := ContentInfo{Name: name, Type: in.opts.Type, Size: in.size, CRC32C: in.crc, Key: in.u.key, upload: in.u}
	in.sum.Sum(info.SHA256[:0])
	info.blocks = in.blocks.blocks(in.size)
	return info
}

func (in *uploadReader) Read(p []byte) (int, error) {
	if in.err != nil {
		return 0, in.err
	}
	n, err := in.r.Read(p)
	in.sum.Write(p[:n])
	in.crc = crc32.Update(in.crc, castagnoli, p[:n])
	in.blocks.write(p[:n])
	in.size += int64(n)
	if in.opts.MaxSize > 0 && in.size > in.opts.MaxSize {
		in.err = fmt.Errorf("%w: content of more than %d bytes", ErrInvalid, in.opts.MaxSize)
		return 0, in.err
	}
	if rerr := in.renew(); rerr != nil {
		in.err = rerr
		return 0, rerr
	}
	if err == io.EOF {
		err = in.end()
	}
	in.err = err
	if err != nil && err != io.EOF {
		n = 0
	}
	return n, err
}

// renew keeps the intent young while a long upload is under way.
func (in *uploadReader) renew() error {
	u := in.u
	now := u.lib.now().UnixMicro()
	if time.Duration(now-u.intent)*time.Microsecond < u.lib.opts.Grace/4 {
		return nil
	}
	if err := in.waitIntent(); err != nil {
		return err
	}
	err := u.lib.store.Commit(in.ctx, []Change{{
		Put:    []Row{{Key: timeKey(prefixIntent, now, u.key)}},
		Delete: [][]byte{timeKey(prefixIntent, u.intent, u.key)},
	}})
	if err == nil {
		u.intent = now
	}
	return err
}

// end decides, before the content store publishes the content, whether it may.
func (in *uploadReader) end() error {
	if in.opts.Size != 0 && in.size != in.opts.Size {
		return fmt.Errorf("%w: content of %d bytes, want %d", ErrCorrupt, in.size, in.opts.Size)
	}
	if want := in.opts.SHA256; want != (SHA256{}) {
		if got := SHA256(in.sum.Sum(nil)); got != want {
			return fmt.Errorf("%w: content with SHA-256 %v, want %v", ErrCorrupt, got, want)
		}
	}
	if in.early {
		return io.EOF
	}
	if err := in.waitIntent(); err != nil {
		return err
	}
	return io.EOF
}

// claim takes the uploads among m's contents, and completes the others from
// old: an object has only what was uploaded for it.
func (l *Library) claim(m *Meta, old *stored, now time.Time) (claimed []*upload, err error) {
	for i := range m.Contents {
		c := &m.Contents[i]
		u := c.upload
		if u == nil {
			if !c.completeFrom(old) {
				return claimed, fmt.Errorf("%w: content %q was not uploaded for this object", ErrUpload, c.Name)
			}
			continue
		}
		if u.lib != l || !u.state.CompareAndSwap(uploadWaiting, uploadClaimed) {
			return claimed, fmt.Errorf("%w: content %q was used or aborted before", ErrUpload, c.Name)
		}
		claimed = append(claimed, u)
		if age := time.Duration(now.UnixMicro()-u.intent) * time.Microsecond; age > l.opts.Grace/2 {
			return claimed, fmt.Errorf("%w: content %q waited %v for an object, at most %v allowed", ErrUpload, c.Name, age, l.opts.Grace/2)
		}
		name, typ := c.Name, c.Type
		*c = u.info
		c.Name, c.Type = name, typ
	}
	return claimed, nil
}

// release makes a draft's uploads usable again after nothing was stored.
func (d *draft) release() {
	for _, u := range d.claimed {
		u.state.Store(uploadWaiting)
	}
	d.claimed = nil
}

// completeFrom finds c among the contents of old, by key or, if it came through
// JSON and so has none, by name and sum, and takes over what may not change.
func (c *ContentInfo) completeFrom(old *stored) bool {
	if old == nil {
		return false
	}
	for i := range old.meta.Contents {
		o := &old.meta.Contents[i]
		if c.Key == o.Key || c.Key == "" && c.Name == o.Name && c.SHA256 == o.SHA256 {
			name, typ := c.Name, c.Type
			*c = *o
			c.Name, c.Type = name, typ
			return true
		}
	}
	return false
}
