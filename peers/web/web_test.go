// Package web puts webv4 beside other Go web frameworks: the same two calls
// through each one's usual way of binding, checking and answering.
//
//	cd peers && go test -run '^$' -bench Web ./web
package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer is one framework with both interfaces registered:
//
//	GET /users/:id?count=&page=   an id of at least 1, count 1 to 200 (default 20), page (default 1)
//	POST /users                   a JSON body with lengths, a pattern and a range to check
type peer struct {
	name    string
	handler func() http.Handler // of those on net/http
	serve   func(net.Listener)  // of those on a stack of their own; nil: net/http's
}

// peers are in the order of their files.
var peers []peer

type user struct {
	ID    int64    `json:"id"`
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Tags  []string `json:"tags"`
}

func answer(id int64, count int) *user { return &user{id, "Ada", count, []string{"a", "b"}} }

const newUser = `{"name":"Ada Lovelace","email":"ada@example.org","age":36,"tags":["math","engines"],"city":{"name":"London","zip":"W1"}}`

var badUser = strings.Replace(newUser, "36", "360", 1)

// sink is a http.ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header    { return s.header }
func (s *sink) WriteHeader(status int) { s.status = status }
func (s *sink) Write(p []byte) (int, error) {
	s.status = max(s.status, 200)
	s.bytes += len(p)
	return len(p), nil
}

// Every peer must give the right answers before it is measured.
func TestPeersAnswerAlike(t *testing.T) {
	for _, p := range peers {
		if p.handler == nil {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			h := p.handler()
			for _, tc := range []struct {
				method, target, body string
				ok                   bool
				want                 string
			}{
				{"GET", "/users/7?count=5&page=2", "", true, `{"id":7,"name":"Ada","count":5,"tags":["a","b"]}`},
				{"GET", "/users/7", "", true, `{"id":7,"name":"Ada","count":20,"tags":["a","b"]}`},
				{"GET", "/users/7?count=500", "", false, ""},
				{"GET", "/users/x", "", false, ""},
				{"POST", "/users", newUser, true, `{"id":7,"name":"Ada","count":36,"tags":["a","b"]}`},
				{"POST", "/users", badUser, false, ""},
			} {
				r := httptest.NewRequest(tc.method, tc.target, strings.NewReader(tc.body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if tc.ok != (w.Code == 200) {
					t.Errorf("%s %s: %d %s", tc.method, tc.target, w.Code, w.Body)
				}
				if tc.ok {
					var got, want user
					json.Unmarshal(w.Body.Bytes(), &got)
					json.Unmarshal([]byte(tc.want), &want)
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%s %s: %s", tc.method, tc.target, w.Body)
					}
				}
			}
		})
	}
}

type cpuClock time.Duration

func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func (c cpuClock) report(b *testing.B) {
	b.ReportMetric(float64(cpuTime()-time.Duration(c))/float64(b.N), "cpu-ns/op")
}

func BenchmarkWebTypedGET(b *testing.B) {
	inMemory(b, "GET", "/users/7?count=5&page=2", "")
}

func BenchmarkWebValidatedPOST(b *testing.B) {
	inMemory(b, "POST", "/users", newUser)
}

func inMemory(b *testing.B, method, target, body string) {
	for _, p := range peers {
		if p.handler == nil {
			continue
		}
		b.Run(p.name, func(b *testing.B) {
			h := p.handler()
			w := &sink{header: http.Header{}}
			u, _ := url.Parse(target)
			rd := bytes.NewReader(nil)
			header := http.Header{"Content-Type": {"application/json"}}
			b.ReportAllocs()
			cpu := cpuClock(cpuTime())
			for b.Loop() {
				// A server makes a request for each call too.
				r := &http.Request{
					Method: method, URL: &url.URL{Path: u.Path, RawQuery: u.RawQuery}, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
					RemoteAddr: "127.0.0.1:5", RequestURI: target, Host: "x", ContentLength: int64(len(body)), Body: http.NoBody,
				}
				if body != "" {
					rd.Reset([]byte(body))
					r.Body = io.NopCloser(rd)
				}
				clear(w.header)
				w.status = 0
				h.ServeHTTP(w, r)
				if w.status != 200 {
					b.Fatal(w.status)
				}
			}
			cpu.report(b)
		})
	}
}

// BenchmarkWebLoopback sends the GET over 64 connections with a client that does
// the least possible; cpu/op is both sides'.
func BenchmarkWebLoopback(b *testing.B) {
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			if p.serve != nil {
				go p.serve(ln)
			} else {
				srv := &http.Server{Handler: p.handler()}
				go srv.Serve(ln)
				defer srv.Close()
			}
			waitFor(b, ln.Addr().String())
			b.SetParallelism(32)
			b.ResetTimer()
			cpu := cpuClock(cpuTime())
			b.RunParallel(func(pb *testing.PB) {
				c, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					b.Error(err)
					return
				}
				defer c.Close()
				rd := bufio.NewReader(c)
				for pb.Next() {
					if err := exchange(c, rd); err != nil {
						b.Error(err)
						return
					}
				}
			})
			cpu.report(b)
		})
	}
}

func waitFor(b *testing.B, addr string) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			err = exchange(c, bufio.NewReader(c))
			c.Close()
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			b.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

var rawRequest = []byte("GET /users/7?count=5&page=2 HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n")

// exchange sends the request and reads the reply.
func exchange(c net.Conn, rd *bufio.Reader) error {
	if _, err := c.Write(rawRequest); err != nil {
		return err
	}
	line, err := rd.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200")) {
		return fmt.Errorf("%s", line)
	}
	n := 0
	for {
		line, err := rd.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, ok := bytes.Cut(line, []byte(":")); ok && bytes.EqualFold(name, []byte("Content-Length")) {
			n = 0
			for _, d := range bytes.TrimSpace(value) {
				n = 10*n + int(d-'0')
			}
		}
	}
	if n == 0 {
		return fmt.Errorf("a reply without a length")
	}
	_, err = rd.Discard(n)
	return err
}
