package console

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// livePages are the pages that change by themselves and hold nothing that
// somebody fills in.
var livePages = map[string]bool{"/": true, "/topology": true, "/operation": true, "/errors": true, "/decisions": true, "/runtime": true, "/self": true}

const (
	maxStreams   = 16               // at once; further clients poll
	liveEvery    = 2 * time.Second  // between two looks at a page
	livePatience = 10 * time.Second // for a client that does not read
)

// liveInterval is shorter than liveEvery if the charts are.
func (c *Console) liveInterval() time.Duration {
	return min(max(c.opt.Interval, 100*time.Millisecond), liveEvery)
}

// live streams a page's content as server-sent events, one whenever it has
// changed, until the client goes or the console is closed.
func (c *Console) live(rw http.ResponseWriter, r *http.Request) {
	u, err := url.Parse(r.FormValue("page"))
	if err != nil || u.IsAbs() || u.Host != "" || !livePages[u.Path] {
		http.Error(rw, "page: want one that is live", http.StatusBadRequest)
		return
	}
	select {
	case c.streams <- struct{}{}:
		defer func() { <-c.streams }()
	default:
		rw.Header().Set("Retry-After", "30")
		http.Error(rw, "too many are watching: poll", http.StatusServiceUnavailable)
		return
	}
	rw.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(rw)
	tick := time.NewTicker(c.liveInterval())
	defer tick.Stop()
	var before []byte
	for {
		if _, access := c.who(r); access < View {
			return
		}
		event := []byte(": still here\n\n") // finds out that the client has gone
		if main := c.content(r, u); main != nil && !bytes.Equal(main, before) {
			before = main
			b, err := json.Marshal(map[string]string{"main": string(main), "time": time.Now().Format("15:04:05")})
			if err != nil {
				return
			}
			event = fmt.Appendf(nil, "data: %s\n\n", b)
		}
		_ = control.SetWriteDeadline(time.Now().Add(livePatience)) // where it is not supported the server's own holds
		if _, err := rw.Write(event); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-c.stopped:
			return
		case <-tick.C:
		}
	}
}

// content is what a page has between <main> and </main>, nil if it cannot be shown.
func (c *Console) content(r *http.Request, page *url.URL) []byte {
	inner := r.Clone(r.Context())
	inner.URL, inner.RequestURI, inner.Form, inner.PostForm = page, "", nil, nil
	out := buffer{header: http.Header{}, code: http.StatusOK}
	c.mux.ServeHTTP(&out, inner)
	_, rest, _ := bytes.Cut(out.Bytes(), []byte("<main"))
	_, rest, _ = bytes.Cut(rest, []byte(">"))
	main, _, ok := bytes.Cut(rest, []byte("</main>"))
	if out.code != http.StatusOK || !ok {
		return nil
	}
	return main
}

// buffer takes a page that is not sent as it is.
type buffer struct {
	bytes.Buffer
	header http.Header
	code   int
}

func (b *buffer) Header() http.Header  { return b.header }
func (b *buffer) WriteHeader(code int) { b.code = code }
