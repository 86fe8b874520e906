package queue_test

import (
	"bytes"
	"fmt"
	"strconv"
	"testing"
)

// startBeanstalkd starts a beanstalkd with a log; its default is -f50.
func startBeanstalkd(fsync string) func(testing.TB) *server {
	return func(t testing.TB) *server {
		dir := t.TempDir()
		pid, addr := startProgram(t, "beanstalkd", "beanstalkd", func(port string) []string {
			return []string{"-l", "127.0.0.1", "-p", port, "-b", dir, fsync}
		})
		return &server{pid: pid, dial: func(client, size int) (client, error) {
			c, err := dialText(addr)
			return &beanstalkdClient{textConn: c, bodies: newBodies(client, size)}, err
		}}
	}
}

type beanstalkdClient struct {
	*textConn
	*bodies
	ids []uint64
}

func (c *beanstalkdClient) enqueue(n int) error {
	for range n {
		body := c.next()
		c.out = append(c.out, "put 0 0 60 "...) // priority, delay, seconds to run
		c.out = strconv.AppendInt(c.out, int64(len(body)), 10)
		c.out = append(c.out, "\r\n"...)
		c.out = append(c.out, body...)
		c.out = append(c.out, "\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	for range n {
		line, err := c.line()
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("INSERTED ")) {
			return fmt.Errorf("got %q, want INSERTED", line)
		}
	}
	return nil
}

func (c *beanstalkdClient) take(int, func([]byte)) error {
	return fmt.Errorf("beanstalkd does not remove in one request")
}

func (c *beanstalkdClient) dequeue(n int, got func([]byte)) error {
	for range n {
		c.out = append(c.out, "reserve-with-timeout 10\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	c.ids = c.ids[:0]
	for range n {
		line, err := c.line()
		if err != nil {
			return err
		}
		rest, ok := bytes.CutPrefix(line, []byte("RESERVED "))
		id, length, _ := bytes.Cut(rest, []byte{' '})
		number, err := strconv.ParseUint(string(id), 10, 64)
		size, err2 := strconv.Atoi(string(length))
		if !ok || err != nil || err2 != nil {
			return fmt.Errorf("got %q, want RESERVED", line)
		}
		body, err := c.block(size)
		if err != nil {
			return err
		}
		if err := c.check(body); err != nil {
			return err
		}
		if got != nil {
			got(body)
		}
		c.ids = append(c.ids, number)
	}
	for _, id := range c.ids {
		c.out = append(c.out, "delete "...)
		c.out = strconv.AppendUint(c.out, id, 10)
		c.out = append(c.out, "\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.expect(n, "DELETED")
}
