package web

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

type slowPost struct {
	_    struct{} `route:"POST /post"`
	Body any      `body:"" required:"true"`
}

type large struct {
	_ struct{} `route:"GET /large"`
}

type quick struct {
	_ struct{} `route:"GET /quick"`
}

// connections counts a server's.
type connections struct {
	mu     sync.Mutex
	opened int
	open   map[net.Conn]bool
}

func (c *connections) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		c.opened++
		c.open[conn] = true
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn)
	}
}

func (c *connections) count() (opened, open int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened, len(c.open)
}

// TestSlowClients has slowhttptest send headers and bodies and read replies as
// slowly as it can: the server of [webv4.API.Server] closes these connections
// when their time is over, and serves others all the while.
func TestSlowClients(t *testing.T) {
	path, err := exec.LookPath("slowhttptest")
	if err != nil {
		t.Skip("needs slowhttptest (Debian: apt-get install slowhttptest)")
	}
	a, err := webv4.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	megabytes := make([]byte, 16<<20)
	webv4.Handle(a, func(context.Context, *slowPost) (*greeting, error) { return &greeting{}, nil })
	webv4.Handle(a, func(context.Context, *large) (*webv4.Content, error) {
		return &webv4.Content{Data: bytes.NewReader(megabytes)}, nil
	})
	webv4.Handle(a, func(context.Context, *quick) (*greeting, error) { return &greeting{"world"}, nil })
	const slow = 40
	for _, mode := range []struct {
		name, target string
		args         []string
	}{
		{"headers", "/quick", []string{"-H", "-i", "1"}},
		{"body", "/post", []string{"-B", "-i", "1", "-s", "4096", "-x", "4", "-f", "application/json"}},
		{"read", "/large", []string{"-X", "-n", "3", "-z", "8", "-w", "256", "-y", "512", "-k", "1"}},
	} {
		t.Run(mode.name, func(t *testing.T) {
			srv := a.Server()
			// What it is in a minute, in a second.
			srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout = time.Second, time.Second, time.Second, time.Second
			slowOnes := connections{open: map[net.Conn]bool{}}
			srv.ConnState = slowOnes.state
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan error, 1)
			go func() { served <- srv.Serve(ln) }()
			defer func() { srv.Close(); <-served }()
			// Others come through a server of their own, as counting theirs would
			// confuse; the handler, its API and the processors are the same.
			other, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			quickServer := a.Server()
			quickServed := make(chan error, 1)
			go func() { quickServed <- quickServer.Serve(other) }()
			defer func() { quickServer.Close(); <-quickServed }()

			// Five minutes: it has to be told to end, or to find all connections closed.
			var out bytes.Buffer
			args := append([]string{"-c", strconv.Itoa(slow), "-r", "100", "-l", "300", "-p", "300", "-u", "http://" + ln.Addr().String() + mode.target}, mode.args...)
			cmd := exec.Command(path, args...)
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				// How it ended is in its output.
				_ = cmd.Wait()
				close(ended)
			}()
			defer func() {
				_ = cmd.Process.Kill()
				<-ended
			}()
			c, err := dial(other.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			request := get("/quick")
			answers := 0
			for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
				if status, _, err := c.exchange(request); err != nil || status != http.StatusOK {
					t.Fatalf("another client: status %d, %v", status, err)
				}
				answers++
				opened, open := slowOnes.count()
				if opened >= slow && open == 0 {
					break
				}
				if time.Now().After(deadline) {
					_ = cmd.Process.Kill()
					<-ended
					t.Fatalf("of %d slow connections %d are open\n%s", opened, open, out.String())
				}
			}
			t.Logf("%d answers to another client meanwhile", answers)
		})
	}
}
