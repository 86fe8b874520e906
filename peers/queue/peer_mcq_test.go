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
		return &server{pid, openText(addr, mcqDialect)}
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

// mcqDialect speaks to mcq as any memcached client could.
func mcqDialect(client, size int, got func([]byte)) *dialect {
	b := newBodies(client, size, got)
	var ids line[uint64]
	return &dialect{
		put: exchange{func(out []byte) []byte { return appendValue(append(out, "set q"...), b.next()) }, expect("STORED")},
		take: exchange{
			func(out []byte) []byte { return append(out, "get q\r\n"...) },
			func(in []byte) (int, error) { return cutValue(in, b, nil) },
		},
		lend: exchange{
			func(out []byte) []byte { return append(out, "gets q/lease=60\r\n"...) },
			func(in []byte) (int, error) { return cutValue(in, b, &ids) },
		},
		ack: exchange{func(out []byte) []byte {
			out = append(out, "delete q/ack="...)
			out = strconv.AppendUint(out, ids.pop(), 10)
			return append(out, "\r\n"...)
		}, expect("DELETED")},
	}
}

// appendValue appends what follows the key of a set.
func appendValue(b, body []byte) []byte {
	b = append(b, " 0 0 "...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n"...)
	b = append(b, body...)
	return append(b, "\r\n"...)
}

// cutValue reads the reply to a get, or with ids to a gets.
func cutValue(in []byte, b *bodies, ids *line[uint64]) (int, error) {
	head, n := cutLine(in)
	if n == 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(head, []byte("VALUE ")) {
		return 0, fmt.Errorf("got %q, want a VALUE", head)
	}
	var id uint64
	if ids != nil {
		var err error
		if id, err = lastNumber(head); err != nil {
			return 0, err
		}
		head = head[:bytes.LastIndexByte(head, ' ')]
	}
	length, err := lastLength(head)
	if err != nil {
		return 0, err
	}
	const end = "\r\nEND\r\n"
	whole := n + length + len(end)
	if len(in) < whole {
		return 0, nil
	}
	body, rest := in[n:n+length], in[n+length:whole]
	if string(rest) != end {
		return 0, fmt.Errorf("got %q behind a message", rest)
	}
	if ids != nil {
		ids.push(id)
	}
	return whole, b.receive(body)
}
