package webv4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// replier is a reply that writes itself.
type replier interface {
	reply(ctx context.Context, c *call, r *http.Request) error
}

// Redirect is a reply that sends the client elsewhere.
type Redirect struct {
	URL    string // absolute (http or https), or a path of this server, which begins with one slash
	Status int    // 301, 302, 303, 307 or 308; 0 means 302
}

func (d *Redirect) reply(_ context.Context, c *call, r *http.Request) error {
	status := d.Status
	if status == 0 {
		status = http.StatusFound
	}
	if status < 301 || status > 308 || status > 303 && status < 307 {
		return fmt.Errorf("webv4: Redirect: status %d", status)
	}
	u, err := url.Parse(d.URL)
	if err != nil {
		return errors.New("webv4: Redirect: the URL is not one")
	}
	// What begins with two slashes is another server's.
	local := u.Scheme == "" && strings.HasPrefix(d.URL, "/") && !strings.HasPrefix(d.URL, "//")
	if !local && (u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return errors.New("webv4: Redirect: the URL is neither absolute nor a path of this server")
	}
	c.out.w.Header()["Location"] = []string{u.String()}
	c.out.WriteHeader(status)
	return nil
}

// Content is a reply of bytes that have a type. Clients may ask for ranges and
// whether it has changed (http.ServeContent); the tag replies:"200,206,304,416"
// describes that. A range that is not there is answered 416 with CodeInvalid, one
// in another unit than bytes as if it had not been asked for.
type Content struct {
	Type     string        // media type; "" means application/octet-stream
	Name     string        // not empty: offered as a download of that name
	Modified time.Time     // zero: not known
	ETag     string        // with its quotes; "" means none
	Data     io.ReadSeeker // closed at the end if it is an io.Closer
}

func (t *Content) reply(_ context.Context, c *call, r *http.Request) error {
	if cl, ok := t.Data.(io.Closer); ok {
		defer cl.Close()
	}
	h := c.out.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if t.Type != "" {
		h.Set("Content-Type", t.Type)
	}
	h["X-Content-Type-Options"] = nosniff
	if t.ETag != "" {
		h.Set("Etag", t.ETag)
	}
	if t.Name != "" {
		h.Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(fileName(t.Name)))
	}
	if unit, _, _ := strings.Cut(r.Header.Get("Range"), "="); !strings.EqualFold(unit, "bytes") {
		r.Header.Del("Range")
	}
	w := contentWriter{reply: c.out}
	http.ServeContent(&w, r, "", t.Modified, t.Data)
	if !w.refused {
		return nil
	}
	h.Del("Content-Disposition") // of what is not sent
	e := Errorf(CodeInvalid, "no such range")
	e.Status = http.StatusRequestedRangeNotSatisfiable
	return e
}

// contentWriter keeps net/http's answer to a range that is not there back: this
// API has its own form of errors.
type contentWriter struct {
	*reply
	refused bool
}

func (w *contentWriter) WriteHeader(status int) {
	if status == http.StatusRequestedRangeNotSatisfiable {
		w.refused = true
		return
	}
	w.reply.WriteHeader(status)
}

func (w *contentWriter) Write(p []byte) (int, error) {
	if w.refused {
		return len(p), nil
	}
	return w.reply.Write(p)
}

// Stream is a reply that is written as it comes about. What Write writes is sent
// at once. An error breaks the connection off, so that the client can tell the
// reply is not whole. The interface's timeout applies if its tag has one.
type Stream struct {
	Type  string // media type; "" means application/octet-stream
	Write func(ctx context.Context, w io.Writer) error
}

// streamStall is how long a client may take for one write.
const streamStall = 30 * time.Second

func (s *Stream) reply(ctx context.Context, c *call, r *http.Request) error {
	h := c.out.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	if s.Type != "" {
		h.Set("Content-Type", s.Type)
	}
	h["X-Content-Type-Options"] = nosniff
	c.out.WriteHeader(http.StatusOK)
	if c.out.head {
		return nil
	}
	f := &flusher{c.out, http.NewResponseController(c.out.w)}
	if _, err := f.Write(nil); err != nil {
		return err
	}
	// The end of the reply is a write of the server's.
	defer f.hurry()
	return s.Write(ctx, f)
}

// flusher sends what is written at once. The server's time for the whole reply
// does not apply; each write has its own, and between writes there is none: over
// HTTP/2 a deadline that passes resets the stream even when nothing is written.
type flusher struct {
	out  *reply
	ctrl *http.ResponseController
}

func (f *flusher) Write(p []byte) (n int, err error) {
	f.hurry()
	if len(p) > 0 {
		n, err = f.out.Write(p)
	}
	if err == nil {
		if err = f.ctrl.Flush(); errors.Is(err, http.ErrNotSupported) {
			err = nil
		}
	}
	if err == nil {
		_ = f.ctrl.SetWriteDeadline(time.Time{})
	}
	return n, err
}

// hurry bounds what is written next. A writer without deadlines, as in tests, does
// without.
func (f *flusher) hurry() { _ = f.ctrl.SetWriteDeadline(time.Now().Add(streamStall)) }

// Event is a server-sent event. One with neither Name nor Data raises none at the
// client: it sets ID and Retry, and an empty one is a comment, which keeps a quiet
// connection alive on the way through proxies.
type Event struct {
	ID    string        // what a client that comes back sends as Last-Event-ID; no line ends
	Name  string        // the kind of event; no line ends
	Data  string        // any text
	Retry time.Duration // how long clients wait before they come back; 0: not said
}

// Events is a reply of server-sent events (text/event-stream). Run sends them
// until it returns; ctx is done when the client has gone. An error ends the
// stream as the end does, since clients come back in any case.
type Events struct {
	Run func(ctx context.Context, send func(Event) error) error
}

func (e *Events) reply(ctx context.Context, c *call, r *http.Request) error {
	c.out.w.Header()["Cache-Control"] = []string{"no-store"}
	s := Stream{Type: "text/event-stream", Write: func(ctx context.Context, w io.Writer) error {
		err := e.Run(ctx, func(ev Event) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			b, err := ev.append(nil)
			if err != nil {
				return err
			}
			_, err = w.Write(b)
			return err
		})
		if ctx.Err() != nil {
			return nil // the client has gone, as clients do
		}
		return err
	}}
	return s.reply(ctx, c, r)
}

func (ev *Event) append(b []byte) ([]byte, error) {
	if strings.ContainsAny(ev.ID, "\r\n\x00") || strings.ContainsAny(ev.Name, "\r\n") {
		return nil, errors.New("webv4: Event: line end in an ID or name")
	}
	if *ev == (Event{}) {
		return append(b, ":\n\n"...), nil
	}
	if ev.ID != "" {
		b = append(append(append(b, "id: "...), ev.ID...), '\n')
	}
	if ev.Name != "" {
		b = append(append(append(b, "event: "...), ev.Name...), '\n')
	}
	if ev.Retry > 0 {
		b = append(strconv.AppendInt(append(b, "retry: "...), ev.Retry.Milliseconds(), 10), '\n')
	}
	if ev.Data == "" && ev.Name == "" {
		return append(b, '\n'), nil
	}
	// A carriage return ends a line too, alone or before a line feed.
	text := strings.ReplaceAll(strings.ReplaceAll(ev.Data, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(text, "\n") {
		b = append(append(append(b, "data: "...), line...), '\n')
	}
	return append(b, '\n'), nil
}
