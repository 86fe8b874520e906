package web

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

// A server under measurement is this test binary again, started with its name
// in the environment. It writes its address and answers to file descriptor 3,
// so that its standard output is free for access logs, and ends with its
// standard input.

const serveVariable = "HEDDLE_PEERS_WEB_SERVE"

// servers are what such a process can be, by name. Each serves until the process
// ends.
var servers = map[string]func(ln net.Listener){}

// serves makes a server of a handler.
func serves(h func() http.Handler) func(net.Listener) {
	return func(ln net.Listener) {
		// What a server says of its end has nobody to hear it.
		_ = (&http.Server{Handler: h(), ReadHeaderTimeout: 10 * time.Second}).Serve(ln)
	}
}

func TestMain(m *testing.M) {
	if name := os.Getenv(serveVariable); name != "" {
		serveUntilEOF(name)
		return
	}
	os.Exit(m.Run())
}

func serveUntilEOF(name string) {
	answers := os.NewFile(3, "answers")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil || servers[name] == nil {
		fmt.Fprintf(os.Stderr, "server %q: %v\n", name, err)
		os.Exit(1)
	}
	go servers[name](ln)
	fmt.Fprintln(answers, ln.Addr())
	// Each line asks for the CPU time.
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Fprintln(answers, int64(cputime.Process()))
	}
}

// process is such a server.
type process struct {
	addr    string
	stdin   io.WriteCloser
	answers *bufio.Reader
}

// startServer starts a server; it ends with the test.
func startServer(tb testing.TB, name string, env ...string) *process {
	tb.Helper()
	exe, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	complaints := filepath.Join(tb.TempDir(), "stderr")
	stderr, err := os.Create(complaints)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), serveVariable+"="+name), env...)
	cmd.ExtraFiles = []*os.File{w}
	cmd.Stderr = stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	w.Close()
	stderr.Close()
	tb.Cleanup(func() {
		stdin.Close()
		// How it ended says nothing: it was told to.
		_ = cmd.Wait()
		r.Close()
	})
	s := &process{stdin: stdin, answers: bufio.NewReader(r)}
	if s.addr, err = s.answers.ReadString('\n'); err != nil {
		text, _ := os.ReadFile(complaints)
		tb.Fatalf("server %s did not start: %v\n%s", name, err, text)
	}
	s.addr = strings.TrimSpace(s.addr)
	return s
}

// cpu is the server's CPU time so far.
func (s *process) cpu(tb testing.TB) time.Duration {
	tb.Helper()
	if _, err := io.WriteString(s.stdin, "cpu\n"); err != nil {
		tb.Fatal(err)
	}
	line, err := s.answers.ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return time.Duration(n)
}
