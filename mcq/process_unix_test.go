//go:build unix

package mcq_test

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// pause stops the process as a machine that has gone to sleep, for a while.
func (p *process) pause(t *testing.T, d time.Duration) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}

// A server that has no file descriptors left goes on serving the connections
// that it has, and accepts again when some of them end.
func TestOutOfFiles(t *testing.T) {
	const files = 64
	p := startCommand(t, t.TempDir(), exec.Command("/bin/sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" -test.run='^$'`, files), os.Args[0]))
	first := connect(t, p.addr)
	first.send("set q 0 0 1\r\nx\r\n")
	first.expect("STORED\r\n")
	// Connections are made by the kernel; that one is accepted shows by its reply.
	var crowd []*wire
	var waiting *wire
	for waiting == nil {
		if len(crowd) > files {
			t.Fatalf("%d connections with %d files", len(crowd), files)
		}
		w := connect(t, p.addr)
		w.send("get nothing\r\n")
		w.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := w.in.Peek(1); err != nil {
			waiting = w
			break
		}
		w.expect("END\r\n")
		crowd = append(crowd, w)
	}
	body := "x"
	for i := range 100 {
		next := fmt.Sprint(i)
		first.send(fmt.Sprintf("get q\r\nset q 0 0 %d\r\n%s\r\n", len(next), next))
		first.expect(fmt.Sprintf("VALUE q 0 %d\r\n%s\r\nEND\r\nSTORED\r\n", len(body), body))
		body = next
	}
	for _, w := range crowd {
		w.Close()
	}
	waiting.SetReadDeadline(time.Now().Add(patience))
	waiting.expect("END\r\n")
	last := connect(t, p.addr)
	last.send("get q\r\nversion\r\n")
	last.expect("VALUE q 0 2\r\n99\r\nEND\r\nVERSION 1.0.0\r\n")
}
