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
//  2. Renew makes a claim of that fingerprint hold for that long from now. It fails
//     if there is none, and changes nothing but claims. It is called while a handler
//     takes longer than its time.
//  3. Finish replaces a claim by the reply, to be remembered for ttl, or frees the
//     key of its claim if r is nil.
//  4. Keys are 64 bytes of hexadecimal text, and no two callers have the same.
//  5. It honours ctx, and is called by many goroutines at once. What it returns is
//     not changed by anybody.
type IdempotencyStore interface {
	Begin(ctx context.Context, key string, fingerprint [32]byte, hold time.Duration) (*IdempotentReply, error)
	Renew(ctx context.Context, key string, fingerprint [32]byte, hold time.Duration) error
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
	// process end meanwhile. While the call lasts longer than its time, the claim
	// is renewed every renewEvery.
	claimGrace = 30 * time.Second
	renewEvery = claimGrace / 3

	// storeTimeout is what a store has for what does not belong to a call's time.
	storeTimeout = time.Second
)

// claim is a key that a call holds.
type claim struct {
	api   *core
	name  string // of the interface
	key   string
	print [32]byte
	ttl   time.Duration
	done  bool

	// late starts to renew the claim, until the call has ended, or for ttl: then the
	// reply would be forgotten as well.
	late    *time.Timer
	ctx     context.Context // of the renewals
	end     context.CancelFunc
	renewed chan struct{} // closed when they have ended
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
	body, err := readBody(r, a.opt.MaxBody+op.plan.room)
	if err != nil {
		return false, err
	}
	r.Body = newFormBody(body)
	cl := &claim{api: a.core, name: op.name, ttl: op.plan.once}
	cl.key = keyOf(op.name, c.caller.principal.App, c.caller.principal.ID, sent[0])
	h := sha256.New()
	for _, part := range [...]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Get("Content-Type"), body} {
		h.Write([]byte(part))
		h.Write([]byte{0})
	}
	h.Sum(cl.print[:0])
	hold := claimGrace
	if d, ok := c.Deadline(); ok {
		hold += time.Until(d)
	}
	kept, err := a.opt.IdempotencyStore.Begin(ctx, cl.key, cl.print, hold)
	switch {
	case err != nil:
		return false, Wrap(CodeUnavailable, err)
	case kept == nil:
		cl.keepUp(max(hold-claimGrace, renewEvery))
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
	if cl.late != nil && !cl.late.Stop() {
		cl.end()
		<-cl.renewed
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	return cl.api.opt.IdempotencyStore.Finish(ctx, cl.key, r, cl.ttl)
}

// keepUp sees to it that the claim does not end before its call, which is late after
// a while.
func (cl *claim) keepUp(after time.Duration) {
	if _, own := cl.api.opt.IdempotencyStore.(*onceStore); own {
		return
	}
	cl.ctx, cl.end = context.WithCancel(context.Background())
	cl.renewed = make(chan struct{})
	until := time.Now().Add(max(cl.ttl, after))
	cl.late = time.AfterFunc(after, func() {
		defer close(cl.renewed)
		defer cl.end()
		again := time.NewTicker(renewEvery)
		defer again.Stop()
		for time.Now().Before(until) {
			cl.renew()
			select {
			case <-cl.ctx.Done():
				return
			case <-again.C:
			}
		}
	})
}

func (cl *claim) renew() {
	ctx, cancel := context.WithTimeout(cl.ctx, storeTimeout)
	defer cancel()
	if err := cl.api.opt.IdempotencyStore.Renew(ctx, cl.key, cl.print, claimGrace); err != nil && cl.ctx.Err() == nil {
		cl.api.stats.onceFailed.Add(1)
		cl.api.opt.Logger.Warn("webv4: idempotency store", "interface", cl.name, "error", err)
	}
}

// parseOnce reads an idempotent tag: a duration, and perhaps ,required.
func parseOnce(tag string) (ttl time.Duration, required bool, err error) {
	span, rest, more := strings.Cut(tag, ",")
	if ttl, err = time.ParseDuration(span); err != nil || ttl < time.Second || more && rest != "required" {
		return 0, false, errors.New("want how long replies are kept, at least 1s, such as 24h, or 24h,required")
	}
	return ttl, more, nil
}
