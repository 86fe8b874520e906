package web

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/heddle-go/heddle/internal/cputime"
)

// peer is one framework with both interfaces registered:
//
//	GET /users/:id?count=&page=   an id of at least 1, count 1 to 200 (default 20), page (default 1)
//	POST /users                   a JSON body with lengths, a pattern and a range to check
//	GET /timeline                 a reply of 22 KB
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
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest("GET", "/timeline", nil))
			var got timeline
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || !reflect.DeepEqual(&got, theTimeline) {
				t.Errorf("timeline: %v, %s", err, w.Body)
			}
		})
	}
}

type cpuClock time.Duration

func (c cpuClock) report(b *testing.B) {
	b.ReportMetric(float64(cputime.Process()-time.Duration(c))/float64(b.N), "cpu-ns/op")
}

func BenchmarkWebTypedGET(b *testing.B) {
	inMemory(b, "GET", "/users/7?count=5&page=2", "")
}

func BenchmarkWebValidatedPOST(b *testing.B) {
	inMemory(b, "POST", "/users", newUser)
}

func BenchmarkWebTimeline(b *testing.B) {
	inMemory(b, "GET", "/timeline", "")
}

func inMemory(b *testing.B, method, target, body string) {
	for _, p := range peers {
		if p.handler == nil {
			continue
		}
		b.Run(p.name, func(b *testing.B) {
			h := p.handler()
			w := &sink{header: http.Header{}}
			link, err := url.Parse(target)
			if err != nil {
				b.Fatal(err)
			}
			reader := strings.NewReader(body)
			fresh := http.Request{
				Method: method, Header: http.Header{"Content-Type": {"application/json"}}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				RemoteAddr: "127.0.0.1:5", RequestURI: target, Host: "x", ContentLength: int64(len(body)), Body: http.NoBody,
			}
			if body != "" {
				fresh.Body = io.NopCloser(reader)
			}
			r, u := new(http.Request), new(url.URL)
			b.ReportAllocs()
			cpu := cpuClock(cputime.Process())
			for b.Loop() {
				// As new, since frameworks write on a request, but in the same memory:
				// making one is the server's work.
				*r, *u = fresh, *link
				r.URL = u
				reader.Reset(body)
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

// BenchmarkWebLoopback sends the GET over 64 connections.
func BenchmarkWebLoopback(b *testing.B) {
	for _, p := range peers {
		b.Run(p.name, func(b *testing.B) {
			overLoopback(b, startServer(b, p.name), get("/users/7?count=5&page=2"))
		})
	}
}

// register makes a peer one of those that are compared.
func register(p peer) {
	peers = append(peers, p)
	servers[p.name] = p.serve
	if p.serve == nil {
		servers[p.name] = serves(p.handler)
	}
}
