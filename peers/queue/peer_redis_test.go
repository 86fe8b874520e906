package queue_test

import (
	"fmt"
	"strconv"
	"testing"
)

func startRedis(appendfsync string) func(testing.TB) *server {
	return func(t testing.TB) *server {
		dir := t.TempDir()
		pid, addr := startProgram(t, "redis-server", "redis-server", func(port string) []string {
			return []string{
				"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--daemonize", "no",
				"--save", "", "--appendonly", "yes", "--appendfsync", appendfsync,
			}
		})
		return &server{pid: pid, dial: func(client, size int) (client, error) {
			c, err := dialText(addr)
			return &redisClient{textConn: c, bodies: newBodies(client, size), busy: "busy" + strconv.Itoa(client)}, err
		}}
	}
}

// redisClient uses the list "q" as a queue. What it dequeues lies in a list of
// its own until it is acknowledged, as Redis' documentation has it.
type redisClient struct {
	*textConn
	*bodies
	busy   string
	leased [][]byte
}

func (c *redisClient) command(words ...string) {
	c.out = append(c.out, '*')
	c.out = strconv.AppendInt(c.out, int64(len(words)), 10)
	c.out = append(c.out, "\r\n"...)
	for _, w := range words {
		c.out = appendBulk(c.out, w)
	}
}

func appendBulk[T string | []byte](b []byte, s T) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "\r\n"...)
	b = append(b, s...)
	return append(b, "\r\n"...)
}

func (c *redisClient) enqueue(n int) error {
	for range n {
		c.out = append(c.out, "*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n"...)
		c.out = appendBulk(c.out, c.next())
	}
	if err := c.send(); err != nil {
		return err
	}
	for range n {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) == 0 || line[0] != ':' {
			return fmt.Errorf("got %q, want a number", line)
		}
	}
	return nil
}

// bulks reads n messages.
func (c *redisClient) bulks(n int, got func([]byte)) error {
	for range n {
		line, err := c.line()
		if err != nil {
			return err
		}
		if len(line) < 2 || line[0] != '$' {
			return fmt.Errorf("got %q, want a message", line)
		}
		length, err := strconv.Atoi(string(line[1:]))
		if err != nil {
			return err
		}
		body, err := c.block(length)
		if err != nil {
			return err
		}
		if err := c.check(body); err != nil {
			return err
		}
		if got != nil {
			got(body)
		}
	}
	return nil
}

func (c *redisClient) take(n int, got func([]byte)) error {
	for range n {
		c.out = append(c.out, "*2\r\n$4\r\nRPOP\r\n$1\r\nq\r\n"...)
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.bulks(n, got)
}

func (c *redisClient) dequeue(n int, got func([]byte)) error {
	for range n {
		c.command("LMOVE", "q", c.busy, "RIGHT", "RIGHT")
	}
	if err := c.send(); err != nil {
		return err
	}
	for len(c.leased) < n {
		c.leased = append(c.leased, nil)
	}
	at := 0
	err := c.bulks(n, func(body []byte) {
		c.leased[at] = append(c.leased[at][:0], body...)
		at++
		if got != nil {
			got(body)
		}
	})
	if err != nil {
		return err
	}
	for _, body := range c.leased[:n] {
		c.out = append(c.out, "*4\r\n$4\r\nLREM\r\n"...)
		c.out = appendBulk(c.out, c.busy)
		c.out = appendBulk(c.out, "1")
		c.out = appendBulk(c.out, body)
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.expect(n, ":1")
}
