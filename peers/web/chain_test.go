package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/golang-jwt/jwt/v5"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"github.com/zeromicro/go-zero/core/conf"
	"github.com/zeromicro/go-zero/rest"
	"github.com/zeromicro/go-zero/rest/httpx"
	"golang.org/x/time/rate"

	"github.com/heddle-go/heddle/watchman"
	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/jwtauth"
)

// The whole chain, as each one's users would put it together for a public
// interface: a request id, an access log, panics caught, a token verified, a
// quota a client, a bound on the body and a deadline. webv4 and go-zero have
// tracing, metrics and overload protection as well; go-zero's default chain
// has neither a token nor a quota.

var chainSecret = []byte("a secret of thirty-two characters")

// chainToken is a token that everybody in the chain takes.
var chainToken = sync.OnceValue(func() string {
	t, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "7", "client_id": "app", "exp": time.Now().Add(time.Hour).Unix()}).SignedString(chainSecret)
	if err != nil {
		panic(err)
	}
	return t
})

// verify is what is in everybody's middleware but webv4's, which remembers.
func verify(header string) error {
	text, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return errors.New("no token")
	}
	_, err := jwt.Parse(text, func(*jwt.Token) (any, error) { return chainSecret, nil }, jwt.WithValidMethods([]string{"HS256"}))
	return err
}

type chainGet struct {
	_     struct{} `route:"GET /users/:id" auth:"user" quota:"user=100000000/h,app=100000000/h,ip=100000000/h" degrade:"users=trim,off"`
	ID    int64    `path:"id" min:"1"`
	Count int      `query:"count" default:"20" min:"1" max:"200"`
	Page  int      `query:"page" default:"1"`
}

var chains = []peer{
	{name: "webv4", handler: func() http.Handler {
		auth, err := jwtauth.New(&jwtauth.Options{Keys: map[string]any{"": chainSecret}, Algorithms: []string{"HS256"}})
		if err != nil {
			panic(err)
		}
		w, err := watchman.New("bench", nil)
		if err != nil {
			panic(err)
		}
		a, err := webv4.New(&webv4.Options{
			Authenticator: auth, Watchman: w, AccessLog: os.Stdout, RequestIDs: true, Overload: &webv4.Overload{}, Deny: &webv4.DenyList{},
		})
		if err != nil {
			panic(err)
		}
		webv4.Handle(a, func(_ context.Context, in *chainGet) (*user, error) { return answer(in.ID, in.Count), nil })
		return a
	}},
	{name: "go-zero-default", handler: func() http.Handler { return zeroChain() }},
	{name: "go-zero-default+jwt", handler: func() http.Handler { return zeroChain(rest.WithJwt(string(chainSecret))) }},
	{name: "gin", handler: func() http.Handler {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		var limits limiters
		e.Use(gin.Logger(), gin.Recovery(), func(c *gin.Context) {
			var id [16]byte
			_, _ = rand.Read(id[:])
			c.Header("X-Request-Id", hex.EncodeToString(id[:]))
			if verify(c.GetHeader("Authorization")) != nil {
				c.AbortWithStatus(http.StatusUnauthorized)
				return
			}
			if !limits.of(c.ClientIP()).Allow() {
				c.AbortWithStatus(http.StatusTooManyRequests)
				return
			}
			ctx, cancel := context.WithTimeout(c.Request.Context(), 3*time.Second)
			defer cancel()
			c.Request = c.Request.WithContext(ctx)
			c.Request.Body = http.MaxBytesReader(c.Writer, c.Request.Body, 1<<20)
			c.Next()
		})
		ginUsers(e)
		return e
	}},
	{name: "echo", handler: func() http.Handler {
		e := newEcho()
		e.Use(middleware.RequestID(), middleware.RequestLogger(), middleware.Recover(), middleware.BodyLimit("1M"),
			middleware.KeyAuthWithConfig(middleware.KeyAuthConfig{Validator: func(key string, _ echo.Context) (bool, error) { return verify("Bearer "+key) == nil, nil }}),
			middleware.RateLimiter(middleware.NewRateLimiterMemoryStoreWithConfig(middleware.RateLimiterMemoryStoreConfig{Rate: 1e6, Burst: 1e6})),
			middleware.ContextTimeout(3*time.Second))
		return e
	}},
}

// limiters is a limiter a client, as the documentation of x/time/rate's users has it.
type limiters struct {
	mu sync.Mutex
	m  map[string]*rate.Limiter
}

func (l *limiters) of(ip string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = map[string]*rate.Limiter{}
	}
	one := l.m[ip]
	if one == nil {
		one = rate.NewLimiter(1e6, 1e6)
		l.m[ip] = one
	}
	return one
}

// zeroChain is go-zero's default chain: tracing, log, Prometheus, connections,
// breaker, shedding, timeout, recovery, metrics, body limit and gunzip.
func zeroChain(opts ...rest.RouteOption) http.Handler {
	var c rest.RestConf
	if err := conf.LoadFromYamlBytes([]byte("Name: bench\nPort: 1\n"), &c); err != nil {
		panic(err)
	}
	s, err := rest.NewServer(c)
	if err != nil {
		panic(err)
	}
	s.AddRoute(rest.Route{Method: "GET", Path: "/users/:id", Handler: func(w http.ResponseWriter, r *http.Request) {
		var in zeroGet
		if err := httpx.Parse(r, &in); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		httpx.OkJson(w, answer(in.ID, in.Count))
	}}, opts...)
	built, err := rest.NewServerless(s)
	if err != nil {
		panic(err)
	}
	return http.HandlerFunc(built.Serve)
}

func init() {
	for _, p := range chains {
		servers["chain/"+p.name] = serves(p.handler)
	}
}

// Every chain answers, and those that have a token refuse a wrong one.
func TestChainsAnswerAlike(t *testing.T) {
	for _, p := range chains {
		t.Run(p.name, func(t *testing.T) {
			s := startServer(t, "chain/"+p.name)
			c, err := dial(s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.conn.Close()
			if status, _, err := c.exchange(get("/users/7?count=5&page=2", "Authorization: Bearer "+chainToken())); err != nil || status != 200 {
				t.Errorf("status %d, %v", status, err)
			}
			want := http.StatusUnauthorized
			if p.name == "go-zero-default" {
				want = http.StatusOK
			}
			wrong := strings.Replace(chainToken(), ".", ".x", 1)
			if status, _, err := c.exchange(get("/users/7?count=5", "Authorization: Bearer "+wrong)); err != nil || status != want {
				t.Errorf("a wrong token: status %d, %v", status, err)
			}
		})
	}
}

// BenchmarkWebChain is the whole chain over loopback, by the server's CPU time.
func BenchmarkWebChain(b *testing.B) {
	for _, p := range chains {
		b.Run(p.name, func(b *testing.B) {
			overLoopback(b, startServer(b, "chain/"+p.name), get("/users/7?count=5&page=2", "Authorization: Bearer "+chainToken()))
		})
	}
}
