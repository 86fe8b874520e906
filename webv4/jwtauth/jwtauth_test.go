package jwtauth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/jwtauth"
)

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// issuer signs tokens and serves its keys.
type issuer struct {
	mu     sync.Mutex
	keys   []map[string]string
	signer map[string]crypto.Signer
	method map[string]jwt.SigningMethod
	asked  atomic.Int32
	broken atomic.Bool
}

func (s *issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.asked.Add(1)
	if s.broken.Load() {
		http.Error(w, "down", http.StatusInternalServerError)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	json.NewEncoder(w).Encode(map[string]any{"keys": s.keys})
}

func (s *issuer) add(t testing.TB, kid string, method jwt.SigningMethod) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signer == nil {
		s.signer, s.method = map[string]crypto.Signer{}, map[string]jwt.SigningMethod{}
	}
	var key map[string]string
	switch method {
	case jwt.SigningMethodRS256:
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		s.signer[kid] = k
		key = map[string]string{"kty": "RSA", "n": b64(k.N.Bytes()), "e": b64(big.NewInt(int64(k.E)).Bytes())}
	case jwt.SigningMethodES256:
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		s.signer[kid] = k
		point, err := k.PublicKey.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		key = map[string]string{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
	default:
		public, k, _ := ed25519.GenerateKey(rand.Reader)
		s.signer[kid] = k
		key = map[string]string{"kty": "OKP", "crv": "Ed25519", "x": b64(public), "use": "sig"}
	}
	key["kid"] = kid
	s.method[kid] = method
	s.keys = append(s.keys, key)
}

func (s *issuer) token(t testing.TB, kid string, change func(jwt.MapClaims)) string {
	t.Helper()
	claims := jwt.MapClaims{"sub": "7", "iss": "me", "aud": "api", "exp": time.Now().Add(time.Hour).Unix(), "scope": "read write", "client_id": "app"}
	if change != nil {
		change(claims)
	}
	tok := jwt.NewWithClaims(s.method[kid], claims)
	tok.Header["kid"] = kid
	text, err := tok.SignedString(s.signer[kid])
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func ask(a *jwtauth.Auth, token string) (webv4.Principal, error) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	return a.Authenticate(r)
}

func newAuth(t testing.TB, o *jwtauth.Options) *jwtauth.Auth {
	t.Helper()
	a, err := jwtauth.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestTokens(t *testing.T) {
	s := &issuer{keys: []map[string]string{{"kty": "RSA", "kid": "enc", "use": "enc", "n": "!"}, {"kty": "oct", "kid": "odd"}, {"kty": "EC", "crv": "secp256k1", "kid": "odd2"}}}
	srv := httptest.NewServer(s)
	defer srv.Close()
	for kid, m := range map[string]jwt.SigningMethod{"rsa": jwt.SigningMethodRS256, "ec": jwt.SigningMethodES256, "ed": jwt.SigningMethodEdDSA} {
		s.add(t, kid, m)
	}
	a := newAuth(t, &jwtauth.Options{JWKS: srv.URL, Issuer: "me", Audience: "api"})
	for _, kid := range []string{"rsa", "ec", "ed"} {
		token := s.token(t, kid, nil)
		for range 2 {
			p, err := ask(a, token)
			if err != nil || p.ID != "7" || p.App != "app" || fmt.Sprint(p.Scopes) != "[read write]" {
				t.Errorf("%s: %+v %v", kid, p, err)
			}
		}
	}
	if st := a.Stats(); st.Verified != 3 || st.Cached != 3 || st.Fetched != 1 {
		t.Errorf("stats %+v", st)
	}
	for name, change := range map[string]func(jwt.MapClaims){
		"issuer":     func(c jwt.MapClaims) { c["iss"] = "you" },
		"audience":   func(c jwt.MapClaims) { c["aud"] = "other" },
		"no expiry":  func(c jwt.MapClaims) { delete(c, "exp") },
		"not yet":    func(c jwt.MapClaims) { c["nbf"] = time.Now().Add(time.Hour).Unix() },
		"no subject": func(c jwt.MapClaims) { delete(c, "sub") },
	} {
		if p, err := ask(a, s.token(t, "ed", change)); err == nil || errors.Is(err, webv4.ErrTokenExpired) {
			t.Errorf("%s: %+v %v", name, p, err)
		}
	}
	if _, err := ask(a, s.token(t, "ed", func(c jwt.MapClaims) { c["exp"] = time.Now().Add(-time.Minute).Unix() })); !errors.Is(err, webv4.ErrTokenExpired) {
		t.Errorf("expired: %v", err)
	}
	good := s.token(t, "ed", nil)
	none := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "7", "iss": "me", "aud": "api", "exp": time.Now().Add(time.Hour).Unix()})
	noneText, _ := none.SignedString(jwt.UnsafeAllowNoneSignatureType)
	for name, token := range map[string]string{
		"none": noneText, "garbage": "a.b.c", "cut": good[:len(good)-10], "changed": good[:20] + "A" + good[21:], "long": good + strings.Repeat("x", 9000),
	} {
		if p, err := ask(a, token); err == nil {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if p, err := ask(a, s.token(t, "ed", func(c jwt.MapClaims) {
		delete(c, "client_id")
		delete(c, "scope")
		c["azp"], c["scp"] = "z", []string{"a", "b"}
	})); err != nil || p.App != "z" || fmt.Sprint(p.Scopes) != "[a b]" {
		t.Errorf("%+v %v", p, err)
	}
}

// A public key is not taken for an HMAC secret.
func TestAlgorithmConfusion(t *testing.T) {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	a := newAuth(t, &jwtauth.Options{Keys: map[string]any{"": public}})
	tok := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "7", "exp": time.Now().Add(time.Hour).Unix()})
	text, err := tok.SignedString([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ask(a, text); err == nil {
		t.Errorf("%+v", p)
	}
	b := newAuth(t, &jwtauth.Options{Keys: map[string]any{"": []byte(public)}, Algorithms: []string{"HS256"}})
	if _, err := ask(b, text); err != nil {
		t.Error(err)
	}
}

func TestKeyRotation(t *testing.T) {
	s := &issuer{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	s.add(t, "one", jwt.SigningMethodEdDSA)
	a := newAuth(t, &jwtauth.Options{JWKS: srv.URL, Refresh: time.Millisecond, CacheSize: -1})
	if _, err := ask(a, s.token(t, "one", nil)); err != nil {
		t.Fatal(err)
	}
	s.add(t, "two", jwt.SigningMethodEdDSA)
	time.Sleep(2 * time.Millisecond)
	if _, err := ask(a, s.token(t, "two", nil)); err != nil {
		t.Fatal(err)
	}
	// When the set does not come, what is known stays good.
	s.broken.Store(true)
	s.add(t, "three", jwt.SigningMethodEdDSA)
	time.Sleep(2 * time.Millisecond)
	var e *webv4.Error
	if _, err := ask(a, s.token(t, "three", nil)); !errors.As(err, &e) || e.Code != webv4.CodeRemoteService {
		t.Errorf("a key that nobody could look up: %v", err)
	}
	if _, err := ask(a, s.token(t, "one", nil)); err != nil {
		t.Error(err)
	}
	if st := a.Stats(); st.Failed == 0 || st.Fetched != 2 {
		t.Errorf("stats %+v", st)
	}
}

// A key that the issuer has taken out is good no longer than MaxAge, not even for
// tokens that were verified before.
func TestKeyWithdrawn(t *testing.T) {
	s := &issuer{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	s.add(t, "one", jwt.SigningMethodEdDSA)
	s.add(t, "two", jwt.SigningMethodEdDSA)
	a := newAuth(t, &jwtauth.Options{JWKS: srv.URL, Refresh: time.Nanosecond, MaxAge: time.Nanosecond})
	one, again, two := s.token(t, "one", nil), s.token(t, "one", func(c jwt.MapClaims) { c["jti"] = "again" }), s.token(t, "two", nil)
	if _, err := ask(a, one); err != nil {
		t.Fatal(err)
	}
	s.broken.Store(true)
	if _, err := ask(a, again); err != nil {
		t.Errorf("an old set, and none to be had: %v", err)
	}
	s.broken.Store(false)
	s.mu.Lock()
	s.keys = s.keys[1:]
	s.mu.Unlock()
	if _, err := ask(a, two); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{one, again} {
		var e *webv4.Error
		if _, err := ask(a, token); !errors.As(err, &e) || e.Code != webv4.CodeTokenInvalid {
			t.Errorf("a key that was withdrawn: %v", err)
		}
	}
}

// A key that is of no use does not take the others with it.
func TestOddKeys(t *testing.T) {
	good := `{"kty":"OKP","crv":"Ed25519","kid":"good","x":"` + b64(make([]byte, ed25519.PublicKeySize)) + `"}`
	for _, odd := range []string{
		`{"kty":"RSA","kid":"odd","n":"AQAB","e":"AQAB"}`,
		`{"kty":"EC","crv":"P-256","kid":"odd","x":"AA","y":"AA"}`,
		`{"kty":"OKP","crv":"Ed25519","kid":"odd","x":"!"}`,
	} {
		keys, err := jwtauth.ParseKeySet([]byte(`{"keys":[` + odd + `,` + good + `]}`))
		if err != nil || len(keys) != 1 || keys["good"] == nil {
			t.Errorf("%s beside a good one: %v, %v", odd, keys, err)
		}
		if _, err := jwtauth.ParseKeySet([]byte(`{"keys":[` + odd + `]}`)); err == nil || !strings.Contains(err.Error(), `"odd"`) {
			t.Errorf("%s alone: %v", odd, err)
		}
	}
}

// Tokens with made-up key ids do not make this ask for the keys each time, and
// many callers at once ask once.
func TestFetchesAreLimited(t *testing.T) {
	s := &issuer{}
	srv := httptest.NewServer(s)
	defer srv.Close()
	s.add(t, "one", jwt.SigningMethodEdDSA)
	a := newAuth(t, &jwtauth.Options{JWKS: srv.URL, CacheSize: -1})
	good := s.token(t, "one", nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := ask(a, good); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.add(t, "made-up", jwt.SigningMethodEdDSA)
	for range 20 {
		ask(a, s.token(t, "made-up", nil))
	}
	if n := s.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestCacheIsBoundedAndForgets(t *testing.T) {
	secret := []byte("s")
	calls := 0
	a := newAuth(t, &jwtauth.Options{Keys: map[string]any{"": secret}, Algorithms: []string{"HS256"}, CacheSize: 10, Principal: func(c map[string]any) (webv4.Principal, error) {
		calls++
		return webv4.Principal{ID: fmt.Sprint(c["sub"])}, nil
	}})
	token := func(i int) string {
		s, _ := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": i, "exp": time.Now().Add(time.Hour).Unix()}).SignedString(secret)
		return s
	}
	for i := range 1000 {
		if p, err := ask(a, token(i)); err != nil || p.ID != fmt.Sprint(i) {
			t.Fatal(p, err)
		}
	}
	ask(a, token(999))
	if calls != 1000 {
		t.Errorf("verified %d times", calls)
	}
	a.Forget()
	ask(a, token(999))
	if calls != 1001 {
		t.Errorf("verified %d times after Forget", calls)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []*jwtauth.Options{nil, {}, {JWKS: "x", Algorithms: []string{"none"}}, {JWKS: "x", Algorithms: []string{"XX"}}, {JWKS: "x", Leeway: -1}} {
		if _, err := jwtauth.New(o); err == nil {
			t.Errorf("%+v accepted", o)
		}
	}
	a := newAuth(t, &jwtauth.Options{JWKS: "http://127.0.0.1:1/"})
	if _, err := a.Authenticate(httptest.NewRequest("GET", "/", nil).WithContext(context.Background())); !errors.Is(err, webv4.ErrTokenMissing) {
		t.Error(err)
	}
}

func FuzzKeySet(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"},{"kty":"OKP","crv":"Ed25519","x":""}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := jwtauth.ParseKeySet(data)
		if err != nil && keys != nil {
			t.Fatal("keys and an error")
		}
	})
}

func BenchmarkToken(b *testing.B) {
	_, private, _ := ed25519.GenerateKey(rand.Reader)
	token, _ := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{"sub": "7", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(private)
	for name, size := range map[string]int{"verified": -1, "cached": 0} {
		b.Run(name, func(b *testing.B) {
			a := newAuth(b, &jwtauth.Options{Keys: map[string]any{"": private.Public()}, CacheSize: size})
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
