package mcq_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// wire is a raw connection to a server.
type wire struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func connect(t testing.TB, addr string) *wire {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &wire{t, conn, bufio.NewReader(conn)}
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		w.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// expect reads exactly want.
func (w *wire) expect(want string) {
	w.t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(w.in, got)
	if string(got[:n]) != want {
		w.t.Fatalf("got %q (%v), want %q", got[:n], err, want)
	}
}

func (w *wire) expectClosed() {
	w.t.Helper()
	if rest, err := io.ReadAll(w.in); len(rest) > 0 || err != nil && !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		w.t.Fatalf("got %q, %v; want the end", rest, err)
	}
}

func (w *wire) line() string {
	w.t.Helper()
	line, err := w.in.ReadString('\n')
	if err != nil {
		w.t.Fatalf("got %q, %v", line, err)
	}
	return line
}

// exchange is one row of a golden table. A reply that ends in CLOSED means that
// the server closes the connection behind it.
type exchange struct{ request, reply string }

const closed = "CLOSED"

func (e exchange) run(t *testing.T, addr string, cut func(request string) []string) {
	t.Helper()
	w := connect(t, addr)
	for _, part := range cut(e.request) {
		w.send(part)
	}
	reply, close := strings.CutSuffix(e.reply, closed)
	w.expect(reply)
	if close {
		w.expectClosed()
		return
	}
	w.send("version\r\n")
	w.expect("VERSION 1.0.0\r\n")
}

var long = strings.Repeat("k", 200)

// The replies of memcacheq 0.2.1, byte for byte. They are run one after the
// other on one store.
var memcacheqTable = []exchange{
	{"get q\r\n", "END\r\n"},
	{"stats queue\r\n", "END\r\n"},
	{"set q 7 0 3\r\nabc\r\n", "STORED\r\n"},
	{"stats queue\r\n", "STAT q 1/0\r\nEND\r\n"},
	{"get q\r\n", "VALUE q 7 3\r\nabc\r\nEND\r\n"},
	{"get q\r\n", "END\r\n"},
	{"stats queue\r\n", "STAT q 1/1\r\nEND\r\n"},
	{"set z 0 0 0\r\n\r\n", "STORED\r\n"},
	{"get z\r\n", "VALUE z 0 0\r\n\r\nEND\r\n"},
	{"set a 0 0 1\r\n1\r\nset b 4294967295 0 1\r\n2\r\nset a 0 0 1\r\n3\r\n", "STORED\r\nSTORED\r\nSTORED\r\n"},
	{"get a nobody b\r\n", "VALUE a 0 1\r\n1\r\nVALUE b 4294967295 1\r\n2\r\nEND\r\n"},
	{"get nobody\r\n", "END\r\n"},
	{"stats queue\r\n", "STAT a 2/1\r\nSTAT b 1/1\r\nSTAT q 1/1\r\nSTAT z 1/1\r\nEND\r\n"},
	{"delete a\r\n", "DELETED\r\n"},
	{"delete a\r\n", "NOT_FOUND\r\n"},
	{"delete b 0\r\n", "DELETED\r\n"},
	{"delete b 0\r\n", "NOT_FOUND\r\n"},
	{"get a\r\n", "END\r\n"},
	{"stats queue\r\n", "STAT q 1/1\r\nSTAT z 1/1\r\nEND\r\n"},
	{"stats reset\r\n", "RESET\r\n"},
	{"stats queue\r\n", "STAT q 1/1\r\nSTAT z 1/1\r\nEND\r\n"},
	{"stats foo\r\n", "ERROR\r\n"},
	{"verbosity 0\r\n", "OK\r\n"},
	{"quit\r\n", closed},
	{"set q 0 0 1\r\nx\r\nget q q q\r\n", "STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\n"},
	{"set q 0 0 1\r\n1\r\nset q 0 0 1\r\n2\r\nget q q\r\n", "STORED\r\nSTORED\r\nVALUE q 0 1\r\n1\r\nVALUE q 0 1\r\n2\r\nEND\r\n"},
}

// A get of one byte in the binary protocol, without its key, and what memcached
// answers to a command that it does not know.
const (
	binaryGet      = "\x80\x0c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xde\xad\xbe\xef\x00\x00\x00\x00\x00\x00\x00\x00"
	unknownCommand = "\x81\x0c\x00\x00\x00\x00\x00\x81\x00\x00\x00\x0f\xde\xad\xbe\xef\x00\x00\x00\x00\x00\x00\x00\x00Unknown command"
)

// What memcached 1.6.18 answers, where a queue can answer the same, and where
// the safe answer is another.
var memcachedTable = []exchange{
	{"get\r\n", "ERROR\r\n"},
	{"get m\n", "END\r\n"},
	{"set m 0 0 1\nx\n", "STORED\r\n"},
	{"gets m\n", "VALUE m 0 1 1\r\nx\r\nEND\r\n"},
	{"GET m\r\n", "END\r\n"}, // memcached: ERROR; clients of kestrel send capitals
	{"SeT m 0 0 1\r\nx\r\nGetS m\r\n", "STORED\r\nVALUE m 0 1 2\r\nx\r\nEND\r\n"},
	{"nonsense\r\n", "ERROR\r\n"},
	{"\r\n", "ERROR\r\n"},
	{"   \r\n", "ERROR\r\n"},
	{"set m 0 0 1\r\nxyz\r\n", "CLIENT_ERROR bad data chunk\r\n" + closed}, // memcached guesses where to go on
	{"set m 0 0 1\r\nx \r\n", "CLIENT_ERROR bad data chunk\r\n" + closed},
	{"set m 0 0 -1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 0 abc\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 0 2147483647\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 0 99999999999999999999\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 0 1 noreply extra\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 0\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m -1 0 1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 4294967296 0 1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 x 1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set " + strings.Repeat("k", 251) + " 0 0 1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set " + strings.Repeat("k", 250) + " 0 0 1\r\nx\r\n", "CLIENT_ERROR bad command line format\r\n"}, // a queue's name has 200 at most
	{"set " + long + " 0 0 1\r\nx\r\nget " + long + "\r\n", "STORED\r\nVALUE " + long + " 0 1\r\nx\r\nEND\r\n"},
	{"get " + strings.Repeat("k", 251) + "\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"set a\x01b 0 0 1\r\n", "CLIENT_ERROR bad command line format\r\n" + closed},
	{"set m 0 -1 1\r\nx\r\nget m\r\n", "STORED\r\nEND\r\n"},
	{"set m 0 0 1 norepl\r\nx\r\nget m\r\n", "STORED\r\nVALUE m 0 1\r\nx\r\nEND\r\n"},
	{"set m 0 0 1 noreply\r\nx\r\nget m\r\n", "VALUE m 0 1\r\nx\r\nEND\r\n"},
	{"delete m 10\r\n", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"},
	{"delete\r\n", "CLIENT_ERROR bad command line format.  Usage: delete <key> [noreply]\r\n"},
	{"delete m noreply\r\ndelete m\r\n", "NOT_FOUND\r\n"},
	{"delete m noreply\r\ndelete m 0 noreply\r\nget m\r\n", "END\r\n"},
	{"verbosity 1\r\n", "OK\r\n"},
	{"verbosity\r\n", "ERROR\r\n"},
	{"verbosity 0 noreply\r\nget m\r\n", "END\r\n"},
	{"version\r\n", "VERSION 1.0.0\r\n"},
	{"stats items\r\n", "END\r\n"},
	{"touch m 10\r\n", "NOT_FOUND\r\n"},
	{"touch m 10 noreply\r\nget m\r\n", "END\r\n"},
	{"touch m\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"flush_all\r\n", "SERVER_ERROR flush_all is not allowed here\r\n"},
	{"flush_all noreply\r\nget m\r\n", "END\r\n"},
	// Storage commands that a queue has no use for: their bodies are swallowed.
	{"add m 0 0 9\r\nflush_all\r\nget m\r\n", "SERVER_ERROR not supported by a queue\r\nEND\r\n"},
	{"cas m 0 0 9 7\r\nflush_all\r\nget m\r\n", "SERVER_ERROR not supported by a queue\r\nEND\r\n"},
	{"append m 0 0 2 noreply\r\n\r\n\r\nreplace m 0 0 0\r\n\r\nprepend m 0 0 1\r\nx\r\n",
		"SERVER_ERROR not supported by a queue\r\nSERVER_ERROR not supported by a queue\r\n"},
	{"incr m 1\r\n", "SERVER_ERROR not supported by a queue\r\n"},
	// Bodies that look like commands are bodies.
	{"set m 0 0 19\r\ndelete m\r\nversion\r\n\r\nget m\r\n", "STORED\r\nVALUE m 0 19\r\ndelete m\r\nversion\r\n\r\nEND\r\n"},
	// Over the limit of 1 MiB: swallowed up to twice that, then the line goes on.
	{"set m 0 0 1048577\r\n" + strings.Repeat("x", 1048577) + "\r\nget m\r\n", "SERVER_ERROR object too large for cache\r\nEND\r\n"},
	{"set m 0 0 1048577 noreply\r\n" + strings.Repeat("x", 1048577) + "\r\nget m\r\n", "END\r\n"},
	{"set m 0 0 2097153\r\n", "SERVER_ERROR object too large for cache\r\n" + closed},
	// What is not the text protocol.
	{binaryGet + "\x00", unknownCommand + closed},
	{"version\r\n" + binaryGet + "\n", "VERSION 1.0.0\r\n" + unknownCommand + closed},
	{strings.Replace(binaryGet, "\x00\x00\x00\x01\xde", "\x00\x01\x00\x01\xde", 1), unknownCommand + closed}, // a body that nobody reads
	{strings.Repeat("x", 9000) + "\r\n", "CLIENT_ERROR line too long\r\n" + closed},
	{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", closed},
	{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\nset page 0 0 1\r\nx\r\n", closed},
	{"delete /m HTTP/1.0\r\n\r\ndelete m\r\n", closed},
	{"get page\r\n", "END\r\n"},
	// So are those of verbs that nobody knows, if they look like storage commands.
	{"set m 0 0 1\r\nx\r\nfoo m 0 0 8\r\ndelete m\r\nget m\r\n", "STORED\r\nERROR\r\nVALUE m 0 1\r\nx\r\nEND\r\n"},
	{"foo m 0 -1 8 noreply\r\ndelete m\r\nfoo m 0 0\r\nfoo m 0 0 x\r\n", "ERROR\r\nERROR\r\n"},
	{"foo m 0 0 2\r\nxyz\r\n", "ERROR\r\n" + closed},
	{"foo m 0 0 2097153\r\n", "ERROR\r\n" + closed},
}

// The options behind a key.
var optionTable = []exchange{
	{"set q 5 0 1\r\na\r\nset q 0 0 1\r\nb\r\nset q 0 0 1\r\nc\r\n", "STORED\r\nSTORED\r\nSTORED\r\n"},
	{"gets q/lease=30\r\n", "VALUE q/lease=30 5 1 1\r\na\r\nEND\r\n"},
	{"gets q/lease=30/n=9\r\n", "VALUE q/lease=30/n=9 0 1 2\r\nb\r\nVALUE q/lease=30/n=9 0 1 3\r\nc\r\nEND\r\n"},
	{"get q\r\n", "END\r\n"},
	{"delete q/nack=1\r\n", "DELETED\r\n"},
	{"delete q/nack=1\r\n", "NOT_FOUND\r\n"},
	{"gets q/lease=60\r\ndelete q/nack=1/reason=not%20yet\r\ndelete q/nack=1/reason=\r\ndelete q/nack=1/reason=%zz\r\n",
		"VALUE q/lease=60 5 1 1\r\na\r\nEND\r\nDELETED\r\nNOT_FOUND\r\nCLIENT_ERROR bad command line format\r\n"},
	{"touch q/id=3 60\r\n", "TOUCHED\r\n"},
	{"touch q/id=1 60\r\n", "NOT_FOUND\r\n"},
	{"touch q/id=3 0\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"touch q/id=3 43201\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get q/lease=1\r\n", "VALUE q/lease=1 5 1\r\na\r\nEND\r\n"},
	{"delete q/ack=1,2-3\r\n", "DELETED\r\n"},
	{"delete q/ack=1\r\n", "NOT_FOUND\r\n"},
	{"delete q/ack=1 noreply\r\nstats queue\r\n", "STAT q 3/3\r\nEND\r\n"},
	{"get q/t=1\r\n", "END\r\n"},
	{"get q/t=1 q/n=2\r\n", "END\r\n"},
	{"set q 0 0 1\r\n1\r\nset q 0 0 1\r\n2\r\nget q/n=2\r\n", "STORED\r\nSTORED\r\nVALUE q/n=2 0 1\r\n1\r\nVALUE q/n=2 0 1\r\n2\r\nEND\r\n"},
	{"get q/lease=0\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get q/lease=43201\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get q/n=4097\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get q/t=30001\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get q/unknown\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"get q/\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"set q/unknown 0 0 8\r\nget q/t=\r\nget q\r\n", "CLIENT_ERROR bad command line format\r\nEND\r\n"},
	{"delete q/ack=\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"delete q/ack=0\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"delete q/ack=1-99999999\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"delete q/ack=5-1\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"delete q/nack=x\r\n", "CLIENT_ERROR bad command line format\r\n"},
	{"delete nobody/ack=1\r\n", "NOT_FOUND\r\n"},
	{"set q/h 0 0 1\r\nx\r\n", "CLIENT_ERROR bad envelope\r\n"},
	// A key that is wrong costs no message of the others.
	{"set q 0 0 1\r\nv\r\nget q q/foo\r\nget q q/ack=1\r\nget q\r\n",
		"STORED\r\nCLIENT_ERROR bad command line format\r\nCLIENT_ERROR bad command line format\r\nVALUE q 0 1\r\nv\r\nEND\r\n"},
}

// An option that a command has no sense for is refused, and nothing happens: it is
// mostly the wrong command, and a message or a queue would go.
func TestOptionsOfOthers(t *testing.T) {
	options := []string{"lease=9", "receipt", "n=1", "t=1", "h", "delay=1", "key=k", "ack=1", "nack=1", "reject=1", "id=1", "open", "close", "abort", "peek", "reason=x", "count"}
	takes := map[string]string{ // and with a value of its own
		"get": "lease=9 receipt n=1 t=1 h open close abort peek", "set": "delay=1 key=k h", "delete": "ack=1 nack=1 reject=1", "touch": "id=1",
		"flush": "count", "ack": "", "eack": "", "mg": "lease=9 receipt open close abort peek", "md": "", "ms": "delay=1 key=k h", "monitor": "", "confirm": "",
	}
	requests := map[string]string{
		"get": "get %s\r\n", "set": "set %s 0 0 1\r\nx\r\n", "delete": "delete %s\r\n", "touch": "touch %s 9\r\n", "flush": "flush %s\r\n", "ack": "ack %s 1\r\n",
		"eack": "eack %s 0 0 1\r\n1\r\n", "mg": "mg %s v\r\n", "md": "md %s\r\n", "ms": "ms %s 1\r\nx\r\n", "monitor": "monitor %s 0 1\r\n", "confirm": "confirm %s 1\r\n",
	}
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	q := queue(t, b, "q")
	put(t, q, "1", "2")
	lease(t, q, 1, mcq.LeaseOptions{})
	w := connect(t, serve(t, b))
	for verb, request := range requests {
		for _, option := range options {
			if slices.Contains(strings.Fields(takes[verb]), option) {
				continue
			}
			w.send(fmt.Sprintf(request, "q/"+option))
			if line := w.line(); line != "CLIENT_ERROR bad command line format\r\n" {
				t.Errorf("%s q/%s: %q", verb, option, line)
			}
		}
	}
	for _, both := range []string{"ack=1/nack=1", "reject=1/ack=1", "ack=1/reason=x", "ack=1/reason="} {
		w.send("delete q/" + both + "\r\n")
		w.expect("CLIENT_ERROR bad command line format\r\n")
	}
	if s := q.Stats(); s.Put != 2 || s.Done != 0 || s.Leased != 1 {
		t.Errorf("after all that: %+v", s)
	}
}

func whole(s string) []string { return []string{s} }

func TestGolden(t *testing.T) {
	for name, table := range map[string][]exchange{"memcacheq": memcacheqTable, "memcached": memcachedTable, "options": optionTable} {
		t.Run(name, func(t *testing.T) {
			_, addr := startServer(t, memBroker(t, &mcq.Options{Sync: mcq.Never}), &mcq.ServerOptions{Logger: silent})
			for _, e := range table {
				t.Run(fmt.Sprintf("%.40q", e.request), func(t *testing.T) { e.run(t, addr, whole) })
			}
		})
	}
}

// However the bytes arrive, the answers are the same: cut in two at every byte,
// and one by one.
func TestSplitReads(t *testing.T) {
	request := "set q 7 0 3\r\nabc\r\nset q/h 0 0 5\r\n\x04\x01\x00\x00\x00\r\nadd q 0 0 3\r\nget\r\nset q 0 0 1 noreply\nx\ngets q/lease=9/n=2\r\n" +
		"delete q/ack=1\r\nget q\r\nbogus\r\n"
	reply := "STORED\r\nSTORED\r\nSERVER_ERROR not supported by a queue\r\n" +
		"VALUE q/lease=9/n=2 7 3 1\r\nabc\r\nVALUE q/lease=9/n=2 0 0 2\r\n\r\nEND\r\nDELETED\r\nVALUE q 0 1\r\nx\r\nEND\r\nERROR\r\n"
	for at := 0; at <= len(request); at++ {
		_, addr := startServer(t, memBroker(t, &mcq.Options{Sync: mcq.Never}), nil)
		w := connect(t, addr)
		w.Conn.(*net.TCPConn).SetNoDelay(true)
		if at == len(request) {
			for i := range request {
				w.send(request[i : i+1])
			}
		} else {
			w.send(request[:at])
			if at > 0 && at%16 == 0 {
				// Most first halves arrive alone anyway; these do for certain.
				time.Sleep(2 * time.Millisecond)
			}
			w.send(request[at:])
		}
		w.expect(reply)
		w.Close()
	}
}

func TestFlushAll(t *testing.T) {
	_, addr := startServer(t, memBroker(t, nil), &mcq.ServerOptions{AllowFlushAll: true})
	exchange{"set q 0 0 1\r\nx\r\nset r 0 0 1\r\nx\r\nflush_all\r\nstats queue\r\n", "STORED\r\nSTORED\r\nOK\r\nEND\r\n"}.run(t, addr, whole)
}

// memcacheq's 17 lines, in its order, among ours.
func TestStatsCommand(t *testing.T) {
	_, addr := startServer(t, memBroker(t, nil), nil)
	w := connect(t, addr)
	w.send("set q 0 0 1\r\nx\r\nget q\r\nget q\r\nbogus\r\n")
	w.expect("STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\nEND\r\nERROR\r\n")
	w.send("stats\r\n")
	var names []string
	values := make(map[string]string)
	for line := w.line(); line != "END\r\n"; line = w.line() {
		m := regexp.MustCompile(`^STAT (\w+) ([^ ]+)\r\n$`).FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line %q", line)
		}
		names = append(names, m[1])
		values[m[1]] = m[2]
	}
	var known []string
	for _, name := range names {
		if name != "rejected_connections" && name != "errors" && name != "auth_errors" {
			known = append(known, name)
		}
	}
	expect(t, "names", known, strings.Fields("pid uptime time version pointer_size rusage_user rusage_system curr_connections total_connections "+
		"connection_structures get_cmds get_hits set_cmds set_hits bytes_read bytes_written threads")...)
	for name, want := range map[string]string{"pid": strconv.Itoa(os.Getpid()), "version": "1.0.0", "curr_connections": "1", "get_cmds": "2", "get_hits": "1", "set_cmds": "1", "set_hits": "1", "errors": "1"} {
		if values[name] != want {
			t.Errorf("%s is %q, want %q", name, values[name], want)
		}
	}
}

// stats reset begins the server's counters anew, as memcached's does, and nothing else.
func TestStatsReset(t *testing.T) {
	b := memBroker(t, nil)
	s, addr := startServer(t, b, nil)
	w := connect(t, addr)
	const work = "set q 0 0 1\r\nx\r\nget q\r\nbogus\r\n"
	const done = "STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\nERROR\r\n"
	figures := func() map[string]string {
		w.send("stats\r\n")
		values := make(map[string]string)
		for line := w.line(); line != "END\r\n"; line = w.line() {
			words := strings.Fields(line)
			values[words[1]] = words[2]
		}
		return values
	}
	w.send(work + work)
	w.expect(done + done)
	before := s.Stats()
	w.send("stats reset\r\n")
	w.expect("RESET\r\n")
	values := figures()
	for name, want := range map[string]string{"total_connections": "0", "get_cmds": "0", "get_hits": "0", "set_cmds": "0", "set_hits": "0", "errors": "0",
		"rejected_connections": "0", "curr_connections": "1", "bytes_read": strconv.Itoa(len("stats\r\n")), "pid": strconv.Itoa(os.Getpid())} {
		if values[name] != want {
			t.Errorf("%s is %q after the reset, want %q", name, values[name], want)
		}
	}
	if s.Stats() != before {
		t.Errorf("Stats was %+v, is %+v", before, s.Stats())
	}
	w.send(work)
	w.expect(done)
	if values := figures(); values["get_cmds"] != "1" || values["set_hits"] != "1" || values["errors"] != "1" {
		t.Errorf("after one more: %v", values)
	}
	w.send("stats queue\r\n")
	w.expect("STAT q 3/3\r\nEND\r\n")
}

// All figures of a queue, byte for byte.
func TestStatsOfQueues(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never, Queues: map[string]mcq.QueueOptions{"a_b": {DeadLetters: "dead", MaxLength: 6, DropOldest: true}}})
	q, wired := queue(t, b, "a_b"), connect(t, serve(t, b))
	send(t, q, mcq.Message{Body: []byte("over"), TTL: time.Nanosecond})
	waitFor(t, "that to be over", func() bool { lease(t, q, 1, mcq.LeaseOptions{}); return q.Stats().Expired == 1 })
	put(t, q, "dropped", "bad", "leased")
	send(t, q, mcq.Message{Body: []byte("late"), Delay: time.Hour, Key: "k"})
	send(t, q, mcq.Message{Body: []byte("late"), Delay: time.Hour, Key: "k"})
	if _, err := q.Take(t.Context()); err != nil {
		t.Fatal(err)
	}
	msgs := lease(t, q, 2, mcq.LeaseOptions{Duration: time.Hour})
	if err := q.Reject(t.Context(), "no", msgs[0].ID); err != nil {
		t.Fatal(err)
	}
	put(t, q, "1", "2", "3", "4")
	put(t, q, "5") // for which 1 has to go
	queue(t, b, "empty").Pause()
	wired.send("stats queue a_b\r\n")
	wired.expect("STAT queue_a_b_items 6\r\nSTAT queue_a_b_bytes 14\r\nSTAT queue_a_b_total_items 10\r\nSTAT queue_a_b_done_items 4\r\nSTAT queue_a_b_expired_items 1\r\n" +
		"STAT queue_a_b_discarded 1\r\nSTAT queue_a_b_buried 1\r\nSTAT queue_a_b_duplicates 1\r\nSTAT queue_a_b_delayed_items 1\r\nSTAT queue_a_b_open_transactions 1\r\n" +
		"STAT queue_a_b_waiters 0\r\nSTAT queue_a_b_age_msec ")
	if age, err := strconv.Atoi(strings.TrimSpace(wired.line())); err != nil || age < 0 || age > 60_000 {
		t.Errorf("age %d, %v", age, err)
	}
	wired.expect("STAT queue_a_b_paused 0\r\nEND\r\n")

	reader := connect(t, wired.RemoteAddr().String())
	reader.send("get empty/t=30000\r\n")
	waitFor(t, "the reader", func() bool { return queue(t, b, "empty").Stats().Waiters == 1 })
	empty := ""
	for _, line := range strings.Fields("items bytes total_items done_items expired_items discarded buried duplicates delayed_items open_transactions waiters age_msec paused") {
		value := 0
		if line == "waiters" || line == "paused" {
			value = 1
		}
		empty += fmt.Sprintf("STAT queue_empty_%s %d\r\n", line, value)
	}
	wired.send("stats queue empty\r\nstats queue nobody\r\nstats queue a_b empty\r\nstats queue +\r\n")
	wired.expect(empty + "END\r\nEND\r\nERROR\r\nEND\r\n")
	wired.send("stats queues\r\n")
	lines := 0
	for line := wired.line(); line != "END\r\n"; line = wired.line() {
		lines++
		if !strings.HasPrefix(line, []string{"STAT queue_a_b_", "STAT queue_dead_", "STAT queue_empty_"}[(lines-1)/13]) {
			t.Errorf("line %d is %q", lines, line)
		}
	}
	if lines != 3*13 {
		t.Errorf("%d lines", lines)
	}
}

// stats queue lists every queue, however many there are.
func TestStatsOfManyQueues(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	var want strings.Builder
	for i := range 3000 {
		name := fmt.Sprintf("queue-with-a-long-name-%05d", i)
		queue(t, b, name)
		fmt.Fprintf(&want, "STAT %s 0/0\r\n", name)
	}
	w := connect(t, serve(t, b))
	w.send("stats queue\r\n")
	w.expect(want.String() + "END\r\n")
}

// A pipeline of thousands of commands is answered in order; sets share fsyncs.
func TestPipelining(t *testing.T) {
	b := openBroker(t, t.TempDir(), nil)
	w := connect(t, serve(t, b))
	const n = 5000
	var wg sync.WaitGroup
	wg.Go(func() {
		var req bytes.Buffer
		for i := range n {
			body := strconv.Itoa(i)
			fmt.Fprintf(&req, "set q %d 0 %d\r\n%s\r\n", i, len(body), body)
			if i%100 == 99 {
				req.WriteString("get q\r\n")
			}
		}
		w.send(req.String())
	})
	for i := range n {
		w.expect("STORED\r\n")
		if i%100 == 99 {
			body := strconv.Itoa(i / 100)
			w.expect(fmt.Sprintf("VALUE q %s %d\r\n%s\r\nEND\r\n", body, len(body), body))
		}
	}
	wg.Wait()
	if groups := b.Stats().Groups; groups > n/2 {
		t.Errorf("%d messages took %d groups", n, groups)
	}
}

// A client that neither reads nor sends costs a connection and nothing else;
// the others go on.
func TestSilentAndSlowClients(t *testing.T) {
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	s, addr := startServer(t, b, &mcq.ServerOptions{MaxConns: 4, IdleTimeout: 400 * time.Millisecond})
	silent := connect(t, addr)
	halfway := connect(t, addr)
	halfway.send("set q 0 0 10\r\nabc") // a body has 30 s
	deaf := connect(t, addr)
	big := strings.Repeat("x", 1<<20)
	go func() { // it asks for far more than the socket holds, and never reads
		for range 64 {
			if _, err := fmt.Fprintf(deaf, "set big 0 0 %d noreply\r\n%s\r\nget big\r\n", len(big), big); err != nil {
				return
			}
		}
	}()
	waitFor(t, "three connections", func() bool { return s.Stats().Conns == 3 })
	w := connect(t, addr)
	w.send("set q 0 0 1\r\nx\r\nget q\r\n")
	w.expect("STORED\r\nVALUE q 0 1\r\nx\r\nEND\r\n")
	waitFor(t, "a fifth connection to be refused", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return s.Stats().Refused > 0
	})
	silent.expectClosed() // the idle timeout
}

// Shutdown answers the commands that it has, those whose body is still on its
// way too, and ends idle connections and waiting readers.
// A client that says its last word and closes its side in one breath gets its answer, and the end.
func TestLastWord(t *testing.T) {
	addr := serve(t, memBroker(t, &mcq.Options{Sync: mcq.Never}))
	for range 200 {
		w := connect(t, addr)
		w.send("get q\r\n")
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		w.expect("END\r\n")
		w.expectClosed()
	}
}

func TestShutdownDrains(t *testing.T) {
	b := memBroker(t, nil)
	s, addr := startServer(t, b, nil)
	idle, waiting, halfway := connect(t, addr), connect(t, addr), connect(t, addr)
	waiting.send("get q/t=30000\r\n")
	halfway.send("set q 0 0 10\r\n01234")
	waitFor(t, "three connections", func() bool { return s.Stats().Conns == 3 && s.Stats().Gets == 1 && s.Stats().Sets == 1 })
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		done <- s.Shutdown(ctx)
	}()
	idle.expectClosed()
	waiting.expect("END\r\n")
	waiting.expectClosed()
	halfway.send("56789\r\n")
	halfway.expect("STORED\r\n")
	halfway.expectClosed()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("still listening")
	}
	if m, err := queue(t, b, "q").Take(t.Context()); err != nil || string(m.Body) != "0123456789" {
		t.Errorf("took %q, %v", m.Body, err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(ln); !errors.Is(err, mcq.ErrClosed) {
		t.Errorf("Serve after Shutdown: %v", err)
	}
}

// Shutdown gives up when its ctx ends.
func TestShutdownHasAnEnd(t *testing.T) {
	s, addr := startServer(t, memBroker(t, nil), nil)
	stuck := connect(t, addr)
	stuck.send("set q 0 0 10\r\n01234")
	waitFor(t, "the command", func() bool { return s.Stats().Sets == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v", err)
	}
	stuck.expectClosed()
}

// A length alone allocates nothing worth mentioning.
func TestHostileLength(t *testing.T) {
	s, addr := startServer(t, memBroker(t, &mcq.Options{MaxMessage: 64 << 20}), &mcq.ServerOptions{Logger: silent})
	before := heapInUse()
	for range 64 {
		w := connect(t, addr)
		w.send("set q 0 0 67108864\r\nx")
	}
	waitFor(t, "64 connections", func() bool { return s.Stats().Sets == 64 })
	if grown := int64(heapInUse()) - int64(before); grown > 512<<20 {
		t.Errorf("64 announcements of 64 MiB took %d MiB", grown>>20)
	}
}

// Commands behind one that waits are answered after it.
func TestPipelineBehindWaiting(t *testing.T) {
	b := memBroker(t, nil)
	s, addr := startServer(t, b, nil)
	for _, pause := range []bool{false, true} {
		w := connect(t, addr)
		before := s.Stats().Gets
		w.send("get q/t=30000\r\n")
		if pause {
			waitFor(t, "the reader", func() bool { return s.Stats().Gets == before+1 })
		}
		w.send("get q\r\nversion\r\n")
		put(t, queue(t, b, "q"), "x")
		w.expect("VALUE q/t=30000 0 1\r\nx\r\nEND\r\nEND\r\nVERSION 1.0.0\r\n")
	}
}

func TestClosedBrokerAnswers(t *testing.T) {
	b := memBroker(t, nil)
	w := connect(t, serve(t, b))
	w.send("set q 0 0 1\r\nx\r\n")
	w.expect("STORED\r\n")
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	w.send("set q 0 0 1\r\nx\r\nset q 0 0 1 noreply\r\nx\r\nget q\r\ndelete q\r\n")
	w.expect("SERVER_ERROR mcq: closed\r\nSERVER_ERROR mcq: closed\r\nSERVER_ERROR mcq: closed\r\n")
}
