package objstore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// An export is a line that says so, then frames: a kind, the length of the body
// in a varint, the body, and the CRC-32C of kind and body in 4 bytes,
// little-endian.
//
//	o   object, version in a varint, record; its contents follow in their order
//	c   bytes of a content
//	e   end of a content; empty
//	z   end of the export: how many objects there were, in a varint
const (
	exportHeader = "heddle-objects 1\n"

	frameObject  = 'o'
	frameContent = 'c'
	frameEnd     = 'e'
	frameLast    = 'z'

	contentChunk = 256 << 10
	// maxFrame is above the largest record: value, metadata, entries.
	maxFrame = largestMaxValue + 8*maxMetaSize
)

// Export writes all objects with their contents to w, deleted ones included,
// expired ones and versions before the present one not. It goes through them
// while they change: each is as it was at some time meanwhile, and one whose
// contents were collected meanwhile fails it. It returns how many there were.
func (l *Library) Export(ctx context.Context, w io.Writer) (objects int, err error) {
	if !l.gate.enter() {
		return 0, ErrClosed
	}
	defer l.gate.leave()
	e := &exporter{w: bufio.NewWriterSize(w, 64<<10)}
	if _, err := e.w.WriteString(exportHeader); err != nil {
		return 0, err
	}
	r := Range{From: []byte{prefixRecord}, To: []byte{prefixRecord + 1}, Limit: scanPage}
	for {
		var page []Row
		err := l.store.Scan(ctx, r, func(row Row) error {
			page = append(page, Row{Key: bytes.Clone(row.Key), Version: row.Version, Value: bytes.Clone(row.Value)})
			return nil
		})
		if err != nil {
			return objects, err
		}
		for _, row := range page {
			exported, err := l.export(ctx, e, row)
			if err != nil {
				return objects, err
			}
			if exported {
				objects++
			}
		}
		if len(page) < r.Limit {
			break
		}
		r.From = append(page[len(page)-1].Key, 0)
	}
	e.buf = binary.AppendUvarint(e.buf[:0], uint64(objects))
	if err := e.frame(frameLast, e.buf); err != nil {
		return objects, err
	}
	return objects, e.w.Flush()
}

// export writes one object, unless it has expired.
func (l *Library) export(ctx context.Context, e *exporter, row Row) (bool, error) {
	id, err := parseObject(row.Key[1:])
	if err != nil {
		return false, corruptKey(row.Key)
	}
	var meta Meta
	rec := record{meta: &meta}
	if err := rec.decode(row.Value); err != nil {
		return false, fmt.Errorf("%w: %v", err, id)
	}
	if meta.State == Active && !l.visible(&meta) {
		return false, nil
	}
	e.buf = append(e.buf[:0], row.Key[1:]...)
	e.buf = append(binary.AppendUvarint(e.buf, row.Version), row.Value...)
	if err := e.frame(frameObject, e.buf); err != nil {
		return false, err
	}
	for i := range meta.Contents {
		if err := l.exportContent(ctx, e, &meta.Contents[i]); err != nil {
			return false, fmt.Errorf("%w: %v", err, id)
		}
	}
	return true, nil
}

func (l *Library) exportContent(ctx context.Context, e *exporter, info *ContentInfo) error {
	r, err := l.openToVerify(ctx, info)
	if err != nil {
		return err
	}
	defer r.Close()
	chunk := make([]byte, min(contentChunk, info.Size+1))
	for {
		n, err := io.ReadFull(r, chunk)
		if n > 0 {
			if err := e.frame(frameContent, chunk[:n]); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return e.frame(frameEnd, nil)
		case err != nil:
			return err
		}
	}
}

// exporter writes frames.
type exporter struct {
	w   *bufio.Writer
	buf []byte
}

func (e *exporter) frame(kind byte, body []byte) error {
	head := binary.AppendUvarint([]byte{kind}, uint64(len(body)))
	sum := crc32.Update(crc32.Checksum(head[:1], castagnoli), castagnoli, body)
	for _, b := range [][]byte{head, body, binary.LittleEndian.AppendUint32(nil, sum)} {
		if _, err := e.w.Write(b); err != nil {
			return err
		}
	}
	return nil
}

// ImportReport is what an Import did.
type ImportReport struct {
	Imported int // objects stored
	Skipped  int // objects left out because their ids were taken
}

// Import stores the objects of an export, with their ids, versions and
// contents. An object whose id is taken stays as it is. What was imported before
// an error stays; importing again goes on. Types need not be declared. ErrCorrupt
// if r holds no export, or a damaged one.
func (l *Library) Import(ctx context.Context, r io.Reader) (report ImportReport, err error) {
	if !l.gate.enter() {
		return report, ErrClosed
	}
	defer l.gate.leave()
	in := &importer{r: bufio.NewReaderSize(r, 64<<10)}
	header := make([]byte, len(exportHeader))
	if _, err := io.ReadFull(in.r, header); err != nil || string(header) != exportHeader {
		return report, fmt.Errorf("%w: no export: it begins with %q", ErrCorrupt, header)
	}
	for n := uint64(0); ; n++ {
		kind, body, err := in.next()
		if err != nil {
			return report, err
		}
		switch kind {
		case frameObject:
			stored, err := l.importObject(ctx, in, body)
			if err != nil {
				return report, fmt.Errorf("%w: object %d of the import", err, n+1)
			}
			if stored {
				report.Imported++
			} else {
				report.Skipped++
			}
		case frameLast:
			if count, size := binary.Uvarint(body); size <= 0 || size != len(body) || count != n {
				return report, fmt.Errorf("%w: import of %d objects, and its end says %d", ErrCorrupt, n, count)
			}
			return report, nil
		default:
			return report, in.corrupt("frame %q where an object should begin", kind)
		}
	}
}

func (l *Library) importObject(ctx context.Context, in *importer, body []byte) (stored bool, err error) {
	id, rest, err := cutObject(body)
	if err != nil {
		return false, in.corrupt("malformed id")
	}
	version, n := binary.Uvarint(rest)
	if n <= 0 || version == 0 || version > 1<<62 {
		return false, in.corrupt("malformed version of %v", id)
	}
	var meta Meta
	rec := record{meta: &meta}
	value := bytes.Clone(rest[n:]) // the frame's memory is used again
	if err := errors.Join(rec.decode(value), rec.decodeEntries(value)); err != nil {
		return false, fmt.Errorf("%w: %v", err, id)
	}
	if err := meta.check(); err != nil {
		return false, fmt.Errorf("%w: %w: %v", ErrCorrupt, err, id)
	}
	meta.ID, meta.Version = id, version
	there, err := l.load(ctx, id)
	if err != nil {
		return false, err
	}
	var ups []*upload
	for i := range meta.Contents {
		content := &contentFrames{in: in}
		if there != nil {
			if _, err := io.Copy(io.Discard, content); err != nil {
				return false, err
			}
			continue
		}
		c := &meta.Contents[i]
		info, err := l.upload(ctx, id.Type, c.Name, content, UploadOptions{Type: c.Type, SHA256: c.SHA256})
		if err != nil {
			return false, fmt.Errorf("%w: %v, content %q", err, id, c.Name)
		}
		*c = info
		ups = append(ups, info.upload)
	}
	if there != nil {
		return false, nil
	}
	return l.storeImported(ctx, &meta, &rec, ups)
}

func (l *Library) storeImported(ctx context.Context, m *Meta, rec *record, ups []*upload) (bool, error) {
	change := Change{Row: Row{Key: recordKey(m.ID), Version: m.Version, Value: rec.append(nil)}}
	now := l.now()
	for _, u := range ups {
		if age := time.Duration(now.UnixMicro()-u.intent) * time.Microsecond; age > l.opts.Grace/2 {
			return false, fmt.Errorf("%w: the contents of %v took %v, at most %v allowed", ErrUpload, m.ID, age, l.opts.Grace/2)
		}
		l.use(&change, u, m.ID)
	}
	if err := l.follow(ctx, &change, nil, m, rec.entries, 0, now); err != nil {
		return false, err
	}
	ctx, cancel := l.timeLimit(ctx, &draft{claimed: ups})
	defer cancel()
	err := l.commitOne(ctx, &change)
	if errors.Is(err, ErrConflict) {
		return false, nil // it was made meanwhile; its contents are collected
	}
	if err != nil {
		return false, err
	}
	l.counters.writes.Add(1)
	return true, nil
}

// importer reads frames.
type importer struct {
	r      *bufio.Reader
	buf    []byte
	frames int
}

func (in *importer) corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: import, frame %d: %s", ErrCorrupt, in.frames, fmt.Sprintf(format, args...))
}

// next reads a frame. The body is valid until the next call.
func (in *importer) next() (kind byte, body []byte, err error) {
	in.frames++
	if kind, err = in.r.ReadByte(); err != nil {
		return 0, nil, in.cut(err)
	}
	size, err := in.length()
	if err != nil {
		return 0, nil, err
	}
	// The body grows as it comes: a length that lies costs no more than what is there.
	b := bytes.NewBuffer(in.buf[:0])
	if _, err := io.CopyN(b, in.r, int64(size)); err != nil {
		return 0, nil, in.cut(err)
	}
	in.buf = b.Bytes()
	var sum [4]byte
	if _, err := io.ReadFull(in.r, sum[:]); err != nil {
		return 0, nil, in.cut(err)
	}
	if crc32.Update(crc32.Checksum([]byte{kind}, castagnoli), castagnoli, in.buf) != binary.LittleEndian.Uint32(sum[:]) {
		return 0, nil, in.corrupt("wrong sum")
	}
	return kind, in.buf, nil
}

// length reads the varint in front of a body.
func (in *importer) length() (size uint64, err error) {
	for shift := 0; shift < 35; shift += 7 {
		c, err := in.r.ReadByte()
		if err != nil {
			return 0, in.cut(err)
		}
		if size |= uint64(c&0x7f) << shift; c >= 0x80 {
			continue
		}
		if size > maxFrame {
			return 0, in.corrupt("length %d, at most %d allowed", size, maxFrame)
		}
		return size, nil
	}
	return 0, in.corrupt("length above %d", maxFrame)
}

// cut is what the end of the input means inside an export.
func (in *importer) cut(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return in.corrupt("cut short")
	}
	return err
}

// contentFrames reads the frames of one content as the bytes they hold.
type contentFrames struct {
	in   *importer
	left []byte
	err  error
}

func (c *contentFrames) Read(p []byte) (int, error) {
	for len(c.left) == 0 && c.err == nil {
		kind, body, err := c.in.next()
		switch {
		case err != nil:
			c.err = err
		case kind == frameContent:
			c.left = body
		case kind == frameEnd && len(body) == 0:
			c.err = io.EOF
		default:
			c.err = c.in.corrupt("frame %q within a content", kind)
		}
	}
	if len(c.left) == 0 {
		return 0, c.err
	}
	n := copy(p, c.left)
	c.left = c.left[n:]
	return n, nil
}
