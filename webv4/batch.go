package webv4

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// BatchRequest is the body of an interface that takes many calls in one request:
//
//	type batch struct {
//		_    struct{}           `route:"POST /2/batch.json" auth:"user" timeout:"10s"`
//		Body webv4.BatchRequest `body:"" required:"true"`
//	}
//	webv4.Handle(api, func(ctx context.Context, in *batch) (*webv4.BatchReply, error) {
//		return api.Batch(ctx, &in.Body)
//	})
type BatchRequest struct {
	Calls []BatchCall `json:"calls" required:"true" minItems:"1" maxItems:"50"`
}

// BatchCall is one call of a batch.
type BatchCall struct {
	Method string          `json:"method" default:"GET" enum:"GET,POST,PUT,PATCH,DELETE"`
	Path   string          `json:"path" required:"true" maxLength:"8192" doc:"with its query, such as /2/statuses/show.json?id=5"`
	Body   json.RawMessage `json:"body" doc:"JSON; absent: none"`
}

// BatchReply has the reply of each call, in order.
type BatchReply struct {
	Replies []BatchResult `json:"replies"`
}

// BatchResult is the reply to one call: its body is JSON.
type BatchResult struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers,omitempty" doc:"Etag, Location, Ratelimit, Retry-After, X-Degraded and X-Request-Id"`
	Body    json.RawMessage   `json:"body,omitempty"`
}

// batchHeaders are the reply headers that a result repeats, batchInherits the
// request headers that a call has from the batch.
var (
	batchHeaders  = []string{"Etag", "Location", "Ratelimit", "Retry-After", "X-Degraded", "X-Request-Id"}
	batchInherits = []string{"Authorization", "Cookie", "Accept-Language", "User-Agent", "X-Forwarded-For", "X-Deadline-Ms"}
)

// maxBatchReply bounds the bytes of all replies of a batch.
const maxBatchReply = 8 << 20

// Batch makes the calls of a batch, one after the other, each through the whole
// chain: with its own authentication, quotas, limits, access log line and span. A
// call has the batch's caller if its interface has the same Authenticator, and the
// batch's Authorization and Cookie headers, client and deadline; the batch's place under Options.Overload is its place too if they
// have the same cost class. Calls of mounted handlers, replies that write
// themselves and batches within batches are refused in their results, with
// 10008, and so is what comes when the replies have more than 8 MiB together. It
// fails when the batch's time is over, and outside a call.
func (a *API) Batch(ctx context.Context, in *BatchRequest) (*BatchReply, error) {
	c := callFrom(ctx)
	if c == nil {
		return nil, errors.New("webv4: Batch: the context belongs to no call")
	}
	out := &BatchReply{Replies: make([]BatchResult, 0, len(in.Calls))}
	room := maxBatchReply
	for i := range in.Calls {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		res, err := a.batched(ctx, c, &in.Calls[i], room)
		if err != nil {
			e := c.op.codes.seen(a.errorFor(c, err))
			path := in.Calls[i].Path
			if u, err := url.ParseRequestURI(path); err == nil {
				path = u.Path
			}
			var body reply
			res = BatchResult{Status: e.status(), Body: body.appendError(nil, c.op.style, path, e)}
		}
		room -= len(res.Body)
		out.Replies = append(out.Replies, res)
	}
	return out, nil
}

func (a *API) batched(ctx context.Context, c *call, b *BatchCall, room int) (BatchResult, error) {
	u, err := url.ParseRequestURI(b.Path)
	if err != nil || !strings.HasPrefix(b.Path, "/") || u.Host != "" {
		return BatchResult{}, Errorf(CodeParameter, "(path) expect (a path of this server)")
	}
	var found reply
	op := a.router.find(&found, b.Method, pathOf(u))
	switch {
	case op == nil:
	case op.plan == nil || op.streams || op.batch || op.format != asJSON:
		return BatchResult{}, Errorf(CodeParameter, "%s %s cannot be part of a batch", b.Method, shorten(u.Path))
	case room <= 0:
		return BatchResult{}, Errorf(CodeParameter, "the replies before have more than %d bytes", maxBatchReply)
	}
	header := http.Header{}
	for _, name := range batchInherits {
		if v := c.r.Header[name]; v != nil {
			header[name] = v
		}
	}
	r := (&http.Request{
		Method: b.Method, URL: u, RequestURI: b.Path, Proto: c.r.Proto, ProtoMajor: c.r.ProtoMajor, ProtoMinor: c.r.ProtoMinor,
		Host: c.r.Host, RemoteAddr: c.r.RemoteAddr, TLS: c.r.TLS, Header: header, Body: http.NoBody,
	}).WithContext(context.WithValue(ctx, batchKey{}, c))
	if len(b.Body) > 0 {
		header["Content-Type"] = []string{"application/json"}
		r.Body, r.ContentLength = newFormBody(string(b.Body)), int64(len(b.Body))
	}
	w := &batchWriter{header: http.Header{}, status: http.StatusOK}
	if err := w.serve(a, r); err != nil {
		return BatchResult{}, err
	}
	res := BatchResult{Status: w.status, Body: w.body}
	for _, name := range batchHeaders {
		if v := w.header[name]; len(v) > 0 {
			if res.Headers == nil {
				res.Headers = map[string]string{}
			}
			res.Headers[name] = strings.Join(v, ", ")
		}
	}
	return res, nil
}

// batchKey finds the batch that a call is part of.
type batchKey struct{}

// within is the limiter in which a call has a place already, as part of a batch.
func (c *call) within(ctx context.Context) *limiter {
	if b, ok := ctx.Value(batchKey{}).(*call); ok {
		return b.op.limiter
	}
	return nil
}

// batchWriter takes one reply. A reply is in memory in any case.
type batchWriter struct {
	header http.Header
	status int
	body   []byte
}

func (w *batchWriter) Header() http.Header    { return w.header }
func (w *batchWriter) WriteHeader(status int) { w.status = status }
func (w *batchWriter) Write(p []byte) (int, error) {
	w.body = append(w.body, p...)
	return len(p), nil
}

// serve is ServeHTTP for a call that may break its reply off.
func (w *batchWriter) serve(a *API, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				panic(p)
			}
			err = refusal(CodeSystem)
		}
	}()
	a.ServeHTTP(w, r)
	w.body = slices.Clip(w.body)
	return nil
}
