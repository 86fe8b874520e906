package webv4

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Principal is who makes a call.
type Principal struct {
	ID     string   // the user
	App    string   // the application on the user's behalf, "" if unknown
	Level  int      // the application's level, for the tag level
	Scopes []string // what the token allows
}

// Authenticator tells who makes a call. The rules:
//
//  1. It returns an error, and no principal, unless it is sure. An *Error
//     (ErrTokenMissing, ErrTokenExpired, ErrTokenInvalid or one of its own) is
//     what the client sees; any other error is answered as ErrTokenInvalid.
//  2. It reads the header and the URL of r. It must not read the body; it may wrap it.
//  3. It compares secrets in constant time.
//  4. It is called by many goroutines at once.
type Authenticator interface {
	Authenticate(r *http.Request) (Principal, error)
}

// scheme is the Authenticator of an API or a group, by which it is known that
// another interface has the same.
type scheme struct {
	Authenticator
	challenges []string // of a 401
	refused    []string // the same when the request had a token

	challengesScript, refusedScript []string // of those that a script in a browser called
}

// of tells who makes a call. A call of a batch has the batch's caller if both have
// the same scheme: its own request has no signature, nor all that a scheme looks at.
func (s *scheme) of(r *http.Request) (Principal, error) {
	if b, ok := r.Context().Value(batchKey{}).(*call); ok && b.caller.authed && b.op.auth == s {
		return b.caller.principal, nil
	}
	return s.Authenticate(r)
}

// AccessToken returns the token of a request: from an Authorization header of
// the scheme Bearer or OAuth2, or else from the query parameter access_token,
// or else from a form field of that name. Only an Authenticator given to an API
// sees the form field. An Authorization header of another scheme is none of a token's:
// ErrTokenMissing, whatever the rest of the request has.
func AccessToken(r *http.Request) (string, error) {
	if h := r.Header.Get("Authorization"); h != "" {
		scheme, token, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") && !strings.EqualFold(scheme, "OAuth2") {
			return "", ErrTokenMissing
		}
		if token = strings.TrimSpace(token); token == "" {
			return "", ErrTokenInvalid
		}
		return token, nil
	}
	if token, ok := pairValue(r.URL.RawQuery, "access_token"); ok {
		return token, nil
	}
	if form, ok := r.Body.(*formBody); ok {
		if token, ok := pairValue(form.text, "access_token"); ok {
			return token, nil
		}
	}
	return "", ErrTokenMissing
}

// SecretsEqual compares secrets in a time that tells nothing about them, not
// even their lengths.
func SecretsEqual(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// pairValue finds one value among name=value pairs; false if it is empty or not well
// escaped.
func pairValue(raw, name string) (string, bool) {
	value, ok := escapedValue(raw, name)
	if !ok {
		return "", false
	}
	value, err := url.QueryUnescape(value)
	return value, err == nil && value != ""
}

// escapedValue finds the first value of a name among name=value pairs, as it stands
// there. The name may be escaped, too.
func escapedValue(raw, name string) (string, bool) {
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		key, value, ok := strings.Cut(pair, "=")
		if ok && (key == name || isEscaped(key, name)) {
			return value, true
		}
	}
	return "", false
}

// isEscaped reports whether a text is an escaped form of name.
func isEscaped(text, name string) bool {
	if len(text) < len(name) || strings.IndexByte(text, '%') < 0 && strings.IndexByte(text, '+') < 0 {
		return false
	}
	plain, err := url.QueryUnescape(text)
	return err == nil && plain == name
}

// formBody is a urlencoded body that has been read already, so that the
// authenticator can look for a token in it.
type formBody struct {
	strings.Reader
	text string
}

func newFormBody(text string) *formBody {
	f := &formBody{text: text}
	f.Reset(text)
	return f
}

// Close does nothing: the body has been read.
func (*formBody) Close() error { return nil }

// allows reports whether the token has all the scopes.
func (p *Principal) allows(scopes []string) bool {
	for _, s := range scopes {
		if !slices.Contains(p.Scopes, s) {
			return false
		}
	}
	return true
}
