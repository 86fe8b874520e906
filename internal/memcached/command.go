// Package memcached reads the command lines of the memcached text protocol.
package memcached

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Limits of the protocol.
const (
	MaxLine = 8 << 10 // bytes of a command line
	MaxKey  = 250     // bytes of a key
)

// ErrFormat is wrapped by errors about a malformed command line.
var ErrFormat = errors.New("memcached: bad command line format")

// Command is one command line. Its slices point into the line.
type Command struct {
	Verb    []byte   // as it came; compare with Is
	Args    [][]byte // everything behind it
	Storage bool     // a body of Bytes bytes and a line end follow

	// Of a storage command:
	Key     []byte
	Flags   uint32
	Exptime int64
	Bytes   int
	NoReply bool

	// Of a meta command:
	Meta    Meta
	BadFlag bool // ms has a flag that is not known; its body follows all the same
}

// Is reports whether the verb is name, which must be in lower case.
func (c *Command) Is(name string) bool {
	if len(c.Verb) != len(name) {
		return false
	}
	for i, b := range c.Verb {
		if b|0x20 != name[i] && b != name[i] {
			return false
		}
	}
	return true
}

// Parse reads one line without its line end into c, reusing c.Args. An error
// with c.Storage set means that nobody knows how long the body is.
func (c *Command) Parse(line []byte) error {
	*c = Command{Args: c.Args[:0], Meta: Meta{Flags: c.Meta.Flags[:0]}}
	for len(line) > 0 {
		word, rest, _ := bytes.Cut(line, space)
		if line = rest; len(word) == 0 {
			continue
		}
		if c.Verb == nil {
			c.Verb = word
		} else {
			c.Args = append(c.Args, word)
		}
	}
	switch {
	case c.Is("set"), c.Is("add"), c.Is("replace"), c.Is("append"), c.Is("prepend"), c.Is("eset"), c.Is("eack"):
		return c.storage(4)
	case c.Is("ms"):
		return c.metaStorage()
	case c.Is("cas"):
		return c.storage(5)
	}
	return nil
}

// Announced is the length of the body that follows a verb that is not known, if it
// looks like a storage command: key, flags, exptime and length. It sets NoReply.
func (c *Command) Announced() (n int, ok bool) {
	if len(c.Args) != 4 && len(c.Args) != 5 || len(c.Args) == 5 && !bytes.Equal(c.Args[4], noreply) {
		return 0, false
	}
	for _, arg := range c.Args[1:3] {
		if _, err := strconv.ParseInt(string(arg), 10, 64); err != nil {
			return 0, false
		}
	}
	length, err := strconv.ParseUint(string(c.Args[3]), 10, 31)
	if err != nil || length >= 1<<31-1 {
		return 0, false
	}
	c.NoReply = len(c.Args) == 5
	return int(length), true
}

// Own copies the words out of the line, so that they outlast its buffer.
func (c *Command) Own() {
	n := len(c.Verb)
	for _, arg := range c.Args {
		n += len(arg)
	}
	room := make([]byte, 0, n)
	own := func(word []byte) []byte {
		room = append(room, word...)
		return room[len(room)-len(word) : len(room) : len(room)]
	}
	c.Verb = own(c.Verb)
	for i, arg := range c.Args {
		c.Args[i] = own(arg)
	}
	if c.Key != nil {
		c.Key = c.Args[0]
	}
}

var (
	space   = []byte{' '}
	noreply = []byte("noreply")
)

// storage reads key, flags, exptime and length, then optionally noreply.
func (c *Command) storage(words int) error {
	c.Storage = true
	if len(c.Args) < words || len(c.Args) > words+1 {
		return fmt.Errorf("%w: %s takes %d or %d words, got %d", ErrFormat, c.Verb, words, words+1, len(c.Args))
	}
	c.NoReply = len(c.Args) == words+1 && bytes.Equal(c.Args[words], noreply)
	if err := CheckKey(c.Args[0]); err != nil {
		return err
	}
	c.Key = c.Args[0]
	flags, err := strconv.ParseUint(string(c.Args[1]), 10, 32)
	if err != nil {
		return fmt.Errorf("%w: flags %.20q", ErrFormat, c.Args[1])
	}
	c.Flags = uint32(flags)
	if c.Exptime, err = strconv.ParseInt(string(c.Args[2]), 10, 64); err != nil {
		return fmt.Errorf("%w: exptime %.20q", ErrFormat, c.Args[2])
	}
	n, err := strconv.ParseUint(string(c.Args[3]), 10, 31)
	if err != nil || n >= 1<<31-1 {
		return fmt.Errorf("%w: length %.20q", ErrFormat, c.Args[3])
	}
	c.Bytes = int(n)
	return nil
}

// CheckKey reports what is wrong with a key: nothing, or its length, or a
// control byte.
func CheckKey(key []byte) error {
	if len(key) == 0 || len(key) > MaxKey {
		return fmt.Errorf("%w: key of %d bytes, want 1 to %d", ErrFormat, len(key), MaxKey)
	}
	for _, b := range key {
		if b <= ' ' || b == 0x7f {
			return fmt.Errorf("%w: control byte in the key", ErrFormat)
		}
	}
	return nil
}
