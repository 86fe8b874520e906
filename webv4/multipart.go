package webv4

import (
	"io"
	"mime/multipart"
	"net/http"
	"path"
	"strings"
	"unsafe"
)

// maxParts bounds the parts of a multipart body.
const maxParts = 128

func (p *plan) bindMultipart(r *http.Request, boundary string, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	if boundary == "" {
		return Errorf(CodeMediaType, "multipart without a boundary")
	}
	if r.Body == nil {
		return nil
	}
	plain, done, err := decoded(r)
	if err != nil {
		return err
	}
	defer done()
	body := http.MaxBytesReader(nil, io.NopCloser(plain), maxBody)
	mr := multipart.NewReader(body, boundary)
	for n := 0; ; n++ {
		part, err := mr.NextPart()
		if err == io.EOF {
			// What may follow the last boundary belongs to the body's signature.
			if _, err := io.Copy(io.Discard, body); err != nil {
				return bodyError(err, maxBody)
			}
			return nil
		}
		if err != nil {
			return bodyError(err, maxBody)
		}
		if n == maxParts {
			return Errorf(CodeParameter, "more than %d parts", maxParts)
		}
		if err := p.bindPart(part, base, maxBody, seen); err != nil {
			return err
		}
	}
}

func (p *plan) bindPart(part *multipart.Part, base unsafe.Pointer, maxBody int64, seen *uint64) error {
	name := part.FormName()
	for _, i := range p.files {
		f := &p.fields[i]
		if f.name != name || *seen&f.bit != 0 {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(part, f.maxSize+1))
		if err != nil {
			return bodyError(err, maxBody)
		}
		if int64(len(data)) > f.maxSize {
			return Errorf(CodeTooLong, "(%s) more than %d bytes", f.name, f.maxSize)
		}
		*(**File)(unsafe.Add(base, f.offset)) = &File{
			Name: fileName(part.FileName()), ContentType: part.Header.Get("Content-Type"), data: data,
		}
		*seen |= f.bit
		return nil
	}
	for _, i := range p.form {
		if f := &p.fields[i]; f.name == name {
			data, err := io.ReadAll(part)
			if err != nil {
				return bodyError(err, maxBody)
			}
			return f.take(base, string(data), seen)
		}
	}
	return nil // nobody asked for it
}

// fileName keeps directories and control bytes of a client's file name out.
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, path.Base(strings.ReplaceAll(s, "\\", "/")))
	if s == "." || s == "/" || s == ".." {
		return ""
	}
	return s
}
