package main

import (
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/openapi"
)

// shop is the interfaces' common ground. Each file registers its own.
type shop struct {
	api     *webv4.API
	store   *store
	tokens  *issuer
	cursors *webv4.Cursors
	news    hub
}

// Errors of the shop's own, beside the platform's.
const (
	codeNotThere = 23001 + iota
	codeStock
	codeFull
	codePicture
)

var errorCodes = webv4.ErrorCodes{
	codeNotThere: {Status: http.StatusNotFound, Text: "there is no such product"},
	codeStock:    {Status: http.StatusConflict, Text: "there are not as many in stock"},
	codeFull:     {Status: http.StatusConflict, Text: "the shop has no room for more"},
	codePicture:  {Status: http.StatusBadRequest, Text: "this is no picture"},
}

func newShop(deny *webv4.DenyList, log io.Writer) (*shop, error) {
	tokens, auth, err := newAuth()
	if err != nil {
		return nil, err
	}
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return nil, err
	}
	s := &shop{store: newStore(), tokens: tokens}
	if s.cursors, err = webv4.NewCursors(secret); err != nil {
		return nil, err
	}
	s.api, err = webv4.New(&webv4.Options{
		Authenticator: auth, Quotas: "ip=36000/h", Overload: &webv4.Overload{}, Deny: deny, CompressFrom: 4 << 10, RequestIDs: true,
		ErrorCodes: errorCodes,
		AccessLog:  log, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		return nil, err
	}
	v1 := s.api.Group("/v1", &webv4.GroupOptions{Errors: webv4.ProblemErrors, Degrade: "v1"})
	s.products(v1)
	s.pictures(v1)
	s.orders(v1)
	s.account(v1)
	s.platform(s.api.Group("/2", &webv4.GroupOptions{
		ErrorCodes: webv4.ErrorCodes{codeNotThere: {Code: 20101}}, // as clients of the platform know it
	}))
	s.api.Health("/health", nil)
	s.api.Mount("GET /", http.RedirectHandler("/docs", http.StatusFound))
	openapi.Mount(s.api, "/docs", openapi.Info{
		Title: "Shop", Version: "1", License: "Apache-2.0", LicenseURL: "https://www.apache.org/licenses/LICENSE-2.0",
		Contact: openapi.Contact{Name: "the shop", Email: "shop@example.org"},
		Description: "Looms and what belongs to them. Everything here can be tried: choose how to sign in under Authentication, " +
			"open a call, fill in its form and press Try.\n\nAda (password `lovelace`) buys, Grace (password `hopper`) runs the shop.",
		Schemes: []openapi.Scheme{
			openapi.Bearer("token", "An access token of POST /v1/token; it lasts an hour."),
			openapi.Basic("password", "ada and lovelace, or grace and hopper."),
			openapi.Key("key", "X-Api-Key", "`demo-key`"),
			openapi.Signature("signature", "What `openapi-shop -sign 'GET http://…'` prints. It counts once, within five minutes."),
			openapi.ClientCert("certificate", "With -tls: the certificate that is written to its directory."),
		},
		Tags: map[string]string{
			"products": "What there is to buy. Anybody may look.",
			"pictures": "What it looks like.",
			"orders":   "What was bought, and news of it.",
			"account":  "Who calls, and how often they may.",
			"platform": "The same in the style of the platform's interface 2.",
		},
	})
	return s, nil
}

// close ends the streams, so that the server can shut down.
func (s *shop) close() { s.news.close() }

// failure is what a client sees of the store's errors.
func failure(err error) error {
	switch {
	case errors.Is(err, errNotThere):
		return webv4.Errorf(codeNotThere, "")
	case errors.Is(err, errStock):
		return webv4.Errorf(codeStock, "")
	case errors.Is(err, errFull):
		return webv4.Errorf(codeFull, "")
	}
	return err
}

// none is a reply without anything in it.
type none struct{}
