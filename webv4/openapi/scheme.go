package openapi

import (
	"fmt"
	"slices"
	"strings"

	"github.com/heddle-go/heddle/webv4"
)

// Scheme is a way to know who calls, as the document describes it; what is
// checked is the API's webv4.Authenticator. Bearer, Basic, Key, Signature and
// ClientCert make one.
type Scheme struct {
	name   string
	object map[string]any
}

// Bearer is an access token in the Authorization header, as webv4.AccessToken
// reads it and package jwtauth checks it.
func Bearer(name, doc string) Scheme {
	return Scheme{name, described(map[string]any{"type": "http", "scheme": "bearer"}, doc)}
}

// Basic is a name and a password, for webv4.Basic.
func Basic(name, doc string) Scheme {
	return Scheme{name, described(map[string]any{"type": "http", "scheme": "basic"}, doc)}
}

// Key is a key in a header, for webv4.NewAPIKeys.
func Key(name, header, doc string) Scheme {
	return Scheme{name, described(map[string]any{"type": "apiKey", "in": "header", "name": header}, doc)}
}

// Signature is a signed request, for webv4.NewHMAC. A page cannot sign: it sends
// what is pasted into it.
func Signature(name, doc string) Scheme {
	if doc == "" {
		doc = "HMAC-SHA256 key=ID, time=UNIX, nonce=TEXT, body=HEX, signature=HEX"
	}
	return Scheme{name, described(map[string]any{"type": "apiKey", "in": "header", "name": "Authorization"}, doc)}
}

// ClientCert is the certificate of the TLS connection, for webv4.ClientCert.
func ClientCert(name, doc string) Scheme {
	return Scheme{name, described(map[string]any{"type": "mutualTLS"}, doc)}
}

func schemeObjects(schemes []Scheme) map[string]any {
	m := map[string]any{}
	for _, s := range schemes {
		m[s.name] = s.object
	}
	return m
}

// security is what an interface asks of its callers: any one of the schemes.
func security(d *webv4.Description, schemes []Scheme) ([]any, error) {
	list := []any{}
	if !d.Auth {
		return list, nil
	}
	only := names(d.Tag.Get("security"))
	for i, name := range only {
		only[i] = strings.TrimSpace(name)
	}
	found := 0
	for _, s := range schemes {
		if only != nil && !slices.Contains(only, s.name) {
			continue
		}
		found++
		// Scopes belong to flows of OAuth 2.0, which the document does not describe:
		// they are in the interface's description.
		list = append(list, map[string]any{s.name: []string{}})
	}
	if only != nil && found != len(only) {
		return nil, fmt.Errorf("openapi: %s %s: tag security: %q are not all among Info.Schemes", d.Method, d.Path, only)
	}
	return list, nil
}
