package web

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strconv"
	"testing"
	"time"
)

// client is one connection of a client that does the least possible, so that
// it leaves the machine to the server.
type client struct {
	conn net.Conn
	rd   *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &client{conn, bufio.NewReaderSize(conn, 4096)}, nil
}

// exchange sends a request and reads the reply, which must have a length. done
// says that the server closes the connection.
func (c *client) exchange(request []byte) (status int, done bool, err error) {
	if _, err := c.conn.Write(request); err != nil {
		return 0, true, err
	}
	line, err := c.rd.ReadSlice('\n')
	if err != nil {
		return 0, true, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, true, fmt.Errorf("no status line: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, true, err
	}
	n := -1
	for {
		line, err := c.rd.ReadSlice('\n')
		if err != nil {
			return 0, true, err
		}
		if len(line) <= 2 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if n, err = strconv.Atoi(string(value)); err != nil {
				return 0, true, err
			}
		case bytes.EqualFold(name, []byte("Connection")):
			done = bytes.EqualFold(value, []byte("close"))
		}
	}
	if n < 0 {
		return 0, true, fmt.Errorf("status %d without a length", status)
	}
	_, err = c.rd.Discard(n)
	return status, done || err != nil, err
}

// get is a GET as bytes.
func get(target string, headers ...string) []byte {
	b := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: */*\r\n", target)
	for _, h := range headers {
		b = append(append(b, h...), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// overLoopback sends a request over 64 connections, over and over.
func overLoopback(b *testing.B, s *process, request []byte) {
	b.Helper()
	c, err := dial(s.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.conn.Close()
	for range 200 { // what is made on the first requests is made
		if status, _, err := c.exchange(request); err != nil || status != 200 {
			b.Fatalf("status %d, %v", status, err)
		}
	}
	b.SetParallelism(max(64/runtime.GOMAXPROCS(0), 1))
	b.ResetTimer()
	before := s.cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		c, err := dial(s.addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.conn.Close()
		for pb.Next() {
			if status, _, err := c.exchange(request); err != nil || status != 200 {
				b.Errorf("status %d, %v", status, err)
				return
			}
		}
	})
	b.ReportMetric(float64(s.cpu(b)-before)/float64(b.N), "server-cpu-ns/op")
}

// drop ends the connection at once, so that nothing lingers of those that were
// given up.
func (c *client) drop() {
	if t, ok := c.conn.(*net.TCPConn); ok {
		// If it cannot be set, the close takes a little longer.
		_ = t.SetLinger(0)
	}
	c.conn.Close()
}
