package webv4

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// coding is a content coding.
type coding uint8

const (
	identity coding = iota
	asGzip
	asZstd
)

var codingNames = [...][]string{asGzip: {"gzip"}, asZstd: {"zstd"}}

// bestCoding picks a coding by an Accept-Encoding header (RFC 9110, 12.5.3): the one with
// the highest weight. Of several it is zstd if that is named, then gzip, which everybody
// who says * knows; what is not coded comes first only if identity is named with more.
func bestCoding(lines []string) coding {
	if len(lines) == 0 {
		return identity
	}
	var plain, gz, zst, rest int // weights as in preference
	for _, member := range members(lines) {
		name, params, _ := strings.Cut(member, ";")
		w := 1 + weight(params)
		switch name = strings.TrimSpace(name); {
		case name == "*":
			rest = max(rest, w)
		case strings.EqualFold(name, "identity"):
			plain = max(plain, w)
		case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
			gz = max(gz, w)
		case strings.EqualFold(name, "zstd"):
			zst = max(zst, w)
		}
	}
	named := zst > 0
	if gz == 0 {
		gz = rest
	}
	if zst == 0 {
		zst = rest
	}
	switch {
	case plain > max(gz, zst):
		return identity
	case zst > 1 && (zst > gz || zst == gz && named):
		return asZstd
	case gz > 1:
		return asGzip
	}
	return identity
}

var gzips = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

// zstds encodes on as many goroutines as call it.
var zstds = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithWindowSize(128<<10), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("webv4: zstd: " + err.Error()) // the options are fixed
	}
	return e
})

// sliceWriter appends what is written.
type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// compressed appends body in a coding.
func (c coding) compressed(dst, body []byte) []byte {
	if c == asZstd {
		return zstds().EncodeAll(body, dst)
	}
	w := sliceWriter{dst}
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(&w)
	// A sliceWriter takes everything.
	_, _ = z.Write(body)
	_ = z.Close()
	return w.b
}

// acceptCodings is what the reply to a request in another coding says.
var acceptCodings = []string{"gzip, zstd"}

// codingOf reads a request's Content-Encoding; false for one that is not known,
// or for several.
func codingOf(r *http.Request) (coding, bool) {
	switch h := r.Header["Content-Encoding"]; {
	case len(h) == 0:
		return identity, true
	case len(h) > 1:
		return identity, false
	case h[0] == "", strings.EqualFold(h[0], "identity"):
		return identity, true
	case strings.EqualFold(h[0], "gzip"), strings.EqualFold(h[0], "x-gzip"):
		return asGzip, true
	case strings.EqualFold(h[0], "zstd"):
		return asZstd, true
	}
	return identity, false
}

// maxZstdWindow is what RFC 9659 lets a request ask for.
const maxZstdWindow = 8 << 20

var (
	gunzips = sync.Pool{New: func() any { return new(gzip.Reader) }}
	unzstds = sync.Pool{New: func() any {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			panic("webv4: zstd: " + err.Error()) // the options are fixed
		}
		return d
	}}
)

// decoded is a request's body without its coding. Readers bound what they take
// of it: a few bytes can stand for any number. Call done when it has been read.
func decoded(r *http.Request) (body io.Reader, done func(), err error) {
	done = func() {}
	if _, read := r.Body.(*formBody); read {
		return r.Body, done, nil
	}
	c, ok := codingOf(r)
	switch {
	case !ok:
		return nil, done, Errorf(CodeMediaType, "Content-Encoding (%s)", shorten(strings.Join(r.Header["Content-Encoding"], ", ")))
	case c == asGzip:
		z := gunzips.Get().(*gzip.Reader)
		if err := z.Reset(r.Body); err != nil {
			gunzips.Put(z)
			return nil, done, bodyError(err, 0)
		}
		return &tail{z, r.Body}, func() { gunzips.Put(z) }, nil
	case c == asZstd:
		z := unzstds.Get().(*zstd.Decoder)
		release := func() {
			_ = z.Reset(nil) // lets go of the body
			unzstds.Put(z)
		}
		if err := z.Reset(r.Body); err != nil {
			release()
			return nil, done, bodyError(err, 0)
		}
		return &tail{z, r.Body}, release, nil
	}
	return r.Body, done, nil
}

// tail reads what is left of the coded body when the decoder is at its end: only
// at the end of all is a signature checked.
type tail struct {
	decoder io.Reader
	body    io.Reader
}

// maxTail is how much there may be behind the coded body's end.
const maxTail = 4 << 10

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.decoder.Read(p)
	if err != io.EOF {
		return n, err
	}
	if more, err := io.CopyN(io.Discard, t.body, maxTail); err != io.EOF || more > 0 {
		if err == nil || err == io.EOF {
			err = Errorf(CodeParameter, "more after the body's end")
		}
		return 0, err
	}
	return n, io.EOF
}
