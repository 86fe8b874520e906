package webv4_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// zeros are as many as there are buffers for, and more.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

// Clients that are slow at headers, at bodies or at reading are closed in their
// time, while others are served.
func TestSlowClients(t *testing.T) {
	type upload struct {
		_    struct{} `route:"POST /upload"`
		Body struct {
			Text string `json:"text"`
		} `body:""`
	}
	type large struct {
		_ struct{} `route:"GET /large"`
	}
	a := newAPI(t, nil)
	webv4.Handle(a, func(context.Context, *upload) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *large) (*webv4.Content, error) {
		return &webv4.Content{Data: io.NewSectionReader(zeros{}, 0, 1<<30)}, nil
	})
	webv4.Handle(a, func(context.Context, *give) (*empty, error) { return nil, nil })

	var mu sync.Mutex
	open := map[net.Conn]bool{}
	srv := a.Server()
	// What is a minute, in a second.
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout = time.Second, time.Second, time.Second, time.Second
	closed := make(chan struct{}, 100)
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch s {
		case http.StateNew:
			open[c] = true
		case http.StateClosed:
			delete(open, c)
			closed <- struct{}{}
		}
	}
	start := func(srv *http.Server) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- srv.Serve(ln) }()
		t.Cleanup(func() { srv.Close(); <-served })
		return ln.Addr().String()
	}
	slowly, others := start(srv), start(a.Server())

	var clients sync.WaitGroup
	t.Cleanup(clients.Wait) // after those below have closed the connections
	slow := map[string]struct {
		first string               // what the client sends at once
		then  func(net.Conn) error // what it does again and again
	}{
		"sends nothing":              {"", nil},
		"half a header":              {"GET /give.json HTTP/1.1\r\nHost: x\r\n", nil},
		"a line of a header at last": {"GET /give.json HTTP/1.1\r\nHost: x\r\n", write("X-A: b\r\n")},
		"half a body":                {"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", nil},
		"a byte of a body at last":   {"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{", write(" ")},
		"chunks without end":         {"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n", write("1\r\n \r\n")},
		"no second request":          {"GET /give.json HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		"never reads":                {"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", nil},
		"reads a byte at last":       {"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", func(c net.Conn) error { _, err := c.Read(make([]byte, 1)); return err }},
		"asks again, never reads":    {"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /large HTTP/1.1\r\nHost: x\r\n\r\n", nil},
	}
	for _, client := range slow {
		c, err := net.Dial("tcp", slowly)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		// On a slow machine its time may be over already.
		_, _ = io.WriteString(c, client.first)
		if client.then != nil {
			clients.Go(func() {
				for client.then(c) == nil {
					time.Sleep(20 * time.Millisecond)
				}
			})
		}
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	other := &http.Client{Transport: transport}
	timeout := time.After(5 * time.Minute) // for a machine with much else to do
	for ended := 0; ended < len(slow); {
		resp, err := other.Get("http://" + others + "/give.json")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("another client got status %d", resp.StatusCode)
		}
		select {
		case <-closed:
			ended++
		case <-time.After(10 * time.Millisecond):
		case <-timeout:
			t.Fatalf("%d of %d slow clients are still connected", len(slow)-ended, len(slow))
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(open) > 0 {
		t.Errorf("%d connections are open", len(open))
	}
}

// write sends text again and again.
func write(text string) func(net.Conn) error {
	return func(c net.Conn) error { _, err := io.WriteString(c, text); return err }
}
