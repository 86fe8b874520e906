package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/jwtauth"
)

// Who there is. A shop that is not an example keeps hashes, elsewhere.
var people = map[string]struct {
	password string
	scopes   []string
}{
	"ada":   {"lovelace", []string{"orders"}},
	"grace": {"hopper", []string{"orders", "products:write"}},
}

const (
	apiKey        = "demo-key"
	partner       = "partner"
	partnerSecret = "warp and weft"
	tokenLife     = time.Hour
)

// signIn checks a name and a password.
func signIn(_ context.Context, name, password string) (webv4.Principal, error) {
	p, known := people[name]
	// An unknown name takes as long as a known one.
	if !webv4.SecretsEqual(password, p.password) || !known {
		return webv4.Principal{}, webv4.ErrTokenInvalid
	}
	return webv4.Principal{ID: name, App: "shop", Scopes: p.scopes}, nil
}

// issuer makes tokens that the authenticator verifies.
type issuer struct{ key ed25519.PrivateKey }

func (i *issuer) issue(p webv4.Principal) (string, error) {
	return jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "openapi-shop", "sub": p.ID, "client_id": p.App, "scope": strings.Join(p.Scopes, " "), "exp": time.Now().Add(tokenLife).Unix(),
	}).SignedString(i.key)
}

// newAuth returns who knows the callers, in any of the five ways.
func newAuth() (*issuer, webv4.Authenticator, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := jwtauth.New(&jwtauth.Options{Keys: map[string]any{"": public}, Algorithms: []string{"EdDSA"}, Issuer: "openapi-shop"})
	if err != nil {
		return nil, nil, err
	}
	keys := webv4.NewAPIKeys("X-Api-Key", map[string]webv4.Principal{apiKey: {ID: "demo", App: "demo", Scopes: []string{"orders"}}})
	signed := webv4.NewHMAC(0, func(key string) ([]byte, webv4.Principal, bool) {
		return []byte(partnerSecret), webv4.Principal{ID: partner, App: partner, Scopes: []string{"orders", "products:write"}}, key == partner
	})
	cert := &webv4.ClientCert{Check: func(c *x509.Certificate) (webv4.Principal, error) {
		return webv4.Principal{ID: c.Subject.CommonName, App: "tls", Scopes: []string{"orders"}}, nil
	}}
	return &issuer{private}, webv4.FirstOf(signed, &webv4.Basic{Check: signIn}, keys, cert, tokens), nil
}

// printSignature prints the header that signs a request without a body.
func printSignature(w io.Writer, request string) error {
	method, url, _ := strings.Cut(request, " ")
	r, err := http.NewRequest(method, url, nil)
	if err != nil || r.Host == "" {
		return usageError{fmt.Errorf("-sign %q: want a method and a URL", request)}
	}
	webv4.SignHMAC(r, partner, []byte(partnerSecret), nil)
	_, err = fmt.Fprintf(w, "Authorization: %s\n", r.Header.Get("Authorization"))
	return err
}
