package motan_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/motan"
)

// A client that fails at TLS leaves a trace, one that says nothing does not.
func TestFailedHandshakes(t *testing.T) {
	log := &logged{}
	srv := newServer(t, &motan.ServerOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
	handleEcho(srv, "tls")
	ln, cfg := listenTLS(t)
	go srv.Serve(ln)
	t.Cleanup(func() { srv.Close() })
	dial := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	dial().Close()
	plain := dial()
	plain.Write(request(1, "test.Echo", "say", "x").bytes())
	io.Copy(io.Discard, plain)
	// Without a certificate; of version 1.3 the client learns that when it reads.
	conn := tls.Client(dial(), &tls.Config{RootCAs: cfg.RootCAs, ServerName: "127.0.0.1"})
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a client without a certificate is served")
	}
	eventually(t, "both are counted and gone", func() bool { s := srv.Stats(); return s.Insecure == 2 && s.Conns == 0 && s.Accepted == 3 })
	for _, want := range []string{plain.LocalAddr().String(), "TLS handshake: tls: first record does not look like", "client didn't provide a certificate"} {
		if s := log.String(); !strings.Contains(s, want) {
			t.Errorf("logged %q, want %q", s, want)
		}
	}
	if s := log.String(); strings.Count(s, "\n") != 2 {
		t.Errorf("logged %q", s)
	}
	c := newClient(t, "test.Echo", motan.Static(ln.Addr().String()), &motan.ClientOptions{Timeout: patience, TLS: cfg})
	call(t, c, "say", "x")
	// A handshake that is under way does not keep the server open, and is no failure of the client.
	waits := dial()
	waits.Write([]byte{22, 3, 1})
	eventually(t, "it is there", func() bool { return srv.Stats().Accepted >= 5 })
	srv.Close()
	if s := srv.Stats(); s.Insecure != 2 {
		t.Errorf("%+v", s)
	}
}

// Who can connect cannot fill the log.
func TestLogOfConnectionsIsBounded(t *testing.T) {
	log := &logged{}
	n := startNode(t, "a", &motan.ServerOptions{Logger: slog.New(slog.NewTextHandler(log, nil))})
	const times = 200
	began := time.Now()
	for i := range times {
		c := dialWire(t, n.addr)
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\n\r\n", i)
		io.Copy(io.Discard, c)
		c.Close()
	}
	eventually(t, "all are counted", func() bool { return n.srv.Stats().Malformed == times })
	most := 21 + int(time.Since(began)/time.Second)
	if lines := strings.Count(log.String(), "\n"); lines < 20 || lines > most {
		t.Errorf("%d lines logged, want 20 to %d", lines, most)
	}
	eventually(t, "what was left out is told", func() bool {
		c := dialWire(t, n.addr)
		defer c.Close()
		fmt.Fprint(c, "GET / HTTP/1.1\r\n\r\n")
		io.Copy(io.Discard, c)
		return strings.Contains(log.String(), "unlogged=")
	})
}
