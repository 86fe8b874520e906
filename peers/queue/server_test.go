package queue_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// server is a peer's server in a process of its own.
type server struct {
	pid  int
	open opener
}

// processorTime is the CPU time that the server's process has had. The kernel
// counts it in hundredths of a second.
func (s *server) processorTime(t testing.TB) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if errors.Is(err, os.ErrNotExist) && !procfs() {
		return 0 // no Linux: no figure
	}
	if err != nil {
		t.Fatal(err)
	}
	// The second field is a name in parentheses that may hold anything; utime
	// and stime are the 14th and 15th.
	_, rest, _ := strings.Cut(string(stat[bytes.LastIndexByte(stat, ')'):]), " ")
	fields := strings.Fields(rest)
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
	return time.Duration(ticks) * tick
}

func procfs() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// patience is how long a server may take to start, or a reply to come.
const patience = 30 * time.Second

// startProgram starts a server program that listens on a loopback port and
// returns its process and address; args is told the port, and install is said
// where the program is missing. It is killed when the test ends.
func startProgram(t testing.TB, program, install string, args func(port string) []string) (pid int, addr string) {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Skipf("%s is not installed: %s", program, install)
	}
	// Somebody else may take the port in between: then the program ends.
	var said string
	for range 5 {
		addr, port := freePort(t)
		var out bytes.Buffer
		cmd := exec.Command(path, args(port)...)
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			cmd.Wait()
			close(ended)
		}()
		t.Cleanup(func() {
			cmd.Process.Kill()
			<-ended
		})
		if waitForPort(addr, ended) {
			return cmd.Process.Pid, addr
		}
		cmd.Process.Kill()
		<-ended
		said = out.String()
	}
	t.Fatalf("%s did not start: %s", program, said)
	return 0, ""
}

func freePort(t testing.TB) (addr, port string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	addr = ln.Addr().String()
	_, port, _ = net.SplitHostPort(addr)
	return addr, port
}

// waitForPort waits until somebody accepts connections at addr.
func waitForPort(addr string, ended <-chan struct{}) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
	return false
}

// childEnv makes the test binary play a server: its value is the role and its
// arguments.
const childEnv = "HEDDLE_QUEUE_CHILD"

// roles are the servers that the test binary can play. They return where they
// serve, and how to stop.
var roles = map[string]func(args []string) (addr string, stop func() error, err error){
	"mcq":       serveMCQ,
	"jetstream": serveJetStream,
}

func TestMain(m *testing.M) {
	role := os.Getenv(childEnv)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(strings.Split(role, "\n")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// play serves until standard input ends.
func play(role []string) error {
	addr, stop, err := roles[role[0]](role[1:])
	if err != nil {
		return err
	}
	fmt.Println("serving", addr)
	io.Copy(io.Discard, os.Stdin)
	return stop()
}

// startChild starts this binary again in a role.
func startChild(t testing.TB, role ...string) (pid int, addr string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(role, "\n"))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		overdue := time.AfterFunc(patience, func() { cmd.Process.Kill() })
		defer overdue.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s ended with %v", role[0], err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if !ok {
		t.Fatalf("%s said %q, %v", role[0], line, err)
	}
	return cmd.Process.Pid, addr
}
