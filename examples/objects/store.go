package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // registered for DecodeConfig
	_ "image/jpeg" // registered for DecodeConfig
	"image/png"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/heddle-go/heddle/objstore"
)

// maxFile is the largest file that is taken.
const maxFile = 4 << 30

// storeFile stores a file as a video, an image or an article.
func (l *library) storeFile(ctx context.Context, name string, out io.Writer) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.store(ctx, filepath.Base(name), f, out); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// storeSamples stores a picture and an article that nobody has to bring.
func (l *library) storeSamples(ctx context.Context, out io.Writer) error {
	var b bytes.Buffer
	if err := png.Encode(&b, weave(480, 320)); err != nil {
		return err
	}
	if err := l.store(ctx, "weave.png", bytes.NewReader(b.Bytes()), out); err != nil {
		return err
	}
	text := "Warp and weft\n\nA heddle lifts the threads of the warp, so that the shuttle can pass between them.\n"
	return l.store(ctx, "heddle.txt", strings.NewReader(text), out)
}

// weave is a picture of a plain weave.
func weave(w, h int) image.Image {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{0x1f, 0x4e, 0x79, 0xff} // warp
			if (x/16+y/16)%2 == 0 {
				c = color.RGBA{0xc5, 0x5a, 0x11, 0xff} // weft
			}
			if x%16 < 2 || y%16 < 2 {
				c = color.RGBA{0x22, 0x22, 0x22, 0xff}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return img
}

// store uploads what r has, makes an object of it, and reads it back.
func (l *library) store(ctx context.Context, name string, r io.ReadSeeker, out io.Writer) error {
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	head = head[:n]
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	typ := mime.TypeByExtension(filepath.Ext(name))
	if typ == "" {
		typ = http.DetectContentType(head)
	}
	opts := &objstore.UploadOptions{Type: typ, MaxSize: maxFile}
	meta := objstore.Meta{DisplayName: name}
	switch kind, _, _ := strings.Cut(typ, "/"); kind {
	case "video":
		return keep(ctx, l, l.videos, &objstore.Object[video]{Meta: meta}, r, opts, out)
	case "image":
		config, format, err := image.DecodeConfig(bytes.NewReader(head))
		if err != nil {
			return err
		}
		meta.Image = &objstore.Image{Width: config.Width, Height: config.Height}
		return keep(ctx, l, l.pictures, &objstore.Object[picture]{Meta: meta, Value: picture{Format: format}}, r, opts, out)
	case "text":
		meta.Summary = summary(head)
		return keep(ctx, l, l.articles, &objstore.Object[article]{Meta: meta, Value: article{Words: len(bytes.Fields(head))}}, r, opts, out)
	}
	return fmt.Errorf("%s is neither video nor image nor text", typ)
}

// summary is the beginning of a text, up to 300 bytes.
func summary(head []byte) string {
	s := strings.Join(strings.Fields(strings.ToValidUTF8(string(head), "")), " ")
	for len(s) > 300 || !utf8.ValidString(s) {
		s = s[:min(len(s)-1, 300)]
	}
	if s == "" {
		return "(empty)"
	}
	return s
}

// keep stores an object with its content, prints it, and reads it back by its
// id and its short id.
func keep[T any](ctx context.Context, l *library, c *objstore.Collection[T], obj *objstore.Object[T], r io.Reader, opts *objstore.UploadOptions, out io.Writer) error {
	up, err := c.Upload(ctx, content, r, opts)
	if err != nil {
		return err
	}
	obj.Contents = []objstore.ContentInfo{up}
	if err := c.Create(ctx, obj); err != nil {
		return err
	}
	text, err := json.MarshalIndent(obj, "", "  ")
	if err != nil {
		return err
	}
	address, err := l.address(ctx, &obj.Meta)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s\ncontent: %s\n", text, address)
	for _, id := range []string{obj.ID.String(), obj.ID.Short()} {
		meta, _, err := l.find(ctx, id)
		if err != nil {
			return err
		}
		size, err := l.read(ctx, meta)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "read back as %s: %s, %d bytes, sums right\n", id, meta.DisplayName, size)
	}
	return nil
}

// read reads an object's content to its end, which verifies it.
func (l *library) read(ctx context.Context, meta *objstore.Meta) (int64, error) {
	r, err := l.OpenContent(ctx, meta.Content(content))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, r)
}
