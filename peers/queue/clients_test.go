package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// serveBroker serves a new broker that syncs never.
func serveBroker(t *testing.T, opts *mcq.Options, serverOpts *mcq.ServerOptions) (b *mcq.Broker, addr string) {
	t.Helper()
	if opts == nil {
		opts = &mcq.Options{}
	}
	opts.Sync = mcq.Never
	b, err := mcq.Open(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	s, err := mcq.NewServer(b, serverOpts)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, mcq.ErrClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return b, ln.Addr().String()
}

// serveClients serves a new broker on the port that it returns. Bodies may have 1 MiB.
func serveClients(t *testing.T) (b *mcq.Broker, port string) {
	t.Helper()
	b, addr := serveBroker(t, &mcq.Options{MaxMessage: 1 << 20}, nil)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return b, port
}

// runClient runs a client's program, which must end well, and returns what it prints.
func runClient(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := tryClient(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return out
}

func tryClient(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

// python returns a Python that has the module. Debian's packages are for
// Debian's Python, which need not be the first in PATH.
func python(t *testing.T, module, debian string) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if path, err := exec.LookPath(name); err == nil && exec.Command(path, "-c", "import "+module).Run() == nil {
			return path
		}
	}
	t.Skipf("no Python has the module %s: install Debian's %s", module, debian)
	return ""
}

func TestPymemcache(t *testing.T) {
	path := python(t, "pymemcache", "python3-pymemcache")
	_, port := serveClients(t)
	if out := runClient(t, path, "testdata/client_pymemcache.py", port); out != "ok\n" {
		t.Errorf("printed %q", out)
	}
}

func TestPythonMemcached(t *testing.T) {
	path := python(t, "memcache", "python3-memcache")
	_, port := serveClients(t)
	if out := runClient(t, path, "testdata/client_memcache.py", port); out != "ok\n" {
		t.Errorf("printed %q", out)
	}
}

func TestPHPMemcached(t *testing.T) {
	path, err := exec.LookPath("php")
	if err == nil {
		err = exec.Command(path, "-r", "exit(class_exists('Memcached') ? 0 : 1);").Run()
	}
	if err != nil {
		t.Skipf("no PHP with the class Memcached (%v): install Debian's php-cli and php-memcached", err)
	}
	_, port := serveClients(t)
	if out := runClient(t, path, "testdata/client_memcached.php", port); out != "ok\n" {
		t.Errorf("printed %q", out)
	}
}

// libmemcached's programs; elsewhere than on Debian their names begin with mem only.
func TestLibmemcachedTools(t *testing.T) {
	tools := make(map[string]string)
	for _, tool := range []string{"cp", "cat", "rm", "ping", "stat", "touch"} {
		for _, prefix := range []string{"memc", "mem"} {
			if path, err := exec.LookPath(prefix + tool); err == nil {
				tools[tool] = path
				break
			}
		}
		if tools[tool] == "" {
			t.Skipf("no memc%s: install Debian's libmemcached-tools", tool)
		}
	}
	b, port := serveClients(t)
	server := "--servers=127.0.0.1:" + port
	dir := t.TempDir()
	file := filepath.Join(dir, "statuses") // its name is the key
	large := bytes.Repeat([]byte("0123456789abcdef"), 60000)
	for _, body := range [][]byte{[]byte("first"), []byte("second"), large} {
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		runClient(t, tools["cp"], server, file)
	}
	runClient(t, tools["ping"], server)
	if out := runClient(t, tools["cat"], server, "statuses"); strings.TrimSuffix(out, "\n") != "first" {
		t.Errorf("memccat printed %q", out)
	}
	if out := runClient(t, tools["stat"], server, "--args=queue"); !strings.Contains(out, "statuses: 3/1\n") {
		t.Errorf("memcstat --args=queue printed %q", out)
	}
	if out := runClient(t, tools["stat"], server); !strings.Contains(out, "version: 1.0.0\n") {
		t.Errorf("memcstat printed %q", out)
	}
	// A lease, which these programs cannot get but can end.
	q, err := b.Queue("statuses")
	if err != nil {
		t.Fatal(err)
	}
	msgs, err := q.Lease(t.Context(), 1, mcq.LeaseOptions{})
	if err != nil || len(msgs) != 1 || string(msgs[0].Body) != "second" {
		t.Fatalf("leased %d messages, %v", len(msgs), err)
	}
	runClient(t, tools["touch"], server, "--expire=60", fmt.Sprintf("statuses/id=%d", msgs[0].ID))
	runClient(t, tools["rm"], server, fmt.Sprintf("statuses/ack=%d", msgs[0].ID))
	if out, err := tryClient(t, tools["rm"], server, fmt.Sprintf("statuses/ack=%d", msgs[0].ID)); err == nil {
		t.Errorf("memcrm of what is acknowledged ended well: %q", out)
	}
	if out := runClient(t, tools["cat"], server, "--file="+file+".got", "statuses"); out != "" {
		t.Errorf("memccat to a file printed %q", out)
	}
	if got, err := os.ReadFile(file + ".got"); err != nil || !bytes.Equal(bytes.TrimSuffix(got, []byte("\n")), large) {
		t.Errorf("memccat wrote %d bytes, %v", len(got), err)
	}
	if out, err := tryClient(t, tools["cat"], server, "statuses"); err == nil {
		t.Errorf("memccat from an empty queue ended well: %q", out)
	}
	runClient(t, tools["rm"], server, "statuses")
	if out, err := tryClient(t, tools["rm"], server, "statuses"); err == nil {
		t.Errorf("memcrm of what is removed ended well: %q", out)
	}
}
