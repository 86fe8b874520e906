package queue_test

import (
	"os"
	"runtime"
	"strconv"
	"testing"
)

// startMemcached starts a memcached with a thread for each processor and room
// enough to evict nothing.
func startMemcached(t testing.TB) *server {
	pid, addr := startProgram(t, "memcached", "memcached", func(port string) []string {
		args := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "4096", "-c", "2048", "-t", strconv.Itoa(runtime.NumCPU())}
		if os.Geteuid() == 0 {
			args = append(args, "-u", "nobody") // it refuses to run as root
		}
		return args
	})
	return &server{pid: pid, dial: func(client, size int) (client, error) {
		c, err := dialText(addr)
		return &memcachedClient{textConn: c, bodies: newBodies(client, size), prefix: "q" + strconv.Itoa(client) + ":"}, err
	}}
}

// memcachedClient plays a queue of its own with numbered keys.
type memcachedClient struct {
	*textConn
	*bodies
	prefix     string
	head, tail int // numbers of the next key to get and to set
}

func (c *memcachedClient) enqueue(n int) error {
	for range n {
		c.out = appendSet(c.out, c.prefix+strconv.Itoa(c.tail), c.next())
		c.tail++
	}
	if err := c.send(); err != nil {
		return err
	}
	return c.expect(n, "STORED")
}

func (c *memcachedClient) request(verb string, from, n int) error {
	for i := range n {
		c.out = append(c.out, verb...)
		c.out = append(c.out, c.prefix...)
		c.out = strconv.AppendInt(c.out, int64(from+i), 10)
		c.out = append(c.out, "\r\n"...)
	}
	return c.send()
}

func (c *memcachedClient) take(n int, got func([]byte)) error {
	if err := c.request("get ", c.head, n); err != nil {
		return err
	}
	c.head += n
	return readValues(c.textConn, c.bodies, n, got, nil)
}

func (c *memcachedClient) dequeue(n int, got func([]byte)) error {
	first := c.head
	if err := c.take(n, got); err != nil {
		return err
	}
	if err := c.request("delete ", first, n); err != nil {
		return err
	}
	return c.expect(n, "DELETED")
}
