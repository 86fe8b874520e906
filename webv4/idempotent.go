package webv4

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// IdempotencyStore remembers the replies to requests that carry an
// Idempotency-Key, so that a request that is sent again is not done again. The rules:
//
//  1. Begin claims a key: if nobody has it, it remembers the fingerprint for hold,
//     or until Finish if claims cannot outlive the process that has them, and
//     returns nil. Else it returns what it remembers. Of several calls at once
//     one claims the key.
//  2. Finish replaces a claim by the reply, to be remembered for ttl, or frees the
//     key if r is nil.
//  3. Keys are 64 bytes of hexadecimal text, and no two callers have the same.
//  4. It honours ctx, and is called by many goroutines at once. What it returns is
//     not changed by anybody.
type IdempotencyStore interface {
	Begin(ctx context.Context, key string, fingerprint [32]byte, hold time.Duration) (*IdempotentReply, error)
	Finish(ctx context.Context, key string, r *IdempotentReply, ttl time.Duration) error
}

// IdempotentReply is what an IdempotencyStore remembers of a request.
type IdempotentReply struct {
	Fingerprint [32]byte // SHA-256 of the request: method, path, query, type and body
	Done        bool     // false: it is under way, and there is no reply yet
	Status      int      // 0: done, but the reply was too large to be kept
	ContentType string
	Location    string
	ETag        string
	Body        []byte
}

const (
	idempotencyHeader = "Idempotency-Key"
	maxIdempotencyKey = 255

	// claimGrace is how much longer than its call a claim holds, should the
	// process end meanwhile.
	claimGrace = 30 * time.Second
)

// claim is a key that a call holds.
type claim struct {
	store IdempotencyStore
	key   string
	print [32]byte
	ttl   time.Duration
	done  bool
}

// once claims the request's key, or answers as the first time: then done is true.
func (a *API) once(ctx context.Context, c *call, op *operation, r *http.Request) (done bool, err error) {
	sent := r.Header[idempotencyHeader]
	switch {
	case len(sent) == 0 && op.plan.onceRequired:
		return false, Errorf(CodeMissing, "(%s)", idempotencyHeader)
	case len(sent) == 0:
		return false, nil
	case len(sent) > 1 || !validKey(sent[0]):
		return false, Errorf(CodeInvalid, "(%s) expect (1 to %d visible ASCII characters)", idempotencyHeader, maxIdempotencyKey)
	case c.caller.principal.App == "" && c.caller.principal.ID == "":
		// An address is shared by many: one could get another's reply.
		return false, Errorf(CodeInvalid, "(%s) only of callers that are known", idempotencyHeader)
	}
	// The fingerprint is over the body, which handlers' parameters come from then.
	body, err := readBody(r, a.opt.MaxBody)
	if err != nil {
		return false, err
	}
	r.Body = newFormBody(body)
	cl := &claim{store: a.opt.IdempotencyStore, ttl: op.plan.once}
	cl.key = keyOf(op.name, c.caller.principal.App, c.caller.principal.ID, sent[0])
	h := sha256.New()
	for _, part := range [...]string{r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("Content-Type"), body} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Sum(cl.print[:0])
	hold := claimGrace
	if d, ok := c.Deadline(); ok {
		hold += time.Until(d)
	}
	kept, err := cl.store.Begin(ctx, cl.key, cl.print, hold)
	switch {
	case err != nil:
		return false, Wrap(CodeUnavailable, err)
	case kept == nil:
		c.out.claim = cl
		return false, nil
	case kept.Fingerprint != cl.print:
		return false, &Error{Status: http.StatusUnprocessableEntity, Code: CodeParameter, Message: "the Idempotency-Key belongs to another request"}
	case !kept.Done:
		c.out.w.Header()["Retry-After"] = retryNow
		return false, &Error{Status: http.StatusConflict, Code: CodeBusy, Message: "the first request with this Idempotency-Key is under way"}
	case kept.Status == 0:
		return false, &Error{Status: http.StatusConflict, Code: CodeIllegal, Message: "done before; the reply was too large to be kept"}
	}
	kept.replay(c.out)
	return true, nil
}

// keyOf is what a store knows a key by: none of the parts can look like two.
func keyOf(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
		h.Write([]byte{' '})
		h.Write([]byte(part))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func validKey(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return s != "" && len(s) <= maxIdempotencyKey
}

var replayed = []string{"true"}

// replay answers as the first time.
func (k *IdempotentReply) replay(o *reply) {
	h := o.w.Header()
	h["Idempotent-Replayed"] = replayed
	if k.Location != "" {
		h["Location"] = []string{k.Location}
	}
	if k.ETag != "" {
		h["Etag"] = []string{k.ETag}
	}
	o.status = k.Status
	o.body([]string{k.ContentType}, k.Body)
}

// keep remembers the reply, before anybody sees it.
func (cl *claim) keep(h http.Header, status int, contentType string, body []byte) error {
	cl.done = true
	return cl.finish(&IdempotentReply{
		Fingerprint: cl.print, Done: true, Status: status, ContentType: contentType,
		Location: h.Get("Location"), ETag: h.Get("Etag"), Body: append([]byte(nil), body...),
	})
}

// release frees the key if there is no reply to keep: the request may be tried
// again.
func (cl *claim) release() error {
	if cl.done {
		return nil
	}
	cl.done = true
	return cl.finish(nil)
}

// finish has time of its own: the call's may be over.
func (cl *claim) finish(r *IdempotentReply) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return cl.store.Finish(ctx, cl.key, r, cl.ttl)
}

// parseOnce reads an idempotent tag: a duration, and perhaps ,required.
func parseOnce(tag string) (ttl time.Duration, required bool, err error) {
	span, rest, more := strings.Cut(tag, ",")
	if ttl, err = time.ParseDuration(span); err != nil || ttl < time.Second || more && rest != "required" {
		return 0, false, errors.New("want how long replies are kept, at least 1s, such as 24h, or 24h,required")
	}
	return ttl, more, nil
}
