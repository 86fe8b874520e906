package mcq

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"io"

	"github.com/heddle-go/heddle/internal/memcached"
)

const maxCredentials = 16 << 10

// authenticate reads the first command of a connection that has to say who it
// is: a set of any key to "name password". Others are refused, and the
// connection ends where a body would follow or the password is wrong.
func (c *session) authenticate(cmd *memcached.Command) bool {
	switch {
	case !cmd.Storage:
		c.complain("CLIENT_ERROR unauthenticated\r\n")
		return !cmd.Is("quit")
	case !cmd.Is("set"):
		c.complain("CLIENT_ERROR unauthenticated\r\n")
		return false
	case cmd.Bytes > maxCredentials:
		c.complain("CLIENT_ERROR auth token too long\r\n")
		return false
	}
	noreply := cmd.NoReply
	c.body = true
	body := make([]byte, cmd.Bytes)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return false
	}
	end, err := c.in.ReadSlice('\n')
	if err != nil || len(end) > 2 || len(end) == 2 && end[0] != '\r' {
		c.complain(replyBadChunk)
		return false
	}
	name, password, _ := bytes.Cut(body, []byte{' '})
	if !c.srv.knows(string(name), password) {
		c.srv.stats.authErrors.Add(1)
		c.complain("CLIENT_ERROR authentication failure\r\n")
		return false
	}
	c.passed = true
	if !noreply {
		c.say(replyStored)
	}
	return true
}

// knows reports whether that is the user's password, in the same time whatever
// is wrong.
func (s *Server) knows(name string, password []byte) bool {
	want, ok := s.opt.Users[name]
	got, real := sha256.Sum256(password), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(got[:], real[:]) == 1 && ok
}
