package webv4

import (
	"net/http"
	"slices"
	"strings"
)

// Challenger is an Authenticator that tells clients how to authenticate. Its
// challenges (RFC 9110, section 11.6.1) are the WWW-Authenticate headers of replies
// with status 401. They are asked for once, by New or Group. An Authenticator
// without the method has the challenge Bearer.
//
// To a challenge of the scheme Bearer this package adds what RFC 6750 says: the
// error invalid_token if the request had a token, and insufficient_scope with the
// scopes of the interface, with status 403, if the token lacks some.
//
// A challenge of the scheme Basic has a browser ask its user for a password, also when
// it was a script that called, which waits meanwhile. Scripts (Sec-Fetch-Mode says
// something else than navigate) get it only where there is no other.
type Challenger interface {
	Challenges() []string
}

// Challenges implements Challenger: those of all, each once.
func (f firstOf) Challenges() []string {
	var list []string
	for _, a := range f {
		for _, c := range challengesOf(a) {
			if !slices.Contains(list, c) {
				list = append(list, c)
			}
		}
	}
	return list
}

// Challenges implements Challenger. The scheme is no registered one: clients that do
// not know ApiKey pass it over.
func (k *APIKeys) Challenges() []string { return []string{"ApiKey header=" + quoted(k.header)} }

// Challenges implements Challenger.
func (b *Basic) Challenges() []string {
	realm := b.Realm
	if realm == "" {
		realm = "api"
	}
	return []string{"Basic realm=" + quoted(realm) + `, charset="UTF-8"`}
}

// Challenges implements Challenger. The scheme is no registered one: HTTP has none for
// what TLS does.
func (c *ClientCert) Challenges() []string { return []string{"ClientCertificate"} }

// Challenges implements Challenger.
func (h *HMAC) Challenges() []string { return []string{strings.TrimSpace(hmacScheme)} }

func challengesOf(a Authenticator) []string {
	if c, ok := a.(Challenger); ok {
		return c.Challenges()
	}
	return bearer
}

// bearer is the challenge of those who do not say.
var bearer = []string{"Bearer"}

// quoted is a quoted string of a header.
func quoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// with are challenges of which those of the scheme Bearer have one more parameter.
func with(challenges []string, param string) []string {
	list := slices.Clone(challenges)
	for i, c := range list {
		switch name, more, _ := strings.Cut(c, " "); {
		case !strings.EqualFold(name, "Bearer"):
		case more == "":
			list[i] = c + " " + param
		default:
			list[i] = c + ", " + param
		}
	}
	return slices.Clip(list)
}

// newScheme is the scheme of an API or a group.
func newScheme(a Authenticator) *scheme {
	list := slices.Clip(slices.Clone(challengesOf(a)))
	refused := with(list, `error="invalid_token"`)
	return &scheme{a, list, refused, silent(list), silent(refused)}
}

// silent are the challenges without those for which a browser asks its user, unless
// there are no others.
func silent(challenges []string) []string {
	list := slices.DeleteFunc(slices.Clone(challenges), func(c string) bool {
		name, _, _ := strings.Cut(c, " ")
		return strings.EqualFold(name, "Basic")
	})
	if len(list) == 0 {
		return challenges
	}
	return slices.Clip(list)
}

// byScript reports whether a script in a browser called.
func byScript(r *http.Request) bool {
	mode := r.Header["Sec-Fetch-Mode"]
	return len(mode) > 0 && mode[0] != "navigate"
}

// unscoped are the challenges that tell which scopes a token lacks, nil if the scheme
// has no tokens.
func (s *scheme) unscoped(scopes []string) []string {
	list := with(s.challenges, `error="insufficient_scope", scope=`+quoted(strings.Join(scopes, " ")))
	return slices.DeleteFunc(list, func(c string) bool { return slices.Contains(s.challenges, c) })
}

// challenge tells the client of a 401 how to authenticate.
func (op *operation) challenge(h http.Header, r *http.Request, e *Error) {
	switch {
	case h["Www-Authenticate"] != nil: // the handler knows better
	case op.auth == nil:
		h["Www-Authenticate"] = bearer
	case e.Code != CodeTokenMissing && hasToken(r):
		h["Www-Authenticate"] = op.auth.refused
		if byScript(r) {
			h["Www-Authenticate"] = op.auth.refusedScript
		}
	default:
		h["Www-Authenticate"] = op.auth.challenges
		if byScript(r) {
			h["Www-Authenticate"] = op.auth.challengesScript
		}
	}
}

// hasToken reports whether the request has a token, right or wrong.
func hasToken(r *http.Request) bool {
	_, err := AccessToken(r)
	return err != ErrTokenMissing
}
