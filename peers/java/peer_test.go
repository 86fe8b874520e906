package java_test

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
	"testing"
	"time"
)

// jvm is a Java virtual machine that runs com.example.Peer.
type jvm struct {
	in  io.WriteCloser
	out chan string // lines; closed when it ends

	mu  sync.Mutex
	err bytes.Buffer // what it wrote to its standard error
}

func (j *jvm) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.err.Len() < 64<<10 {
		j.err.Write(p)
	}
	return len(p), nil
}

// startJVM starts the Java peer, which ends with the test.
func startJVM(t *testing.T) *jvm {
	t.Helper()
	classpath := os.Getenv("HEDDLE_TEST_MOTAN_JAVA")
	if classpath == "" {
		t.Skip("HEDDLE_TEST_MOTAN_JAVA is not set; in peers: mvn -q -B -f java/pom.xml compile dependency:build-classpath -Dmdep.outputFile=target/classpath," +
			" then HEDDLE_TEST_MOTAN_JAVA=$PWD/java/target/classpath")
	}
	jars, err := os.ReadFile(classpath)
	if err != nil {
		t.Fatal(err)
	}
	cp := filepath.Join(filepath.Dir(classpath), "classes") + string(os.PathListSeparator) + strings.TrimSpace(string(jars))
	j := &jvm{out: make(chan string, 64)}
	cmd := exec.Command("java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp", cp, "com.example.Peer")
	cmd.Dir = t.TempDir()
	cmd.Stderr = j
	if j.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(j.out)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			j.out <- lines.Text()
		}
	}()
	t.Cleanup(func() {
		j.in.Close() // it ends by itself then
		kill := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		defer kill.Stop()
		for range j.out { // up to its end
		}
		cmd.Wait()
	})
	return j
}

// do gives the peer a command and returns its answer, without the "done".
func (j *jvm) do(t *testing.T, format string, args ...any) (answer []string) {
	t.Helper()
	command := fmt.Sprintf(format, args...)
	if _, err := fmt.Fprintln(j.in, command); err != nil {
		t.Fatal(err)
	}
	limit := time.After(2 * time.Minute)
	for {
		select {
		case line, ok := <-j.out:
			if !ok {
				j.mu.Lock()
				defer j.mu.Unlock()
				t.Fatalf("%s: the Java peer ended: %s", command, j.err.Bytes())
			}
			if line == "done" {
				return answer
			}
			answer = append(answer, line)
		case <-limit:
			t.Fatalf("%s: no answer in two minutes", command)
		}
	}
}

// failed returns the lines that say what went wrong, with what Java said of it.
func (j *jvm) failed(answer []string) string {
	var bad strings.Builder
	for _, line := range answer {
		if strings.HasPrefix(line, "bad") {
			bad.WriteString(line + "\n")
		}
	}
	if bad.Len() > 0 {
		j.mu.Lock()
		defer j.mu.Unlock()
		fmt.Fprintf(&bad, "%s", j.err.Bytes())
	}
	return bad.String()
}

// serve makes the peer offer the service on a free port, and announce it if a
// ZooKeeper is given. It returns the address.
func (j *jvm) serve(t *testing.T, group, zookeeper string) string {
	t.Helper()
	var why string
	for range 5 { // the port may be taken in the meantime
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		port := ln.Addr().(*net.TCPAddr).Port
		ln.Close()
		if why = j.failed(j.do(t, "serve %s %d %s", group, port, zookeeper)); why == "" {
			return fmt.Sprintf("127.0.0.1:%d", port)
		}
	}
	t.Fatal(why)
	return ""
}
