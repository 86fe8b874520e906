//go:build memcacheq

package queue_test

import (
	"cmp"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// memcacheqEnv names the program where it is not in PATH.
const memcacheqEnv = "HEDDLE_TEST_MEMCACHEQ"

// startMemcacheq starts a memcacheq whose records have room for a message of 1 KiB
// with its key.
func startMemcacheq(flags ...string) func(testing.TB) *server {
	return func(t testing.TB) *server {
		pid, addr := runMemcacheq(t, flags...)
		return &server{pid, openText(addr, memcacheqDialect)}
	}
}

func runMemcacheq(t testing.TB, flags ...string) (pid int, addr string) {
	dir := t.TempDir()
	install := "doc.go says how to build it; put it into PATH or set " + memcacheqEnv
	return startProgram(t, cmp.Or(os.Getenv(memcacheqEnv), "memcacheq"), install, func(port string) []string {
		args := append([]string{"-l", "127.0.0.1", "-p", port, "-H", dir, "-B", "1200", "-c", "2048"}, flags...)
		if os.Geteuid() == 0 {
			args = append(args, "-u", "root") // it wants to be told
		}
		return args
	})
}

func init() {
	before := func(name string, p peer) {
		at := slices.IndexFunc(peers, func(p peer) bool { return p.name == name })
		peers = slices.Insert(peers, at, p)
	}
	before("beanstalkd", peer{"memcacheq", "always", atMostOnce, startMemcacheq()})
	before("memcached", peer{"memcacheq", "never", atMostOnce, startMemcacheq("-N")})
}

// memcacheqDialect is set and get; memcacheq lends nothing.
func memcacheqDialect(client, size int, got func([]byte)) *dialect {
	d := mcqDialect(client, size, got)
	return &dialect{put: d.put, take: d.take}
}

// What memcacheq answers where it works, mcq answers byte for byte, but for the
// order in which stats lists queues.
func TestLikeMemcacheq(t *testing.T) {
	_, theirs := runMemcacheq(t)
	_, ours := serveBroker(t, nil, nil)
	for _, request := range []string{
		"get q\r\n", "stats queue\r\n", "get a b\r\n",
		"set q 7 0 3\r\nabc\r\n", "stats queue\r\n", "get q\r\n", "get q\r\n", "stats queue\r\n",
		"set z 0 0 0\r\n\r\nget z\r\n",
		"set a 0 0 1\r\n1\r\nset b 65535 0 1\r\n2\r\nset a 0 0 1\r\n3\r\nget a b\r\nget a nobody b\r\n",
		"set q 0 0 1\r\n1\r\nset q 0 0 1\r\n2\r\nset q 0 0 1\r\n3\r\nget q q\r\nget q\r\nget q\r\n",
		"set q 0 3600 1\r\nx\r\nget q\r\n",
		"stats queue\r\n", "delete a\r\n", "delete a\r\n", "delete b 0\r\n", "stats queue\r\n",
		"stats reset\r\n", "stats foo\r\n", "stats queue\r\n", "verbosity 0\r\n", "nonsense\r\n",
		"delete q\r\ndelete z\r\nstats queue\r\n",
	} {
		want, got := say(t, theirs, request), say(t, ours, request)
		if rest, ok := strings.CutSuffix(want, "END\r\n"); ok && request == "stats queue\r\n" {
			lines := strings.SplitAfter(rest, "\r\n")
			slices.Sort(lines)
			want = strings.Join(lines, "") + "END\r\n"
		}
		if got != want {
			t.Errorf("%q: memcacheq says %q, mcq %q", request, want, got)
		}
	}
}

// say sends a request on a connection of its own and returns all that is answered.
func say(t *testing.T, addr, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, request+"quit\r\n"); err != nil {
		t.Fatal(err)
	}
	reply, err := io.ReadAll(conn)
	if err != nil {
		t.Fatalf("%q: %q, %v", request, reply, err)
	}
	return string(reply)
}
