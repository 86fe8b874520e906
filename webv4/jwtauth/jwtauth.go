package jwtauth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/heddle-go/heddle/webv4"
)

// Options configures New.
type Options struct {
	// Keys are the verification keys by key id: *rsa.PublicKey, *ecdsa.PublicKey,
	// ed25519.PublicKey, or []byte for HMAC. A token without a key id is verified
	// by the key "".
	Keys map[string]any

	// JWKS is the address of a key set, besides Keys. "": none.
	JWKS string

	// Client fetches the key set. nil means one with a timeout of 5 s.
	Client *http.Client

	// Refresh is the shortest time between two fetches. 0 means 1 minute.
	Refresh time.Duration

	// MaxAge is how old a key set may become: then it is fetched again though it
	// has the key, so that a key that was taken out of it is no longer good. 0
	// means 1 hour.
	MaxAge time.Duration

	// Algorithms are those that are accepted. nil means EdDSA, ES256, ES384,
	// ES512, RS256, RS384, RS512, PS256, PS384 and PS512; HS256 and its like must
	// be named, so that a public key is never taken for a secret.
	Algorithms []string

	Issuer   string        // "" accepts any
	Audience string        // "" accepts any
	Leeway   time.Duration // by which clocks may differ. 0 means none

	// Principal tells who a token's subject is. nil means as the package says.
	Principal func(claims map[string]any) (webv4.Principal, error)

	// CacheSize bounds the verified tokens that are remembered. 0 means 10,000;
	// negative remembers none.
	CacheSize int

	// CacheFor bounds how long one is, within its own life. 0 means 5 minutes.
	CacheFor time.Duration
}

// Auth is a webv4.Authenticator. It is safe for concurrent use and owns no
// goroutine.
type Auth struct {
	opt    Options
	parser *jwt.Parser
	set    keySet
	cache  cache

	verified, cached, refused atomic.Uint64
}

const maxToken = 8 << 10

// New returns an authenticator. It does no I/O.
func New(opts *Options) (*Auth, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 5 * time.Second}
	}
	if o.Refresh == 0 {
		o.Refresh = time.Minute
	}
	if o.MaxAge == 0 {
		o.MaxAge = time.Hour
	}
	if o.Algorithms == nil {
		o.Algorithms = []string{"EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	}
	if o.Principal == nil {
		o.Principal = principal
	}
	if o.CacheSize == 0 {
		o.CacheSize = 10_000
	}
	if o.CacheFor == 0 {
		o.CacheFor = 5 * time.Minute
	}
	var errs []error
	if len(o.Keys) == 0 && o.JWKS == "" {
		errs = append(errs, errors.New("jwtauth: neither Options.Keys nor Options.JWKS"))
	}
	for _, alg := range o.Algorithms {
		if jwt.GetSigningMethod(alg) == nil || alg == "none" {
			errs = append(errs, fmt.Errorf("jwtauth: Options.Algorithms: %q is none", alg))
		}
	}
	if o.Refresh < 0 || o.MaxAge < 0 || o.Leeway < 0 || o.CacheFor < 0 {
		errs = append(errs, errors.New("jwtauth: Options.Refresh, MaxAge, Leeway or CacheFor negative"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	a := &Auth{opt: o}
	parse := []jwt.ParserOption{jwt.WithValidMethods(o.Algorithms), jwt.WithExpirationRequired(), jwt.WithLeeway(o.Leeway)}
	if o.Issuer != "" {
		parse = append(parse, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		parse = append(parse, jwt.WithAudience(o.Audience))
	}
	a.parser = jwt.NewParser(parse...)
	a.cache.size = o.CacheSize
	return a, nil
}

// Authenticate implements webv4.Authenticator.
func (a *Auth) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	if err != nil {
		return webv4.Principal{}, err
	}
	if len(token) > maxToken {
		a.refused.Add(1)
		return webv4.Principal{}, webv4.ErrTokenInvalid
	}
	now := time.Now()
	key := sha256.Sum256([]byte(token))
	if p, ok := a.cache.get(key, now); ok {
		a.cached.Add(1)
		return p, nil
	}
	claims := jwt.MapClaims{}
	_, err = a.parser.ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) {
		id, _ := t.Header["kid"].(string)
		if k, ok := a.opt.Keys[id]; ok {
			return k, nil
		}
		return a.set.key(r.Context(), &a.opt, id, a.cache.clear)
	})
	if err != nil {
		a.refused.Add(1)
		if missing := (*noSet)(nil); errors.As(err, &missing) {
			return webv4.Principal{}, webv4.Wrap(webv4.CodeRemoteService, missing)
		}
		if errors.Is(err, jwt.ErrTokenExpired) {
			return webv4.Principal{}, webv4.ErrTokenExpired
		}
		return webv4.Principal{}, webv4.Wrap(webv4.CodeTokenInvalid, err)
	}
	p, err := a.opt.Principal(claims)
	if err != nil {
		a.refused.Add(1)
		return webv4.Principal{}, webv4.Wrap(webv4.CodeTokenInvalid, err)
	}
	a.verified.Add(1)
	until := now.Add(a.opt.CacheFor)
	if exp, err := claims.GetExpirationTime(); err == nil && exp.Before(until) {
		until = exp.Time
	}
	a.cache.put(key, p, until)
	return p, nil
}

// Forget drops all remembered tokens, for when some were revoked.
func (a *Auth) Forget() { a.cache.clear() }

// Stats are counters that only grow.
type Stats struct {
	Verified uint64 // tokens whose signature was checked and was right
	Cached   uint64 // tokens that had been verified before
	Refused  uint64 // tokens refused
	Fetched  uint64 // key sets fetched
	Failed   uint64 // fetches of a key set that failed
}

// Stats returns a snapshot.
func (a *Auth) Stats() Stats {
	return Stats{a.verified.Load(), a.cached.Load(), a.refused.Load(), a.set.fetched.Load(), a.set.failed.Load()}
}

// principal is what Options.Principal does by default.
func principal(claims map[string]any) (webv4.Principal, error) {
	text := func(name string) string { s, _ := claims[name].(string); return s }
	p := webv4.Principal{ID: text("sub"), App: text("client_id")}
	if p.ID == "" {
		return p, errors.New("jwtauth: a token without a subject")
	}
	if p.App == "" {
		p.App = text("azp")
	}
	p.Scopes = strings.Fields(text("scope"))
	if list, ok := claims["scp"].([]any); ok {
		for _, s := range list {
			if s, ok := s.(string); ok {
				p.Scopes = append(p.Scopes, s)
			}
		}
	}
	return p, nil
}

// cache remembers verified tokens by their hash. When it is full, it starts
// over: tokens are many and short-lived, and verifying one again is no harm.
type cache struct {
	size int
	mu   sync.RWMutex
	m    map[[sha256.Size]byte]verified
}

type verified struct {
	principal webv4.Principal
	until     time.Time
}

func (c *cache) get(key [sha256.Size]byte, now time.Time) (webv4.Principal, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.m[key]
	return v.principal, ok && now.Before(v.until)
}

func (c *cache) put(key [sha256.Size]byte, p webv4.Principal, until time.Time) {
	if c.size < 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= c.size {
		c.m = map[[sha256.Size]byte]verified{}
	}
	c.m[key] = verified{p, until}
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m = nil
}
