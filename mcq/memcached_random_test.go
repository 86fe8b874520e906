package mcq_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
	"github.com/heddle-go/heddle/mcq/internal/modeltest"
)

// Random requests, in one write or in many, get the same replies from a real memcached
// and from a server: the same lines, but for the text behind CLIENT_ERROR and
// SERVER_ERROR, the version and cas values. The connection goes on in the same cases.
// MCQ_TEST_SEED repeats a run.
//
// These are meant to differ, and are asked by TestUnlikeMemcached or not at all:
//
//   - where nobody knows where a body ends, a server closes the connection; memcached
//     takes the body's bytes for commands;
//   - the body of what looks like a storage command is swallowed, whatever its verb;
//   - a get removes, a second set makes a second message, delete drops them all; only set
//     stores; touch and incr are for no key; an exptime that is over is a message that is over;
//   - verbs may be in upper case, and a key may have options behind a slash;
//   - behind a body a line feed will do;
//   - a get of a key that is too long takes back what memcached was to answer before;
//   - md with q says no NF; a delete of too many words is a CLIENT_ERROR, not an ERROR;
//   - the name of a queue has at most 200 bytes, a key 250, and none of them is + or ~.
func TestLikeMemcachedRandomly(t *testing.T) {
	peer := memcachedPeer(t)
	_, ours := startServer(t, memBroker(t, &mcq.Options{Sync: mcq.Never}), &mcq.ServerOptions{Logger: silent})
	seed, runs := rand.Uint64(), 300
	if v := os.Getenv(modeltest.SeedEnv); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatal(err)
		}
		runs = 1
	}
	for i := range uint64(runs) {
		requests := randomRequests(rand.New(rand.NewPCG(seed+i, 0)))
		var theirs, mine string
		differ := func(requests []string) bool {
			text := strings.Join(append(requests, "mn\r\n"), "")
			theirs, mine = converse(t, peer, text, seed+i), converse(t, ours, text, seed+i)
			return theirs != mine
		}
		if differ(requests) {
			requests = modeltest.Shorten(requests, differ)
			differ(requests)
			t.Fatalf("%s=%d: %.200q: memcached says %.2000q, we say %.2000q", modeltest.SeedEnv, seed+i, requests, theirs, mine)
		}
		if ended := strings.HasPrefix(requests[len(requests)-1], "quit"); strings.HasSuffix(mine, "MN\r\n") == ended {
			t.Fatalf("%s=%d: %.200q: %.2000q, and the connection should have ended: %v", modeltest.SeedEnv, seed+i, requests, mine, ended)
		}
	}
}

// What is meant to differ does: both refuse it, and then a server closes the
// connection where memcached goes on with what may have been meant as a body.
func TestUnlikeMemcached(t *testing.T) {
	peer := memcachedPeer(t)
	_, ours := startServer(t, memBroker(t, nil), &mcq.ServerOptions{Logger: silent})
	long := strings.Repeat("k", 251)
	for request, first := range map[string]string{
		"set k 0 0 -1\r\n":           "CLIENT_ERROR",
		"set k 0 0 x\r\n":            "CLIENT_ERROR",
		"set k 0 0 2147483647\r\n":   "CLIENT_ERROR",
		"set k -1 0 1\r\n":           "CLIENT_ERROR",
		"set k 0 x 1\r\n":            "CLIENT_ERROR",
		"set " + long + " 0 0 1\r\n": "CLIENT_ERROR",
		"set k 0 0 3\r\nabcde\r\n":   "CLIENT_ERROR",
		"set k 0 0 3\r\nabcd\r\n":    "CLIENT_ERROR",
	} {
		theirs, mine := converse(t, peer, request+"mn\r\n", 0), converse(t, ours, request+"mn\r\n", 0)
		if mine != first+"\r\n" || !strings.HasPrefix(theirs, mine) || !strings.HasSuffix(theirs, "MN\r\n") {
			t.Errorf("%.40q: memcached says %q, we say %q, want %s and the end", request, theirs, mine, first)
		}
	}
}

// randomRequests are up to 40 requests, each of which leaves nothing behind.
func randomRequests(rnd *rand.Rand) (list []string) {
	key := func() string {
		return "mcqdiff" + strings.Repeat("k", []int{0, 1, 30, 192}[rnd.IntN(4)]) + strconv.Itoa(rnd.IntN(10))
	}
	none := func() string {
		return []string{"none", strings.Repeat("n", 249), strings.Repeat("n", 250), "nothing"}[rnd.IntN(4)]
	}
	end := func() string { return []string{"\r\n", "\r\n", "\n"}[rnd.IntN(3)] }
	quiet := func() string { return []string{"", " noreply"}[rnd.IntN(2)] }
	spaces := func(line string) string {
		if rnd.IntN(4) == 0 {
			line = strings.ReplaceAll(line, " ", "  ") + " "
		}
		return line
	}
	body := func() string {
		b := make([]byte, []int{0, 1, 2, 3, 100, 5000, 70_000}[rnd.IntN(7)])
		for i := range b {
			b[i] = "a\r\n \x00\xff"[rnd.IntN(6)]
		}
		return string(b)
	}
	for range 1 + rnd.IntN(40) {
		k := key()
		request := ""
		switch rnd.IntN(16) {
		case 0:
			request = spaces("get "+none()) + end()
		case 1:
			request = spaces("gets "+none()+" "+none()) + end()
		case 2: // several keys, most of them missing
			b := body()
			request = fmt.Sprintf("set %s 1 0 %d noreply\r\n%s\r\nget none %s nothing%sdelete %s noreply\r\n", k, len(b), b, k, end(), k)
		case 3, 4, 5, 6: // one message
			b := body()
			request = spaces(fmt.Sprintf("set %s %d 0 %d%s", k, rnd.Uint32(), len(b), quiet())) + end() + b + "\r\n"
			request += spaces([]string{"get ", "gets "}[rnd.IntN(2)]+k) + end()
			request += spaces("delete "+k+[]string{"", " 0", " noreply", " 0 noreply"}[rnd.IntN(4)]) + end()
		case 7: // which nobody reads
			b := body()
			request = fmt.Sprintf("set %s 0 0 %d\r\n%s\r\ndelete %s\r\nget %s\r\n", k, len(b), b, k, k)
		case 8:
			request = "delete none" + []string{"", " 0", " noreply", " 0 noreply", " 10"}[rnd.IntN(5)] + end()
		case 9:
			request = "touch none 10" + quiet() + end()
		case 10:
			request = []string{"get", "gets", "", " ", "bogus", "bogus a b", "g\x00t x", "gett none", strings.Repeat("x", 1000), "stats bogus"}[rnd.IntN(10)] + end()
		case 11:
			request = []string{"version", "verbosity 1", "verbosity", "verbosity 0 noreply", "stats reset", "mg none", "mg none v", "mg none v q", "md none"}[rnd.IntN(9)] + end()
		case 12: // a key that is too long
			if len(list) > 0 {
				continue
			}
			request = "get " + strings.Repeat("k", 251+rnd.IntN(100)) + end()
		case 13: // many keys
			request = "gets" + strings.Repeat(" none", 1+rnd.IntN(500)) + end()
		case 14: // more than may be
			if rnd.IntN(8) == 0 {
				n := 1<<20 + 1 + rnd.IntN(1000)
				request = fmt.Sprintf("set %s 0 0 %d%s\r\n%s\r\n", k, n, quiet(), strings.Repeat("x", n))
			}
		case 15:
			if rnd.IntN(20) == 0 {
				return append(list, "quit"+end())
			}
		}
		list = append(list, request)
	}
	return list
}

var (
	refused    = regexp.MustCompile(`(?m)^(CLIENT_ERROR|SERVER_ERROR|VERSION) .*\r$`)
	valueOfGet = regexp.MustCompile(`^VALUE \S+ \d+ (\d+)( \d+)?\r\n`)
)

// converse sends text in random parts and returns all that is answered, up to the end
// of the connection, without what may differ.
func converse(t *testing.T, addr, text string, seed uint64) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	go func() { // it may be closed before all is sent
		rnd := rand.New(rand.NewPCG(seed, 1))
		for cuts := []int{0, 1, 20}[rnd.IntN(3)]; cuts > 0 && len(text) > 0; cuts-- {
			n := 1 + rnd.IntN(min(len(text), 200))
			io.WriteString(conn, text[:n])
			text = text[n:]
		}
		io.WriteString(conn, text)
		conn.(*net.TCPConn).CloseWrite()
	}()
	all, err := io.ReadAll(conn)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatalf("%s: %v", addr, err)
	}
	var out strings.Builder
	for rest := string(all); rest != ""; {
		if m := valueOfGet.FindStringSubmatch(rest); m != nil {
			n, _ := strconv.Atoi(m[1])
			head := strings.TrimSuffix(m[0][:len(m[0])-2], m[2])
			whole := min(len(m[0])+n+2, len(rest))
			fmt.Fprintf(&out, "%s cas:%v\r\n%s", head, m[2] != "", rest[len(m[0]):whole])
			rest = rest[whole:]
			continue
		}
		line, after, _ := strings.Cut(rest, "\r\n")
		out.WriteString(refused.ReplaceAllString(line+"\r", "$1\r") + "\n")
		rest = after
	}
	return out.String()
}
