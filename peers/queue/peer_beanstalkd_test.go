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
		pid, addr := startProgram(t, "beanstalkd", "on Debian, apt-get install beanstalkd", func(port string) []string {
			return []string{"-l", "127.0.0.1", "-p", port, "-b", dir, fsync}
		})
		return &server{pid, openText(addr, beanstalkdDialect)}
	}
}

func beanstalkdDialect(client, size int, got func([]byte)) *dialect {
	b := newBodies(client, size, got)
	var ids line[uint64]
	return &dialect{
		put: exchange{func(out []byte) []byte {
			body := b.next()
			out = append(out, "put 0 0 60 "...) // priority, delay, seconds to run
			out = strconv.AppendInt(out, int64(len(body)), 10)
			out = append(out, "\r\n"...)
			out = append(out, body...)
			return append(out, "\r\n"...)
		}, expect("INSERTED ")},
		lend: exchange{
			func(out []byte) []byte { return append(out, "reserve-with-timeout 10\r\n"...) },
			func(in []byte) (int, error) { return cutReserved(in, b, &ids) },
		},
		ack: exchange{func(out []byte) []byte {
			out = append(out, "delete "...)
			out = strconv.AppendUint(out, ids.pop(), 10)
			return append(out, "\r\n"...)
		}, expect("DELETED")},
	}
}

// cutReserved reads the reply to a reserve: RESERVED id length, and the message.
func cutReserved(in []byte, b *bodies, ids *line[uint64]) (int, error) {
	head, n := cutLine(in)
	if n == 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(head, []byte("RESERVED ")) {
		return 0, fmt.Errorf("got %q, want RESERVED", head)
	}
	length, err := lastLength(head)
	if err != nil {
		return 0, err
	}
	id, err := lastNumber(head[:bytes.LastIndexByte(head, ' ')])
	if err != nil {
		return 0, err
	}
	whole := n + length + len("\r\n")
	if len(in) < whole {
		return 0, nil
	}
	ids.push(id)
	return whole, b.receive(in[n : n+length])
}
