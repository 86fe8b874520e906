package jetqueue

import (
	"fmt"
	"strings"

	"github.com/heddle-go/heddle/mcq"
)

// A queue's name becomes a token of a NATS subject and part of a stream's name.
// Bytes that these cannot have are written as = and two hexadecimal digits.

// maxToken is the longest token: a stream's name has at most 255 bytes and is
// the name of a directory.
const maxToken = 200

func plain(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

// token writes name as a token.
func token(name string) string {
	var b strings.Builder
	for i := range len(name) {
		if c := name[i]; plain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// parseToken is the reverse of token; it takes nothing that token does not write.
func parseToken(s string) (name string, ok bool) {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if plain(s[i]) {
			b = append(b, s[i])
			continue
		}
		if s[i] != '=' || len(s)-i < 3 {
			return "", false
		}
		high, low := strings.IndexByte(upperHex, s[i+1]), strings.IndexByte(upperHex, s[i+2])
		c := byte(high<<4 | low)
		if high < 0 || low < 0 || plain(c) {
			return "", false
		}
		b = append(b, c)
		i += 2
	}
	return string(b), true
}

const upperHex = "0123456789ABCDEF"

// splitName takes "queue+subscriber" apart; for a plain queue the subscriber is "".
func splitName(name string) (queue, subscriber string, err error) {
	if err := mcq.CheckName(name); err != nil {
		return "", "", err
	}
	queue, subscriber, _ = strings.Cut(name, "+")
	for _, part := range []string{queue, subscriber} {
		if n := len(token(part)); n > maxToken {
			return "", "", fmt.Errorf("%w: %.60q takes %d bytes in a stream's name, limit %d", mcq.ErrName, part, n, maxToken)
		}
	}
	return queue, subscriber, nil
}

// checkName reports whether name can be a queue's that messages are put to.
func checkName(name string) error {
	_, subscriber, err := splitName(name)
	if err == nil && subscriber != "" {
		err = fmt.Errorf("%w: %.60q is a subscriber", mcq.ErrName, name)
	}
	return err
}
