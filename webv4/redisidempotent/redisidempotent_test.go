package redisidempotent_test

import (
	"context"
	"crypto/rand"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/heddle-go/heddle/webv4"
	"github.com/heddle-go/heddle/webv4/redisidempotent"
)

// client talks to a real Redis, with keys that no other test has.
func client(t testing.TB) (*redis.Client, *redisidempotent.Options) {
	t.Helper()
	addr := os.Getenv("HEDDLE_TEST_REDIS")
	if addr == "" {
		t.Skip("needs a Redis: redis-server --port 16379 --bind 127.0.0.1 --save '', then HEDDLE_TEST_REDIS=127.0.0.1:16379")
	}
	c := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { c.Close() })
	return c, &redisidempotent.Options{Prefix: "test:" + rand.Text() + ":", Timeout: 30 * time.Second}
}

func TestStore(t *testing.T) {
	ctx := context.Background()
	c, o := client(t)
	o.MaxReply = 100
	s := redisidempotent.New(c, o)
	print := [32]byte{1, 2, 3}
	// Of many at once one claims the key, in any process.
	other := redisidempotent.New(c, o)
	var claimed atomic.Int32
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			r, err := []*redisidempotent.Store{s, other}[i%2].Begin(ctx, "k", print, time.Minute)
			switch {
			case err != nil:
				t.Error(err)
			case r == nil:
				claimed.Add(1)
			case r.Done || r.Fingerprint != print:
				t.Errorf("%+v", r)
			}
		})
	}
	wg.Wait()
	if claimed.Load() != 1 {
		t.Errorf("%d claimed the key", claimed.Load())
	}
	if ttl := c.PTTL(ctx, o.Prefix+"k").Val(); ttl <= 0 || ttl > time.Minute {
		t.Errorf("the claim lives %v", ttl)
	}
	if err := other.Renew(ctx, "k", print, 10*time.Minute); err != nil {
		t.Error(err)
	}
	if ttl := c.PTTL(ctx, o.Prefix+"k").Val(); ttl <= 9*time.Minute || ttl > 10*time.Minute {
		t.Errorf("the claim lives %v after its renewal", ttl)
	}
	if err := s.Renew(ctx, "k", [32]byte{9}, time.Hour); err == nil || c.PTTL(ctx, o.Prefix+"k").Val() > 10*time.Minute {
		t.Errorf("another's claim was renewed: %v", err)
	}
	reply := webv4.IdempotentReply{Fingerprint: print, Done: true, Status: 201, ContentType: "a/b", Location: "/x", ETag: `"5"`, Body: []byte("\x00body\xff")}
	if err := s.Finish(ctx, "k", &reply, time.Hour); err != nil {
		t.Fatal(err)
	}
	r, err := other.Begin(ctx, "k", [32]byte{9}, time.Minute)
	if err != nil || r == nil || r.Fingerprint != print || !r.Done || r.Status != 201 || string(r.Body) != "\x00body\xff" || r.ETag != `"5"` || r.Location != "/x" || r.ContentType != "a/b" {
		t.Errorf("%+v %v", r, err)
	}
	if ttl := c.PTTL(ctx, o.Prefix+"k").Val(); ttl <= 59*time.Minute || ttl > time.Hour {
		t.Errorf("the reply lives %v", ttl)
	}
	// What was done is neither renewed nor freed by who lost its claim meanwhile.
	if err := s.Renew(ctx, "k", print, time.Minute); err == nil {
		t.Error("a reply was renewed")
	}
	if err := s.Finish(ctx, "k", nil, 0); err != nil {
		t.Fatal(err)
	}
	if ttl := c.PTTL(ctx, o.Prefix+"k").Val(); ttl <= 59*time.Minute {
		t.Errorf("the reply lives %v", ttl)
	}
	if err := c.Del(ctx, o.Prefix+"k").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Renew(ctx, "k", print, time.Minute); err == nil {
		t.Error("a claim was renewed that there is not")
	}
	if r, err := s.Begin(ctx, "k", print, time.Minute); r != nil || err != nil {
		t.Errorf("%+v %v", r, err)
	}
	if err := s.Finish(ctx, "k", nil, 0); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Begin(ctx, "k", print, time.Minute); r != nil || err != nil {
		t.Errorf("a key that was freed: %+v %v", r, err)
	}
	reply.Body = []byte(strings.Repeat("x", 101))
	if err := s.Finish(ctx, "k", &reply, time.Hour); err != nil {
		t.Fatal(err)
	}
	if r, err := s.Begin(ctx, "k", print, time.Minute); err != nil || !r.Done || r.Status != 0 || r.Body != nil {
		t.Errorf("a large reply: %+v %v", r, err)
	}
}

type anyone struct{}

func (anyone) Authenticate(*http.Request) (webv4.Principal, error) {
	return webv4.Principal{ID: "7"}, nil
}

func TestProcessesShare(t *testing.T) {
	c, o := client(t)
	type pay struct {
		_ struct{} `route:"POST /pay" auth:"user" idempotent:"1h"`
	}
	type paid struct {
		N int `json:"n"`
	}
	calls := 0
	var bodies []string
	for range 2 {
		api, err := webv4.New(&webv4.Options{Authenticator: anyone{}, IdempotencyStore: redisidempotent.New(c, o)})
		if err != nil {
			t.Fatal(err)
		}
		webv4.Handle(api, func(context.Context, *pay) (*paid, error) { calls++; return &paid{calls}, nil })
		r := httptest.NewRequest("POST", "/pay", nil)
		r.Header.Set("Idempotency-Key", "k")
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		bodies = append(bodies, w.Body.String())
	}
	if calls != 1 || bodies[0] != "{\"n\":1}\n" || bodies[1] != bodies[0] {
		t.Errorf("%d calls, replies %q", calls, bodies)
	}
}

// Nobody listens there: a request with a key is refused, not done.
func TestRedisIsGone(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // it accepts no connection, and nobody else gets the port
	c := redis.NewClient(&redis.Options{Addr: ln.Addr().String(), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer c.Close()
	s := redisidempotent.New(c, &redisidempotent.Options{Timeout: 20 * time.Millisecond})
	if _, err := s.Begin(context.Background(), "k", [32]byte{}, time.Minute); err == nil {
		t.Error("claimed")
	}
	if err := s.Renew(context.Background(), "k", [32]byte{}, time.Minute); err == nil {
		t.Error("renewed")
	}
	if err := s.Finish(context.Background(), "k", nil, 0); err == nil {
		t.Error("freed")
	}
}
