package webv4

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// FirstOf asks several authenticators in turn: the first for whose scheme there
// is anything in the request decides.
func FirstOf(list ...Authenticator) Authenticator { return firstOf(list) }

type firstOf []Authenticator

func (f firstOf) Authenticate(r *http.Request) (Principal, error) {
	for _, a := range f {
		p, err := a.Authenticate(r)
		if !errors.Is(err, ErrTokenMissing) {
			return p, err
		}
	}
	return Principal{}, ErrTokenMissing
}

// APIKeys knows who calls by a key in a header.
type APIKeys struct {
	header string
	byHash map[[sha256.Size]byte]Principal
}

// NewAPIKeys returns an authenticator for keys in a header, such as X-Api-Key.
// It keeps hashes only.
func NewAPIKeys(header string, keys map[string]Principal) *APIKeys {
	k := &APIKeys{header: http.CanonicalHeaderKey(header), byHash: make(map[[sha256.Size]byte]Principal, len(keys))}
	for key, p := range keys {
		k.byHash[sha256.Sum256([]byte(key))] = p
	}
	return k
}

// Authenticate implements Authenticator. What it looks up is a hash, so the time
// that takes tells nothing about the keys.
func (k *APIKeys) Authenticate(r *http.Request) (Principal, error) {
	key := r.Header[k.header]
	if len(key) == 0 || key[0] == "" {
		return Principal{}, ErrTokenMissing
	}
	if p, ok := k.byHash[sha256.Sum256([]byte(key[0]))]; ok {
		return p, nil
	}
	return Principal{}, ErrTokenInvalid
}

// Basic is HTTP's Basic scheme (RFC 7617), for use over TLS.
type Basic struct {
	// Check tells whose name and password these are. It compares in constant
	// time; any error means that they are wrong.
	Check func(ctx context.Context, name, password string) (Principal, error)

	// Realm is what the name and the password are for, as browsers show it. "" means
	// api.
	Realm string
}

// Authenticate implements Authenticator.
func (b *Basic) Authenticate(r *http.Request) (Principal, error) {
	name, password, ok := r.BasicAuth()
	if !ok {
		return Principal{}, ErrTokenMissing
	}
	return b.Check(r.Context(), name, password)
}

// ClientCert knows who calls by the certificate of the TLS connection, which
// the server must have verified (tls.Config.ClientAuth).
type ClientCert struct {
	Check func(*x509.Certificate) (Principal, error)
}

// Authenticate implements Authenticator.
func (c *ClientCert) Authenticate(r *http.Request) (Principal, error) {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return Principal{}, ErrTokenMissing
	}
	return c.Check(r.TLS.VerifiedChains[0][0])
}

// HMAC is the signature scheme of requests that SignHMAC signs:
//
//	Authorization: HMAC-SHA256 key=ID, time=UNIX, nonce=TEXT, body=HEX, signature=HEX
//
// signature is the HMAC-SHA256 of method, host, path, query, time, nonce and body,
// each followed by a line feed; body is the SHA-256 of the request's body, which
// is checked as it is read. A request counts once, and only near its time.
type HMAC struct {
	secret func(key string) (secret []byte, p Principal, ok bool)
	skew   time.Duration

	mu       sync.Mutex
	now, old map[[sha256.Size]byte]struct{} // nonces of this span of time and the one before
	turned   time.Time
}

// Codes of what HMAC refuses.
var (
	errTimestamp = Errorf(CodeTimestamp, "")
	errNonce     = Errorf(CodeNonceUsed, "")
	errSignature = Errorf(CodeSignature, "")
)

// maxNonces bounds the nonces remembered; when there are more, requests are
// refused as too many.
const maxNonces = 1 << 20

// NewHMAC returns an authenticator for signed requests. secret gives a key's
// secret and whose it is; it must be safe for concurrent use. A request's time
// may differ from this clock by skew; 0 means 5 minutes. The authenticator remembers
// what it has seen, up to 1,048,576 requests within twice skew (1,747 a second with 5
// minutes), beyond which they are refused with 10009; other processes do not know
// of it, so that a request counts once in each.
func NewHMAC(skew time.Duration, secret func(key string) ([]byte, Principal, bool)) *HMAC {
	if skew <= 0 {
		skew = 5 * time.Minute
	}
	return &HMAC{secret: secret, skew: skew, now: map[[sha256.Size]byte]struct{}{}, old: map[[sha256.Size]byte]struct{}{}, turned: time.Now()}
}

const hmacScheme = "HMAC-SHA256 "

// cutScheme cuts the name of a scheme off, in which case does not count.
func cutScheme(header, scheme string) (string, bool) {
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", false
	}
	return header[len(scheme):], true
}

// SignHMAC signs a request for an HMAC authenticator. body is what the request's
// body will be.
func SignHMAC(r *http.Request, key string, secret, body []byte) {
	sum := sha256.Sum256(body)
	s := signature{
		key: key, time: strconv.FormatInt(time.Now().Unix(), 10), nonce: rand.Text(), body: hex.EncodeToString(sum[:]),
	}
	r.Header.Set("Authorization", fmt.Sprintf("%skey=%s, time=%s, nonce=%s, body=%s, signature=%x", hmacScheme, s.key, s.time, s.nonce, s.body, s.mac(r, secret)))
}

// signature is what the header says.
type signature struct{ key, time, nonce, body, signature string }

func parseSignature(h string) (s signature, ok bool) {
	for part := range strings.SplitSeq(h, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var at *string
		switch name {
		case "key":
			at = &s.key
		case "time":
			at = &s.time
		case "nonce":
			at = &s.nonce
		case "body":
			at = &s.body
		case "signature":
			at = &s.signature
		default:
			return s, false
		}
		if *at != "" || value == "" {
			return s, false
		}
		*at = value
	}
	return s, s.key != "" && s.time != "" && len(s.nonce) >= 8 && len(s.nonce) <= 128 && len(s.body) == 2*sha256.Size && s.signature != ""
}

func (s *signature) mac(r *http.Request, secret []byte) []byte {
	m := hmac.New(sha256.New, secret)
	host := r.Host
	if host == "" && r.URL != nil {
		host = r.URL.Host
	}
	for _, part := range [...]string{r.Method, host, r.URL.EscapedPath(), r.URL.RawQuery, s.time, s.nonce, s.body} {
		io.WriteString(m, part)
		io.WriteString(m, "\n")
	}
	return m.Sum(nil)
}

// Authenticate implements Authenticator.
func (h *HMAC) Authenticate(r *http.Request) (Principal, error) {
	text, ok := cutScheme(r.Header.Get("Authorization"), hmacScheme)
	if !ok {
		return Principal{}, ErrTokenMissing
	}
	s, ok := parseSignature(text)
	if !ok {
		return Principal{}, errSignature
	}
	sent, err := hex.DecodeString(s.signature)
	if err != nil {
		return Principal{}, errSignature
	}
	// An unknown key takes as long as a known one.
	secret, p, known := h.secret(s.key)
	if !hmac.Equal(sent, s.mac(r, secret)) || !known {
		return Principal{}, errSignature
	}
	unix, err := strconv.ParseInt(s.time, 10, 64)
	now := time.Now()
	if d := now.Sub(time.Unix(unix, 0)); err != nil || d > h.skew || d < -h.skew {
		return Principal{}, errTimestamp
	}
	if err := h.once(sha256.Sum256([]byte(s.key+"\x00"+s.nonce)), now); err != nil {
		return Principal{}, err
	}
	if r.Body != nil {
		r.Body = &digestBody{r.Body, sha256.New(), s.body}
	}
	return p, nil
}

// once remembers a nonce for as long as its request's time would do.
func (h *HMAC) once(nonce [sha256.Size]byte, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if span := 2 * h.skew; now.Sub(h.turned) > span {
		h.old, h.now = h.now, map[[sha256.Size]byte]struct{}{}
		if now.Sub(h.turned) > 2*span {
			clear(h.old)
		}
		h.turned = now
	}
	if _, used := h.now[nonce]; used {
		return errNonce
	}
	if _, used := h.old[nonce]; used {
		return errNonce
	}
	if len(h.now) >= maxNonces {
		return refusal(CodeBusy)
	}
	h.now[nonce] = struct{}{}
	return nil
}

// digestBody is a body whose hash is checked at its end.
type digestBody struct {
	io.ReadCloser
	hash hash.Hash
	want string
}

func (d *digestBody) Read(p []byte) (int, error) {
	n, err := d.ReadCloser.Read(p)
	d.hash.Write(p[:n])
	if err == io.EOF && !hmac.Equal([]byte(hex.EncodeToString(d.hash.Sum(nil))), []byte(d.want)) {
		return 0, errSignature
	}
	return n, err
}
