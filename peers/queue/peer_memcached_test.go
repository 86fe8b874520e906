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
	pid, addr := startProgram(t, "memcached", "on Debian, apt-get install memcached", func(port string) []string {
		args := []string{"-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "4096", "-c", "2048", "-t", strconv.Itoa(runtime.NumCPU())}
		if os.Geteuid() == 0 {
			args = append(args, "-u", "nobody") // it refuses to run as root
		}
		return args
	})
	return &server{pid, openText(addr, memcachedDialect)}
}

// memcachedDialect plays a queue of the client's own with numbered keys.
func memcachedDialect(client, size int, got func([]byte)) *dialect {
	b := newBodies(client, size, got)
	prefix := "q" + strconv.Itoa(client) + ":"
	var put, taken, acked int
	nextKey := func(out []byte, n *int) []byte {
		*n++
		return strconv.AppendInt(append(out, prefix...), int64(*n), 10)
	}
	get := exchange{
		func(out []byte) []byte { return append(nextKey(append(out, "get "...), &taken), "\r\n"...) },
		func(in []byte) (int, error) { return cutValue(in, b, nil) },
	}
	return &dialect{
		put: exchange{func(out []byte) []byte {
			return appendValue(nextKey(append(out, "set "...), &put), b.next())
		}, expect("STORED")},
		take: get,
		lend: get,
		ack: exchange{func(out []byte) []byte {
			return append(nextKey(append(out, "delete "...), &acked), "\r\n"...)
		}, expect("DELETED")},
	}
}
