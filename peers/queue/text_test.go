package queue_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// textConn is a connection on which requests and replies are lines and blocks
// of bytes, as with memcached, Redis and beanstalkd.
type textConn struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte // requests to send
	body []byte // the last block read
}

func dialText(addr string) (*textConn, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	return &textConn{conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}, nil
}

func (c *textConn) close() { c.conn.Close() }

// send sends what is in out.
func (c *textConn) send() error {
	c.conn.SetDeadline(time.Now().Add(patience))
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	return err
}

// line reads a line, valid until the next read.
func (c *textConn) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}

// expect reads n lines that must all be want.
func (c *textConn) expect(n int, want string) error {
	for range n {
		line, err := c.line()
		if err != nil {
			return err
		}
		if string(line) != want {
			return fmt.Errorf("got %q, want %q", line, want)
		}
	}
	return nil
}

// block reads n bytes and a line end, valid until the next block.
func (c *textConn) block(n int) ([]byte, error) {
	if n < 0 || n > 1<<20 {
		return nil, fmt.Errorf("a block of %d bytes", n)
	}
	if cap(c.body) < n+2 {
		c.body = make([]byte, n+2)
	}
	b := c.body[:n+2]
	if _, err := io.ReadFull(c.in, b); err != nil {
		return nil, err
	}
	return b[:n], nil
}

// lastNumber reads the last word of a line as a number.
func lastNumber(line []byte) (uint64, error) {
	return strconv.ParseUint(string(line[bytes.LastIndexByte(line, ' ')+1:]), 10, 64)
}
