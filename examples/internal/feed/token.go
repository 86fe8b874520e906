package feed

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Tokens issues and checks access tokens of the form uid.expiry.mac, where mac
// is the first half of HMAC-SHA256 over "uid.expiry". It is safe for
// concurrent use.
type Tokens struct {
	macs sync.Pool
}

var (
	errTokenMalformed = errors.New("feed: access token malformed")
	errTokenForged    = errors.New("feed: access token not issued here")
	errTokenExpired   = errors.New("feed: access token expired")
)

const macSize = sha256.Size / 2

// LoadTokens reads the secret in file, making a random one first if there is none.
func LoadTokens(file string) (*Tokens, error) {
	secret, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		secret, err = createSecret(file)
	}
	if err != nil {
		return nil, fmt.Errorf("feed: token secret: %w", err)
	}
	if len(secret) < 32 {
		return nil, fmt.Errorf("feed: token secret: %s holds %d bytes, want at least 32", file, len(secret))
	}
	t := &Tokens{}
	t.macs.New = func() any { return hmac.New(sha256.New, secret) }
	return t, nil
}

// createSecret links a finished file into place, so that of several tiers
// starting at once all end up with the same secret.
func createSecret(file string) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "secret-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	secret := make([]byte, 32)
	rand.Read(secret)
	_, err = tmp.Write(secret)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	if err := os.Link(tmp.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(file)
}

// Issue returns a token for uid that is good until the given time.
func (t *Tokens) Issue(uid int64, until time.Time) string {
	claim := strconv.FormatInt(uid, 10) + "." + strconv.FormatInt(until.Unix(), 10)
	var mac [macSize]byte
	t.sum(mac[:], claim)
	return claim + "." + hex.EncodeToString(mac[:])
}

// Check returns the user a token was issued to.
func (t *Tokens) Check(token string, now time.Time) (int64, error) {
	if len(token) > 128 {
		return 0, errTokenMalformed
	}
	cut := strings.LastIndexByte(token, '.')
	if cut < 0 || len(token)-cut-1 != 2*macSize {
		return 0, errTokenMalformed
	}
	claim := token[:cut]
	var given, want [macSize]byte
	if _, err := hex.Decode(given[:], []byte(token[cut+1:])); err != nil {
		return 0, errTokenMalformed
	}
	t.sum(want[:], claim)
	if !hmac.Equal(given[:], want[:]) {
		return 0, errTokenForged
	}
	user, expiry, ok := strings.Cut(claim, ".")
	uid, err1 := strconv.ParseInt(user, 10, 64)
	exp, err2 := strconv.ParseInt(expiry, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return 0, errTokenMalformed
	}
	if now.Unix() >= exp {
		return 0, errTokenExpired
	}
	return uid, nil
}

func (t *Tokens) sum(dst []byte, claim string) {
	h := t.macs.Get().(hash.Hash)
	h.Reset()
	h.Write([]byte(claim))
	var full [sha256.Size]byte
	copy(dst, h.Sum(full[:0]))
	t.macs.Put(h)
}
