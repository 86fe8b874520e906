package motan_test

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// A new client calls whichever node is there first, wherever on the list it is.
func TestDeafNodeDoesNotDelayTheFirstCall(t *testing.T) {
	srv := newServer(t, nil)
	motan.Handle(srv, "s", "m", func(_ context.Context, s *string) (*string, error) { return s, nil })
	well := startServer(t, srv)
	deaf, other := deafNode(t), deafNode(t)
	for _, addrs := range [][]string{{deaf, well}, {well, deaf}, {deaf, other, well}} {
		c := newClient(t, "s", motan.Static(addrs...), &motan.ClientOptions{Timeout: patience, Retries: -1})
		ctx, cancel := context.WithTimeout(t.Context(), dialTimeout*3/4)
		if _, err := motan.Call[string](ctx, c, "m", "x"); err != nil {
			t.Errorf("%v: %v", addrs, err)
		}
		cancel()
	}
}

// dialTimeout is what the client gives a dial.
const dialTimeout = 2 * time.Second

// deafNode is an address at which nobody answers who wants to connect: its queue of
// connections is full.
func deafNode(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 10 {
		conn, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue of connections does not fill up")
	return ""
}
