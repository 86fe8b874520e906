package queue_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"runtime/pprof"
	"strconv"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

func startMCQ(sync string) func(testing.TB) *server {
	return func(t testing.TB) *server {
		pid, addr := startChild(t, "mcq", sync, t.TempDir())
		return &server{pid: pid, dial: func(client, size int) (client, error) { return dialMCQ(addr, client, size) }}
	}
}

// profileEnv names a file for the CPU profile of mcq's server; each server
// writes it anew.
const profileEnv = "HEDDLE_QUEUE_PROFILE"

// serveMCQ serves the store in a directory: sync, directory.
func serveMCQ(args []string) (addr string, stop func() error, err error) {
	sync, ok := map[string]mcq.Sync{"always": mcq.Always, "interval": mcq.Interval, "never": mcq.Never}[args[0]]
	if !ok {
		return "", nil, fmt.Errorf("sync %q", args[0])
	}
	b, err := mcq.Open(args[1], &mcq.Options{Sync: sync})
	if err != nil {
		return "", nil, err
	}
	s, err := mcq.NewServer(b, nil)
	if err != nil {
		return "", nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	if name := os.Getenv(profileEnv); name != "" {
		f, err := os.Create(name)
		if err != nil {
			return "", nil, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return "", nil, err
		}
	}
	go s.Serve(ln)
	return ln.Addr().String(), func() error {
		pprof.StopCPUProfile()
		s.Close()
		return b.Close()
	}, nil
}

// mcqClient speaks to mcq as any memcached client could.
type mcqClient struct {
	*textConn
	*bodies
	ids []uint64
}

func dialMCQ(addr string, client, size int) (client, error) {
	c, err := dialText(addr)
	return &mcqClient{textConn: c, bodies: newBodies(client, size)}, err
}

func (c *mcqClient) enqueue(n int) error {
	for range n {
		c.out = appendSet(c.out, "q", c.next())
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.expect(n, "STORED")
}

// appendSet appends a set command of the memcached protocol.
func appendSet(b []byte, key string, body []byte) []byte {
	b = append(b, "set "...)
	b = append(b, key...)
	b = append(b, " 0 0 "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	b = append(b, body...)
	return append(b, "\r\n"...)
}

func (c *mcqClient) take(n int, got func([]byte)) error {
	for range n {
		c.out = append(c.out, "get q\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	return readValues(c.textConn, c.bodies, n, got, nil)
}

func (c *mcqClient) dequeue(n int, got func([]byte)) error {
	for range n {
		c.out = append(c.out, "gets q/lease=60\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	c.ids = c.ids[:0]
	if err := readValues(c.textConn, c.bodies, n, got, func(id uint64) { c.ids = append(c.ids, id) }); err != nil {
		return err
	}
	for _, id := range c.ids {
		c.out = append(c.out, "delete q/ack="...)
		c.out = strconv.AppendUint(c.out, id, 10)
		c.out = append(c.out, "\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.expect(n, "DELETED")
}

// readValues reads the replies to n gets, or with id to n gets with a cas value.
func readValues(c *textConn, b *bodies, n int, got func([]byte), id func(uint64)) error {
	for range n {
		line, err := c.line()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("VALUE ")) {
			return fmt.Errorf("got %q, want a VALUE", line)
		}
		if id != nil {
			v, err := lastNumber(line)
			if err != nil {
				return err
			}
			id(v)
			line = line[:bytes.LastIndexByte(line, ' ')]
		}
		length, err := lastNumber(line)
		if err != nil {
			return err
		}
		body, err := c.block(int(length))
		if err != nil {
			return err
		}
		if err := b.check(body); err != nil {
			return err
		}
		if got != nil {
			got(body)
		}
		if err := c.expect(1, "END"); err != nil {
			return err
		}
	}
	return nil
}
