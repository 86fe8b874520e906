package webv4_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/webv4"
)

// sink is a http.ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
	bytes  int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { s.bytes += len(p); return len(p), nil }

type getUser struct {
	_     struct{} `route:"GET /users/:id.json"`
	ID    int64    `path:"id" min:"1"`
	Count int      `query:"count" default:"20" min:"1" max:"200"`
	Page  int      `query:"page" default:"1"`
}

type user struct {
	ID    int64    `json:"id"`
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Tags  []string `json:"tags"`
}

type postUser struct {
	_    struct{} `route:"POST /users.json"`
	Body struct {
		Name  string   `json:"name" required:"true" minLength:"1" maxLength:"50"`
		Email string   `json:"email" required:"true" pattern:"^[^@]+@[^@]+$"`
		Age   int      `json:"age" min:"0" max:"150"`
		Tags  []string `json:"tags" maxItems:"8" maxLength:"20"`
		City  struct {
			Name string `json:"name" maxLength:"40"`
			Zip  string `json:"zip" maxLength:"10"`
		} `json:"city"`
	} `body:"" required:"true"`
}

type governed struct {
	_ struct{} `route:"GET /governed.json" auth:"user" quota:"user=100000000/h,app=100000000/h,ip=100000000/h" degrade:"governed=off"`
	N int      `query:"n"`
}

// cachedTokens is an authenticator that has verified its one token before.
type cachedTokens struct{}

func (cachedTokens) Authenticate(r *http.Request) (webv4.Principal, error) {
	token, err := webv4.AccessToken(r)
	if err != nil || !webv4.SecretsEqual(token, "token") {
		return webv4.Principal{}, webv4.ErrTokenInvalid
	}
	return webv4.Principal{ID: "7", App: "app"}, nil
}

const userJSON = `{"name":"Ada Lovelace","email":"ada@example.org","age":36,"tags":["math","engines"],"city":{"name":"London","zip":"W1"}}`

// measured is the API that allocations and time are measured on.
func measured(t testing.TB, w *watchman.Watchman) *webv4.API {
	a := newAPI(t, &webv4.Options{Authenticator: cachedTokens{}, AccessLog: io.Discard, Watchman: w})
	reply := &user{7, "Ada", 20, []string{"a", "b"}}
	webv4.Handle(a, func(_ context.Context, in *getUser) (*user, error) { return reply, nil })
	webv4.Handle(a, func(_ context.Context, in *postUser) (*user, error) { return reply, nil })
	webv4.Handle(a, func(_ context.Context, in *governed) (*user, error) { return reply, nil })
	return a
}

func watch(t testing.TB) *watchman.Watchman {
	w, err := watchman.New("t", &watchman.Options{Sample: -1})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// request is one that can be sent again and again.
type request struct {
	*http.Request
	body *strings.Reader
	text string
}

func newRequest(method, url, body string, headers ...string) *request {
	r := &request{Request: httptest.NewRequest(method, url, nil), body: strings.NewReader(body), text: body}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if body != "" {
		r.Body, r.ContentLength = io.NopCloser(r.body), int64(len(body))
	}
	return r
}

func (r *request) send(h http.Handler, w *sink) {
	clear(w.header)
	r.body.Reset(r.text)
	h.ServeHTTP(w, r.Request)
}

func benchRequest(b *testing.B, h http.Handler, r *request, status int) {
	w := &sink{header: http.Header{}}
	r.send(h, w)
	if w.status != status {
		b.Fatalf("status %d", w.status)
	}
	b.ReportAllocs()
	cpu := startCPU()
	for b.Loop() {
		r.send(h, w)
	}
	cpu.report(b)
}

func BenchmarkWebTypedGET(b *testing.B) {
	a := newAPI(b, nil)
	reply := &user{7, "Ada", 20, []string{"a", "b"}}
	webv4.Handle(a, func(_ context.Context, in *getUser) (*user, error) { return reply, nil })
	benchRequest(b, a, newRequest("GET", "/users/7.json?count=5&page=2", ""), 200)
}

func BenchmarkWebValidatedPOST(b *testing.B) {
	a := newAPI(b, nil)
	reply := &user{7, "Ada", 20, []string{"a", "b"}}
	webv4.Handle(a, func(_ context.Context, in *postUser) (*user, error) { return reply, nil })
	benchRequest(b, a, newRequest("POST", "/users.json", userJSON, "Content-Type", "application/json"), 200)
}

// BenchmarkWebGovernance is what authentication, three quotas, the switch, the
// access log, tracing, recovery and the deadline add: compare chain and plain.
func BenchmarkWebGovernance(b *testing.B) {
	b.Run("chain", func(b *testing.B) {
		benchRequest(b, measured(b, watch(b)), newRequest("GET", "/governed.json?n=1", "", "Authorization", "Bearer token"), 200)
	})
	b.Run("plain", func(b *testing.B) {
		mux := http.NewServeMux()
		reply := &user{7, "Ada", 20, []string{"a", "b"}}
		mux.HandleFunc("GET /governed.json", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.WriteHeader(http.StatusOK)
			json.NewEncoder(w).Encode(reply)
		})
		benchRequest(b, mux, newRequest("GET", "/governed.json?n=1", "", "Authorization", "Bearer token"), 200)
	})
}

// BenchmarkWebRefusal is what a request costs that is turned away.
func BenchmarkWebRefusal(b *testing.B) {
	w, _ := watchman.New("t", &watchman.Options{Sample: -1})
	a := newAPI(b, &webv4.Options{Watchman: w, Quotas: "ip=1/d", AccessLog: io.Discard})
	type off struct {
		_ struct{} `route:"GET /off" degrade:"off=off" quota:"none"`
	}
	webv4.Handle(a, func(context.Context, *off) (*empty, error) { return nil, nil })
	webv4.Handle(a, func(context.Context, *getUser) (*user, error) { return nil, nil })
	w.SetSwitch("off", true, "b", "b")
	b.Run("switched-off", func(b *testing.B) { benchRequest(b, a, newRequest("GET", "/off", ""), 503) })
	b.Run("out-of-quota", func(b *testing.B) {
		r := newRequest("GET", "/users/7.json", "")
		r.send(a, &sink{header: http.Header{}})
		benchRequest(b, a, r, 429)
	})
	b.Run("no-such-path", func(b *testing.B) { benchRequest(b, a, newRequest("GET", "/nothing", ""), 404) })
}

// BenchmarkWebLimiter is what overload protection adds to a call.
func BenchmarkWebLimiter(b *testing.B) {
	a := newAPI(b, &webv4.Options{Overload: &webv4.Overload{}})
	webv4.Handle(a, func(context.Context, *getUser) (*user, error) { return nil, nil })
	benchRequest(b, a, newRequest("GET", "/users/7.json", ""), 200)
}

// tweets is a reply of about 22 KB.
func tweets() *timeline {
	t := &timeline{NextCursor: 5}
	for i := range 40 {
		t.Statuses = append(t.Statuses, tweet{
			CreatedAt: "Tue May 31 17:46:55 +0800 2011", ID: 11488058246 + int64(i), IDStr: fmt.Sprint(11488058246 + int64(i)),
			Text:   "求关注。A status with some text, a link http://t.cn/abc & \"quotes\" in it, as long as they are.",
			Source: `<a href="http://weibo.com" rel="nofollow">新浪微博</a>`, Favorited: i%2 == 0, RepostsCount: i, CommentsCount: 2 * i,
			User: tweeter{ID: 1404376560, ScreenName: "zaku", Name: "zaku", Province: 11, City: 5, Location: "北京 朝阳区",
				Description: "人生五十年，乃如梦如幻；有生斯有死，壮士复何憾。", URL: "http://blog.sina.com.cn/zaku", Followers: 1204},
		})
	}
	return t
}

type timeline struct {
	Statuses   []tweet `json:"statuses"`
	NextCursor int64   `json:"next_cursor"`
}

type tweet struct {
	CreatedAt     string  `json:"created_at"`
	ID            int64   `json:"id"`
	IDStr         string  `json:"idstr"`
	Text          string  `json:"text"`
	Source        string  `json:"source"`
	Favorited     bool    `json:"favorited"`
	RepostsCount  int     `json:"reposts_count"`
	CommentsCount int     `json:"comments_count"`
	User          tweeter `json:"user"`
}

type tweeter struct {
	ID          int64  `json:"id"`
	ScreenName  string `json:"screen_name"`
	Name        string `json:"name"`
	Province    int    `json:"province"`
	City        int    `json:"city"`
	Location    string `json:"location"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Followers   int    `json:"followers_count"`
}

// BenchmarkWebTimeline writes a timeline of 22 KB, beside encoding/json.
func BenchmarkWebTimeline(b *testing.B) {
	reply := tweets()
	b.Run("webv4", func(b *testing.B) {
		a := newAPI(b, nil)
		webv4.Handle(a, func(context.Context, *give) (*timeline, error) { return reply, nil })
		benchRequest(b, a, newRequest("GET", "/give.json", ""), 200)
	})
	b.Run("encoding-json", func(b *testing.B) {
		benchRequest(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			json.NewEncoder(w).Encode(reply)
		}), newRequest("GET", "/give.json", ""), 200)
	})
}

// BenchmarkWebLoopback sends requests over 64 connections; client and server
// share the machine, so cpu/op is both sides'.
func BenchmarkWebLoopback(b *testing.B) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := measured(b, watch(b)).Server()
	go srv.Serve(ln)
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	url := "http://" + ln.Addr().String() + "/governed.json?n=1"
	b.ReportAllocs()
	b.SetParallelism(32)
	cpu := startCPU()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, _ := http.NewRequest("GET", url, nil)
			r.Header.Set("Authorization", "Bearer token")
			resp, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 200 {
				b.Errorf("status %d", resp.StatusCode)
				return
			}
		}
	})
	cpu.report(b)
}
