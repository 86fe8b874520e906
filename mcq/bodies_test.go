package mcq_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/mcq"
)

// Bodies that have not come whole take no more memory than they may, whatever the
// number of connections; those that there is no room for are swallowed and refused.
func TestBodyMemory(t *testing.T) {
	const size, conns, most = 1 << 20, 16, 3 << 20
	b := memBroker(t, &mcq.Options{Sync: mcq.Never})
	s, addr := startServer(t, b, &mcq.ServerOptions{BodyMemory: most})
	body := strings.Repeat("x", size)
	list := make([]*wire, conns)
	for i := range list {
		list[i] = connect(t, addr)
		list[i].send(fmt.Sprintf("set q%d 0 0 %d\r\n%s", i%2, size, body[:size*3/4]))
		if held := mcq.BodiesHeld(s); held > most {
			t.Fatalf("%d bytes are held", held)
		}
	}
	waitFor(t, "the bodies to come", func() bool { return s.Stats().Sets == conns && mcq.BodiesHeld(s) > most/2 })
	stored, refused := 0, 0
	for _, w := range list {
		w.send(body[size*3/4:] + "\r\nversion\r\n")
		switch line := w.line(); line {
		case "STORED\r\n":
			stored++
		case "SERVER_ERROR out of memory storing object\r\n":
			refused++
		default:
			t.Fatalf("got %q", line)
		}
		w.expect("VERSION 1.0.0\r\n")
	}
	if stored < 2 || stored+refused != conns || refused == 0 {
		t.Errorf("%d were stored, %d refused", stored, refused)
	}
	// A connection that ends gives back what it had, and there is room for the largest.
	w := connect(t, addr)
	w.send(fmt.Sprintf("set q0 0 0 %d\r\n%s", size, body[:size/2]))
	waitFor(t, "half a body", func() bool { return mcq.BodiesHeld(s) > 0 })
	w.Close()
	waitFor(t, "all to be given back", func() bool { return mcq.BodiesHeld(s) == 0 })
	w = list[0]
	w.send(fmt.Sprintf("set q0 0 0 %d\r\n%s\r\n", size, body))
	w.expect("STORED\r\n")
	if n := mcq.BodiesHeld(s); n != 0 {
		t.Errorf("%d bytes are held in the end", n)
	}
}

// However little it may be, there is room for the largest message.
func TestBodyMemoryLeast(t *testing.T) {
	_, addr := startServer(t, memBroker(t, nil), &mcq.ServerOptions{BodyMemory: 1})
	w := connect(t, addr)
	w.send(fmt.Sprintf("set q 0 0 %d\r\n%s\r\n", 1<<20, strings.Repeat("x", 1<<20)))
	w.expect("STORED\r\n")
}
