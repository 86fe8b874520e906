package memcached

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
)

// Meta is what a meta command says behind its verb: a key and flags, each a
// letter with a value behind it.
type Meta struct {
	Key   []byte
	Flags [][]byte
}

// Parse reads the words of mg or md, whose slices it keeps.
func (m *Meta) Parse(args [][]byte) error {
	m.Flags = m.Flags[:0]
	if len(args) == 0 {
		return fmt.Errorf("%w: no key", ErrFormat)
	}
	if err := CheckKey(args[0]); err != nil {
		return err
	}
	m.Key = args[0]
	for _, f := range args[1:] {
		if m.Has(f[0]) {
			return fmt.Errorf("%w: flag %c twice", ErrFormat, f[0])
		}
		m.Flags = append(m.Flags, f)
	}
	return nil
}

// Has reports whether the flag is there.
func (m *Meta) Has(flag byte) bool { return m.Value(flag) != nil }

// Value is what stands behind the flag's letter; nil if the flag is not there.
func (m *Meta) Value(flag byte) []byte {
	for _, f := range m.Flags {
		if f[0] == flag {
			return f[1:]
		}
	}
	return nil
}

// Own returns a copy that outlasts the line's buffer.
func (m *Meta) Own() Meta {
	own := Meta{Key: bytes.Clone(m.Key)}
	for _, f := range m.Flags {
		own.Flags = append(own.Flags, bytes.Clone(f))
	}
	return own
}

// metaStorage reads ms: key, length, then flags, of which F are the client's
// flags, T the exptime, b a key in base64 and k, O, q, c for the reply.
func (c *Command) metaStorage() error {
	c.Storage = true
	if len(c.Args) < 2 {
		return fmt.Errorf("%w: ms takes a key and a length", ErrFormat)
	}
	n, err := strconv.ParseUint(string(c.Args[1]), 10, 31)
	if err != nil || n >= 1<<31-1 {
		return fmt.Errorf("%w: length %.20q", ErrFormat, c.Args[1])
	}
	c.Bytes = int(n)
	words := append([][]byte{c.Args[0]}, c.Args[2:]...)
	if err := c.Meta.Parse(words); err != nil {
		return err
	}
	c.Key = c.Meta.Key
	for _, f := range c.Meta.Flags {
		switch value := f[1:]; f[0] {
		case 'F':
			flags, err := strconv.ParseUint(string(value), 10, 32)
			if err != nil {
				return fmt.Errorf("%w: flags %.20q", ErrFormat, value)
			}
			c.Flags = uint32(flags)
		case 'T':
			if c.Exptime, err = strconv.ParseInt(string(value), 10, 64); err != nil {
				return fmt.Errorf("%w: exptime %.20q", ErrFormat, value)
			}
		case 'M':
			if len(value) == 0 || value[0]|0x20 != 's' {
				return fmt.Errorf("%w: mode %.20q", ErrFormat, value)
			}
		case 'b':
			if c.Key, err = base64.StdEncoding.AppendDecode(nil, c.Meta.Key); err != nil {
				return fmt.Errorf("%w: key: %w", ErrFormat, err)
			}
			if err := CheckKey(c.Key); err != nil {
				return err
			}
		case 'k', 'O', 'q', 'c', 'I', 'S':
		default:
			c.BadFlag = true
		}
	}
	return nil
}
