package motan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/heddle-go/heddle/watchman"
)

// Over HTTP a call is POST /SERVICE/METHOD with the argument as the body: JSON, a
// list for several arguments, or one protobuf message. The answer is of the same
// kind; an error is the JSON of M_e with a status that fits.
const (
	typeJSON     = "application/json"
	typeProtobuf = "application/x-protobuf"

	// headerTimeout is the time left for the call, in milliseconds.
	headerTimeout = "Motan-Timeout"
)

// HTTPHandler answers POST /{service}/{method} with what the server offers, beside
// or without Serve. The body is the argument in JSON, a list if there are several,
// or a protobuf message if Content-Type is application/x-protobuf; other types are
// refused, and so is what a browser sends for another site's page. The answer is of
// the same kind. An error is answered as {"errcode":…,"errmsg":…,"errtype":…},
// with status 400 for business errors, 401, 404, 503 for rejected calls, 504, or
// 500. The header Motan-Timeout is the caller's time in milliseconds, Motan-Group,
// Motan-Version and Motan-Application say what a caller of this package would,
// Authorization: Bearer is the token, and traceparent continues a trace.
//
// Motan-Meta-KEY is metadata, in both directions. A key is in lower case; other
// characters than letters, digits, '-', '_' and '.' are written as %XX, and so is
// upper case. Values that are not printable ASCII are percent-encoded, under the name
// Motan-Meta-KEY*. http.Server.MaxHeaderBytes bounds them all.
//
// The limits of ServerOptions hold. Handlers that run when the server is shut down
// are waited for.
func (s *Server) HTTPHandler() http.Handler { return http.HandlerFunc(s.serveHTTP) }

// crossOrigin keeps pages of other sites, which a browser lets send requests to
// loopback as well, from calling anything.
var crossOrigin = http.NewCrossOriginProtection()

func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) {
	service, method, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if r.Method != http.MethodPost || !ok {
		w.Header().Set("Allow", http.MethodPost)
		writeHTTPError(w, http.StatusMethodNotAllowed, &Error{Code: CodeInternal, Type: Service, Message: "want POST /service/method"})
		return
	}
	if err := crossOrigin.Check(r); err != nil {
		writeHTTPError(w, http.StatusForbidden, &Error{Code: CodeInternal, Type: Service, Message: err.Error()})
		return
	}
	var ser Serializer = JSON{}
	kind := typeJSON
	if sent := r.Header.Get("Content-Type"); sent != "" {
		switch t, _, err := mime.ParseMediaType(sent); {
		case err == nil && (t == typeProtobuf || t == "application/protobuf"):
			ser, kind = GRPCPb{}, typeProtobuf
		case err != nil || t != "application/json" && !strings.HasSuffix(t, "+json"):
			writeHTTPError(w, http.StatusUnsupportedMediaType, &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("Content-Type %.100q: want application/json or %s", sent, typeProtobuf)})
			return
		}
	}
	room := reservation{of: &s.memory}
	defer func() { room.hold(0) }()
	body, err := readAll(http.MaxBytesReader(w, r.Body, int64(s.opt.MaxFrame)), int(min(r.ContentLength, countOver)), s.opt.MaxFrame, &room)
	if err != nil {
		status := http.StatusBadRequest
		var large *http.MaxBytesError
		e := &Error{Code: CodeInternal, Type: Service, Message: "body: " + err.Error()}
		switch {
		case err == errNoRoom:
			s.stats.calls.Add(1)
			s.stats.errors.Add(1)
			e = s.rejected(s.noRoom())
			status = httpStatus(e)
		case errors.As(err, &large):
			status = http.StatusRequestEntityTooLarge
		}
		writeHTTPError(w, status, e)
		return
	}
	parent := watchman.FromHeader(r.Header)
	l := &localCall{
		meta: callMeta{service: []byte(service), method: []byte(method)}, parent: &parent, bytes: len(body),
		from:  caller{r.RemoteAddr, headerText(r.Header, headerApplication), headerText(r.Header, headerGroup), headerText(r.Header, headerVersion)},
		added: metaFromHeader(r.Header),
		argument: func(want any) (any, error) {
			if !room.ask(room.n + valuesOf(want, len(body))) {
				return nil, s.rejected(s.noRoom())
			}
			if raw, ok := want.(*Raw); ok {
				*raw = Raw{ser.ID(), body}
				return want, nil
			}
			if args, ok := want.(Args); ok && len(args) == 0 && len(body) == 0 {
				return want, nil
			}
			return want, ser.Decode(body, want)
		},
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		l.meta.token = []byte(token)
	}
	if ms, err := strconv.ParseUint(r.Header.Get(headerTimeout), 10, 31); err == nil && ms > 0 {
		l.deadline = time.Now().Add(time.Duration(ms) * time.Millisecond)
	}
	resp, err := s.answer(r.Context(), l)
	if l.keep {
		w.Header().Set(watchman.HeaderKeep, "1")
	}
	var out []byte
	switch raw, isRaw := resp.(*Raw); {
	case err != nil:
	case isRaw:
		out = raw.Body
	case resp == nil && kind == typeJSON:
		out = []byte("null")
	case resp != nil:
		if out, err = ser.Append(nil, resp); err != nil {
			err = &Error{Code: CodeInternal, Type: Service, Message: "answer: " + err.Error()}
		}
	}
	room.hold(0)
	if err == nil && !room.askForAnswer(counted(len(out))) {
		err = &Error{Code: CodeInternal, Type: Service, Message: fmt.Sprintf("executed, but an answer of %d bytes has %v", len(out), s.noRoom())}
	}
	if err != nil {
		writeHTTPError(w, httpStatus(err), err)
		return
	}
	for _, p := range l.reply {
		setHeader(w.Header(), headerMeta+escapeKey(p.Key), p.Value)
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	if room.n > 0 && !boundsWrites(r) {
		// The room is wanted back from a peer that does not read.
		wait := http.NewResponseController(w)
		defer wait.SetWriteDeadline(time.Time{})
		for ; len(out) > writeChunk && err == nil; out = out[writeChunk:] {
			wait.SetWriteDeadline(time.Now().Add(writeTimeout))
			_, err = w.Write(out[:writeChunk])
		}
		wait.SetWriteDeadline(time.Now().Add(writeTimeout))
	}
	if err == nil {
		w.Write(out) // if it fails, nobody waits
	}
}

// boundsWrites reports that the HTTP server of a request does it.
func boundsWrites(r *http.Request) bool {
	server, ok := r.Context().Value(http.ServerContextKey).(*http.Server)
	return !ok || server.WriteTimeout > 0
}

func httpStatus(err error) int {
	var e *Error
	if !errors.As(err, &e) {
		return http.StatusBadRequest // a plain error of a handler is a business error
	}
	switch {
	case e.Type == Business:
		return http.StatusBadRequest
	case e.Code == CodeUnauthorized:
		return http.StatusUnauthorized
	case e.Code == CodeNotFound:
		return http.StatusNotFound
	case e.Code == CodeReject:
		return http.StatusServiceUnavailable
	case e.Code == CodeTimeout:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

func writeHTTPError(w http.ResponseWriter, status int, err error) {
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	io.WriteString(w, encodeError(err)) // if it fails, nobody waits
}

// tryHTTP makes a try at an endpoint whose address is a URL.
func (c *Client) tryHTTP(ctx context.Context, e *endpoint, o *outgoingCall, until time.Time) error {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	var ser Serializer = JSON{}
	kind := typeJSON
	if id := c.opt.Serializer.ID(); id == idProtobuf || id == idGRPCPb {
		ser, kind = GRPCPb{}, typeProtobuf
	}
	o.phases.begin("encode")
	if err := answerable(ser, o.resp); err != nil {
		return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
	}
	var body []byte
	raw, isRaw := o.req.(*Raw)
	switch {
	case isRaw:
		body = raw.Body
		if raw.Serialization == idProtobuf || raw.Serialization == idGRPCPb {
			kind = typeProtobuf
		}
	case o.req != nil:
		var err error
		if body, err = ser.Append(nil, o.req); err != nil {
			return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
		}
	}
	if len(body) > c.opt.MaxFrame {
		err := fmt.Errorf("%w: %d bytes of body, limit %d", errTooLarge, len(body), c.opt.MaxFrame)
		return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(e.addr, "/")+"/"+url.PathEscape(c.service)+"/"+url.PathEscape(o.m.name), bytes.NewReader(body))
	if err != nil {
		return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set(headerTimeout, strconv.FormatInt(max(time.Until(until).Milliseconds(), 1), 10))
	setHeader(req.Header, headerGroup, c.opt.Group)
	setHeader(req.Header, headerVersion, c.opt.Version)
	setHeader(req.Header, headerApplication, c.opt.Application)
	if !fitsHeader(c.opt.Token) {
		return &Error{Code: CodeEncode, Message: "ClientOptions.Token: not printable, cannot be sent over HTTP"}
	}
	if c.opt.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opt.Token)
	}
	if o.meta != nil {
		if err := metaToHeader(req.Header, o.meta.pairs); err != nil {
			return &Error{Code: CodeEncode, Message: err.Error(), cause: err}
		}
	}
	o.trace.ToHeader(req.Header)
	o.phases.begin("wait")
	resp, err := e.web.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return timeoutError(e.addr, c.opt.Timeout, ctx.Err(), true)
		}
		return &Error{Code: CodeConnection, Message: e.addr + ": " + err.Error(), sent: true, cause: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, int64(c.opt.MaxFrame)+1))
	switch {
	case err != nil && ctx.Err() != nil:
		return timeoutError(e.addr, c.opt.Timeout, ctx.Err(), true)
	case err != nil:
		return &Error{Code: CodeConnection, Message: e.addr + ": " + err.Error(), sent: true, cause: err}
	case len(b) > c.opt.MaxFrame:
		return answerError(fmt.Errorf("%w: limit %d", errTooLarge, c.opt.MaxFrame))
	}
	o.phases.begin("decode")
	if resp.Header.Get(watchman.HeaderKeep) != "" {
		o.span.Keep(watchman.KeepRemote)
	}
	if o.reply != nil {
		*o.reply = metaFromHeader(resp.Header)
	}
	if o.x != nil {
		o.x.RequestBytes, o.x.ResponseBytes = len(body), len(b)
	}
	if resp.StatusCode != http.StatusOK {
		werr := decodeError(b)
		if werr.Code == 0 {
			werr = &Error{Code: resp.StatusCode, Type: Service, Message: "HTTP status " + resp.Status, sent: true}
		}
		return werr
	}
	switch out := o.resp.(type) {
	case nil: // one-way
		return nil
	case *Raw:
		id := byte(idJSON)
		if kind == typeProtobuf {
			id = idGRPCPb
		}
		*out = Raw{id, b}
		return nil
	}
	if len(b) > 0 {
		err = ser.Decode(b, o.resp)
	}
	return answerError(err)
}
