package webv4_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

func TestRedirects(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_ struct{} `route:"GET /r"`
		U string   `query:"u"`
		S int      `query:"s"`
	}
	webv4.Handle(a, func(_ context.Context, in *in) (*webv4.Redirect, error) {
		return &webv4.Redirect{URL: in.U, Status: in.S}, nil
	})
	for q, want := range map[string]string{"?u=/x": "302 /x", "?u=https://a/b%3Fc&s=307": "307 https://a/b?c", "?u=/a%2520b&s=301": "301 /a%20b"} {
		r := do(t, a, "GET /r"+q, "")
		if got := strings.TrimSpace(http.StatusText(r.status)); got == "" {
			t.Error(r.status)
		}
		if got := strings.TrimSpace(strings.Join([]string{itoa(r.status), r.header.Get("Location")}, " ")); got != strings.TrimSpace(want) {
			t.Errorf("%s: %q, want %q", q, got, want)
		}
	}
	for _, q := range []string{"?u=javascript:alert(1)", "?u=", "?u=/x&s=200", "?u=/x&s=304", "?u=:bad", "?u=//evil/", "?u=///evil", "?u=http:evil", "?u=https:///x", "?u=x", "?u=/%0d%0aX:y"} {
		do(t, a, "GET /r"+q, "").fails(t, 500, webv4.CodeSystem, "")
	}
}

func itoa(n int) string {
	return string([]byte{byte('0' + n/100), byte('0' + n/10%10), byte('0' + n%10)})
}

type closer struct {
	*bytes.Reader
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

func TestContent(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_ struct{} `route:"GET /file"`
	}
	data := &closer{Reader: bytes.NewReader([]byte("0123456789"))}
	webv4.Handle(a, func(context.Context, *in) (*webv4.Content, error) {
		data.Seek(0, io.SeekStart)
		return &webv4.Content{Type: "text/plain", Name: "../微\"博.txt", ETag: `"1"`, Data: data}, nil
	})
	r := do(t, a, "GET /file", "")
	r.is(t, 200, "0123456789")
	if got := r.header.Get("Content-Disposition"); got != "attachment; filename*=UTF-8''%E5%BE%AE%22%E5%8D%9A.txt" || !data.closed {
		t.Errorf("%q, closed %v", got, data.closed)
	}
	r = do(t, a, "GET /file", "", "Range: bytes=2-4")
	if r.status != 206 || r.body != "234" || r.header.Get("Content-Range") != "bytes 2-4/10" {
		t.Errorf("%+v", r)
	}
	r = do(t, a, "GET /file", "", "Range: bytes=20-")
	r.fails(t, 416, webv4.CodeInvalid, "parameter value invalid: no such range")
	if r.header.Get("Content-Range") != "bytes */10" || r.header.Get("Content-Disposition") != "" {
		t.Errorf("%+v", r)
	}
	do(t, a, "GET /file", "", "Range: lines=1-2").is(t, 200, "0123456789") // a unit that is not known
	if r := do(t, a, "GET /file", "", `If-None-Match: "1"`); r.status != 304 {
		t.Errorf("%+v", r)
	}
	if r := do(t, a, "HEAD /file", ""); r.status != 200 || r.body != "" || r.header.Get("Content-Length") != "10" {
		t.Errorf("%+v", r)
	}
}

// What a stream writes is with the client before the stream ends.
func TestStreams(t *testing.T) {
	a := newAPI(t, &webv4.Options{Timeout: time.Millisecond}) // does not apply to streams
	next := make(chan string)
	type in struct {
		_ struct{} `route:"GET /stream"`
	}
	webv4.Handle(a, func(context.Context, *in) (*webv4.Stream, error) {
		return &webv4.Stream{Type: "text/plain", Write: func(ctx context.Context, w io.Writer) error {
			if _, ok := ctx.Deadline(); ok {
				t.Error("a stream has a deadline")
			}
			for s := range next {
				if s == "fail" {
					return errors.New("broken")
				}
				if _, err := io.WriteString(w, s); err != nil {
					return err
				}
			}
			return nil
		}}, nil
	})
	srv := httptest.NewServer(a)
	defer srv.Close()
	for _, last := range []string{"", "fail"} {
		resp, err := http.Get(srv.URL + "/stream")
		if err != nil {
			t.Fatal(err)
		}
		rd := bufio.NewReader(resp.Body)
		for _, s := range []string{"one\n", "two\n"} {
			next <- s
			if got, err := rd.ReadString('\n'); got != s || err != nil {
				t.Fatalf("%q %v", got, err)
			}
		}
		if last == "fail" {
			next <- last
			if _, err := io.ReadAll(rd); err == nil {
				t.Error("a stream that failed looked whole")
			}
		} else {
			close(next)
			if _, err := io.ReadAll(rd); err != nil {
				t.Error(err)
			}
			next = make(chan string)
		}
		resp.Body.Close()
	}
}

func TestEvents(t *testing.T) {
	a := newAPI(t, nil)
	type in struct {
		_    struct{} `route:"GET /events"`
		Last string   `header:"Last-Event-ID"`
	}
	gone := make(chan error, 1)
	webv4.Handle(a, func(_ context.Context, in *in) (*webv4.Events, error) {
		return &webv4.Events{Run: func(ctx context.Context, send func(webv4.Event) error) error {
			send(webv4.Event{ID: "7", Name: "status", Data: "a\nb\r\nc\rd: e", Retry: 1500 * time.Millisecond})
			if err := send(webv4.Event{ID: "1\ndata: forged"}); err == nil {
				t.Error("a line end in an ID")
			}
			if in.Last == "end" {
				return nil
			}
			<-ctx.Done()
			gone <- send(webv4.Event{})
			return ctx.Err()
		}}, nil
	})
	r := do(t, a, "GET /events", "", "Last-Event-ID: end")
	r.is(t, 200, "id: 7\nevent: status\nretry: 1500\ndata: a\ndata: b\ndata: c\ndata: d: e\n")
	if r.header.Get("Content-Type") != "text/event-stream" || r.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%v", r.header)
	}
	srv := httptest.NewServer(a)
	defer srv.Close()
	ctx, cancel := context.WithCancel(context.Background())
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+"/events", nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); line != "id: 7\n" || err != nil {
		t.Errorf("%q %v", line, err)
	}
	cancel()
	if err := <-gone; err == nil {
		t.Error("sent to a client that has gone")
	}
	resp.Body.Close()
}

// A stream may be quiet for longer than a write may take, over HTTP/2 too, where a
// deadline that passes ends the stream though nothing is being written.
func TestQuietStream(t *testing.T) {
	for _, proto := range []string{"http/1.1", "h2"} {
		t.Run(proto, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAPI(t, nil)
				type in struct {
					_ struct{} `route:"GET /events"`
				}
				webv4.Handle(a, func(context.Context, *in) (*webv4.Events, error) {
					return &webv4.Events{Run: func(ctx context.Context, send func(webv4.Event) error) error {
						for _, data := range []string{"", "one", "two"} {
							time.Sleep(5 * time.Minute)
							if err := send(webv4.Event{Data: data}); err != nil {
								return err
							}
						}
						return send(webv4.Event{ID: "9", Retry: time.Second})
					}}, nil
				})
				srv := httptest.NewUnstartedServer(nil)
				srv.StartTLS() // for its certificate
				cert, roots := srv.TLS.Certificates, srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				srv.Close()

				near, far := net.Pipe()
				ln := &oneConn{conn: make(chan net.Conn, 1), closed: make(chan struct{})}
				ln.conn <- tls.Server(far, &tls.Config{Certificates: cert, NextProtos: []string{proto}})
				server := a.Server()
				server.TLSConfig = &tls.Config{Certificates: cert, NextProtos: []string{proto}}
				ended := make(chan error, 1)
				go func() { ended <- server.Serve(ln) }()

				tr := &http.Transport{
					DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
						c := tls.Client(near, &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{proto}})
						return c, c.HandshakeContext(ctx)
					},
					ForceAttemptHTTP2: proto == "h2",
				}
				resp, err := (&http.Client{Transport: tr}).Get("https://example.com/events")
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				if want := ":\n\ndata: one\n\ndata: two\n\nid: 9\nretry: 1000\n\n"; string(text) != want || err != nil {
					t.Errorf("%s: %q, %v", resp.Proto, text, err)
				}
				if resp.TLS.NegotiatedProtocol != proto {
					t.Errorf("spoke %s", resp.TLS.NegotiatedProtocol)
				}
				resp.Body.Close()
				tr.CloseIdleConnections()
				server.Close()
				<-ended
			})
		})
	}
}

// oneConn is a listener of one connection.
type oneConn struct {
	conn   chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func TestStreamsTakeNoFormTags(t *testing.T) {
	type in struct {
		_ struct{} `route:"GET /s" etag:"true"`
	}
	if text := panics(t, func() {
		webv4.Handle(newAPI(t, nil), func(context.Context, *in) (*webv4.Stream, error) { return nil, nil })
	}); !strings.Contains(text, "writes itself") {
		t.Error(text)
	}
}
