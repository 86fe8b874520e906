package queue_test

import (
	"fmt"
	"strconv"
	"testing"
)

func startRedis(appendfsync string) func(testing.TB) *server {
	return func(t testing.TB) *server {
		dir := t.TempDir()
		pid, addr := startProgram(t, "redis-server", "on Debian, apt-get install redis-server", func(port string) []string {
			return []string{
				"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--daemonize", "no",
				"--save", "", "--appendonly", "yes", "--appendfsync", appendfsync,
			}
		})
		return &server{pid, openText(addr, redisDialect)}
	}
}

// redisDialect uses the list "q" as a queue. What a client dequeues lies in a
// list of its own until it is acknowledged, as Redis' documentation has it.
func redisDialect(client, size int, got func([]byte)) *dialect {
	b := newBodies(client, size, got)
	busy := "busy" + strconv.Itoa(client)
	var lent line[string]
	move := appendCommand(nil, "LMOVE", "q", busy, "RIGHT", "RIGHT")
	return &dialect{
		put: exchange{func(out []byte) []byte {
			return appendBulk(append(out, "*3\r\n$5\r\nLPUSH\r\n$1\r\nq\r\n"...), b.next())
		}, expect(":")},
		take: exchange{
			func(out []byte) []byte { return append(out, "*2\r\n$4\r\nRPOP\r\n$1\r\nq\r\n"...) },
			func(in []byte) (int, error) { return cutBulk(in, b, nil) },
		},
		lend: exchange{
			func(out []byte) []byte { return append(out, move...) },
			func(in []byte) (int, error) { return cutBulk(in, b, &lent) },
		},
		ack: exchange{func(out []byte) []byte {
			out = appendBulk(append(out, "*4\r\n$4\r\nLREM\r\n"...), busy)
			return appendBulk(appendBulk(out, "1"), lent.pop())
		}, expect(":1")},
	}
}

func appendCommand(b []byte, words ...string) []byte {
	b = append(b, '*')
	b = strconv.AppendInt(b, int64(len(words)), 10)
	b = append(b, "\r\n"...)
	for _, w := range words {
		b = appendBulk(b, w)
	}
	return b
}

func appendBulk[T string | []byte](b []byte, s T) []byte {
	b = append(b, '$')
	b = strconv.AppendInt(b, int64(len(s)), 10)
	b = append(b, "\r\n"...)
	b = append(b, s...)
	return append(b, "\r\n"...)
}

// cutBulk reads a reply that is a message, and keeps it in lent.
func cutBulk(in []byte, b *bodies, lent *line[string]) (int, error) {
	head, n := cutLine(in)
	if n == 0 {
		return 0, nil
	}
	if len(head) < 2 || head[0] != '$' {
		return 0, fmt.Errorf("got %q, want a message", head)
	}
	length, err := lastLength(head[1:])
	if err != nil {
		return 0, err
	}
	whole := n + length + len("\r\n")
	if len(in) < whole {
		return 0, nil
	}
	body := in[n : n+length]
	if lent != nil {
		lent.push(string(body))
	}
	return whole, b.receive(body)
}
