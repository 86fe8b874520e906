package webv4_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/webv4"
)

// Slow clients are closed in their time, whatever they are slow at, while others
// are served.
func TestSlowClients(t *testing.T) {
	a := newAPI(t, nil)
	type upload struct {
		_    struct{} `route:"POST /upload"`
		Body struct {
			Text string `json:"text"`
		} `body:""`
	}
	type large struct {
		_ struct{} `route:"GET /large"`
	}
	ended := make(chan error, 1000)
	webv4.Handle(a, func(context.Context, *upload) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *large) (*in2, error) { return &in2{strings.Repeat("x", 64<<20)}, nil })
	webv4.Handle(a, func(context.Context, *give) (*empty, error) { return nil, nil })
	srv := a.Server()
	srv.ReadHeaderTimeout, srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout = time.Second, 1500*time.Millisecond, 2*time.Second, time.Second
	srv.ConnState = func(c net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			select {
			case ended <- nil:
			default:
			}
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	defer srv.Close()
	made := 0
	connect := func(text string) net.Conn {
		made++
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		// Generous: only that it ends is checked here.
		c.SetDeadline(time.Now().Add(time.Minute))
		io.WriteString(c, text)
		return c
	}
	drip := func(c net.Conn, text string) {
		for {
			if _, err := io.WriteString(c, text); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	slow := map[string]net.Conn{
		"nothing":      connect(""),
		"header":       connect("GET /give.json HTTP/1.1\r\nHost: x\r\n"),
		"half a body":  connect("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"),
		"chunks":       connect("POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"),
		"idle":         connect("GET /give.json HTTP/1.1\r\nHost: x\r\n\r\n"),
		"never reads":  connect("GET /large HTTP/1.1\r\nHost: x\r\n\r\n"),
		"a line a day": connect("GET /give.json HTTP/1.1\r\nHost: x\r\n"),
	}
	go drip(slow["a line a day"], "X-A: b\r\n")
	go drip(slow["chunks"], "1\r\n \r\n")
	// Others are served meanwhile; on a machine that is busy even they may be too slow.
	for served := 0; served < 5; {
		c := connect("GET /give.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		switch {
		case err == nil && resp.StatusCode == 200:
			served++
		case made > 500:
			t.Fatal(resp, err)
		}
	}
	for name, c := range slow {
		if name == "never reads" {
			continue
		}
		// The server answers or not, and then closes.
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// All of them end at the server, also the one that never reads.
	timeout := time.After(time.Minute)
	for n := range made {
		select {
		case <-ended:
		case <-timeout:
			t.Fatalf("%d connections have ended", n)
		}
	}
}

// hostile are bodies that cost nothing to send.
func hostile() map[string]string {
	return map[string]string{
		"10,000 deep lists":   strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		"10,000 deep objects": strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000),
		"8 MB of lists":       strings.Repeat("[", 8<<20),
		"8 MB of text":        `{"text":"` + strings.Repeat("x", 8<<20) + `"}`,
		"8 MB of spaces":      strings.Repeat(" ", 8<<20),
	}
}

func hostileAPI(t testing.TB) *webv4.API {
	a := newAPI(t, nil)
	type in struct {
		_    struct{} `route:"POST /any"`
		Body struct {
			Any any `json:"any"`
		} `body:""`
	}
	webv4.Handle(a, func(context.Context, *in) (*empty, error) { return nil, nil })
	return a
}

// What is nested too deeply or too large is refused before it costs anything:
// BenchmarkWebHostile measures it.
func TestHostileBodies(t *testing.T) {
	a := hostileAPI(t)
	for name, body := range hostile() {
		for _, length := range []string{"X: y", "Chunked: yes"} {
			for _, inner := range []string{body, `{"any":` + body + `}`} {
				r := do(t, a, "POST /any", inner, jsonBody, length)
				if want := map[bool]int{true: 413, false: 400}[len(inner) > 1<<20]; r.status != want {
					t.Errorf("%s, %s: %d %.100s", name, length, r.status, r.body)
				}
			}
		}
	}
}

func BenchmarkWebHostile(b *testing.B) {
	a := hostileAPI(b)
	for name, body := range hostile() {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			r := newRequest("POST", "/any", `{"any":`+body+`}`, "Content-Type", "application/json")
			r.ContentLength = -1 // its size is not known beforehand
			w := &sink{header: http.Header{}}
			cpu := startCPU()
			for b.Loop() {
				r.send(a, w)
			}
			cpu.report(b)
			if w.status != 400 && w.status != 413 {
				b.Error(fmt.Sprint("status ", w.status))
			}
		})
	}
}
