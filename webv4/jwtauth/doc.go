// Package jwtauth knows who calls by a JSON Web Token (RFC 7519): a
// webv4.Authenticator with pinned algorithms, issuer and audience, keys given or
// fetched as a JWK set (RFC 7517) and renewed when a new key appears, and a cache
// of tokens that were verified before, since verifying costs 5 to 80 µs.
//
//	auth, err := jwtauth.New(&jwtauth.Options{
//		JWKS:     "https://login.example.org/jwks.json",
//		Issuer:   "https://login.example.org/",
//		Audience: "api",
//	})
//	api, err := webv4.New(&webv4.Options{Authenticator: auth})
//
// The token comes from where [webv4.AccessToken] looks. Its subject is the
// principal's ID, client_id or azp the application, scope (a string) or scp (a
// list) the scopes; Options.Principal does it differently. It must have an
// expiry. A token of more than 8 KiB is refused unread.
//
// A key set is fetched when a token names a key that is not in the last one, and
// when that one is older than Options.MaxAge, but at most every Options.Refresh. One
// that fails to come leaves the old one in force; a token whose key is not in that
// is answered 503 (10003) then, for it may be good. When a key has been taken out,
// or is another one, all remembered tokens are forgotten.
package jwtauth
