// Package webtest calls an API in a test, without sockets.
//
//	c := webtest.New(t, api)
//	c.Token = "s3cret"
//	var got Status
//	c.GET("/2/statuses/show.json?id=7").OK(&got)
//	c.POST("/2/statuses/update.json", url.Values{"status": {""}}).Fails(400, webv4.CodeInvalid)
package webtest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// T is the part of testing.TB that is needed.
type T interface {
	Helper()
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Client calls a handler. Its fields go with each call.
type Client struct {
	Header http.Header // added to each request
	Token  string      // not empty: sent as a bearer token
	Remote string      // the client's address; "" means 192.0.2.1:1234

	t T
	h http.Handler
}

// New returns a client of a handler, which is an API mostly.
func New(t T, h http.Handler) *Client { return &Client{Header: http.Header{}, t: t, h: h} }

// GET calls with method GET.
func (c *Client) GET(target string) *Reply { c.t.Helper(); return c.Do(http.MethodGet, target, nil) }

// DELETE calls with method DELETE.
func (c *Client) DELETE(target string) *Reply {
	c.t.Helper()
	return c.Do(http.MethodDelete, target, nil)
}

// POST calls with method POST; see Do for the body.
func (c *Client) POST(target string, body any) *Reply {
	c.t.Helper()
	return c.Do(http.MethodPost, target, body)
}

// PUT calls with method PUT; see Do for the body.
func (c *Client) PUT(target string, body any) *Reply {
	c.t.Helper()
	return c.Do(http.MethodPut, target, body)
}

// Do makes one call. The body is nothing for nil, a form for url.Values, sent as
// it is if it is an io.Reader, and JSON otherwise.
func (c *Client) Do(method, target string, body any) *Reply {
	c.t.Helper()
	var rd io.Reader
	kind := ""
	switch b := body.(type) {
	case nil:
	case url.Values:
		rd, kind = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	case io.Reader:
		rd = b
	default:
		data, err := json.Marshal(b)
		if err != nil {
			c.t.Fatalf("webtest: %s %s: body: %v", method, target, err)
		}
		rd, kind = bytes.NewReader(data), "application/json"
	}
	r := httptest.NewRequest(method, target, rd)
	for name, values := range c.Header {
		r.Header[name] = append([]string(nil), values...)
	}
	if kind != "" && r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", kind)
	}
	if c.Token != "" {
		r.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if c.Remote != "" {
		r.RemoteAddr = c.Remote
	}
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return &Reply{Status: w.Code, Header: w.Header(), Body: w.Body.Bytes(), t: c.t, call: method + " " + target}
}

// Reply is what came back.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte

	t    T
	call string
}

// OK ends the test unless the call succeeded, and reads the reply as JSON into
// v unless that is nil.
func (r *Reply) OK(v any) {
	r.t.Helper()
	if r.Status < 200 || r.Status > 299 {
		r.t.Fatalf("%s: status %d: %s", r.call, r.Status, r.Body)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(r.Body, v); err != nil {
		r.t.Fatalf("%s: %v: %s", r.call, err, r.Body)
	}
}

// Fails reports an error unless the call failed with that status and error code.
func (r *Reply) Fails(status, code int) {
	r.t.Helper()
	var e struct {
		Code json.Number `json:"error_code"`
	}
	d := json.NewDecoder(bytes.NewReader(r.Body))
	if err := d.Decode(&e); err != nil {
		r.t.Errorf("%s: status %d, no error body: %s", r.call, r.Status, r.Body)
		return
	}
	if got, _ := e.Code.Int64(); r.Status != status || int(got) != code {
		r.t.Errorf("%s: status %d: %s; want status %d, code %d", r.call, r.Status, r.Body, status, code)
	}
}
