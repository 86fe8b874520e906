//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-go/heddle/mcq"
)

// childEnv makes the test binary be mcqd.
const childEnv = "HEDDLE_MCQD_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// patience is how long a process may take for what should happen at once.
const patience = 30 * time.Second

// process is mcqd in a process of its own.
type process struct {
	*exec.Cmd
	addr   string
	stdout *bufio.Reader
	stderr bytes.Buffer
}

func command(t *testing.T, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.CommandContext(t.Context(), self, args...)}
	p.Env = append(os.Environ(), childEnv+"=1")
	p.Stderr = &p.stderr
	return p
}

// serving starts mcqd and waits until it serves.
func serving(t *testing.T, args ...string) *process {
	t.Helper()
	p := command(t, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Process.Kill()
		p.Wait()
	})
	p.stdout = bufio.NewReader(out)
	line, err := p.stdout.ReadString('\n')
	_, rest, ok := strings.Cut(line, " on ")
	if p.addr, _, _ = strings.Cut(rest, ","); !ok {
		t.Fatalf("said %q, %v; %s", line, err, p.stderr.String())
	}
	return p
}

// status is how the process ended.
func status(err error) syscall.WaitStatus {
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.Sys().(syscall.WaitStatus)
	}
	return 0
}

// Whoever starts it wrongly is told why on standard error, and scripts can tell
// wrong flags from what failed.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := serving(t, "-data", filepath.Join(dir, "store"))
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-drain", "-1s", "-max-message", "0"}, 2, "mcqd: -max-message 0: want 1 to 67108864\nmcqd: -drain -1s: want 0, which is not to wait, or more\nmcqd -h lists the flags\n"},
		{[]string{"-nonsense"}, 2, "mcqd: flag provided but not defined: -nonsense\nmcqd -h lists the flags\n"},
		{[]string{"-addr", p.addr, "-data", filepath.Join(dir, "other")}, 1, "address already in use"},
		{[]string{"-addr", "127.0.0.1:0", "-data", filepath.Join(dir, "store")}, 1, dir + "/store is served already"},
		{[]string{"-check", filepath.Join(dir, "store")}, 1, "another process"},
		{[]string{"-addr", "127.0.0.1:0", "-data", filepath.Join(file, "store")}, 1, "not a directory"},
		{[]string{"-addr", "127.0.0.1:0", "-data", file}, 1, file},
	} {
		bad := command(t, c.args...)
		out, err := bad.Output()
		if got := status(err); !got.Exited() || got.ExitStatus() != c.code || !strings.Contains(bad.stderr.String(), c.want) || len(out) > 0 {
			t.Errorf("%q: %v, %q, want %d and %q; printed %q", c.args, err, bad.stderr.String(), c.code, c.want, out)
		}
	}
	help := command(t, "-h")
	if out, err := help.Output(); err != nil || help.stderr.Len() > 0 || !strings.Contains(string(out), "-max-message") {
		t.Errorf("help: %v, %q, printed %q", err, help.stderr.String(), out)
	}
}

// SIGTERM under load ends it well, and every message that was STORED is there.
func TestTerminateUnderLoad(t *testing.T) {
	dir := t.TempDir()
	p := serving(t, "-data", dir)
	var stored atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(2 * patience))
		clients.Go(func() {
			for in := bufio.NewReader(conn); ; stored.Add(1) {
				if _, err := io.WriteString(conn, "set q 0 0 5\r\nhello\r\n"); err != nil {
					return
				}
				if line, err := in.ReadString('\n'); err != nil {
					return
				} else if line != "STORED\r\n" {
					t.Errorf("%q", line)
					return
				}
			}
		})
	}
	for end := time.Now().Add(patience); stored.Load() < 100 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	clients.Wait()
	rest, _ := io.ReadAll(p.stdout)
	if err := p.Wait(); err != nil || string(rest) != "stopping\n" || p.stderr.Len() > 0 {
		t.Errorf("ended with %v, %q, %q", err, rest, p.stderr.String())
	}
	b, err := mcq.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if s := b.Stats().Queues; len(s) != 1 || int64(s[0].Put) < stored.Load() || stored.Load() < 100 {
		t.Errorf("%d stored, %+v", stored.Load(), s)
	}
}

// The first Ctrl-C waits for a body that is on its way, the second does not; what was
// stored is there.
func TestInterruptTwice(t *testing.T) {
	dir := t.TempDir()
	p := serving(t, "-data", dir, "-drain", "1h")
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprint(conn, "set q 0 0 5\r\nhello\r\nset q 0 0 5\r\nhe")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "STORED\r\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if line, err := p.stdout.ReadString('\n'); line != "stopping\n" {
		t.Fatalf("said %q, %v", line, err)
	}
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = p.Wait()
	if got := status(err); !got.Signaled() || got.Signal() != syscall.SIGINT {
		t.Errorf("ended with %v", err)
	}
	b, err := mcq.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if s := b.Stats().Queues; len(s) != 1 || s[0].Put != 1 {
		t.Errorf("%+v", s)
	}
}
