package feed

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testTokens(t testing.TB) *Tokens {
	t.Helper()
	tokens, err := LoadTokens(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokens(t *testing.T) {
	tokens := testTokens(t)
	now := time.Now()
	good := tokens.Issue(42, now.Add(time.Minute))
	if uid, err := tokens.Check(good, now); uid != 42 || err != nil {
		t.Fatalf("Check of a fresh token = %d, %v, want 42", uid, err)
	}
	flip := func(i int) string {
		b := []byte(good)
		b[i] ^= 1
		return string(b)
	}
	for _, tc := range []struct {
		name, token string
		at          time.Time
		want        error
	}{
		{"expired", good, now.Add(2 * time.Minute), errTokenExpired},
		{"empty", "", now, errTokenMalformed},
		{"no mac", "42.99999999999", now, errTokenMalformed},
		{"other user", flip(0), now, errTokenForged},
		{"other time", flip(5), now, errTokenForged},
		{"short mac", good[:len(good)-1], now, errTokenMalformed},
		{"no hex", good[:len(good)-1] + "g", now, errTokenMalformed},
		{"long", strings.Repeat("1", 200) + good, now, errTokenMalformed},
		{"another secret", testTokens(t).Issue(42, now.Add(time.Minute)), now, errTokenForged},
	} {
		if uid, err := tokens.Check(tc.token, tc.at); !errors.Is(err, tc.want) {
			t.Errorf("%s: Check = %d, %v, want %v", tc.name, uid, err, tc.want)
		}
	}
}

func TestTokensShareTheSecretFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	a, err := LoadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	b, err := LoadTokens(file)
	if err != nil {
		t.Fatal(err)
	}
	if uid, err := b.Check(a.Issue(7, time.Now().Add(time.Hour)), time.Now()); uid != 7 || err != nil {
		t.Errorf("a token of one process at another: %d, %v, want 7", uid, err)
	}
}
