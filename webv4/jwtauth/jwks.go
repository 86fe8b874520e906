package jwtauth

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// keySet is the last key set that was fetched.
type keySet struct {
	fetched, failed atomic.Uint64

	mu      sync.Mutex
	keys    map[string]any
	old     time.Time // from then on the set is fetched again, though the key is there
	next    time.Time // before that, none is fetched
	err     error     // of the last fetch
	loading chan struct{}
}

// noSet says that a key may well be good: the set that would have it did not come.
type noSet struct{ err error }

func (e *noSet) Error() string { return e.err.Error() }
func (e *noSet) Unwrap() error { return e.err }

var errNoKey = errors.New("jwtauth: no such key")

// key returns the key of an id, fetching the set if it is not there or the set
// is old. Of several callers one fetches; the others wait for it, or go on with
// the key as it was. gone is called when a key was taken out of the set.
func (s *keySet) key(ctx context.Context, o *Options, id string, gone func()) (any, error) {
	for {
		s.mu.Lock()
		now := time.Now()
		k, ok := s.keys[id]
		if ok && (now.Before(s.old) || s.loading != nil || now.Before(s.next)) {
			s.mu.Unlock()
			return k, nil
		}
		if wait := s.loading; wait != nil {
			s.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return nil, &noSet{ctx.Err()}
			}
		}
		if o.JWKS == "" || now.Before(s.next) {
			err := s.err
			s.mu.Unlock()
			if err != nil {
				return nil, &noSet{err}
			}
			return nil, errNoKey
		}
		s.next = now.Add(o.Refresh)
		done := make(chan struct{})
		s.loading = done
		s.mu.Unlock()

		// Others wait for this: one client that goes away must not spoil it.
		keys, err := fetch(context.WithoutCancel(ctx), o)
		s.mu.Lock()
		lost := false
		if s.err = err; err == nil {
			lost = withdrawn(s.keys, keys)
			s.keys, s.old = keys, now.Add(o.MaxAge)
			s.fetched.Add(1)
		} else {
			s.failed.Add(1)
		}
		s.loading = nil
		k, ok = s.keys[id]
		s.mu.Unlock()
		if lost {
			gone()
		}
		close(done)
		switch {
		case ok:
			return k, nil
		case err != nil:
			return nil, &noSet{err}
		}
		return nil, errNoKey
	}
}

// withdrawn reports whether a key is no longer there, or is another one.
func withdrawn(before, after map[string]any) bool {
	for id, k := range before {
		if k, ok := k.(interface{ Equal(crypto.PublicKey) bool }); !ok || !k.Equal(after[id]) {
			return true
		}
	}
	return false
}

// maxKeySet bounds a key set's bytes.
const maxKeySet = 1 << 20

func fetch(ctx context.Context, o *Options) (map[string]any, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.JWKS, nil)
	if err != nil {
		return nil, err
	}
	resp, err := o.Client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("jwtauth: key set: %s", resp.Status)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeySet {
		return nil, errors.New("jwtauth: key set: more than 1 MiB")
	}
	return ParseKeySet(data)
}

// ParseKeySet reads the RSA, EC and Ed25519 signature keys of a JWK set, by key
// id. Keys of other kinds and uses are passed over, and so are those that are
// malformed or out of range, as RFC 7517 section 5 has it; if no key is left
// then, the first of them is the error.
func ParseKeySet(data []byte) (map[string]any, error) {
	var set struct {
		Keys []struct {
			Kty, Kid, Use, Crv, N, E, X, Y string
		} `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return nil, fmt.Errorf("jwtauth: key set: %w", err)
	}
	keys := map[string]any{}
	var odd error
	for _, k := range set.Keys {
		if k.Use != "" && k.Use != "sig" {
			continue
		}
		var key any
		var err error
		switch k.Kty {
		case "RSA":
			key, err = rsaKey(k.N, k.E)
		case "EC":
			key, err = ecKey(k.Crv, k.X, k.Y)
		case "OKP":
			key, err = edKey(k.Crv, k.X)
		}
		switch {
		case err != nil && odd == nil:
			odd = fmt.Errorf("jwtauth: key %.100q: %w", k.Kid, err)
		case err == nil && key != nil:
			keys[k.Kid] = key
		}
	}
	if len(keys) == 0 && odd != nil {
		return nil, odd
	}
	return keys, nil
}

func decode(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

func rsaKey(n, e string) (any, error) {
	nb, err1 := decode(n)
	eb, err2 := decode(e)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	exponent := new(big.Int).SetBytes(eb)
	if len(nb) < 256 || len(nb) > 1024 || !exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 || exponent.Bit(0) == 0 {
		return nil, errors.New("modulus or exponent out of range")
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(nb), E: int(exponent.Int64())}, nil
}

func ecKey(curve, x, y string) (any, error) {
	c := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[curve]
	if c == nil {
		return nil, nil // a curve that no accepted algorithm has
	}
	xb, err1 := decode(x)
	yb, err2 := decode(y)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	size := (c.Params().BitSize + 7) / 8
	if len(xb) != size || len(yb) != size {
		return nil, errors.New("coordinates of the wrong size")
	}
	// The uncompressed form of SEC 1; parsing it checks that the point is on the curve.
	return ecdsa.ParseUncompressedPublicKey(c, append(append([]byte{4}, xb...), yb...))
}

func edKey(curve, x string) (any, error) {
	if curve != "Ed25519" {
		return nil, nil
	}
	xb, err := decode(x)
	if err != nil {
		return nil, err
	}
	if len(xb) != ed25519.PublicKeySize {
		return nil, errors.New("key of the wrong size")
	}
	return ed25519.PublicKey(xb), nil
}
